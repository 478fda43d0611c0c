//! Asks Docker's engine once for its containers.

use std::collections::BTreeSet;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use crate::discovery::docker::{Config, Outside};
use crate::relabel::Rules;

/// Names of containers in a note. There may be thousands.
const NAMED: usize = 10;

/// The containers of one job whose lines come through Docker's API, so that they have no file.
#[derive(Clone, Debug, Default)]
pub(super) struct Containers(Arc<Mutex<BTreeSet<String>>>);

impl Containers {
    /// All containers are found, also those that stopped long ago. No log is read.
    pub fn outside(&self, rules: Rules) -> Outside {
        let names = self.0.clone();
        Outside {
            is_known: Arc::new(|_| false),
            unseen_since: UNIX_EPOCH,
            rules,
            give: Arc::new(move |log| {
                names.lock().unwrap_or_else(PoisonError::into_inner).insert(log.name.to_string());
                Box::new(())
            }),
        }
    }

    /// Says which containers have no file. None: there is no such container.
    pub fn note(&self) -> Option<String> {
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let shown: Vec<&str> = names.iter().take(NAMED).map(String::as_str).collect();
        let more = names.len() - shown.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        (!names.is_empty()).then(|| {
            format!(
                "these containers are read through Docker's API, because their log files cannot be read: {}{more}",
                shown.join(", ")
            )
        })
    }
}

/// Removes the engines that do not listen. Returns a note about each.
pub(super) fn without_silent(configs: &mut Vec<Config>) -> Vec<String> {
    let mut notes = Vec::new();
    configs.retain(|config| {
        let Some(socket) = config.socket() else { return true };
        let Err(error) = UnixStream::connect(&socket) else { return true };
        notes.push(format!(
            "the containers of docker_sd_configs are not listed: cannot connect to the socket {}: {error}; start Docker, or run this \
             command on the node with the permission to use the socket",
            socket.display()
        ));
        false
    });
    notes
}
