//! The fantail binary, run as a user runs it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use reqwest::Client;
use serde_json::Value;

use crate::http;
use crate::scratch::Scratch;
use crate::servers::free_port;
use crate::wait::{wait_for, wait_until};

pub(crate) struct Agent {
    /// None while it does not run.
    process: Option<Child>,
    config: PathBuf,
    environment: Vec<(&'static str, PathBuf)>,
    port: u16,
    client: Client,
    dir: Scratch,
}

impl Agent {
    /// An agent that is not started yet. `clients` and `scrape_configs` are these sections of its configuration, with
    /// their keys. The harness writes the sections before them.
    pub(crate) fn new(clients: &str, scrape_configs: &str) -> Agent {
        Agent::configured(|port, dir| text(port, dir, clients, scrape_configs))
    }

    /// The same, with its positions in this directory. Other agents may use the directory too.
    pub(crate) fn with_positions(positions: &Path, clients: &str, scrape_configs: &str) -> Agent {
        Agent::configured(|port, _| text(port, positions, clients, scrape_configs))
    }

    /// An agent with a whole configuration, which is made from its port and its directory.
    pub(crate) fn configured(text: impl FnOnce(u16, &Path) -> String) -> Agent {
        let dir = Scratch::new("agent");
        let port = free_port();
        let config = dir.join("promtail.yaml");
        fs::write(&config, text(port, &dir)).expect("the configuration is written");
        Agent { process: None, config, environment: Vec::new(), port, client: http::client(None), dir }
    }

    /// Sets its node and the address of the API server, because the agent does not run in a cluster.
    pub(crate) fn in_cluster(mut self, node: &str, kubeconfig: PathBuf) -> Agent {
        self.environment.push(("HOSTNAME", node.into()));
        self.environment.push(("KUBECONFIG", kubeconfig));
        self
    }

    /// Starts the agent, perhaps again, with the same configuration, positions and log. Waits until it answers.
    pub(crate) fn start(&mut self) {
        self.spawn();
        wait_for("the agent answers", Duration::from_secs(20), || {
            assert!(self.is_running(), "the agent ended: {}", self.said());
            self.get("/metrics").map_err(|why| format!("{why}\n{}", self.said()))
        });
    }

    /// Starts the agent and expects that it fails by itself. Returns its output.
    pub(crate) fn refuses_to_start(&mut self) -> String {
        let before = self.said().len();
        self.spawn();
        let mut process = self.process.take().expect("it was started");
        let status = wait_for("the agent ends", Duration::from_secs(20), || {
            let status = process.try_wait().map_err(|e| e.to_string())?;
            status.ok_or_else(|| "it runs on".into())
        });
        assert_eq!(status.code(), Some(1), "{}", self.said());
        self.said().split_off(before)
    }

    fn spawn(&mut self) {
        let log = File::options().create(true).append(true).open(self.log());
        let log = log.expect("the agent's log is opened");
        let process = Command::new(env!("CARGO_BIN_EXE_fantail"))
            .arg(format!("-config.file={}", self.config.display()))
            .env_remove("KUBERNETES_SERVICE_HOST")
            .env_remove("KUBECONFIG")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdout(log.try_clone().expect("a file has more than one handle"))
            .stderr(log)
            .spawn()
            .expect("the binary runs");
        self.process = Some(process);
    }

    pub(crate) fn is_running(&mut self) -> bool {
        let process = self.process.as_mut();
        process.is_some_and(|process| matches!(process.try_wait(), Ok(None)))
    }

    /// Asks the agent to stop, and expects that it does so soon and without an error.
    pub(crate) fn terminate(&mut self) {
        let mut process = self.process.take().expect("the agent was started");
        let kill = Command::new("kill").arg(process.id().to_string()).status();
        assert!(kill.expect("kill runs").success(), "the agent had ended");
        let status = wait_for("the agent stops", Duration::from_secs(20), || {
            let status = process.try_wait().map_err(|e| e.to_string())?;
            status.ok_or_else(|| "it runs on".into())
        });
        assert!(status.success(), "it stopped with {status}: {}", self.said());
    }

    pub(crate) fn kill9(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.as_ref().expect("the agent runs").id()
    }

    /// Whether the agent has this file open, by its current name, or by its last name if it was deleted.
    pub(crate) fn holds(&self, file: &Path) -> bool {
        let process = self.process.as_ref().expect("the agent runs");
        let open = fs::read_dir(format!("/proc/{}/fd", process.id())).expect("the agent runs");
        let names = open.flatten().filter_map(|descriptor| fs::read_link(descriptor.path()).ok());
        let deleted = format!("{} (deleted)", file.display());
        names.into_iter().any(|name| name == file || name.as_os_str() == deleted.as_str())
    }

    /// The sum of all series of this metric.
    pub(crate) fn sum(&self, name: &str) -> f64 {
        sum(&self.metrics(), name)
    }

    /// Waits until everything that the agent has read is delivered or discarded. Checks that its account balances, in lines
    /// and bytes, for each client and each file.
    #[track_caller]
    pub(crate) fn assert_accounts_add_up(&self) {
        wait_until("nothing is under way", Duration::from_secs(60), || self.sum("fantail_under_way_lines") == 0.0);
        let metrics = self.metrics();
        for unit in ["lines", "bytes"] {
            let [read, delivered, discarded] =
                ["read", "delivered", "discarded"].map(|what| sum(&metrics, &format!("fantail_{what}_{unit}_total")));
            assert!(read > 0.0, "{unit} are read");
            assert_eq!(
                read,
                delivered + discarded,
                "{unit}: {delivered} delivered and {discarded} discarded of {read}"
            );
        }
        let targets: Value =
            serde_json::from_str(&self.get("/targets?format=json").expect("the agent answers")).expect("JSON");
        let files = targets["targets"]
            .as_array()
            .into_iter()
            .flatten()
            .flat_map(|t| t["files"].as_array().into_iter().flatten());
        for file in files {
            let account = &file["account"];
            let discarded = account["discarded"].as_object().into_iter().flatten();
            for unit in ["lines", "bytes"] {
                let of = |weight: &Value| weight[unit].as_u64().unwrap_or_default();
                let discarded: u64 = discarded.clone().map(|(_, weight)| of(weight)).sum();
                assert_eq!(of(&account["read"]), of(&account["delivered"]) + discarded, "{unit}: {file}");
            }
        }
    }

    /// The address of its metrics.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn metrics(&self) -> String {
        self.get("/metrics").expect("the agent answers")
    }

    /// Whether `/ready` says that the agent is ready. `Err`: the answer otherwise.
    pub(crate) fn ready(&self) -> Result<(), String> {
        self.get("/ready").map(drop)
    }

    /// Its page `/targets`.
    pub(crate) fn targets(&self) -> String {
        self.get("/targets").expect("the agent answers")
    }

    /// Waits until the sum of all series of this metric is more than `floor`.
    #[track_caller]
    pub(crate) fn wait_for_metric(&self, name: &str, floor: f64) {
        let what = format!("{name} over {floor}");
        wait_until(&what, Duration::from_secs(30), || self.sum(name) > floor);
    }

    /// The log of all runs of the agent.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    pub(crate) fn get(&self, path: &str) -> Result<String, String> {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let answer = http::send(self.client.get(url))?;
        if answer.is_success() { Ok(answer.body) } else { Err(format!("{path}: {answer:?}")) }
    }

    fn log(&self) -> PathBuf {
        Path::join(&self.dir, "fantail.log")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.kill9();
    }
}

fn text(port: u16, positions: &Path, clients: &str, scrape_configs: &str) -> String {
    let positions = positions.join("positions.yaml");
    let positions = positions.display();
    format!(
        "server:\n  http_listen_address: 127.0.0.1\n  http_listen_port: {port}\n  grpc_listen_port: 0\n\
         positions:\n  filename: {positions}\n{clients}{scrape_configs}"
    )
}

/// The sum of the series of one name, in Prometheus's text format.
pub(crate) fn sum(metrics: &str, name: &str) -> f64 {
    sum_where(metrics, name, &[])
}

/// The sum of those series that have all of these labels, written as `name="value"`.
pub(crate) fn sum_where(metrics: &str, name: &str, labels: &[&str]) -> f64 {
    metrics
        .lines()
        .filter_map(|line| line.strip_prefix(name))
        .filter(|rest| rest.starts_with(['{', ' ']) && labels.iter().all(|label| rest.contains(label)))
        .filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}
