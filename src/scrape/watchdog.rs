//! The thread that checks whether the supervised threads go on.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::status::Status;
use super::supervised::{Found, Seen, Watched};
use crate::model::AbortOnPanic;

/// How often it checks. A system call is taken for hanging if it has not returned from one check to the next.
const PERIOD: Duration = Duration::from_millis(500);

/// A thread that has stood still for this long is reported as unhealthy.
const UNHEALTHY: Duration = Duration::from_secs(30);

/// Threads to watch, with their names for the report.
pub(super) type Posts = Vec<(String, Weak<dyn Watched>)>;

/// Starts the thread. It ends when all work is done.
pub(super) fn start(posts: Posts, status: Arc<Status>) -> std::io::Result<()> {
    std::thread::Builder::new().name("watchdog".into()).spawn(move || {
        let _abort_on_panic = AbortOnPanic;
        let mut watchdog = Watchdog::new(posts, status, Instant::now());
        while watchdog.check(Instant::now()) {
            std::thread::sleep(PERIOD);
        }
    })?;
    Ok(())
}

struct Watchdog {
    posts: Vec<(String, Weak<dyn Watched>, Seen)>,
    status: Arc<Status>,
    /// Threads that were reported.
    said: Vec<String>,
}

impl Watchdog {
    fn new(posts: Posts, status: Arc<Status>, now: Instant) -> Self {
        let posts = posts.into_iter().map(|(name, post)| (name, post, Seen::new(now))).collect();
        Self { posts, status, said: Vec::new() }
    }

    /// Returns whether there is still something to watch.
    fn check(&mut self, now: Instant) -> bool {
        let mut still = Vec::new();
        self.posts.retain_mut(|(name, post, seen)| match post.upgrade().map(|post| post.check(seen, now)) {
            None | Some(Found::Over) => false,
            Some(Found::Still(time)) if time >= UNHEALTHY => {
                still.push(name.clone());
                true
            }
            Some(_) => true,
        });
        if still != self.said {
            for name in still.iter().filter(|name| !self.said.contains(name)) {
                tracing::error!(
                    name,
                    "a thread has stood still for {} seconds, probably in a system call on the positions file: look at the disk \
                     of positions.filename",
                    UNHEALTHY.as_secs()
                );
            }
            for name in self.said.iter().filter(|name| !still.contains(name)) {
                tracing::info!(name, "a thread that stood still goes on");
            }
            self.status.set_still(still.clone());
            self.said = still;
        }
        !self.posts.is_empty()
    }
}
