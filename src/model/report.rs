//! The data that `/targets`, `/service-discovery` and `/ready` show. Collected on request.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Account, Explanation, Labels, Weight};

/// Implemented by the owner of the targets' state. The server calls it on each request.
pub trait Report: Send + Sync {
    fn targets(&self) -> Vec<TargetReport>;
    fn discovered(&self) -> Vec<DiscoveredReport>;
    fn clients(&self) -> Vec<ClientReport>;
    /// By client, over all files since the start, also those that are no longer read.
    fn accounts(&self) -> BTreeMap<String, AccountReport> {
        BTreeMap::new()
    }
    /// What became of the discovered targets.
    fn discovery(&self) -> DiscoverySummary {
        DiscoverySummary::of(self.discovered().iter().map(|one| (one.job.as_str(), one.dropped.as_deref())))
    }
    /// Explains targets, and what becomes of lines. May take a second. An error says what is wrong with the question.
    fn explain(&self, _asked: &AskedToExplain) -> Result<Explained, String> {
        Err("nothing is running".into())
    }
    /// Threads that have stood still for long and deliver nothing.
    fn still(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A question of a client of the pages, as it was written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct AskedToExplain {
    /// A pod, a file or labels. Empty: all targets.
    pub about: String,
    pub job: Option<String>,
    pub line: Option<String>,
    /// `json`, or empty.
    pub format: String,
}

/// An explanation, also as text.
#[derive(Clone, Debug)]
pub struct Explained {
    pub explanation: Explanation,
    pub text: String,
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
#[derive(Clone, Debug, Default, Serialize)]
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
    /// When lines were read last, in Unix milliseconds. None: no line was read since the start.
    pub last_read_unix_ms: Option<i64>,
    /// When lines were delivered last, in Unix milliseconds. None: nothing was delivered since the start.
    pub last_delivery_unix_ms: Option<i64>,
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

/// The number of discovered targets, and why some of them are dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DiscoverySummary {
    pub discovered: usize,
    pub kept: usize,
    /// The most frequent reason is first.
    pub dropped: Vec<DropReason>,
}

/// Why targets of a job are dropped, and their number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DropReason {
    pub job: String,
    pub reason: String,
    pub targets: usize,
}

impl DiscoverySummary {
    /// `targets` are the job of each target, and why it is dropped. None: it is kept.
    pub fn of<'t>(targets: impl Iterator<Item = (&'t str, Option<&'t str>)>) -> Self {
        let (mut summary, mut reasons) = (Self::default(), BTreeMap::<_, usize>::new());
        for (job, dropped) in targets {
            summary.discovered += 1;
            match dropped {
                None => summary.kept += 1,
                Some(reason) => *reasons.entry((job, reason)).or_default() += 1,
            }
        }
        let reason = |((job, reason), targets): ((&str, &str), usize)| DropReason {
            job: job.into(),
            reason: reason.into(),
            targets,
        };
        summary.dropped = reasons.into_iter().map(reason).collect();
        summary.dropped.sort_by_key(|reason| std::cmp::Reverse(reason.targets));
        summary
    }
}

/// The state of one client.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ClientReport {
    pub name: String,
    /// Without user name and password.
    pub url: String,
    /// `ok`, or since when it fails and why.
    pub state: String,
    pub last_error: Option<String>,
    /// How long ago `last_error` came.
    pub last_error_seconds_ago: Option<u64>,
    /// For how long pushes have failed. None: they do not fail.
    pub failing_seconds: Option<u64>,
    /// How long ago a push was accepted last. None: none was accepted since the start.
    pub last_push_seconds_ago: Option<u64>,
}
