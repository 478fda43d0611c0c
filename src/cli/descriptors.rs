//! As many open files as the system allows: each log keeps one open, and each of its files that waits for Loki.
//!
//! A service of systemd may have 1,024 unless it asks for more, of half a million that it may ask for.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Asks for all; whoever is not given more says so when it has too few.
pub(super) fn raise() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(%error, limit = current, "cannot raise the limit of open files; set it in the service's unit (LimitNOFILE)");
    }
}
