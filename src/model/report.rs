//! The data that `/targets`, `/service-discovery` and `/ready` show. Collected on request.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Account, Labels, Weight};

/// Implemented by the owner of the targets' state. The server calls it on each request.
pub trait Report: Send + Sync {
    fn targets(&self) -> Vec<TargetReport>;
    fn discovered(&self) -> Vec<DiscoveredReport>;
    fn clients(&self) -> Vec<ClientReport>;
    /// Threads that have stood still for long and deliver nothing.
    fn still(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A target that is tailed, with its files.
#[derive(Clone, Debug, Serialize)]
pub struct TargetReport {
    pub job: String,
    pub path: String,
    pub labels: Labels,
    pub files: Vec<FileReport>,
    /// Why no file of the target is read. None: files are read.
    pub nothing: Option<String>,
    /// Up to 1,000 paths that its glob matches but that are not read as a log of their own.
    pub not_read: Vec<NotReadReport>,
    /// How many more such paths there are.
    pub not_read_more: usize,
}

/// A path that the glob matches but that is not read as a log.
#[derive(Clone, Debug, Serialize)]
pub struct NotReadReport {
    pub path: String,
    pub reason: String,
}

/// One log of a target, for one client.
#[derive(Clone, Debug, Serialize)]
pub struct FileReport {
    pub path: String,
    pub client: String,
    /// Offset of the next byte to read, in the generation being read.
    pub read_offset: u64,
    /// Offset up to which Loki has acknowledged, in the generation that contains it.
    pub committed_offset: u64,
    pub size: u64,
    /// Bytes on disk not yet read, over all generations.
    pub lag_bytes: u64,
    /// Bytes read and not yet acknowledged by Loki.
    pub unacknowledged_bytes: u64,
    /// Open generations, including the live file.
    pub generations: u32,
    pub account: AccountReport,
    /// The error that prevents reading, if any.
    pub error: Option<String>,
}

/// The account of a log since the agent started: read = delivered + discarded + under way, in lines and in bytes of the
/// file.
#[derive(Clone, Debug, Default, Serialize)]
pub struct AccountReport {
    pub read: Weight,
    pub delivered: Weight,
    /// By reason.
    pub discarded: BTreeMap<String, Weight>,
    pub under_way: Weight,
    /// Bytes that were not read and cannot be read any more, by reason.
    pub lost_bytes: BTreeMap<&'static str, u64>,
}

impl From<&Account> for AccountReport {
    fn from(account: &Account) -> Self {
        Self {
            read: account.read,
            delivered: account.delivered,
            discarded: account
                .discarded
                .iter()
                .map(|(reason, weight)| (reason.as_str().to_string(), *weight))
                .collect(),
            under_way: account.under_way(),
            lost_bytes: account.lost.iter().copied().collect(),
        }
    }
}

/// A discovered target and the result of relabelling it.
#[derive(Clone, Debug, Serialize)]
pub struct DiscoveredReport {
    pub job: String,
    pub group: String,
    pub discovered: Labels,
    /// None if the target was dropped.
    pub labels: Option<Labels>,
    pub path: Option<String>,
    /// Why it is not tailed: the number and text of the rule that dropped it, `no __path__` or similar.
    pub dropped: Option<String>,
    /// The cause is a mistake in the config: something is missing or wrong.
    pub is_mistake: bool,
    /// Containers, ports or labels of its group that are left out because there are too many.
    pub left_out: Option<String>,
    /// How many labels and annotations of its group no rule reads, beyond those shown here.
    pub unread: usize,
}

/// The state of one client.
#[derive(Clone, Debug, Serialize)]
pub struct ClientReport {
    pub name: String,
    /// Without user name and password.
    pub url: String,
    /// `ok`, or since when it fails and why.
    pub state: String,
    pub last_error: Option<String>,
}
