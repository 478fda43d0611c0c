package com.example.monitoringtest;

import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;

@SpringBootApplication
public class MonitoringTestApplication {

    public static void main(String[] args) {
        SpringApplication.run(MonitoringTestApplication.class, args);
    }
}
