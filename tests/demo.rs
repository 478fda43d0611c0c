//! `fantail demo` as a user runs it: the button, the signals, the verdict, and what is left behind.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

struct Demo {
    process: Child,
    out: BufReader<std::process::ChildStdout>,
    /// Host and port of its page.
    address: String,
}

impl Demo {
    fn start(temporary: &Path, duration: &str) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_fantail"))
            .args(["demo", "-duration", duration])
            .env("TMPDIR", temporary)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut out = BufReader::new(process.stdout.take().expect("a pipe"));
        let mut line = String::new();
        while !line.contains("http://") {
            line.clear();
            assert!(out.read_line(&mut line).expect("UTF-8") > 0, "it has ended");
        }
        let (_, url) = line.split_once("http://").expect("a URL");
        Self { process, out, address: url.trim().trim_end_matches('/').to_string() }
    }

    /// The status and the body of the answer.
    fn ask(&self, request: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        write!(stream, "{request} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("UTF-8");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
        (head[9..12].parse().expect("a status"), body.to_string())
    }

    fn state(&self) -> Value {
        let (_, body) = self.ask("GET /state");
        serde_json::from_str(&body).expect("JSON")
    }

    /// Its exit code, and the rest of its output.
    fn end(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).expect("UTF-8");
        (self.process.wait().expect("waited").code(), rest)
    }
}

#[track_caller]
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "not within a minute: {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// The number before this word in the verdict.
fn number(verdict: &str, word: &str) -> u64 {
    let before = verdict.split(&format!(" {word}")).next().expect("a part");
    before
        .rsplit([' ', '\n'])
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("{word}: {verdict}"))
}

#[test]
fn each_line_arrives_once_although_the_agent_is_killed() {
    let temporary = tempfile::tempdir().expect("a directory");
    let demo = Demo::start(temporary.path(), "10m");
    let mut agents = Vec::new();
    for kills in 1..=2 {
        // Refused until the first line of this agent has arrived.
        wait_until("the button kills the agent", || {
            let agent = demo.state()["agent"].as_u64();
            let is_killed = demo.ask("POST /kill").0 == 204;
            agents.extend(agent.filter(|_| is_killed));
            is_killed
        });
        assert_eq!(demo.state()["kills"], kills);
    }
    let before = demo.state()["total"]["written"].as_u64();
    wait_until("all lines from before arrive, and a log is rotated", || {
        let total = &demo.state()["total"];
        total["rotations"].as_u64() > Some(0) && total["arrived"].as_u64() > before
    });
    agents.extend(demo.state()["agent"].as_u64());
    assert_eq!(fs::read_dir(temporary.path()).expect("listed").count(), 1);
    let process = demo.process.id().to_string();
    assert!(Command::new("kill").args(["-INT", &process]).status().expect("kill").success());
    let (code, said) = demo.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("The first line arrived after "), "{said}");
    let verdict = said.lines().find(|line| line.contains(" lines written")).expect("a verdict");
    assert_eq!((number(verdict, "missing"), number(verdict, "doubled"), number(verdict, "kills")), (0, 0, 2), "{said}");
    assert_eq!(number(verdict, "lines written"), number(verdict, "arrived"), "{said}");
    assert!(number(verdict, "arrived") > 100, "{said}");
    assert_eq!(fs::read_dir(temporary.path()).expect("listed").count(), 0, "the directory is removed");
    for agent in agents {
        assert!(!Path::new(&format!("/proc/{agent}")).exists(), "an agent still runs");
    }
}

#[test]
fn it_ends_by_itself_and_its_page_is_closed_to_other_sites() {
    let temporary = tempfile::tempdir().expect("a directory");
    let demo = Demo::start(temporary.path(), "1s");
    assert!(demo.ask("GET /").1.contains("Kill the agent"));
    for asset in ["page.css", "page.js"] {
        assert_eq!(demo.ask(&format!("GET /{asset}")).0, 200);
    }
    let mut stream = TcpStream::connect(&demo.address).expect("it listens");
    write!(stream, "POST /kill HTTP/1.1\r\nHost: x\r\nSec-Fetch-Site: cross-site\r\nConnection: close\r\n\r\n")
        .expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("UTF-8");
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    let (code, said) = demo.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(" 0 missing, 0 doubled, 0 kills"), "{said}");
}

#[test]
fn a_wrong_duration_is_refused() {
    for duration in ["0s", "2h", "x", "-5s"] {
        let output = Command::new(env!("CARGO_BIN_EXE_fantail"))
            .args(["demo", &format!("-duration={duration}")])
            .output()
            .expect("it starts");
        assert_eq!(output.status.code(), Some(2), "{duration}");
        assert!(String::from_utf8_lossy(&output.stderr).starts_with("fantail demo: -duration"), "{duration}");
    }
}
