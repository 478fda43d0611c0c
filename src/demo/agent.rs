//! The agent of the demo: this program again, as a child process.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

use super::shared::Shared;

/// How long the agent stays away after it was killed. Lines pile up meanwhile.
const AWAY: Duration = Duration::from_secs(1);

/// How long the agent may take to end.
const ENDS_WITHIN: Duration = Duration::from_secs(20);

/// How much of the end of its log is read, in bytes.
const LOG_END: u64 = 16 << 10;

/// Lines of the log in a report of a failure.
const LAST_MESSAGES: usize = 10;

pub(super) struct Agent {
    config: PathBuf,
    log: PathBuf,
    state: State,
}

enum State {
    Running {
        child: Child,
        /// How many lines had arrived when it started. None: not noted yet.
        arrived: Option<u64>,
        /// The length of its log when it started.
        log_began: u64,
        page: Option<String>,
    },
    Killed(Instant),
}

impl Agent {
    pub fn start(config: PathBuf, log: PathBuf) -> Result<Self, String> {
        let mut agent = Self { config, log, state: State::Killed(Instant::now()) };
        agent.launch().map_err(|e| format!("cannot start the agent: {e}"))?;
        Ok(agent)
    }

    fn launch(&mut self) -> io::Result<()> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let log_began = log.metadata()?.len();
        let mut config = std::ffi::OsString::from("-config.file=");
        config.push(&self.config);
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(config).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // Ctrl-C in the terminal is for the demo, which then stops the agent itself.
        let child = command.process_group(0).spawn()?;
        self.state = State::Running { child, arrived: None, log_began, page: None };
        Ok(())
    }

    /// Starts the agent again if it is time. An agent that ended by itself is an error.
    pub fn look_after(&mut self, now: Instant, shared: &Shared) -> Result<(), String> {
        match &mut self.state {
            State::Killed(since) if now.duration_since(*since) < AWAY => {
                shared.set_agent(None, None);
                return Ok(());
            }
            State::Killed(_) => self.launch().map_err(|e| format!("cannot start the agent again: {e}"))?,
            State::Running { child, .. } => {
                if let Ok(Some(status)) = child.try_wait() {
                    return Err(self.ended_by_itself(status));
                }
            }
        }
        let found = match &self.state {
            State::Running { page: None, log_began, .. } => self.find_page(*log_began),
            _ => None,
        };
        if let State::Running { child, arrived, page, .. } = &mut self.state {
            arrived.get_or_insert_with(|| shared.counts().total(now).arrived);
            *page = page.take().or(found);
            shared.set_agent(Some(child.id()), page.clone());
        }
        Ok(())
    }

    /// Kills the agent. Refused until lines have arrived since it started: an agent that is killed all the time sends
    /// nothing.
    pub fn kill(&mut self, now: Instant, shared: &Shared) -> Result<(), String> {
        let State::Running { child, arrived, .. } = &mut self.state else {
            return Err("the agent was killed already, and starts again in a moment".into());
        };
        if arrived.is_none_or(|arrived| shared.counts().total(now).arrived <= arrived) {
            return Err("the agent has just started: kill it when its first line has arrived".into());
        }
        child.kill().and_then(|()| child.wait()).map_err(|e| format!("cannot kill the agent: {e}"))?;
        self.state = State::Killed(now);
        shared.set_agent(None, None);
        Ok(())
    }

    /// Asks the agent to stop, and waits until it has ended. Returns its last messages.
    pub async fn stop(mut self) -> String {
        if let State::Running { child, .. } = &mut self.state {
            let _ = kill_process(Pid::from_child(child), Signal::TERM);
            let begun = Instant::now();
            while matches!(child.try_wait(), Ok(None)) && begun.elapsed() < ENDS_WITHIN {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        self.last_messages()
    }

    fn ended_by_itself(&self, status: ExitStatus) -> String {
        format!("the agent ended by itself: {status}; its last messages:\n{}", self.last_messages().trim_end())
    }

    fn last_messages(&self) -> String {
        let log = self.end_of_log(0).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LAST_MESSAGES)..].join("\n")
    }

    /// The address of the agent's own pages, from its first message.
    fn find_page(&self, log_began: u64) -> Option<String> {
        let log = self.end_of_log(log_began).ok()?;
        let address = |line: &str| {
            let message: serde_json::Value = serde_json::from_str(line).ok()?;
            let fields = message.get("fields").unwrap_or(&message);
            Some(format!("http://{}/", fields.get("http")?.as_str()?.parse::<std::net::SocketAddr>().ok()?))
        };
        log.lines().find_map(address)
    }

    /// The log from this byte on, but not more than its end.
    fn end_of_log(&self, from: u64) -> io::Result<String> {
        let mut file = File::open(&self.log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(from.max(length.saturating_sub(LOG_END))))?;
        let mut bytes = Vec::new();
        file.take(LOG_END).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let State::Running { child, .. } = &mut self.state {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
