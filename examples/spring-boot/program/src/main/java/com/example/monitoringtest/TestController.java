package com.example.monitoringtest;

import org.springframework.http.ResponseEntity;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RequestParam;
import org.springframework.web.bind.annotation.RestController;

/** Fails on demand: 1 and 2 print a line and answer 500, 3 throws, all others succeed. */
@RestController
public class TestController {

    @GetMapping("/test")
    public ResponseEntity<String> test(@RequestParam("id") int id) {
        switch (id) {
            case 1, 2 -> {
                String message = "internal server error " + id + " occurred";
                // As it is in many a program: standard error and no logger, so the line has neither time nor level.
                System.err.println(message);
                return ResponseEntity.internalServerError().body(message);
            }
            case 3 -> throw new RuntimeException("Unexpected Error occurred");
            default -> {
                return ResponseEntity.ok("Success");
            }
        }
    }
}
