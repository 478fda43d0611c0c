//! Senders of every kind, and a Loki that is away for a while.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use super::rig::{Loki, Rig, SOON, wait_until};

/// A job for each kind of receiver, on free ports.
fn config(rig: &Rig, url: &str) -> std::path::PathBuf {
    let config = rig.config(url, "");
    let text = fs::read_to_string(&config).expect("read");
    let (jobs, _) = text.split_once("scrape_configs:").expect("the jobs");
    let map = "relabel_configs: [{action: labelmap, regex: __syslog_message_(app_name|severity)}]";
    let jobs = format!(
        "{jobs}scrape_configs:
  - job_name: push
    loki_push_api: {{server: {{http_listen_address: 127.0.0.1, http_listen_port: 0}}, labels: {{via: push}}}}
  - job_name: tcp
    {map}
    syslog: {{listen_address: '127.0.0.1:0', labels: {{via: tcp}}}}
  - job_name: udp
    {map}
    syslog: {{listen_address: '127.0.0.1:0', listen_protocol: udp, labels: {{via: udp}}}}
"
    );
    fs::write(&config, jobs).expect("written");
    config
}

/// Where the receiver of this job listens.
fn address(rig: &Rig, job: &str) -> String {
    let begins = format!("msg=\"receiver: listening\" job={job} ");
    wait_until("it listens", SOON, || rig.said().contains(&begins));
    let said = rig.said();
    let line = said.lines().find(|line| line.contains(&begins)).expect("a line");
    let address = line.rsplit("address=").next().unwrap_or_default();
    address.trim_matches('"').to_string()
}

fn push(address: &str, line: &str) -> String {
    let body =
        format!(r#"{{"streams": [{{"stream": {{"app": "web"}}, "values": [["1700000000000000000", "{line}"]]}}]}}"#);
    let mut stream = TcpStream::connect(address).expect("it listens");
    let length = body.len();
    write!(
        stream,
        "POST /loki/api/v1/push HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    answer.split(' ').nth(1).unwrap_or_default().to_string()
}

/// logger(1) over TCP and UDP, in both formats and framings.
#[test]
fn what_logger_sends_has_its_labels() {
    let (loki, mut rig) = (Loki::answering(204), Rig::new());
    rig.start(&config(&rig, &loki.url));
    let mut want = Vec::new();
    for (n, arguments) in
        ["--rfc5424", "--rfc3164", "--rfc5424 --octet-count", "--rfc3164 --octet-count"].iter().enumerate()
    {
        for (job, protocol) in [("tcp", "-T"), ("udp", "-d")] {
            let address = address(&rig, job);
            let port = address.rsplit(':').next().expect("a port");
            let status = Command::new("logger")
                .args(["-n", "127.0.0.1", "-P", port, protocol, "-t", "app", "-p", "user.warning"])
                .args(arguments.split(' '))
                .arg(format!("line {n}"))
                .status();
            assert!(status.expect("logger, of Debian's bsdutils").success(), "{arguments}");
            want.push(format!("{{app_name=\"app\", severity=\"warning\", via=\"{job}\"}} line {n}"));
        }
    }
    want.sort();
    let stored = || {
        let mut stored = loki.stored();
        stored.sort();
        stored
    };
    wait_until("all lines are there", SOON, || stored().len() >= want.len());
    assert_eq!(stored(), want);
}

#[test]
fn nothing_is_lost_by_an_outage_and_a_reload_in_it() {
    let (loki, mut rig) = (Loki::answering(500), Rig::new());
    let config = config(&rig, &loki.url);
    rig.start(&config);
    let (tcp, to) = (address(&rig, "tcp"), address(&rig, "push"));
    let mut stream = TcpStream::connect(&tcp).expect("it listens");
    (0..500).for_each(|n| writeln!(stream, "<13>{n:03} before").expect("sent"));
    let pushing = std::thread::spawn({
        let to = to.clone();
        move || {
            let mut answers = vec![push(&to, "pushed")];
            // As senders do.
            while answers.last().is_some_and(|answer| answer == "503") {
                answers.push(push(&to, "pushed"));
            }
            answers
        }
    });
    wait_until("Loki is asked", SOON, || loki.requests() > 2);
    let text = fs::read_to_string(&config).expect("read").replace("via: udp", "via: changed");
    fs::write(&config, text).expect("written");
    rig.signal("-HUP");
    wait_until("the config was reloaded", SOON, || rig.said().contains("the config was reloaded"));
    // The connection is the same, since the block of its job is.
    (500..1_000).for_each(|n| writeln!(stream, "<13>{n:03} after").expect("sent"));
    loki.answer(204);
    let answers = pushing.join().expect("answered");
    assert_eq!(answers.last().map(String::as_str), Some("204"), "{answers:?}");
    wait_until("all lines are there", SOON, || loki.stored().len() >= 1_001);
    let stored = loki.stored();
    let of_tcp: Vec<&String> = stored.iter().filter(|line| line.contains("via=\"tcp\"")).collect();
    let want =
        |n: usize| format!("{{severity=\"notice\", via=\"tcp\"}} {n:03} {}", if n < 500 { "before" } else { "after" });
    assert!(of_tcp.iter().enumerate().all(|(n, line)| **line == want(n)), "in order: {of_tcp:?}");
    let pushed: Vec<&String> = stored.iter().filter(|line| line.contains("via=\"push\"")).collect();
    assert_eq!(pushed, [r#"{app="web", via="push"} pushed"#], "once, however often it was sent");
    assert!(rig.said().contains("receiver: its config changed, opened again\" job=udp"), "{}", rig.said());
    assert!(!rig.said().contains("opened again\" job=tcp"));

    // Lines that came before the stop are delivered before the end.
    stream.write_all(b"<13>last").expect("sent");
    drop(stream);
    wait_until("it is read", SOON, || loki.stored().iter().any(|line| line.ends_with("last")));
    rig.signal("-TERM");
    assert_eq!(rig.ended(SOON), Some(0));
}
