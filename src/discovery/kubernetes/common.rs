//! The labels that the targets of one source share, bounded: users write what they like into labels and annotations.

use std::sync::Arc;

use super::slim::Metadata;
use crate::model::{Labels, LeftOut, pod};

/// What the labels of all targets of a pod may come to, in bytes, each with those of its pod: rules may make copies of them.
/// The API server takes annotations of 256 KiB.
pub(super) const LABELS: usize = 256 << 10;

/// A label or annotation of so many bytes is one that a rule may ask for; labels are never longer in Kubernetes.
const SHORT: usize = 1 << 10;

/// What short ones may take, in bytes, in each target.
pub(super) const ALL_SHORT: usize = 32 << 10;

pub(super) struct Common {
    pub(super) full: Arc<Labels>,
    /// Without those that are too long for each of many containers to have.
    pub(super) short: Arc<Labels>,
    /// How many of those there are.
    pub(super) without: usize,
}

impl Common {
    /// `labels`, and what the metadata of these objects adds, as far as there is room; the first has it first.
    pub(super) fn of(mut labels: Labels, objects: &[&Metadata], left_out: &mut LeftOut) -> Self {
        let pairs = || objects.iter().flat_map(|meta| [&meta.labels, &meta.annotations]);
        for pairs in pairs() {
            labels.extend(pairs.unread.iter().cloned());
            left_out.unread += pairs.more;
        }
        let (mut room_for_short, mut room) = (ALL_SHORT, LABELS);
        let mut long = Vec::new();
        for (name, value) in pairs().flat_map(|pairs| &pairs.read) {
            let size = name.len() + value.len();
            if name == pod::CONFIG_HASH && value.len() <= SHORT {
                labels.insert(name.clone(), value.clone());
            } else if value.len() <= SHORT && size <= room_for_short {
                room_for_short -= size;
                labels.insert(name.clone(), value.clone());
            } else if value.len() > SHORT && size <= room {
                room -= size;
                long.push((name.clone(), value.clone()));
            } else {
                left_out.labels += 1;
            }
        }
        let (short, without) = (Arc::new(labels), left_out.labels + long.len());
        let mut full = Arc::clone(&short);
        if !long.is_empty() {
            Arc::make_mut(&mut full).extend(long);
        }
        Self { full, short, without }
    }
}

pub(super) fn bytes(labels: &Labels) -> usize {
    labels.iter().map(|(name, value)| name.len() + value.len()).sum()
}

/// As Go's `net.JoinHostPort`.
pub(super) fn host_port(host: &str, port: &str) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Sets labels whose values have something to say: Prometheus leaves the others out.
pub(super) fn set_if_any(labels: &mut Labels, pairs: &[(&str, &str)]) {
    let pairs = pairs.iter().filter(|(_, value)| !value.is_empty());
    labels.extend(pairs.map(|(name, value)| (name.to_string(), value.to_string())));
}
