//! The program as a user starts it, against a Loki that does as it is told.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A Loki on a free port that gives one answer to every push, and keeps what it said yes to.
struct Loki {
    url: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// None: it takes the push and never answers.
    status: Option<u16>,
    requests: usize,
    stored: Vec<String>,
}

impl Loki {
    fn answering(status: u16) -> Self {
        Self::start(Some(status))
    }

    fn start(status: Option<u16>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}/loki/api/v1/push", listener.local_addr().expect("an address"));
        let state = Arc::new(Mutex::new(State { status, ..State::default() }));
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { url, state }
    }

    fn answer(&self, status: u16) {
        self.state.lock().expect("unpoisoned").status = Some(status);
    }

    fn requests(&self) -> usize {
        self.state.lock().expect("unpoisoned").requests
    }

    /// `labels line`, each.
    fn stored(&self) -> Vec<String> {
        self.state.lock().expect("unpoisoned").stored.clone()
    }
}

fn serve(stream: TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream.try_clone().expect("cloned"));
    let mut stream = stream;
    loop {
        let (mut length, mut line) = (0, String::new());
        loop {
            line.clear();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if let Some(n) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = n.trim().parse().expect("a number");
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let status = {
            let mut state = state.lock().expect("unpoisoned");
            state.requests += 1;
            if state.status == Some(204) {
                state.stored.extend(decode(&body));
            }
            state.status
        };
        let Some(status) = status else { continue };
        if write!(stream, "HTTP/1.1 {status} Said\r\nContent-Length: 0\r\n\r\n").is_err() {
            return;
        }
    }
}

fn decode(body: &[u8]) -> Vec<String> {
    #[derive(prost::Message)]
    struct Push {
        #[prost(message, repeated, tag = "1")]
        streams: Vec<Stream>,
    }
    #[derive(prost::Message)]
    struct Stream {
        #[prost(string, tag = "1")]
        labels: String,
        #[prost(message, repeated, tag = "2")]
        entries: Vec<Entry>,
    }
    #[derive(prost::Message)]
    struct Entry {
        #[prost(string, tag = "2")]
        line: String,
    }
    let plain = snap::raw::Decoder::new().decompress_vec(body).expect("snappy");
    let push = <Push as prost::Message>::decode(plain.as_slice()).expect("protobuf");
    let lines = push.streams.into_iter().flat_map(|s| {
        let labels = s.labels;
        s.entries.into_iter().map(move |e| format!("{labels} {}", e.line))
    });
    lines.collect()
}

/// A directory with a config, logs and positions, and the agent that is run in it.
struct Rig {
    dir: tempfile::TempDir,
    agent: Option<Child>,
}

impl Rig {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a directory"), agent: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .and_then(|mut f| f.write_all(text.as_bytes()))
            .expect("written");
    }

    /// A job that tails `logs/*.log`, and whatever else is to be in a client.
    fn config(&self, url: &str, client: &str) -> PathBuf {
        let dir = self.dir.path().display();
        let text = format!(
            "server: {{http_listen_address: 127.0.0.1, http_listen_port: 0}}
positions: {{filename: {dir}/positions.yaml, sync_period: 200ms}}
target_config: {{sync_period: 500ms}}
clients: [{{url: '{url}', batchwait: 50ms, backoff_config: {{min_period: 50ms, max_period: 200ms}}{client}}}]
scrape_configs:
  - job_name: logs
    static_configs: [{{labels: {{job: logs, __path__: {dir}/logs/*.log}}}}]
"
        );
        fs::write(self.path("promtail.yaml"), text).expect("written");
        self.path("promtail.yaml")
    }

    fn start(&mut self, config: &Path) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fantail"));
        self.start_as(command.arg(format!("-config.file={}", config.display())));
    }

    fn start_as(&mut self, command: &mut Command) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("log")).expect("opened");
        let agent = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("started");
        self.agent = Some(agent);
    }

    fn said(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn signal(&mut self, name: &str) {
        let pid = self.agent.as_ref().expect("started").id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().expect("kill").success());
    }

    /// Its exit code, once it has ended.
    #[track_caller]
    fn ended(&mut self, within: Duration) -> Option<i32> {
        let begun = Instant::now();
        let agent = self.agent.as_mut().expect("started");
        let mut status = None;
        wait_until("the agent has ended", within, || {
            status = agent.try_wait().expect("waited");
            status.is_some()
        });
        self.agent = None;
        let status = status.expect("it has ended");
        assert!(begun.elapsed() <= within);
        status.code()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            let _ = agent.kill();
            let _ = agent.wait();
        }
        if std::thread::panicking() {
            eprintln!("the agent said:\n{}", self.said());
        }
    }
}

#[track_caller]
fn wait_until(what: &str, within: Duration, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + within;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

const SOON: Duration = Duration::from_secs(20);

fn line(rig: &Rig, file: &str, text: &str) -> String {
    format!("{{filename=\"{}\", job=\"logs\"}} {text}", rig.path(file).display())
}

fn run(command: &mut Command) -> Output {
    command.output().expect("started")
}

#[test]
fn the_readmes_first_command_prints_labelled_lines() {
    let mut agent = Command::new(env!("CARGO_BIN_EXE_fantail"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["-config.file=examples/dry-run.yaml", "-dry-run", "-server.disable"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("started");
    let mut lines = BufReader::new(agent.stdout.take().expect("piped")).lines();
    let first = lines.next().expect("a line").expect("text");
    agent.kill().expect("killed");
    agent.wait().expect("ended");
    assert!(first.contains("\t{") && first.contains("job=\""), "{first}");
}

#[test]
fn standard_input_goes_to_loki_and_the_agent_ends_with_it() {
    let (loki, rig) = (Loki::answering(204), Rig::new());
    let config = rig.config(&loki.url, "");
    let mut agent = Command::new(env!("CARGO_BIN_EXE_fantail"))
        .args(["-stdin", &format!("-config.file={}", config.display())])
        .stdin(Stdio::piped())
        .spawn()
        .expect("started");
    agent.stdin.take().expect("piped").write_all(b"one\r\n\ntwo\nlast without newline").expect("written");
    assert!(agent.wait().expect("ended").success());
    let want = ["one", "two", "last without newline"].map(|l| format!("{{job=\"logs\"}} {l}"));
    assert_eq!(loki.stored(), want);
}

#[test]
fn a_dry_run_of_standard_input_prints_every_line() {
    let rig = Rig::new();
    let config = rig.config("http://127.0.0.1:9/loki/api/v1/push", "");
    let mut agent = Command::new(env!("CARGO_BIN_EXE_fantail"))
        .args(["-stdin", "-dry-run", &format!("-config.file={}", config.display())])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    let input: String = (0..5_000).map(|n| format!("line {n}\n")).collect();
    let mut stdin = agent.stdin.take().expect("piped");
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = agent.wait_with_output().expect("ended");
    writer.join().expect("joined").expect("written");
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!(text.lines().count(), 5_000);
    assert!(text.lines().enumerate().all(|(n, l)| l.ends_with(&format!("\t{{job=\"logs\"}}\tline {n}"))));
}

#[test]
fn with_loki_away_it_stops_promptly_and_sends_everything_later() {
    let mut rig = Rig::new();
    rig.write("logs/a.log", "one\ntwo\n");
    // A port that nobody listens to.
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let config = rig.config(&format!("http://{free}/push"), "");
    rig.start(&config);
    wait_until("the failure is said", SOON, || {
        rig.said().contains(&free.to_string()) && rig.said().contains("level=warn")
    });
    rig.signal("-TERM");
    assert_eq!(rig.ended(Duration::from_secs(5)), Some(0));

    let loki = Loki::answering(204);
    let config = rig.config(&loki.url, "");
    rig.start(&config);
    wait_until("both lines are there", SOON, || loki.stored().len() >= 2);
    rig.signal("-TERM");
    assert_eq!(rig.ended(SOON), Some(0));
    assert_eq!(loki.stored(), [line(&rig, "logs/a.log", "one"), line(&rig, "logs/a.log", "two")]);
}

#[test]
fn a_loki_that_never_answers_is_left_at_the_second_signal() {
    let (loki, mut rig) = (Loki::start(None), Rig::new());
    rig.write("logs/a.log", "one\n");
    let config = rig.config(&loki.url, "");
    rig.start(&config);
    wait_until("a push is on its way", SOON, || loki.requests() > 0);
    rig.signal("-TERM");
    wait_until("the signal is heard", SOON, || rig.said().contains("stopping"));
    rig.signal("-TERM");
    assert_eq!(rig.ended(Duration::from_secs(3)), Some(0));
}

#[test]
fn a_wrong_password_costs_no_line_and_is_said() {
    let (loki, mut rig) = (Loki::answering(401), Rig::new());
    rig.write("logs/a.log", "one\n");
    let config = rig.config(&loki.url, ", basic_auth: {username: me, password: hunter2}");
    rig.start(&config);
    wait_until("it is said", SOON, || rig.said().contains("401"));
    loki.answer(204);
    wait_until("the line is there", Duration::from_secs(90), || loki.stored().len() == 1);
    assert!(!rig.said().contains("hunter2"));
}

#[test]
fn killed_at_any_moment_it_loses_nothing() {
    let (loki, mut rig) = (Loki::answering(204), Rig::new());
    let config = rig.config(&loki.url, "");
    let mut written = Vec::new();
    for round in 0..8 {
        rig.start(&config);
        // What was rotated before it ever ran is none of its business.
        wait_until("it has begun", SOON, || rig.path("positions.yaml.journal").exists());
        for n in 0..200 {
            let text = format!("{round} {n}");
            rig.write("logs/a.log", &format!("{text}\n"));
            written.push(line(&rig, "logs/a.log", &text));
        }
        let enough = written.len() * (round % 3) / 3;
        wait_until("some of it is there", SOON, || loki.stored().len() >= enough);
        rig.signal("-KILL");
        assert_eq!(rig.ended(SOON), None);
        fs::rename(rig.path("logs/a.log"), rig.path(&format!("logs/a.log.2026112210000{round}"))).expect("renamed");
        rig.write("logs/a.log", "");
    }
    rig.start(&config);
    let missing = || {
        let stored = loki.stored();
        written.iter().filter(|w| !stored.contains(w)).count()
    };
    wait_until("every line is there", SOON, || missing() == 0);
}

#[test]
fn a_full_disk_under_the_positions_is_said_and_lines_arrive() {
    let (loki, mut rig) = (Loki::answering(204), Rig::new());
    for name in ["positions.yaml.tmp", "positions.yaml.journal.tmp"] {
        std::os::unix::fs::symlink("/dev/full", rig.path(name)).expect("linked");
    }
    rig.write("logs/a.log", "one\n");
    let config = rig.config(&loki.url, "");
    rig.start(&config);
    wait_until("the line is there", SOON, || loki.stored().len() == 1);
    wait_until("it is said", SOON, || rig.said().contains("No space left") && rig.said().contains("positions"));
    rig.write("logs/a.log", "two\n");
    wait_until("the next line is there", SOON, || loki.stored().len() == 2);
    assert_eq!(rig.said().matches("cannot write positions").count(), 1, "once is enough");
}

#[test]
fn positions_that_cannot_be_understood_stop_the_start() {
    let rig = Rig::new();
    let config = rig.config("http://127.0.0.1:9/push", "");
    fs::write(rig.path("positions.yaml"), "positions: [").expect("written");
    let output = run(Command::new(env!("CARGO_BIN_EXE_fantail")).arg(format!("-config.file={}", config.display())));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("positions.yaml") && said.contains("ignore_invalid_yaml"), "{said}");
}

#[test]
fn a_port_in_use_is_said_with_the_key_to_change() {
    let rig = Rig::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let config = rig.config("http://127.0.0.1:9/push", "");
    let output = run(Command::new(env!("CARGO_BIN_EXE_fantail"))
        .args([&format!("-config.file={}", config.display()), &format!("-server.http-listen-port={port}")]));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("http_listen_port") && said.contains(&port), "{said}");
}

#[test]
fn a_file_without_permission_is_said_and_its_neighbour_is_read() {
    use std::os::unix::fs::PermissionsExt;
    let (loki, mut rig) = (Loki::answering(204), Rig::new());
    rig.write("logs/a.log", "one\n");
    rig.write("logs/secret.log", "two\n");
    let config = rig.config(&loki.url, "");
    let open = |mode| fs::Permissions::from_mode(mode);
    fs::set_permissions(rig.path("logs/secret.log"), open(0o000)).expect("set");
    // To root every file is readable: then the agent is run as nobody.
    let is_root = fs::read(rig.path("logs/secret.log")).is_ok();
    let arguments = format!("-config.file={}", config.display());
    if is_root {
        // Nobody has to get at the program, wherever the build put it.
        let program = rig.path("fantail");
        fs::copy(env!("CARGO_BIN_EXE_fantail"), &program).expect("copied");
        for (path, mode) in
            [("", 0o777), ("logs", 0o755), ("promtail.yaml", 0o644), ("logs/a.log", 0o644), ("fantail", 0o755)]
        {
            fs::set_permissions(rig.path(path), open(mode)).expect("set");
        }
        rig.start_as(
            Command::new("setpriv")
                .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
                .arg(program)
                .arg(arguments),
        );
    } else {
        rig.start(&config);
    }
    wait_until("the neighbour is read", SOON, || loki.stored().len() == 1);
    wait_until("it is said", SOON, || rig.said().contains("secret.log") && rig.said().contains("Permission denied"));
    fs::set_permissions(rig.path("logs/secret.log"), open(0o644)).expect("set");
    wait_until("it is read once it may be", SOON, || loki.stored().len() == 2);
}
