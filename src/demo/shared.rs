//! The state that the pods, the receiver, the page and the terminal share.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, timeout};

use super::counts::Counts;

/// A request to kill the agent. The answer is the reason if it is refused.
pub(super) type KillRequest = oneshot::Sender<Result<(), String>>;

pub(super) struct Shared {
    pub begun: Instant,
    pub duration: Duration,
    counts: Mutex<Counts>,
    now: Mutex<Now>,
    kills: mpsc::Sender<KillRequest>,
    verdict_seen: Notify,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Now {
    pub stage: Stage,
    /// The process of the agent. None: it was killed, and is not started again yet.
    pub agent: Option<u32>,
    /// The page of the agent. None: it is not known yet.
    pub agent_page: Option<String>,
    /// When a page asked last.
    asked: Option<Instant>,
}

#[derive(Clone, Debug, Default)]
pub(super) enum Stage {
    #[default]
    Writing,
    /// The last lines are on their way.
    Draining,
    Over {
        verdict: String,
        is_good: bool,
    },
}

impl Shared {
    pub fn new(
        pods: impl IntoIterator<Item = String>,
        duration: Duration,
        begun: Instant,
        kills: mpsc::Sender<KillRequest>,
    ) -> Self {
        Self {
            begun,
            duration,
            counts: Mutex::new(Counts::new(pods)),
            now: Mutex::default(),
            kills,
            verdict_seen: Notify::new(),
        }
    }

    pub fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set_stage(&self, stage: Stage) {
        self.lock().stage = stage;
    }

    pub fn set_agent(&self, process: Option<u32>, page: Option<String>) {
        let mut now = self.lock();
        (now.agent, now.agent_page) = (process, page);
    }

    /// The state for a page that asks for it.
    pub fn asked(&self) -> Now {
        let mut now = self.lock();
        now.asked = Some(Instant::now());
        if matches!(now.stage, Stage::Over { .. }) {
            self.verdict_seen.notify_one();
        }
        now.clone()
    }

    /// Kills the agent.
    pub async fn kill(&self) -> Result<(), String> {
        let (request, answer) = oneshot::channel();
        self.kills.try_send(request).map_err(|_| "the demo is busy or has ended: try again")?;
        answer.await.unwrap_or_else(|_| Err("the demo has ended".into()))
    }

    /// Ends the demo. If a page is open, it gets some time to ask for the verdict.
    pub async fn end(&self, verdict: String, is_good: bool, last_look: Duration) {
        self.set_stage(Stage::Over { verdict, is_good });
        let is_watched = self.lock().asked.is_some_and(|asked| asked.elapsed() < last_look);
        if is_watched && timeout(last_look, self.verdict_seen.notified()).await.is_ok() {
            // The answer is being sent.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
