//! Reports when a server of discovery stops answering, and when it answers again.

use tracing::{error, info};

use super::Known;

/// The name under which a failure is shown in place of targets.
const SHOWN: &str = "failure";

pub(super) struct Trouble {
    mechanism: &'static str,
    server: String,
    /// The failure that was reported last. None: the server answers.
    failure: Option<String>,
}

impl Trouble {
    pub fn new(mechanism: &'static str, server: String) -> Self {
        Self { mechanism, server, failure: None }
    }

    /// Logs a failure if it is a new one, and shows it on `/service-discovery`.
    pub async fn set(&mut self, known: &mut Known, failure: Option<String>) {
        if self.failure == failure {
            return;
        }
        let (job, mechanism, server) = (known.job(), self.mechanism, &self.server);
        match &failure {
            Some(error) => error!(
                job,
                mechanism,
                server,
                error,
                "cannot discover targets: the last known ones stay; trying again until the server answers"
            ),
            None => info!(job, mechanism, server, "targets can be discovered again"),
        }
        let note = failure.as_ref().map(|error| format!("{}: {error}", self.server));
        known.note(SHOWN, note.as_deref()).await;
        self.failure = failure;
    }
}
