//! Pushes over a real socket, into an inbox that the test commits.

mod crowd;
mod spooled;

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use tokio::io::AsyncWriteExt;

use super::*;
use crate::receive::testing::{Client, Rig, clients, receiver};
use crate::receive::{Config as Receives, Receiver};

const JSON: &str = "Content-Type: application/json\r\n";

#[derive(Clone, PartialEq, prost::Message)]
pub struct Push {
    #[prost(message, repeated, tag = "1")]
    streams: Vec<Stream>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Stream {
    #[prost(string, tag = "1")]
    labels: String,
    #[prost(message, repeated, tag = "2")]
    entries: Vec<Entry>,
    #[prost(uint64, tag = "3")]
    hash: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Entry {
    #[prost(message, tag = "1")]
    timestamp: Option<Time>,
    #[prost(string, tag = "2")]
    line: String,
    #[prost(message, repeated, tag = "3")]
    metadata: Vec<Pair>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Time {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Pair {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

fn entry(nanos: i32, line: &str, metadata: &[(&str, &str)]) -> Entry {
    let metadata = metadata.iter().map(|(name, value)| Pair { name: (*name).into(), value: (*value).into() }).collect();
    Entry { timestamp: Some(Time { seconds: 0, nanos }), line: line.into(), metadata }
}

fn protobuf(streams: Vec<(&str, Vec<Entry>)>) -> Vec<u8> {
    let streams =
        streams.into_iter().map(|(labels, entries)| Stream { labels: labels.into(), entries, hash: 7 }).collect();
    prost::Message::encode_to_vec(&Push { streams })
}

fn snappy(plain: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(plain).expect("compressed")
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).expect("compressed");
    encoder.finish().expect("compressed")
}

fn push(yaml: &str, rules: &str) -> Receiver {
    let config: Config = crate::yaml::from_str(yaml).expect(yaml);
    config.validate().expect(yaml);
    receiver(Receives::Push(Box::new(config)), rules)
}

const SERVER: &str = "server: {http_listen_address: 127.0.0.1, http_listen_port: 0}\n";

async fn start(yaml: &str, rules: &str, count: usize) -> (Arc<Rig>, Vec<Client>) {
    let (intake, clients) = clients(count);
    (Arc::new(Rig::start(push(&format!("{SERVER}{yaml}"), rules), intake).await), clients)
}

/// Sends it on a task of its own, and gives its answer.
fn send(rig: &Arc<Rig>, path: &'static str, headers: &str, body: Vec<u8>) -> tokio::task::JoinHandle<(u16, String)> {
    let (rig, headers) = (rig.clone(), headers.to_string());
    tokio::spawn(async move { rig.post(path, &headers, &body).await })
}

/// The result of a push is the same in each form.
#[tokio::test]
async fn every_form_of_a_push_is_the_same_push() {
    let plain = protobuf(vec![
        ("{app=\"x\", from=\"sender\"}", vec![entry(1, "one", &[("trace", "t")]), entry(2, "two\nlines \u{e9}", &[])]),
        ("{app=\"y\"}", vec![entry(3, "", &[])]),
    ]);
    let json = r#"{"streams": [
        {"values": [["1", "one", {"trace": "t"}], ["2", "two\nlines \u00e9"]], "stream": {"app": "x", "from": "sender"}},
        {"stream": {"app": "y"}, "values": [["3", ""]]}]}"#;
    let legacy = r#"{"streams": [{"labels": "{app=\"y\"}", "entries": [{"ts": "1970-01-01T00:00:00.000000003Z", "line": ""}]}]}"#;
    let x = "{app=\"x\", from=\"config\"}";
    let want = vec![
        format!("{x} 1 one trace=t"),
        format!("{x} 2 two\nlines \u{e9}"),
        "{app=\"y\", from=\"config\"} 3 ".into(),
    ];
    let deflate = |plain: &[u8]| {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(plain).expect("compressed");
        encoder.finish().expect("compressed")
    };
    let zlib = |plain: &[u8]| {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(plain).expect("compressed");
        encoder.finish().expect("compressed")
    };
    let proto = "Content-Type: application/x-protobuf\r\n";
    for (path, headers, body, want) in [
        ("/loki/api/v1/push", proto.to_string(), snappy(&plain), &want[..]),
        ("/api/prom/push", format!("{proto}Content-Encoding: snappy\r\n"), snappy(&plain), &want),
        ("/promtail/api/v1/push", format!("{proto}Content-Encoding: gzip\r\n"), gzip(&snappy(&plain)), &want),
        ("/loki/api/v1/push", JSON.to_string(), json.into(), &want),
        ("/loki/api/v1/push", format!("{JSON}Content-Encoding: gzip\r\n"), gzip(json.as_bytes()), &want),
        ("/loki/api/v1/push", format!("{JSON}Content-Encoding: deflate\r\n"), deflate(json.as_bytes()), &want),
        ("/loki/api/v1/push", format!("{JSON}Content-Encoding: deflate\r\n"), zlib(json.as_bytes()), &want),
        ("/api/prom/push", "Content-Type: application/json; charset=utf-8\r\n".into(), legacy.into(), &want[2..]),
    ] {
        let (rig, mut clients) = start("use_incoming_timestamp: true\nlabels: {from: config}", "[]", 1).await;
        let client = &mut clients[0];
        let mut sent = send(&rig, path, &headers, body);
        let came = tokio::select! {
            came = client.wait_for(want.len()) => came,
            answer = &mut sent => panic!("{path} {headers}: {answer:?}"),
        };
        assert_eq!(came, want, "{path} {headers}");
        assert!(!sent.is_finished(), "nothing is committed yet: {path} {headers}");
        client.commit();
        assert_eq!(sent.await.expect("answered").0, 204, "{path} {headers}");
        assert_eq!(rig.count("fantail_received_lines_total"), want.len() as u64);
        assert_eq!(rig.post("/ready", "", b"").await.0, 200);
    }
}

#[tokio::test]
async fn raw_lines_have_the_labels_of_the_config_alone() {
    let (rig, mut clients) =
        start("labels: {from: config}", "[{action: drop, source_labels: [from], regex: .*}]", 1).await;
    for path in ["/promtail/api/v1/raw", "/loki/api/v1/raw"] {
        // The same lines again are other lines.
        for _ in 0..2 {
            let sent = send(&rig, path, "", b"one\r\n\n  \ntwo".to_vec());
            assert_eq!(clients[0].wait_for(2).await, ["{from=\"config\"} one", "{from=\"config\"} two"]);
            clients[0].commit();
            assert_eq!(sent.await.expect("answered").0, 204);
        }
    }
}

/// A browser sends a page's text to any address, without asking first, and with the passwords that it knows.
#[tokio::test]
async fn web_pages_of_other_sites_send_no_lines() {
    let (rig, mut clients) = start("labels: {from: config}", "[]", 1).await;
    for headers in [
        "Origin: https://evil.example\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
        "Origin: null\r\nContent-Type: text/plain\r\n",
    ] {
        for path in ["/promtail/api/v1/raw", "/loki/api/v1/push"] {
            let (status, text) = rig.post(path, headers, b"forged").await;
            assert_eq!(status, 403, "{headers}: {text}");
        }
    }
    assert_eq!(clients[0].read(), [""; 0]);
    let sent = send(&rig, "/promtail/api/v1/raw", "User-Agent: curl/8\r\n", b"line".to_vec());
    assert_eq!(clients[0].wait_for(1).await, ["{from=\"config\"} line"]);
    clients[0].commit();
    assert_eq!(sent.await.expect("answered").0, 204);
}

#[tokio::test]
async fn a_stream_that_a_rule_drops_takes_no_other_with_it() {
    let rules = "[{source_labels: [app], regex: noise, action: drop}, {regex: pod, action: labeldrop}]";
    let (rig, mut clients) = start("", rules, 1).await;
    let lines = |line: &str| vec![entry(1, line, &[])];
    let body = protobuf(vec![
        ("{app=\"noise\"}", lines("dropped")),
        ("{app=\"a\"}", lines("kept")),
        ("{app=\"noise\"}", lines("dropped")),
        ("{pod=\"p\"}", lines("without labels")),
    ]);
    let sent = send(&rig, "/loki/api/v1/push", "", snappy(&body));
    assert_eq!(clients[0].wait_for(2).await, ["{app=\"a\"} kept", "{job=\"job\"} without labels"]);
    clients[0].commit();
    assert_eq!(sent.await.expect("answered").0, 204);
    assert_eq!(rig.count("logentry_dropped_lines_total"), 2);
    let all = protobuf(vec![("{app=\"noise\"}", lines("dropped"))]);
    assert_eq!(rig.post("/loki/api/v1/push", "", &snappy(&all)).await.0, 204, "all are dropped, so all is done");
}

#[tokio::test]
async fn a_tenant_stays_with_its_lines() {
    let rules = "[{source_labels: [app], regex: moved, target_label: __tenant_id__, replacement: other}]";
    let (rig, mut clients) = start("", rules, 1).await;
    let body = snappy(&protobuf(vec![
        ("{app=\"a\", __tenant_id__=\"forged\"}", vec![entry(1, "one", &[])]),
        ("{app=\"moved\"}", vec![entry(2, "two", &[])]),
    ]));
    for (header, want) in [
        ("X-Scope-OrgID: team-a\r\n", ["{app=\"a\"} one @team-a", "{app=\"moved\"} two @other"]),
        ("", ["{app=\"a\"} one", "{app=\"moved\"} two @other"]),
        ("X-Scope-OrgID: team-b\r\n", ["{app=\"a\"} one @team-b", "{app=\"moved\"} two @other"]),
    ] {
        let sent = send(&rig, "/loki/api/v1/push", header, body.clone());
        assert_eq!(clients[0].wait_for(2).await, want);
        clients[0].commit();
        assert_eq!(sent.await.expect("answered").0, 204);
    }
    for wrong in ["a/b", "..", "a b", "\u{e9}", "a|b", &"x".repeat(151)] {
        let header = format!("X-Scope-OrgID: {wrong}\r\n");
        assert_eq!(rig.post("/loki/api/v1/push", &header, &body).await.0, 400, "{wrong}");
    }
    assert_eq!(clients[0].read(), [""; 0]);
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_whole() {
    let (rig, mut clients) = start("", "[]", 1).await;
    let good = protobuf(vec![("{a=\"b\"}", vec![entry(1, "good", &[])])]);
    let mut cut = good.clone();
    cut.extend_from_slice(&good[..good.len() - 1]);
    let bad_labels =
        protobuf(vec![("{a=\"b\"}", vec![entry(1, "good", &[])]), ("{a-b=\"c\"}", vec![entry(1, "x", &[])])]);
    let far = Push {
        streams: vec![Stream {
            labels: "{a=\"b\"}".into(),
            entries: vec![Entry { timestamp: Some(Time { seconds: i64::MAX, nanos: 0 }), ..Entry::default() }],
            hash: 0,
        }],
    };
    for (headers, body, status) in [
        ("", Vec::new(), 400),
        ("", b"\xff\xff\xff".to_vec(), 400),
        ("", good.clone(), 400),
        ("", snappy(&cut), 400),
        ("", snappy(&bad_labels), 400),
        ("", snappy(&prost::Message::encode_to_vec(&far)), 400),
        (JSON, b"{".to_vec(), 400),
        (JSON, br#"{"streams": [{"stream": {"a": "b"}, "values": [["1", "good"]]}, 7]}"#.to_vec(), 400),
        (JSON, br#"{"streams": [{"stream": {"a": "b"}, "values": [["1", "good"], ["x", "y"]]}]}"#.to_vec(), 400),
        (JSON, br#"{"streams": [{"stream": {"a": 7}, "values": []}]}"#.to_vec(), 400),
        ("Content-Type: text/plain\r\n", b"line".to_vec(), 415),
        ("Content-Encoding: zstd\r\n", b"line".to_vec(), 415),
        ("Content-Encoding: gzip\r\n", b"line".to_vec(), 400),
    ] {
        let (answer, text) = rig.post("/loki/api/v1/push", headers, &body).await;
        assert_eq!(answer, status, "{headers} {body:?}: {text}");
        assert!(!text.contains("good"), "an answer does not repeat a line: {text}");
    }
    assert_eq!(clients[0].read(), [""; 0]);
    assert_eq!(rig.post("/loki/api/v1/nowhere", "", b"x").await.0, 404);
}

/// A retry waits for the first, and one that comes after its answer was lost gets it again.
#[tokio::test(start_paused = true)]
async fn a_push_that_is_sent_again_is_taken_once() {
    let (rig, mut clients) = start("", "[]", 2).await;
    let body = snappy(&protobuf(vec![("{a=\"b\"}", vec![entry(1, "once", &[])])]));
    // The clock moves on while nothing else can.
    let (status, text) = rig.post("/loki/api/v1/push", "", &body).await;
    assert_eq!(status, 503, "{text}");
    assert!(text.to_ascii_lowercase().contains("retry-after: 2"), "{text}");
    assert_eq!(clients[0].read(), ["{a=\"b\"} once"]);
    clients[0].commit();
    assert_eq!(rig.post("/loki/api/v1/push", "", &body).await.0, 503, "the second client has not");
    assert_eq!(clients[1].read(), ["{a=\"b\"} once"]);
    clients[1].commit();
    for _ in 0..3 {
        assert_eq!(rig.post("/loki/api/v1/push", "", &body).await.0, 204);
    }
    clients.iter_mut().for_each(|client| assert_eq!(client.read(), [""; 0], "nothing is taken twice"));
    assert_eq!(rig.count("fantail_received_lines_total"), 1);
}

/// A push of many parcels goes on where there was no room, and each dropped line of it is counted once.
#[tokio::test(start_paused = true)]
async fn a_push_that_was_taken_in_part_goes_on_there() {
    let rules = "[{source_labels: [a], regex: noise, action: drop}]";
    let (rig, mut clients) = start("max_send_msg_size: 16MB", rules, 1).await;
    let line = |n: usize| format!("{n:06} {}", "x".repeat(1_000));
    let kept = |from: i32| (from..from + 100).map(|n| entry(n, &line(n as usize), &[])).collect();
    let noise = || vec![entry(1, "dropped", &[]), entry(1, "too", &[])];
    let streams = (0..80).flat_map(|n| [("{a=\"noise\"}", noise()), ("{a=\"b\"}", kept(n * 100))]);
    let body = snappy(&protobuf(streams.chain([("{a=\"noise\"}", noise())]).collect()));
    let (mut came, mut rounds) = (Vec::new(), 0);
    loop {
        let (status, text) = rig.post("/loki/api/v1/push", "", &body).await;
        came.extend(clients[0].read());
        clients[0].commit();
        rounds += 1;
        match status {
            204 => break,
            503 => assert!(rounds < 10, "{text}"),
            other => panic!("{other}: {text}"),
        }
    }
    assert!(rounds > 2, "more than an inbox takes at once");
    assert_eq!(came, (0..8_000).map(|n| format!("{{a=\"b\"}} {}", line(n))).collect::<Vec<_>>());
    assert_eq!(rig.count("logentry_dropped_lines_total"), 2 * 81);
}

#[tokio::test]
async fn what_is_too_large_is_refused_before_it_is_held() {
    let (rig, mut clients) = start("max_send_msg_size: 1MB", "[]", 1).await;
    let zeros = vec![0; 64 << 20];
    let bomb = snappy(&zeros);
    let many = "[\"1\",\"\",{\"a\":\"\",\"b\":\"\"}],".repeat(41_000);
    let short =
        format!("{{\"streams\": [{{\"stream\": {{\"a\": \"b\"}}, \"values\": [{}]}}]}}", many.trim_end_matches(','));
    for (headers, body, status) in [
        ("", zeros.clone(), 413),
        ("", bomb[..1 << 20].to_vec(), 413),
        ("Content-Encoding: gzip\r\n", gzip(&zeros), 413),
        (&format!("{JSON}Content-Encoding: gzip\r\n"), gzip(&zeros), 413),
        // Two hundred bytes of memory for each 25 that are sent, and fifty for each two.
        (JSON, short.into_bytes(), 413),
        ("", snappy(&[&[0x0a, 0xc0, 0x84, 0x3d][..], &[0x12, 0].repeat(500_000)].concat()), 413),
    ] {
        let (answer, text) = rig.post("/loki/api/v1/push", headers, &body).await;
        assert_eq!(answer, status, "{headers} {}: {text}", body.len());
    }
    // A length that is only said is not waited for.
    let mut stream = rig.connect().await;
    let head = "POST /loki/api/v1/push HTTP/1.1\r\nHost: x\r\nContent-Length: 104857600\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = [0; 12];
    tokio::io::AsyncReadExt::read_exact(&mut stream, &mut answer).await.expect("answered");
    assert_eq!(&answer, b"HTTP/1.1 413");
    assert_eq!(clients[0].read(), [""; 0]);
    // Whoever comes next has all of the memory.
    let good = protobuf(vec![("{a=\"b\"}", vec![entry(1, &"x".repeat(900_000), &[])])]);
    let sent = send(&rig, "/loki/api/v1/push", "", snappy(&good));
    clients[0].wait_for(1).await;
    clients[0].commit();
    assert_eq!(sent.await.expect("answered").0, 204);
}

#[tokio::test]
async fn many_large_pushes_at_once_share_the_memory() {
    let (rig, mut clients) = start("max_send_msg_size: 4MB", "[]", 1).await;
    let line = "x".repeat(1 << 20);
    let body = |n: i32| snappy(&protobuf(vec![("{a=\"b\"}", vec![entry(n, &line, &[]), entry(n, &line, &[])])]));
    let sent: Vec<_> = (0..20).map(|n| send(&rig, "/loki/api/v1/push", "", body(n))).collect();
    for (n, mut sent) in (0..).zip(sent) {
        loop {
            tokio::select! {
                answer = &mut sent => match answer.expect("answered").0 {
                    204 => break,
                    // Others have the memory. A sender sends the push again.
                    503 => sent = send(&rig, "/loki/api/v1/push", "", body(n)),
                    other => panic!("push {n} is answered with {other}"),
                },
                () = tokio::time::sleep(Duration::from_millis(1)) => {
                    clients[0].read();
                    clients[0].commit();
                }
            }
        }
    }
}

#[tokio::test]
async fn connections_stay_over_a_reload_and_lines_go_to_the_next_run() {
    let (intake, mut before) = clients(1);
    let mut rig = Rig::start(push(SERVER, "[]"), intake).await;
    let body = snappy(&protobuf(vec![("{a=\"b\"}", vec![entry(1, "old", &[])])]));
    let head = format!("POST /loki/api/v1/push HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
    let mut stream = rig.connect().await;
    let mut answer = [0; 12];
    stream.write_all(&[head.as_bytes(), &body].concat()).await.expect("sent");
    assert_eq!(before[0].wait_for(1).await, ["{a=\"b\"} old"]);
    before[0].commit();
    tokio::io::AsyncReadExt::read_exact(&mut stream, &mut answer).await.expect("answered");
    assert_eq!(&answer, b"HTTP/1.1 204");

    let (intake, mut after) = clients(1);
    let address = rig.address.clone();
    rig.reload(push(SERVER, "[{target_label: rule, replacement: new}]"), intake).await;
    assert_eq!(rig.address, address);
    drop(before);
    let body = snappy(&protobuf(vec![("{a=\"b\"}", vec![entry(2, "new", &[])])]));
    let head = format!("POST /loki/api/v1/push HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(&[head.as_bytes(), &body].concat()).await.expect("the connection is still there");
    assert_eq!(after[0].wait_for(1).await, ["{a=\"b\", rule=\"new\"} new"]);

    // Another config: opened again on the same socket.
    let (intake, mut third) = clients(1);
    rig.reload(push(&format!("{SERVER}labels: {{c: d}}"), "[]"), intake).await;
    assert_eq!(rig.address, address);
    let rig = Arc::new(rig);
    let sent = send(&rig, "/loki/api/v1/push", "", body);
    assert_eq!(third[0].wait_for(1).await, ["{a=\"b\", c=\"d\"} new"]);
    third[0].commit();
    assert_eq!(sent.await.expect("answered").0, 204);
}

#[test]
fn configs() {
    for (yaml, wrong) in [
        ("server: {http_listen_port: 1}", ""),
        ("labels: {\"\": x}", "labels"),
        ("max_send_msg_size: 0", "max_send_msg_size"),
        ("max_send_msg_size: 2GB", "max_send_msg_size"),
        ("server: {disable: true}", "server.disable"),
        ("server: {http_tls_config: {cert_file: a}}", "server.http_tls_config"),
    ] {
        let config: Config = crate::yaml::from_str(yaml).expect(yaml);
        let said = config.validate().err().map(|e| e.path.to_string()).unwrap_or_default();
        assert_eq!(said, wrong, "{yaml}");
    }
    assert!(crate::yaml::from_str::<Config>("use_incoming_timestamps: true").is_err());
}

/// What a sender writes into labels and metadata takes several times its bytes, so it is refused before it is taken.
#[tokio::test(start_paused = true)]
async fn labels_and_metadata_without_end_are_refused_and_take_no_memory() {
    let (rig, mut clients) = start("max_send_msg_size: 16MB", "[]", 1).await;
    let many = |count: usize| vec![("", ""); count];
    let long = "x".repeat(2 << 20);
    let pushes = |pairs: &[(&str, &str)]| {
        let json = pairs.iter().map(|(name, value)| format!("{name:?}:{value:?}")).collect::<Vec<_>>().join(",");
        let json = format!(r#"{{"streams":[{{"stream":{{"a":"b"}},"values":[["1","x",{{{json}}}]]}}]}}"#);
        (snappy(&protobuf(vec![("{a=\"b\"}", vec![entry(1, "x", pairs)])])), json.into_bytes())
    };
    for pairs in [many(PAIRS + 1), many(1_000_000), vec![("a", &*long)]] {
        let (protobuf, json) = pushes(&pairs);
        for (kind, body) in [("", protobuf), ("Content-Type: application/json\r\n", json)] {
            let (status, text) = rig.post("/loki/api/v1/push", kind, &body).await;
            assert!(status == 400 && text.contains("structured metadata"), "{status} {text}");
        }
    }
    let labels = format!("{{a={long:?}}}");
    let (status, text) =
        rig.post("/loki/api/v1/push", "", &snappy(&protobuf(vec![(&labels, vec![entry(1, "x", &[])])]))).await;
    assert!(status == 400 && text.contains("the labels of a stream are longer than"), "{status} {text}");
    assert_eq!(clients[0].read(), [""; 0]);
    // Streams with labels as long as they may be. An inbox takes as many as its memory allows, and then the others.
    let names: Vec<String> = (0..200).map(|n| format!("{{a=\"{n:03} {}\"}}", "x".repeat(LABELS - 100))).collect();
    let body = snappy(&protobuf(names.iter().map(|labels| (labels.as_str(), vec![entry(1, "x", &[])])).collect()));
    let (mut came, mut most) = (0, 0);
    while came < names.len() {
        assert_eq!(rig.post("/loki/api/v1/push", "", &body).await.0, 503);
        let lines = clients[0].read().len();
        assert!(lines > 0, "it goes on");
        clients[0].commit();
        (came, most) = (came + lines, most.max(lines));
    }
    assert_eq!((came, most < 100), (200, true), "{most} at once");
    assert_eq!(rig.post("/loki/api/v1/push", "", &body).await.0, 204);
}
