//! Pushes into a spool on disk. No client is there, so nothing of it is committed but what the test commits.

use std::path::Path;
use std::task::Waker;

use super::crowd::line;
use super::*;
use crate::model::units::ByteSize;
use crate::spool::{self, Next, Reader, Spool, Spools};

/// The spool as a process that is just started finds it, and a receiver that writes into it.
async fn start(folder: &Path) -> (Rig, Arc<Spool>) {
    let config = spool::Config { max_size: ByteSize(16 << 20) };
    let spool = Spools::default().open("job", &config, &folder.join("positions.yaml")).expect("opened");
    spool.begin_run(1);
    let receiver = Receiver { spool: Some(spool.clone()), ..push(&format!("{SERVER}spool: {{max_size: 16MB}}"), "[]") };
    (Rig::start(receiver, clients(1).0).await, spool)
}

/// The texts that are there, all of which are committed then.
fn take_all(spool: &Arc<Spool>) -> Vec<String> {
    let (mut reader, mut all) = (Reader::open(spool.clone(), 0, None, Waker::noop().clone()), Vec::new());
    while let Next::Records(_, records) = reader.next().expect("read") {
        all.extend(records.text.lines().map(String::from));
    }
    reader.commit(reader.at());
    all
}

#[tokio::test]
async fn a_push_that_is_repeated_after_a_restart_is_taken_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let body = |text: &str| snappy(&protobuf(vec![("{a=\"b\"}", vec![entry(1, text, &[]), entry(2, "more", &[])])]));
    let push = |text: &str, headers: &'static str| (body(text), headers);
    let sent = [push("one", ""), push("two", ""), push("two", "X-Scope-OrgID: other\r\n")];
    for run in 0..3 {
        let (rig, _) = start(dir.path()).await;
        for (body, headers) in sent.iter().chain(&sent) {
            assert_eq!(rig.post("/loki/api/v1/push", headers, body).await.0, 204, "no client is needed");
        }
        assert_eq!(rig.count("fantail_received_lines_total"), if run == 0 { 6 } else { 0 }, "{run}");
        // Raw lines have no time, so the same again are others.
        assert_eq!(rig.post("/loki/api/v1/raw", "", b"raw").await.0, 204);
    }
    let (_rig, spool) = start(dir.path()).await;
    assert_eq!(take_all(&spool), ["one", "more", "two", "more", "two", "more", "raw", "raw", "raw"]);
}

#[tokio::test(start_paused = true)]
async fn a_full_spool_is_said_to_senders_until_there_is_room() {
    let dir = tempfile::tempdir().expect("a folder");
    let (rig, spool) = start(dir.path()).await;
    let bodies: Vec<Vec<u8>> = (0..5)
        .map(|n| {
            let line = line(n, 1 << 20);
            snappy(&protobuf(vec![("{a=\"b\"}", (0..4).map(|time| entry(time, &line, &[])).collect())]))
        })
        .collect();
    let mut answers = Vec::new();
    for body in &bodies {
        answers.push(rig.post("/loki/api/v1/push", "", body).await.0);
    }
    let full = answers.iter().position(|answer| *answer == 503).expect("16 MiB are not enough for all");
    assert!(answers[..full].iter().all(|answer| *answer == 204) && full > 1, "{answers:?}");
    assert_eq!(take_all(&spool).len(), 4 * answers.iter().filter(|answer| **answer == 204).count());
    for body in &bodies {
        assert_eq!(rig.post("/loki/api/v1/push", "", body).await.0, 204, "those that were taken are known");
    }
    assert_eq!(rig.count("fantail_received_lines_total"), 4 * bodies.len() as u64);
    let far_too_large = (0..9).map(|n| entry(n, &line(9, 1 << 20), &[])).collect();
    let body = snappy(&protobuf(vec![("{a=\"b\"}", far_too_large)]));
    assert_eq!(rig.post("/loki/api/v1/push", "", &body).await.0, 413, "it is more than half of the spool");
}
