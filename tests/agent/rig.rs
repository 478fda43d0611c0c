//! The agent in a directory of its own, and a Loki that does as it is told.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::fake_loki::{FakeLoki, Reply};

/// A Loki that gives one answer to every push, and keeps what it answered with success.
pub struct Loki {
    pub url: String,
    fake: FakeLoki,
    /// None: it takes the push and never answers.
    status: Arc<Mutex<Option<u16>>>,
}

impl Loki {
    pub fn answering(status: u16) -> Self {
        Self::start(Some(status))
    }

    pub fn start(status: Option<u16>) -> Self {
        let status = Arc::new(Mutex::new(status));
        let shared = status.clone();
        let fake = FakeLoki::start(move |_, _| shared.lock().expect("unpoisoned").map_or(Reply::Hang, Reply::Status));
        Self { url: fake.url(), fake, status }
    }

    pub fn answer(&self, status: u16) {
        *self.status.lock().expect("unpoisoned") = Some(status);
    }

    pub fn requests(&self) -> usize {
        self.fake.requests()
    }

    /// `labels line`, each.
    pub fn stored(&self) -> Vec<String> {
        self.fake.stored_with_labels().into_iter().map(|(labels, line)| format!("{labels} {line}")).collect()
    }
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
