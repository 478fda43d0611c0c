//! The live tail: who may look, what is sent, and when it ends.

use super::*;
use crate::model::{AckRef, Entry, LabelSet, Ledger, Mark, Origin, Side, Weight};

fn entry(line: &str) -> Entry<'_> {
    Entry {
        timestamp: 1_795_780_000_000_000_000,
        line: line.into(),
        labels: LabelSet::new([("app", "<b>web</b>")]),
        metadata: Vec::new(),
        tenant: None,
        origin: Origin::default(),
        weight: Weight::line(line.len()),
        ack: AckRef::Own(Ledger::new().open(1, Mark(1))),
    }
}

/// Connects, and reads the answer up to this text.
async fn look(server: &Running, query: &str, header: &str, until: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(server.address).await.expect("it listens");
    let request = format!("GET /api/tail{query} HTTP/1.1\r\nHost: 127.0.0.1\r\n{header}\r\n");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let answer = read_until(&mut stream, until).await;
    (stream, answer)
}

async fn read_until(stream: &mut TcpStream, until: &str) -> String {
    let (mut answer, mut part) = (Vec::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut part).await.expect("it is open");
        answer.extend_from_slice(&part[..read]);
        let text = String::from_utf8_lossy(&answer).into_owned();
        if text.contains(until) {
            return text;
        }
        assert!(read > 0, "it ends without {until}: {text}");
    }
}

#[tokio::test]
async fn nobody_looks_without_the_setting() {
    for (yaml, status, said) in [
        ("", 403, "set server.live_tail to loopback or all"),
        ("live_tail: disabled", 403, "set server.live_tail to loopback or all"),
        ("live_tail: loopback", 200, "text/event-stream"),
        ("live_tail: all", 200, "text/event-stream"),
    ] {
        let server = start(yaml, vec![]).await;
        let (_stream, answer) = look(&server, "", "", said).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{yaml}: {answer}");
        assert_eq!(server.live_tail.is_viewed(), status == 200, "{yaml}");
        let overview = server.status("/api/overview").await.1;
        assert_eq!(overview.contains("\"live_tail_refusal\":null"), status == 200, "{yaml}: {overview}");
    }
    let server = start("live_tail: all", vec![]).await;
    let (_stream, answer) = look(&server, "", "Sec-Fetch-Site: cross-site\r\n", "another site").await;
    assert!(answer.starts_with("HTTP/1.1 403") && !server.live_tail.is_viewed(), "{answer}");
    assert!(crate::yaml::from_str::<Config>("live_tail: everybody").is_err());
}

#[test]
fn loopback_is_this_host_only() {
    let (_stop, stopping) = watch::channel(());
    for (yaml, peer, looks) in [
        ("live_tail: loopback", "127.0.0.1", true),
        ("live_tail: loopback", "::1", true),
        ("live_tail: loopback", "10.0.0.1", false),
        ("live_tail: loopback", "fe80::1", false),
        ("live_tail: all", "10.0.0.1", true),
        ("{}", "127.0.0.1", false),
    ] {
        let config: Config = crate::yaml::from_str(yaml).expect("a config");
        let live = super::super::live::Live::new(&config, Arc::default(), stopping.clone());
        assert_eq!(live.refuses(peer.parse().expect("an address")).is_none(), looks, "{yaml} {peer}");
    }
}

#[tokio::test]
async fn lines_come_as_they_are_read_to_those_who_asked_for_them() {
    let server = start("live_tail: loopback", vec![]).await;
    let (mut stream, _) = look(&server, "?q=two&side=after", "", "retry: 500").await;
    for line in ["one", "two\n<script>"] {
        server.live_tail.show(Side::Before, &entry(line));
        server.live_tail.show(Side::After, &entry(line));
    }
    let events = read_until(&mut stream, "\"skipped\":0}\n\n").await;
    let json = events.split("data: ").nth(1).and_then(|rest| rest.split("\n\n").next()).expect("an event");
    let event: serde_json::Value = serde_json::from_str(json).expect("JSON on one line");
    assert_eq!(event["lines"].as_array().map(Vec::len), Some(1), "{event}");
    let line = &event["lines"][0];
    assert_eq!((&line["side"], &line["line"]), (&"after".into(), &"two\n<script>".into()));
    assert_eq!(
        (&line["labels"]["app"], &line["timestamp_unix_ms"]),
        (&"<b>web</b>".into(), &1_795_780_000_000u64.into())
    );
    drop(stream);
    // The server notices at the next event that nobody reads any more.
    let gone = async {
        while server.live_tail.is_viewed() {
            server.live_tail.show(Side::After, &entry("two"));
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("the place is free again");
}

#[tokio::test]
async fn few_look_at_once_and_all_others_keep_their_pages() {
    let server = start("live_tail: all", vec![file(None)]).await;
    let mut looking = Vec::new();
    for _ in 0..4 {
        looking.push(look(&server, "", "", "retry: 500").await);
    }
    let (_stream, answer) = look(&server, "", "", "too many look").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert_eq!((server.status("/api/targets").await.0, server.status("/-/healthy").await.0), (200, 200));
}

#[tokio::test]
async fn a_stop_ends_it_at_once() {
    let server = start("live_tail: all\ngraceful_shutdown_timeout: 1h", vec![]).await;
    let (_stream, _) = look(&server, "", "", "retry: 500").await;
    server.stop.send(()).expect("it runs");
    let stopped = tokio::time::timeout(Duration::from_secs(60), server.task).await;
    stopped.expect("it does not wait for viewers").expect("without a panic");
}
