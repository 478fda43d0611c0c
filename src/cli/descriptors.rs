//! Raises the limit of open files. Each log keeps one file open, and also each rotated file that waits for Loki.
//!
//! By default, systemd allows a service 1,024 open files, but lets it raise the limit to half a million.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit to the maximum that the system allows. If this is not enough, a later message says so.
pub(super) fn raise() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(%error, limit = current, "cannot raise the limit of open files: set LimitNOFILE in the service's systemd unit");
    }
}
