//! What has been told of one service discovery config, so that only changes are told.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use prometheus::IntGauge;
use tokio::sync::mpsc;

use super::Metrics;
use crate::model::{Labels, NO_TARGETS, TargetGroup, Update};

/// The sources of one config: a hash of what was last told of each is all that is kept.
pub(super) struct Known {
    job: Arc<str>,
    /// Keeps sources of two configs of a job apart.
    prefix: String,
    told: HashMap<String, u64>,
    /// What stands for no target, in the same way.
    notes: HashMap<String, u64>,
    count: IntGauge,
    updates: mpsc::Sender<Update>,
}

impl Known {
    /// `key` and `index` say which config of the job it is, for instance `file_sd_configs` and 0.
    pub(super) fn new(
        job: &Arc<str>,
        key: &str,
        index: usize,
        metrics: &Metrics,
        updates: mpsc::Sender<Update>,
    ) -> Self {
        let (prefix, count) = (format!("{key}[{index}]"), metrics.sources(job, key));
        Self { job: Arc::clone(job), prefix, told: HashMap::new(), notes: HashMap::new(), count, updates }
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

    /// Tells of a group, unless it is what was told before.
    pub(super) async fn set(&mut self, group: TargetGroup) {
        if group.targets.is_empty() {
            return self.remove(&group.source).await;
        }
        let hash = hash(&group);
        match self.told.insert(group.source.clone(), hash) {
            Some(before) if before == hash => return,
            Some(_) => {}
            None => self.count.inc(),
        }
        self.tell(group).await;
    }

    /// Shows `text` where the targets of `source` would be, or shows it no longer: it counts as no source.
    pub(super) async fn note(&mut self, source: &str, text: Option<&str>) {
        let label = |text: &str| Labels::from([(NO_TARGETS.to_string(), text.to_string())]);
        let group = TargetGroup::new(source.to_string(), text.map(label));
        let is_new = match text {
            Some(_) => self.notes.insert(source.to_string(), hash(&group)) != Some(hash(&group)),
            None => self.notes.remove(source).is_some(),
        };
        if is_new {
            self.tell(group).await;
        }
    }

    pub(super) async fn remove(&mut self, source: &str) {
        if self.told.remove(source).is_some() {
            self.count.dec();
            self.tell(TargetGroup::gone(source.to_string())).await;
        }
    }

    /// Tells of `groups` and takes back every other: what vanished while nobody looked is gone.
    pub(super) async fn replace(&mut self, groups: Vec<TargetGroup>) {
        let sources = groups.iter().map(|group| group.source.clone()).collect();
        for group in groups {
            self.set(group).await;
        }
        self.retain(&sources).await;
    }

    /// Takes back every source that is not among `sources`.
    pub(super) async fn retain(&mut self, sources: &BTreeSet<String>) {
        let gone: Vec<String> = self.told.keys().filter(|source| !sources.contains(*source)).cloned().collect();
        for source in gone {
            self.remove(&source).await;
        }
    }

    async fn tell(&self, group: TargetGroup) {
        let group = TargetGroup { source: format!("{}/{}", self.prefix, group.source), ..group };
        // Nobody listens: `discovery::run` sees it and ends all loops.
        let _ = self.updates.send(Update::Group { job: Arc::clone(&self.job), group }).await;
    }
}

/// A reload ends one set of loops and begins another, under one gauge.
impl Drop for Known {
    fn drop(&mut self) {
        self.count.sub(self.told.len() as i64);
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

    fn group(source: &str, values: &[&str]) -> TargetGroup {
        let labels = |value: &&str| Labels::from([("a".to_string(), value.to_string())]);
        TargetGroup::new(source.to_string(), values.iter().map(labels))
    }

    /// What was told since the last look: each source and how many targets it has.
    fn told(updates: &mut mpsc::Receiver<Update>) -> Vec<(String, usize)> {
        let mut told = Vec::new();
        while let Ok(Update::Group { group, .. }) = updates.try_recv() {
            told.push((group.source, group.targets.len()));
        }
        told.sort();
        told
    }

    #[tokio::test]
    async fn only_changes_are_told_and_the_gauge_follows() {
        let metrics = Metrics::register(&Registry::new());
        let gauge = metrics.sources("j", "file_sd_configs");
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
        known.set(group("b", &[])).await;
        known.remove("never seen").await;
        assert_eq!(told(&mut listener), all(&[("b", 0)]));

        assert_eq!(gauge.get(), 1);
        drop(known);
        assert_eq!(gauge.get(), 0);
    }
}
