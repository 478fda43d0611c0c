//! A Loki, or another server in its place, whose answers never end.

use bytes::Bytes;

use super::super::client::Endpoint;
use super::*;

const MUCH: &[u8] = &[b'x'; 16 << 10];

fn endless(head: &'static str, again: &'static [u8]) -> Reply {
    Reply::Endless { head, again, pause: Duration::ZERO }
}

/// The answer is cut off, and the push is delivered when Loki works again.
async fn delivers_after(what: &str, reply: Reply, timeout: &str) {
    let loki = FakeLoki::start(move |_, before| if before < 2 { reply.clone() } else { Reply::Status(204) });
    let mut running = start(&config(&loki, &format!("timeout: {timeout}")));
    running.push("a", &["one"]);
    until(what, || running.ledger.is_settled()).await;
    running.settled().await;
    assert_eq!((loki.stored(), loki.pushes().len()), (vec!["one".to_string()], 3), "{what}");
}

#[tokio::test]
async fn an_answer_without_an_end_is_cut_by_its_size() {
    for (what, reply) in [
        ("a body", endless("HTTP/1.1 500 X\r\n\r\n", MUCH)),
        ("a body of a terabyte", endless("HTTP/1.1 500 X\r\nContent-Length: 1099511627776\r\n\r\n", MUCH)),
        ("chunks", endless("HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\n", b"4\r\nabcd\r\n")),
        ("something packed", endless("HTTP/1.1 500 X\r\nContent-Encoding: gzip\r\n\r\n", MUCH)),
        ("headers", endless("HTTP/1.1 500 X\r\n", b"A: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\n")),
        ("one header", endless("HTTP/1.1 204 X\r\nA: ", MUCH)),
        ("a status line", endless("HTTP/1.1 204 ", MUCH)),
    ] {
        delivers_after(what, reply, "1h").await;
    }
}

#[tokio::test]
async fn an_answer_without_an_end_is_cut_by_the_timeout() {
    let drip = |head| Reply::Endless { head, again: b"a", pause: Duration::from_millis(5) };
    for (what, reply) in [
        ("a byte of a header at a time", drip("HTTP/1.1 204 X\r\nA: ")),
        ("a byte of a body at a time", drip("HTTP/1.1 503 X\r\n\r\n")),
        ("one interim answer after the other", endless("", b"HTTP/1.1 100 Continue\r\n\r\n")),
    ] {
        delivers_after(what, reply, "300ms").await;
    }
}

#[tokio::test]
async fn of_an_answer_no_more_is_kept_than_can_matter() {
    for head in
        ["HTTP/1.1 400 X\r\n\r\n", "HTTP/1.1 500 X\r\nContent-Length: 1099511627776\r\n\r\n", "HTTP/1.1 200 X\r\n\r\n"]
    {
        let loki = FakeLoki::start(move |_, _| endless(head, MUCH));
        let endpoint = Endpoint::new(&config(&loki, "timeout: 1h")).expect("an endpoint");
        // An empty push.
        let answer = endpoint.push(None, Bytes::from_static(&[0])).await.expect("an answer");
        assert_eq!(answer.body.len(), 64 << 10, "{head}");
    }
}
