//! A server with the metrics of a Spring Boot program with Micrometer's Prometheus registry.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use crate::servers::free_port;

/// Requests of one kind: uri, method, status, outcome, exception, number per scrape, and duration of each.
type Kind = (&'static str, &'static str, u16, &'static str, &'static str, u64, f64);

const KINDS: [Kind; 4] = [
    ("/test", "GET", 200, "SUCCESS", "none", 7, 0.02),
    ("/test", "GET", 500, "SERVER_ERROR", "RuntimeException", 2, 0.3),
    ("/**", "GET", 404, "CLIENT_ERROR", "none", 1, 0.004),
    ("/actuator/prometheus", "GET", 200, "SUCCESS", "none", 1, 0.01),
];

const BUCKETS: [f64; 8] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0];

/// Serves until the test process ends. Returns the port. The number of requests grows with each scrape.
pub(crate) fn serve(application: &'static str) -> u16 {
    let port = free_port();
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
    thread::spawn(move || {
        for (scrape, stream) in (1..).zip(listener.incoming()) {
            // A client that closes the connection connects again.
            let _ = stream.and_then(|stream| answer(stream, &page(application, scrape)));
        }
    });
    port
}

fn answer(mut stream: TcpStream, page: &str) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            read => request.extend_from_slice(&buffer[..read]),
        }
    }
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close";
    write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{page}", page.len())
}

fn page(application: &str, scrape: u64) -> String {
    let mut page =
        String::from("# HELP http_server_requests_seconds  \n# TYPE http_server_requests_seconds histogram\n");
    for (uri, method, status, outcome, exception, more, seconds) in KINDS {
        let count = scrape * more;
        let labels = format!(
            "application=\"{application}\",error=\"{exception}\",exception=\"{exception}\",method=\"{method}\",\
             outcome=\"{outcome}\",status=\"{status}\",uri=\"{uri}\","
        );
        for bound in BUCKETS {
            let below = if seconds <= bound { count } else { 0 };
            let _ = writeln!(page, "http_server_requests_seconds_bucket{{{labels}le=\"{bound}\",}} {below}.0");
        }
        let _ = writeln!(page, "http_server_requests_seconds_bucket{{{labels}le=\"+Inf\",}} {count}.0");
        let _ = writeln!(page, "http_server_requests_seconds_count{{{labels}}} {count}.0");
        let _ = writeln!(page, "http_server_requests_seconds_sum{{{labels}}} {}", count as f64 * seconds);
    }
    page
}
