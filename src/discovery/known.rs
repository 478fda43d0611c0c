//! The last sent state of one service discovery config, so that only changes are sent.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use prometheus::IntGauge;
use tokio::sync::mpsc;

use super::Metrics;
use super::lists::LastList;
use crate::model::{Labels, NO_TARGETS, TargetGroup, Update};

/// The groups of one config, as they were sent last.
pub(super) struct Known {
    job: Arc<str>,
    /// Distinguishes the groups of two configs of a job.
    prefix: String,
    told: HashMap<String, Told>,
    /// The notes that are shown instead of targets, each with its hash.
    notes: HashMap<String, u64>,
    count: IntGauge,
    /// The targets of all groups of the job.
    targets: IntGauge,
    /// Where the list is kept over a reload. None: it is not kept.
    last: Option<LastList>,
    updates: mpsc::Sender<Update>,
}

/// What was sent of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told {
    hash: u64,
    targets: usize,
}

impl Known {
    /// `key` and `index` name the config in the job, for instance `file_sd_configs` and 0.
    pub(super) fn new(
        job: &Arc<str>,
        key: &str,
        index: usize,
        metrics: &Metrics,
        updates: mpsc::Sender<Update>,
    ) -> Self {
        Self {
            job: Arc::clone(job),
            prefix: format!("{key}[{index}]"),
            told: HashMap::new(),
            notes: HashMap::new(),
            count: metrics.groups(job, key),
            targets: metrics.targets(job),
            last: None,
            updates,
        }
    }

    /// Keeps the list over a reload, in `last`.
    pub(super) fn keeping(mut self, last: LastList) -> Self {
        self.last = Some(last);
        self
    }

    /// Sends the list that the previous run had last. Returns whether there is one.
    pub(super) async fn resume(&mut self) -> bool {
        let Some(groups) = self.last.as_ref().and_then(LastList::take) else { return false };
        self.replace(groups).await;
        true
    }

    pub(super) fn job(&self) -> &str {
        &self.job
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(super) fn len(&self) -> usize {
        self.told.len()
    }

    /// Sends a group if it has changed.
    pub(super) async fn set(&mut self, group: TargetGroup) {
        if group.targets.is_empty() {
            return self.remove(&group.id).await;
        }
        let told = Told { hash: hash(&group), targets: group.targets.len() };
        match self.told.insert(group.id.clone(), told) {
            Some(before) if before == told => return,
            Some(before) => self.targets.sub(before.targets as i64),
            None => self.count.inc(),
        }
        self.targets.add(told.targets as i64);
        if let Some(last) = &self.last {
            last.set(&group);
        }
        self.tell(group).await;
    }

    /// Shows `text` in place of the targets of `group_id`, or removes it. A note does not count as a group.
    pub(super) async fn note(&mut self, group_id: &str, text: Option<&str>) {
        let label = |text: &str| Labels::from([(NO_TARGETS.to_string(), text.to_string())]);
        let group = TargetGroup::new(group_id.to_string(), text.map(label));
        let is_new = match text {
            Some(_) => self.notes.insert(group_id.to_string(), hash(&group)) != Some(hash(&group)),
            None => self.notes.remove(group_id).is_some(),
        };
        if is_new {
            self.tell(group).await;
        }
    }

    pub(super) async fn remove(&mut self, group_id: &str) {
        if let Some(before) = self.told.remove(group_id) {
            self.count.dec();
            self.targets.sub(before.targets as i64);
            if let Some(last) = &self.last {
                last.remove(group_id);
            }
            self.tell(TargetGroup::gone(group_id.to_string())).await;
        }
    }

    /// Sends these groups, and removes all others.
    pub(super) async fn replace(&mut self, groups: Vec<TargetGroup>) {
        self.replace_except(groups, BTreeSet::new()).await;
    }

    /// Sends these groups, and removes all others except those with these ids.
    pub(super) async fn replace_except(&mut self, groups: Vec<TargetGroup>, mut group_ids: BTreeSet<String>) {
        group_ids.extend(groups.iter().map(|group| group.id.clone()));
        if let Some(last) = &self.last {
            last.begin();
        }
        for group in groups {
            self.set(group).await;
        }
        self.retain(&group_ids).await;
    }

    /// Removes all groups except those with these ids.
    pub(super) async fn retain(&mut self, group_ids: &BTreeSet<String>) {
        let gone: Vec<String> = self.told.keys().filter(|group_id| !group_ids.contains(*group_id)).cloned().collect();
        for group_id in gone {
            self.remove(&group_id).await;
        }
    }

    async fn tell(&self, group: TargetGroup) {
        let group = TargetGroup { id: format!("{}/{}", self.prefix, group.id), ..group };
        // An error means that the receiver is gone, which `discovery::run` detects.
        let _ = self.updates.send(Update::Group { job: Arc::clone(&self.job), group }).await;
    }
}

/// A reload ends the loops and starts others, with the same gauges.
impl Drop for Known {
    fn drop(&mut self) {
        self.count.sub(self.told.len() as i64);
        self.targets.sub(self.told.values().map(|told| told.targets as i64).sum());
    }
}

fn hash(group: &TargetGroup) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&group.targets, group.left_out).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use crate::metrics::Registry;

    use super::*;

    fn group(group_id: &str, values: &[&str]) -> TargetGroup {
        let labels = |value: &&str| Labels::from([("a".to_string(), value.to_string())]);
        TargetGroup::new(group_id.to_string(), values.iter().map(labels))
    }

    /// The groups sent since the last call, each with its number of targets.
    fn told(updates: &mut mpsc::Receiver<Update>) -> Vec<(String, usize)> {
        let mut told = Vec::new();
        while let Ok(Update::Group { group, .. }) = updates.try_recv() {
            told.push((group.id, group.targets.len()));
        }
        told.sort();
        told
    }

    #[tokio::test]
    async fn only_changes_are_told_and_the_gauges_follow() {
        let metrics = Metrics::register(&Registry::new());
        let (gauge, targets) = (metrics.groups("j", "file_sd_configs"), metrics.targets("j"));
        let (updates, mut listener) = mpsc::channel(16);
        let mut known = Known::new(&"j".into(), "file_sd_configs", 2, &metrics, updates);
        let all = |pairs: &[(&str, usize)]| -> Vec<(String, usize)> {
            pairs.iter().map(|(s, n)| (format!("file_sd_configs[2]/{s}"), *n)).collect()
        };

        known.replace(vec![group("a", &["1"]), group("b", &["1", "2"])]).await;
        assert_eq!(told(&mut listener), all(&[("a", 1), ("b", 2)]));
        known.set(group("a", &["1"])).await;
        assert_eq!(told(&mut listener), []);
        known.set(group("a", &["2"])).await;
        assert_eq!(told(&mut listener), all(&[("a", 1)]));
        known.replace(vec![group("c", &["1"]), group("b", &["1", "2"])]).await;
        assert_eq!(told(&mut listener), all(&[("a", 0), ("c", 1)]));
        assert_eq!((gauge.get(), targets.get()), (2, 3));
        known.set(group("b", &["1", "2", "3"])).await;
        assert_eq!((told(&mut listener), targets.get()), (all(&[("b", 3)]), 4));
        known.set(group("b", &[])).await;
        known.remove("never seen").await;
        assert_eq!(told(&mut listener), all(&[("b", 0)]));

        assert_eq!((gauge.get(), targets.get()), (1, 1));
        drop(known);
        assert_eq!((gauge.get(), targets.get()), (0, 0));
    }
}
