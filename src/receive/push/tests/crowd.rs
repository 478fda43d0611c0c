//! Pushes that together need more memory than there is.

use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::*;

/// A line that hardly gets smaller when it is compressed.
pub(super) fn line(seed: usize, bytes: usize) -> String {
    let mut state = seed as u64 + 1;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b' ' + ((state >> 40) % 94) as u8)
    };
    std::iter::repeat_with(next).take(bytes).filter(|c| !"\"\\".contains(*c)).collect()
}

/// All senders stop in the middle of their pushes, so that each holds a part of the memory. Then all go on.
#[tokio::test]
async fn pushes_that_grow_at_the_same_moment_wait_for_each_other() {
    let (rig, mut clients) = start("max_send_msg_size: 2MB\nuse_incoming_timestamp: true", "[]", 1).await;
    let mut senders = Vec::new();
    for n in 0..24 {
        let line = line(n, 1 << 20);
        let json = format!("{{\"streams\": [{{\"stream\": {{\"n\": \"{n}\"}}, \"values\": [[\"1\", \"{line}\"]]}}]}}");
        let labels = format!("{{n=\"{n}\"}}");
        let proto = protobuf(vec![(&labels, vec![entry(1, &line, &[])])]);
        let (headers, body) = match n % 4 {
            0 => (JSON.to_string(), json.into_bytes()),
            1 => (format!("{JSON}Content-Encoding: gzip\r\n"), gzip(json.as_bytes())),
            2 => ("Content-Encoding: gzip\r\n".into(), gzip(&snappy(&proto))),
            _ => (String::new(), snappy(&proto)),
        };
        let head =
            format!("POST /loki/api/v1/push HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
        let (mut stream, all) = (rig.connect().await, [head.as_bytes(), &body].concat());
        // The agent may not read on while others have the memory.
        let mut sent = 0;
        while let Ok(written) = timeout(Duration::from_millis(20), stream.write(&all[sent..all.len() / 5 * 2])).await {
            sent += written.expect("the agent reads, or waits");
            if sent == all.len() / 5 * 2 {
                break;
            }
        }
        senders.push((stream, all, sent));
    }
    let mut answers: Vec<_> = senders
        .into_iter()
        .map(|(mut stream, all, sent)| {
            tokio::spawn(async move {
                stream.write_all(&all[sent..]).await.expect("the agent reads all of it");
                let mut answer = [0; 12];
                stream.read_exact(&mut answer).await.expect("answered");
                String::from_utf8_lossy(&answer).into_owned()
            })
        })
        .collect();
    let mut lines = 0;
    while !answers.iter().all(tokio::task::JoinHandle::is_finished) {
        lines += clients[0].read().len();
        clients[0].commit();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for answer in &mut answers {
        assert_eq!(answer.await.expect("no panic"), "HTTP/1.1 204");
    }
    assert_eq!(lines, answers.len());
}
