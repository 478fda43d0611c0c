//! The labels that the targets of one group share, with limits, because users can write any labels and annotations.

use super::slim::Metadata;
use crate::model::{LabelSet, Labels, LeftOut, pod};

/// The maximum bytes of labels of all targets of a pod, each with the pod's labels, because rules may copy them. The
/// API server accepts 256 KiB of annotations.
pub(super) const LABELS: usize = 256 << 10;

/// The maximum bytes of a short label or annotation. In Kubernetes, labels are always short.
const SHORT: usize = 1 << 10;

/// The maximum bytes of short labels and annotations in each target.
pub(super) const ALL_SHORT: usize = 32 << 10;

pub(super) struct Common {
    pub(super) full: LabelSet,
    /// Without those that are too long to be in each of many containers.
    pub(super) short: LabelSet,
    /// The number of omitted ones.
    pub(super) without: usize,
}

impl Common {
    /// Combines `labels` with the metadata of these objects, within the limits. The first object has priority.
    pub(super) fn of(mut labels: Labels, objects: &[&Metadata], left_out: &mut LeftOut) -> Self {
        let pairs = || objects.iter().flat_map(|meta| [&meta.labels, &meta.annotations]);
        for pairs in pairs() {
            labels.extend(pairs.unread.iter().cloned());
            left_out.unread += pairs.more;
            left_out.labels += pairs.left_out;
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
        let (short, without) = (LabelSet::from(&labels), left_out.labels + long.len());
        let mut full = short.clone();
        if !long.is_empty() {
            labels.extend(long);
            full = LabelSet::from(&labels);
        }
        Self { full, short, without }
    }
}

/// Like Go's `net.JoinHostPort`.
pub(super) fn host_port(host: &str, port: &str) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Sets labels with a value. Prometheus omits empty ones.
pub(super) fn set_if_any(labels: &mut Labels, pairs: &[(&str, &str)]) {
    let pairs = pairs.iter().filter(|(_, value)| !value.is_empty());
    labels.extend(pairs.map(|(name, value)| (name.to_string(), value.to_string())));
}
