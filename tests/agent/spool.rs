//! The spool of receivers: the agent is killed again and again while senders wait for it, Loki is away for a while, and
//! some of its answers get lost.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::rig::{Rig, SOON, wait_until};
use crate::fake_loki::{FakeLoki, Reply};

/// How often the agent is killed. More with `FANTAIL_KILLS`.
const KILLS: u32 = 4;

/// Messages that a sender sends before it waits until they are taken.
const BATCH: usize = 20;

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port()
}

struct World {
    rig: Rig,
    config: std::path::PathBuf,
    http: u16,
    push: u16,
    tcp: u16,
}

impl World {
    fn new(loki: &FakeLoki) -> Self {
        let rig = Rig::new();
        let config = rig.config(&loki.url(), "");
        let text = fs::read_to_string(&config).expect("read");
        let [http, push, tcp] = [(); 3].map(|()| free_port());
        let (head, _) = text.split_once("scrape_configs:").expect("the jobs");
        let head = head.replace("http_listen_port: 0", &format!("http_listen_port: {http}"));
        let jobs = format!(
            "{head}scrape_configs:
  - job_name: push
    loki_push_api:
      server: {{http_listen_address: 127.0.0.1, http_listen_port: {push}}}
      spool: {{max_size: 16MB}}
  - job_name: tcp
    syslog: {{listen_address: '127.0.0.1:{tcp}', labels: {{via: tcp}}, use_incoming_timestamp: true, spool: {{}}}}
"
        );
        fs::write(&config, jobs).expect("written");
        Self { rig, config, http, push, tcp }
    }

    fn start(&mut self) {
        self.rig.start(&self.config);
        wait_until("it listens", SOON, || {
            [self.http, self.push, self.tcp].iter().all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok())
        });
    }

    fn kill(&mut self) {
        self.rig.signal("-KILL");
        self.rig.ended(SOON);
    }
}

/// The answer to a request. None: there is none.
fn ask(port: u16, request: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(SOON)).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn pushed(port: u16, name: &str) -> bool {
    let values: Vec<String> = (0..BATCH).map(|n| format!("[\"1700000000000000000\",\"push {name} {n}\"]")).collect();
    let body = format!("{{\"streams\":[{{\"stream\":{{\"app\":\"push\"}},\"values\":[{}]}}]}}", values.join(","));
    let head = "POST /loki/api/v1/push HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n";
    let answer = ask(port, &format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()));
    answer.is_some_and(|answer| answer.starts_with("HTTP/1.1 204"))
}

/// How many lines of this job are taken, as the metrics say.
fn taken(port: u16, job: &str) -> Option<u64> {
    let answer = ask(port, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
    let name = format!("fantail_received_lines_total{{job=\"{job}\"}} ");
    let line = answer.lines().find_map(|line| line.strip_prefix(&name));
    Some(line.and_then(|count| count.trim().parse().ok()).unwrap_or(0))
}

/// Sends messages over one connection, and waits until they are counted. False: the agent was killed.
fn logged(ports: (u16, u16), name: &str) -> bool {
    let ((tcp, http), job) = (ports, "tcp");
    let Some(before) = taken(http, job) else { return false };
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", tcp)) else { return false };
    let messages: String =
        (0..BATCH).map(|n| format!("<13>1 2026-01-02T03:04:05Z h app - - - tcp {name} {n}\n")).collect();
    if stream.write_all(messages.as_bytes()).is_err() {
        return false;
    }
    stream.set_read_timeout(Some(Duration::from_millis(2))).expect("a socket");
    loop {
        if taken(http, job).is_some_and(|now| now >= before + BATCH as u64) {
            return true;
        }
        // The agent sends nothing: the connection is open, or the agent was killed.
        match stream.read(&mut [0]) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            _ => return false,
        }
    }
}

/// A push that was taken is sent once, even if the agent is killed, Loki is down, or an answer is lost on either side.
#[test]
fn what_is_taken_survives_kills() {
    let kills: u32 = std::env::var("FANTAIL_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS);
    let is_away = Arc::new(AtomicBool::new(false));
    let away = is_away.clone();
    let loki = FakeLoki::start(move |_, number| match number % 5 {
        _ if away.load(Ordering::Relaxed) => Reply::Status(503),
        3 => Reply::LoseAnswer,
        _ => Reply::Status(204),
    });
    let mut world = World::new(&loki);
    world.start();
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(BTreeSet::new())));
    let (push, tcp, http) = (world.push, world.tcp, world.http);
    let senders: Vec<_> = ["push", "tcp"]
        .map(|kind| {
            let (stop, done) = (stop.clone(), done.clone());
            std::thread::spawn(move || {
                for batch in 0.. {
                    // As senders do, the same again until it is taken.
                    while !(if kind == "push" {
                        pushed(push, &batch.to_string())
                    } else {
                        logged((tcp, http), &batch.to_string())
                    }) {
                        std::thread::park_timeout(Duration::from_millis(5));
                    }
                    done.lock().expect("no panic").extend((0..BATCH).map(|n| format!("{kind} {batch} {n}")));
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                }
            })
        })
        .into();
    let count = || done.lock().expect("no panic").len();
    for kill in 0..kills {
        is_away.store(kill % 4 == 1, Ordering::Relaxed);
        let before = count();
        wait_until("more is taken, also while Loki is away", SOON, || count() > before + 3 * BATCH);
        world.kill();
        world.start();
    }
    is_away.store(false, Ordering::Relaxed);
    stop.store(true, Ordering::Relaxed);
    senders.into_iter().for_each(|sender| sender.join().expect("no panic"));
    let done = done.lock().expect("no panic").clone();
    let entries = || {
        let mut times = BTreeMap::<String, BTreeSet<(String, i64)>>::new();
        for (labels, time, line) in loki.entries() {
            times.entry(line).or_default().insert((labels, time));
        }
        times
    };
    wait_until("all is there", SOON, || done.iter().all(|line| entries().contains_key(line)));
    // Loki keeps an entry once that comes again with the same labels, time and line.
    let doubled: Vec<_> = entries().into_iter().filter(|(_, entries)| entries.len() > 1).collect();
    assert!(doubled.is_empty(), "{doubled:?}");
    println!("killed {kills} times: {} lines taken, 0 missing, 0 doubled", done.len());
}
