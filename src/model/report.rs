//! What `/targets`, `/service-discovery` and `/ready` show: plain data, collected when somebody looks.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Account, Labels, Weight};

/// Whoever knows the state of the targets; the server asks it at each request.
pub trait Report: Send + Sync {
    fn targets(&self) -> Vec<TargetReport>;
    fn discovered(&self) -> Vec<DiscoveredReport>;
    fn clients(&self) -> Vec<ClientReport>;
}

/// One target that is tailed, with its files.
#[derive(Clone, Debug, Serialize)]
pub struct TargetReport {
    pub job: String,
    pub path: String,
    pub labels: Labels,
    pub files: Vec<FileReport>,
    /// Why no file is read of it, if none is.
    pub nothing: Option<String>,
    /// What its path matches and is not read as a log of its own; the first thousand of it.
    pub not_read: Vec<NotReadReport>,
    /// How many more there are.
    pub not_read_more: usize,
}

/// Something that a path matches and that is not read as a log.
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
    /// Offset up to which Loki has acknowledged, in its generation.
    pub committed_offset: u64,
    pub size: u64,
    /// Bytes on disk not yet read, over all generations.
    pub lag_bytes: u64,
    /// Bytes read and not yet acknowledged by Loki.
    pub unacknowledged_bytes: u64,
    /// Open generations, the live file among them.
    pub generations: u32,
    pub account: AccountReport,
    /// What keeps it from being read, if anything does.
    pub error: Option<String>,
}

/// What became of what was read since the agent began: read is delivered, discarded and under way, in lines and in bytes
/// of the file.
#[derive(Clone, Debug, Default, Serialize)]
pub struct AccountReport {
    pub read: Weight,
    pub delivered: Weight,
    /// By reason.
    pub discarded: BTreeMap<String, Weight>,
    pub under_way: Weight,
    /// Bytes that were never read and never will be, by reason.
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

/// One discovered target and what relabelling made of it.
#[derive(Clone, Debug, Serialize)]
pub struct DiscoveredReport {
    pub job: String,
    pub source: String,
    pub discovered: Labels,
    /// None when it was dropped.
    pub labels: Option<Labels>,
    pub path: Option<String>,
    /// Why it is not tailed: the rule that dropped it, by number and text, or `no __path__` and the like.
    pub dropped: Option<String>,
    /// Nobody can have meant that: it lacks something, or is written wrong.
    pub is_mistake: bool,
    /// What its source has that is not among its targets, since it would take too much.
    pub left_out: Option<String>,
    /// How many labels and annotations its source has that no rule reads, beyond those shown here.
    pub unread: usize,
}

/// One client and how it fares.
#[derive(Clone, Debug, Serialize)]
pub struct ClientReport {
    pub name: String,
    /// Without user and password.
    pub url: String,
    /// `ok`, or since when and why not.
    pub state: String,
    pub last_error: Option<String>,
}
