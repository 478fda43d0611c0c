//! The agent in a directory of its own, and a Loki that does as it is told.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A Loki on a free port that gives one answer to every push, and keeps what it said yes to.
pub struct Loki {
    pub url: String,
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
    pub fn answering(status: u16) -> Self {
        Self::start(Some(status))
    }

    pub fn start(status: Option<u16>) -> Self {
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

    pub fn answer(&self, status: u16) {
        self.state.lock().expect("unpoisoned").status = Some(status);
    }

    pub fn requests(&self) -> usize {
        self.state.lock().expect("unpoisoned").requests
    }

    /// `labels line`, each.
    pub fn stored(&self) -> Vec<String> {
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
pub struct Rig {
    dir: tempfile::TempDir,
    agent: Option<Child>,
}

impl Rig {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a directory"), agent: None }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
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
    pub fn config(&self, url: &str, client: &str) -> PathBuf {
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

    /// The running agent's process.
    pub fn id(&self) -> u32 {
        self.agent.as_ref().expect("started").id()
    }

    pub fn start(&mut self, config: &Path) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fantail"));
        self.start_as(command.arg(format!("-config.file={}", config.display())));
    }

    pub fn start_as(&mut self, command: &mut Command) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("log")).expect("opened");
        let agent = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("started");
        self.agent = Some(agent);
    }

    pub fn said(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub fn signal(&mut self, name: &str) {
        let pid = self.agent.as_ref().expect("started").id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().expect("kill").success());
    }

    /// Its exit code, once it has ended.
    #[track_caller]
    pub fn ended(&mut self, within: Duration) -> Option<i32> {
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
pub fn wait_until(what: &str, within: Duration, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + within;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

pub const SOON: Duration = Duration::from_secs(20);

pub fn line(rig: &Rig, file: &str, text: &str) -> String {
    format!("{{filename=\"{}\", job=\"logs\"}} {text}", rig.path(file).display())
}

pub fn run(command: &mut Command) -> Output {
    command.output().expect("started")
}
