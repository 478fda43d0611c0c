//! The version up to which all clients have delivered the events.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A resource version. Kubernetes compares them as numbers (KEP-5504).
pub(super) type Version = u64;

#[derive(Debug, Default)]
pub(super) struct Progress {
    clients: Mutex<(u64, BTreeMap<u64, Option<Version>>)>,
}

impl Progress {
    /// Adds a client, which has delivered all events up to `version`. Returns its number.
    pub fn add(&self, version: Option<Version>) -> u64 {
        let mut clients = self.lock();
        clients.0 += 1;
        let number = clients.0;
        clients.1.insert(number, version);
        number
    }

    pub fn remove(&self, client: u64) {
        self.lock().1.remove(&client);
    }

    pub fn delivered(&self, client: u64, version: Version) {
        if let Some(known) = self.lock().1.get_mut(&client) {
            *known = Some(version);
        }
    }

    /// The version up to which all clients have delivered. None: a client has delivered nothing yet.
    pub fn of_all(&self) -> Option<Version> {
        let clients = self.lock();
        clients.1.values().copied().min().flatten()
    }

    fn lock(&self) -> MutexGuard<'_, (u64, BTreeMap<u64, Option<Version>>)> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_client_counts() {
        let progress = Progress::default();
        assert_eq!(progress.of_all(), None);
        let (a, b) = (progress.add(Some(5)), progress.add(None));
        assert_eq!(progress.of_all(), None);
        progress.delivered(b, 7);
        assert_eq!(progress.of_all(), Some(5));
        progress.delivered(a, 9);
        assert_eq!(progress.of_all(), Some(7));
        progress.remove(b);
        progress.delivered(b, 1);
        assert_eq!(progress.of_all(), Some(9));
    }
}
