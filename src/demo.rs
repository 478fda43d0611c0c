//! `fantail demo`: shows on one machine, without any config, that each line arrives once.
//!
//! ```text
//!   pods (files that are rotated) --> the agent, a child process --> a receiver of Loki's push API that counts
//!                                          ^ SIGKILL: the button of the page, or the key k
//! ```
//!
//! All files are in a temporary directory, and all ports are on the loopback interface.

mod agent;
mod counts;
mod figures;
mod page;
mod pods;
mod receiver;
mod shared;
mod terminal;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::model::AbortOnPanic;
use crate::server::{Config, Port};
use agent::Agent;
use figures::Figures;
use pods::Pods;
use shared::{KillRequest, Shared, Stage};
use terminal::{Key, Terminal};

/// How often pods write and the agent is looked after.
const TICK: Duration = Duration::from_millis(20);

/// If no further line arrives for this long after the last one was written, the others are missing.
const STILL: Duration = Duration::from_secs(30);

/// How long an open page may take to show the verdict before the server ends.
const LAST_LOOK: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub struct Options {
    /// How long the pods write.
    pub duration: Duration,
}

/// Runs the demo until its end, or until it is interrupted. Returns whether each line arrived once.
pub fn run(options: &Options) -> Result<bool, String> {
    let begun = Instant::now();
    let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("demo").enable_all().build();
    let runtime = runtime.map_err(|e| format!("cannot start the runtime: {e}"))?;
    let directory = tempfile::Builder::new().prefix("fantail-demo-").tempdir();
    let directory = directory.map_err(|e| format!("cannot create a temporary directory: {e}; set TMPDIR"))?;
    let outcome = runtime.block_on(demonstrate(options, directory.path(), begun));
    runtime.shutdown_timeout(Duration::from_millis(100));
    let name = directory.path().to_path_buf();
    directory.close().map_err(|e| format!("cannot remove {}: {e}; remove it yourself", name.display()))?;
    outcome
}

async fn demonstrate(options: &Options, directory: &Path, begun: Instant) -> Result<bool, String> {
    let mut terminal = Terminal::open();
    let mut interrupts = Interrupts::new().map_err(|e| format!("cannot listen to signals: {e}"))?;
    let mut pods = Pods::create(&directory.join("pods")).map_err(|e| format!("cannot write the pods' logs: {e}"))?;
    let (kills, mut kill_requests) = mpsc::channel(1);
    let shared = Arc::new(Shared::new(pods.names(), options.duration, begun, kills));
    let url = serve(&shared).await?;

    let config = directory.join("config.yaml");
    let text = agent_config(directory, &url);
    std::fs::write(&config, text).map_err(|e| format!("cannot write {}: {e}", config.display()))?;
    let mut agent = Agent::start(config, directory.join("agent.log"))?;
    terminal.say(format_args!(
        "Four pods write to log files below {}, and the logs are rotated.\nThe agent sends the lines to a receiver that \
         counts them. See each line arrive: {url}\n{} The demo ends after {} s, or with Ctrl-C.",
        directory.display(),
        if terminal.has_keys() { "The key k kills the agent with SIGKILL." } else { "A button there kills the agent with SIGKILL." },
        options.duration.as_secs(),
    ));

    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let end = begun + options.duration;
    let mut has_said_first = false;
    // The pods write.
    loop {
        tokio::select! {
            _ = tick.tick() => {
                let now = Instant::now();
                pods.write(now.duration_since(begun), &shared).map_err(|e| format!("cannot write the pods' logs: {e}"))?;
                agent.look_after(now, &shared)?;
            }
            Some(request) = kill_requests.recv() => answer(request, kill(&mut agent, &shared)),
            key = terminal.key() => match key {
                Key::Kill => {
                    if let Err(why) = kill(&mut agent, &shared) {
                        terminal.say(format_args!("Not killed: {why}."));
                    }
                }
                Key::Quit => break,
            },
            () = interrupts.next() => break,
            () = sleep_until(end) => break,
        }
        let first = shared.counts().first();
        if let Some(first) = first.filter(|_| !has_said_first) {
            has_said_first = true;
            let after = first.duration_since(begun).as_secs_f64();
            terminal.say(format_args!("The first line arrived after {after:.2} s."));
        }
        terminal.show(begun, &shared);
    }
    // The rest arrives.
    shared.set_stage(Stage::Draining);
    while !shared.counts().is_complete() && shared.counts().last_progress(begun).elapsed() < STILL {
        tokio::select! {
            _ = tick.tick() => agent.look_after(Instant::now(), &shared)?,
            Some(request) = kill_requests.recv() => answer(request, kill(&mut agent, &shared)),
            () = interrupts.next() => break,
        }
        terminal.show(begun, &shared);
    }
    let agent_log = agent.stop().await;
    let (figures, foreign, kills) = {
        let counts = shared.counts();
        (counts.final_figures(), counts.foreign(), counts.kills())
    };
    let is_good = figures.is_good() && foreign == 0;
    let verdict = verdict(&figures, foreign, kills);
    terminal.say(&verdict);
    if !is_good {
        terminal.say(format_args!("The last messages of the agent:\n{}", agent_log.trim_end()));
    }
    shared.end(verdict, is_good, LAST_LOOK).await;
    Ok(is_good)
}

fn kill(agent: &mut Agent, shared: &Shared) -> Result<(), String> {
    agent.kill(Instant::now(), shared)?;
    shared.counts().killed();
    Ok(())
}

fn answer(request: KillRequest, outcome: Result<(), String>) {
    // The client may be gone.
    let _ = request.send(outcome);
}

fn verdict(figures: &Figures, foreign: u64, kills: u64) -> String {
    let mut text = format!(
        "{} lines written, {} arrived, {} missing, {} doubled, {kills} kills, {} rotations",
        figures.written, figures.arrived, figures.missing, figures.doubled, figures.rotations
    );
    if figures.again > 0 {
        text.push_str(&format!(
            "; {} were sent again after a kill, bit for bit the same, so that Loki stores them once",
            figures.again
        ));
    }
    if foreign > 0 {
        text.push_str(&format!("; {foreign} entries arrived that no pod wrote"));
    }
    text
}

/// Starts the receiver and the page. Returns the URL.
async fn serve(shared: &Arc<Shared>) -> Result<String, String> {
    let mut config = Config::default();
    config.http_listen_address = "127.0.0.1".into();
    config.http_listen_port = 0;
    let port = Port::open(&config, "demo")?;
    let listener = Port::listen(&config).await.map_err(|e| format!("cannot open a port on 127.0.0.1: {e}"))?;
    let address = listener.local_addr().map_err(|e| format!("cannot open a port on 127.0.0.1: {e}"))?;
    let router = receiver::router(shared.clone()).merge(page::router(shared.clone()));
    tokio::spawn(async move {
        let _abort_on_panic = AbortOnPanic;
        port.serve(listener, router, Duration::ZERO, std::future::pending()).await;
    });
    Ok(format!("http://{address}/"))
}

/// The config of the agent: JSON, which is YAML too.
fn agent_config(directory: &Path, url: &str) -> String {
    let config = json!({
        "server": {"http_listen_address": "127.0.0.1", "http_listen_port": 0, "log_format": "json"},
        "positions": {"filename": directory.join("positions.yaml").to_string_lossy()},
        "clients": [{
            "url": format!("{url}loki/api/v1/push"),
            "batchwait": "100ms",
            "backoff_config": {"min_period": "100ms", "max_period": "1s"},
        }],
        "scrape_configs": [{
            "job_name": "demo",
            "static_configs": [{"labels": {"job": "demo", "__path__": directory.join("pods/*/*/*.log").to_string_lossy()}}],
            "pipeline_stages": [
                {"cri": {}},
                {"regex": {"source": "filename", "expression": pods::NAME_IN_PATH}},
                {"labels": {"pod": ""}},
            ],
        }],
    });
    format!("{config:#}\n")
}

/// The signals that end the demo.
struct Interrupts([Signal; 3]);

impl Interrupts {
    fn new() -> std::io::Result<Self> {
        Ok(Self([
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            // The terminal was closed.
            signal(SignalKind::hangup())?,
        ]))
    }

    async fn next(&mut self) {
        let [int, term, hangup] = &mut self.0;
        tokio::select! {
            _ = int.recv() => {}
            _ = term.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_says_what_is_wrong() {
        let figures = Figures { written: 10, arrived: 9, missing: 1, again: 2, ..Figures::default() };
        let text = verdict(&figures, 3, 1);
        assert!(
            text.starts_with("10 lines written, 9 arrived, 1 missing, 0 doubled, 1 kills, 0 rotations; 2 were"),
            "{text}"
        );
        assert!(text.ends_with("; 3 entries arrived that no pod wrote"), "{text}");
    }
}
