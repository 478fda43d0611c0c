//! Requests that are too long, contradictory, or for missing pages. Each is refused, and a probe is answered after it.

use super::*;

/// The start of the answer. Empty if the connection was closed without an answer: a client that still writes may not
/// see it.
async fn said(server: &Running, request: &[u8]) -> String {
    let (mut from, mut to) = TcpStream::connect(server.address).await.expect("it listens").into_split();
    let writing = async {
        // The server need not read all of it.
        let _ = to.write_all(request).await;
    };
    let reading = async {
        let mut answer = vec![0; 16 << 10];
        let bytes = from.read(&mut answer).await.unwrap_or(0);
        String::from_utf8_lossy(&answer[..bytes]).into_owned()
    };
    tokio::join!(writing, reading).1
}

async fn refused(server: &Running, what: &str, request: &[u8], may_be_closed: bool) {
    let answer = tokio::time::timeout(Duration::from_secs(30), said(server, request)).await.expect(what);
    let status = answer.split(' ').nth(1).unwrap_or("");
    let is_refusal = status.len() == 3 && status.starts_with('4');
    assert!(is_refusal || (may_be_closed && answer.is_empty()), "{what}: {answer}");
    let (status, healthy) = server.status("/-/healthy").await;
    assert_eq!(status, 200, "after {what}: {healthy}");
}

#[tokio::test]
async fn a_request_that_is_too_long_is_refused() {
    let server = start("", vec![file(None)]).await;
    let line = |text: &str| format!("GET {text} HTTP/1.1\r\nHost: 127.0.0.1\r\n");
    let headers: String = (0..200).map(|n| format!("A{n}: b\r\n")).collect();
    for (what, request) in [
        ("a header of 1 MB", format!("{}A: {}\r\n\r\n", line("/ready"), "a".repeat(1 << 20))),
        ("a name of 1 MB", format!("{}{}: a\r\n\r\n", line("/ready"), "a".repeat(1 << 20))),
        ("a password of 1 MB", format!("{}Authorization: Basic {}\r\n\r\n", line("/ready"), "YTph".repeat(1 << 18))),
        ("200 headers", format!("{}{headers}\r\n", line("/ready"))),
        ("a query of 100 kB", format!("{}\r\n", line(&format!("/ready?{}", "a".repeat(100_000))))),
        ("a path of 1 MB", format!("{}\r\n", line(&format!("/{}", "a/".repeat(1 << 19))))),
        ("a method of 1 MB", format!("{} / HTTP/1.1\r\n\r\n", "A".repeat(1 << 20))),
    ] {
        refused(&server, what, request.as_bytes(), true).await;
    }
}

#[tokio::test]
async fn a_request_that_says_two_things_is_refused() {
    let server = start("", vec![file(None)]).await;
    let line = "GET /ready HTTP/1.1\r\nHost: 127.0.0.1\r\n";
    for (what, request) in [
        ("two lengths", format!("{line}Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef")),
        ("two lengths in one", format!("{line}Content-Length: 5, 6\r\n\r\nabcdef")),
        ("a length below zero", format!("{line}Content-Length: -1\r\n\r\n")),
        ("a length of 2^64", format!("{line}Content-Length: 18446744073709551616\r\n\r\n")),
        ("an unknown encoding", format!("{line}Transfer-Encoding: xchunked\r\n\r\n")),
        ("chunks that are not the last", format!("{line}Transfer-Encoding: chunked, gzip\r\n\r\n")),
        ("a blank before the colon", "GET /ready HTTP/1.1\r\nHost : x\r\n\r\n".into()),
        ("a folded header", format!("{line}A: b\r\n c\r\n\r\n")),
        ("a NUL in a header", format!("{line}A: b\0c\r\n\r\n")),
        ("a NUL in a path", "GET /ready\0 HTTP/1.1\r\nHost: x\r\n\r\n".into()),
        ("HTTP/2 unasked", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into()),
        ("a version of 9", "GET /ready HTTP/9.9\r\nHost: x\r\n\r\n".into()),
        ("no HTTP", "\x16\x03\x01\x02\x00\x01\x00\x01\u{7f}\r\n\r\n".into()),
    ] {
        // Some HTTP libraries close the connection at once if the request is not HTTP/1.
        refused(&server, what, request.as_bytes(), !request.contains("HTTP/1.1")).await;
    }
}

#[tokio::test]
async fn what_is_not_there_is_refused() {
    let server = start("", vec![file(None)]).await;
    let asks = |method: &str, path: &str| {
        format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    };
    for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "CONNECT", "FROB"] {
        for path in ["/config", "/targets", "/service-discovery", "/metrics", "/reload"] {
            refused(&server, &format!("{method} {path}"), asks(method, path).as_bytes(), false).await;
        }
    }
    for path in [
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/config/..%2f..%2fetc/passwd",
        "/config/../../etc/passwd",
        "/targets/%00",
        "//etc/passwd",
        "//config",
        "/debug/pprof/",
        "/-/quit",
        "/-/reload",
        "/CONFIG",
        "/config/",
    ] {
        refused(&server, path, asks("GET", path).as_bytes(), false).await;
    }
}
