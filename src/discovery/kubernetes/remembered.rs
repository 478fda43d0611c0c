//! Saves the labels of this node's pods to the disk, for pods that end while the agent or the API server is down.
//!
//! A file beside the positions, with one pod per line. If it is missing or damaged, labels are lost, but never lines.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use crate::model::{LabelSet, Labels, TargetLabels};
use crate::positions;

/// The first line of the file.
const HEADER: &str = "fantail pods 1";

/// The maximum number of pods. A node has some hundred pods, and each job has its own labels of them.
const PODS: usize = 4000;

/// The maximum bytes of the labels of all pods, and of one.
const BYTES: usize = 8 << 20;
const POD: usize = 256 << 10;

/// The maximum size of the file in bytes. JSON may need six bytes for one.
const FILE: u64 = 48 << 20;

/// How long a pod is remembered after its directory is gone.
const KEPT: Duration = Duration::from_secs(3600);

/// Shared by all watches of all jobs. All calls are short, except [`Remembered::save`].
#[derive(Debug)]
pub struct Remembered {
    /// None: nothing is written, as in a dry run.
    file: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By the job's watch and the name of the pod's directory.
    pods: BTreeMap<(Arc<str>, String), Pod>,
    bytes: usize,
    is_changed: bool,
    is_failing: bool,
}

#[derive(Clone, Debug)]
struct Pod {
    targets: Vec<TargetLabels>,
    bytes: usize,
    /// When the pod or its directory last existed, in seconds since 1970.
    seen: u64,
}

/// A pod in the file.
#[derive(Serialize, Deserialize)]
struct Line {
    by: String,
    /// The name of its directory.
    pod: String,
    seen: u64,
    common: Labels,
    targets: Vec<Labels>,
}

impl Remembered {
    /// Reads the file of an earlier run. An unreadable file is logged, ignored, and later replaced.
    pub fn open(file: PathBuf, read_only: bool) -> Self {
        let mut state = State::default();
        match positions::read_beside(&file, FILE) {
            Ok(None) => {}
            Ok(Some(content)) => match state.read(&content) {
                0 => {}
                broken => {
                    warn!(file = %file.display(), broken, "cannot read some remembered labels of pods: they are lost")
                }
            },
            Err(error) => {
                warn!(file = %file.display(), %error, "cannot read the remembered labels of pods: they are lost");
            }
        }
        state.is_changed = false;
        Self { file: Some(file).filter(|_| !read_only), state: Mutex::new(state) }
    }

    /// The labels that the API server once gave for the pod with this directory.
    pub(super) fn get(&self, by: &Arc<str>, folder: &str) -> Option<Vec<TargetLabels>> {
        self.lock().pods.get(&(Arc::clone(by), folder.to_string())).map(|pod| pod.targets.clone())
    }

    pub(super) fn put(&self, by: &Arc<str>, folder: &str, targets: &[TargetLabels], now: u64) {
        self.lock().put((Arc::clone(by), folder.to_string()), targets, now);
    }

    /// Forgets pods of `by` that have had no directory for some time. `folders` are the existing directories.
    pub(super) fn keep(&self, by: &Arc<str>, folders: &BTreeSet<String>, now: u64) {
        self.lock().keep(by, folders, now);
    }

    /// Writes the file if something changed. Waits for the disk.
    pub fn save(&self) {
        let Some(file) = &self.file else {
            return;
        };
        let content = {
            let mut state = self.lock();
            if !std::mem::take(&mut state.is_changed) {
                return;
            }
            state.content()
        };
        let written = content.and_then(|content| positions::replace_beside(file, &content));
        let mut state = self.lock();
        match written {
            Ok(_) if std::mem::take(&mut state.is_failing) => {
                info!(file = %file.display(), "the labels of pods can be saved again");
            }
            Ok(_) => {}
            Err(error) => {
                state.is_changed = true;
                if !std::mem::replace(&mut state.is_failing, true) {
                    let file = file.display();
                    warn!(%file, %error, "cannot save the labels of pods: make the positions' directory writable");
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn put(&mut self, key: (Arc<str>, String), targets: &[TargetLabels], now: u64) {
        if let Some(known) = self.pods.get_mut(&key)
            && known.targets == targets
        {
            known.seen = now;
            return;
        }
        self.is_changed = true;
        self.remove(&key);
        let bytes = key.1.len() + bytes(targets);
        if targets.is_empty() || bytes > POD {
            return;
        }
        self.bytes += bytes;
        self.pods.insert(key, Pod { targets: targets.to_vec(), bytes, seen: now });
        while self.pods.len() > PODS || self.bytes > BYTES {
            let oldest = self.pods.iter().min_by_key(|(_, pod)| pod.seen).map(|(key, _)| key.clone());
            let Some(oldest) = oldest else { break };
            self.remove(&oldest);
        }
    }

    fn remove(&mut self, key: &(Arc<str>, String)) {
        if let Some(pod) = self.pods.remove(key) {
            self.bytes -= pod.bytes;
        }
    }

    fn keep(&mut self, by: &Arc<str>, folders: &BTreeSet<String>, now: u64) {
        let mut gone = Vec::new();
        for (key, pod) in self.pods.iter_mut().filter(|(key, _)| key.0 == *by) {
            if folders.contains(&key.1) {
                pod.seen = now;
            } else if now.saturating_sub(pod.seen) > KEPT.as_secs() {
                gone.push(key.clone());
            } else {
                // After the clock was set back, entries must not stay forever.
                pod.seen = pod.seen.min(now);
            }
        }
        self.is_changed |= !gone.is_empty();
        gone.iter().for_each(|key| self.remove(key));
    }

    fn content(&self) -> io::Result<Vec<u8>> {
        let mut content = format!("{HEADER}\n").into_bytes();
        for ((by, folder), pod) in &self.pods {
            let (common, targets) = parted(&pod.targets);
            let line = Line { by: by.to_string(), pod: folder.clone(), seen: pod.seen, common, targets };
            serde_json::to_writer(&mut content, &line)?;
            content.push(b'\n');
        }
        Ok(content)
    }

    /// The number of lines that could not be read.
    fn read(&mut self, content: &[u8]) -> usize {
        let mut lines = content.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        if lines.next().is_some_and(|first| first != HEADER.as_bytes()) {
            return 1 + lines.count();
        }
        let mut broken = 0;
        for line in lines {
            let Ok(Line { by, pod, seen, common, targets }) = serde_json::from_slice(line) else {
                broken += 1;
                continue;
            };
            let common = LabelSet::from(&common);
            let target = |own: &Labels| TargetLabels::new(common.clone(), LabelSet::from(own));
            let targets: Vec<_> = targets.iter().map(target).collect();
            self.put((by.into(), pod), &targets, seen);
        }
        broken
    }
}

/// The common labels of all targets, and the other labels of each.
fn parted(targets: &[TargetLabels]) -> (Labels, Vec<Labels>) {
    let common = targets.first().map(|first| first.parts().0);
    match common.filter(|common| targets.iter().all(|target| target.parts().0 == *common)) {
        Some(common) => (common.to_map(), targets.iter().map(|target| target.parts().1.to_map()).collect()),
        None => (Labels::new(), targets.iter().map(TargetLabels::to_labels).collect()),
    }
}

/// The size in the file in bytes (approximate).
fn bytes(targets: &[TargetLabels]) -> usize {
    let of = |labels: &Labels| labels.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    let (common, own) = parted(targets);
    of(&common) + own.iter().map(of).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn targets(app: &str) -> Vec<TargetLabels> {
        let common = LabelSet::new([("app", app)]);
        ["web", "proxy"].map(|c| TargetLabels::new(common.clone(), LabelSet::new([("container", c)]))).into()
    }

    fn opened(dir: &tempfile::TempDir) -> Remembered {
        Remembered::open(dir.path().join("p.yaml.pods"), false)
    }

    fn by() -> Arc<str> {
        "job".into()
    }

    #[test]
    fn it_is_there_after_a_restart_and_goes_a_while_after_its_folder() {
        let dir = tempfile::tempdir().expect("a folder");
        let pods = opened(&dir);
        pods.put(&by(), "ns_a_1", &targets("a"), 100);
        pods.put(&by(), "ns_b_2", &targets("b"), 100);
        pods.save();
        let pods = opened(&dir);
        assert_eq!(pods.get(&by(), "ns_a_1"), Some(targets("a")));
        assert_eq!(pods.get(&"another".into(), "ns_a_1"), None, "others' rules read other labels");
        let there = BTreeSet::from(["ns_b_2".to_string()]);
        pods.keep(&by(), &there, 100 + 3600);
        assert!(pods.get(&by(), "ns_a_1").is_some());
        pods.keep(&by(), &there, 101 + 3600);
        assert!(pods.get(&by(), "ns_a_1").is_none());
        assert!(pods.get(&by(), "ns_b_2").is_some());
    }

    #[test]
    fn it_is_bounded() {
        let dir = tempfile::tempdir().expect("a folder");
        let pods = opened(&dir);
        for n in 0..PODS + 10 {
            pods.put(&by(), &format!("ns_a_{n}"), &targets("a"), n as u64);
        }
        assert_eq!(pods.lock().pods.len(), PODS);
        assert!(pods.get(&by(), "ns_a_9").is_none() && pods.get(&by(), "ns_a_10").is_some(), "the oldest goes");
        let large = targets(&"x".repeat(POD - 1000));
        for n in 0..100 {
            pods.put(&by(), &format!("large_a_{n}"), &large, 1 << 20);
            assert!(pods.lock().bytes <= BYTES);
        }
        assert!(pods.get(&by(), "large_a_99").is_some());
        pods.put(&by(), "large_a_99", &targets(&"x".repeat(POD)), 1 << 20);
        assert!(pods.get(&by(), "large_a_99").is_none(), "too long, and what was known is old");
        let state = pods.lock();
        assert_eq!(state.bytes, state.pods.values().map(|pod| pod.bytes).sum::<usize>());
    }

    #[test]
    fn what_is_broken_or_planted_costs_labels_only() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("p.yaml.pods");
        let pods = opened(&dir);
        pods.put(&by(), "ns_a_1", &targets("a"), 100);
        pods.put(&by(), "ns_b_2", &targets("b"), 100);
        pods.save();
        let content = fs::read(&file).expect("written");
        for cut in 0..content.len() {
            fs::write(&file, &content[..cut]).expect("written");
            let read = opened(&dir);
            assert!(read.get(&by(), "ns_b_2").is_none() || cut + 1 == content.len(), "cut at {cut}");
        }
        fs::remove_file(&file).expect("removed");
        fs::write(dir.path().join("precious"), &content).expect("written");
        symlink("precious", &file).expect("linked");
        let pods = opened(&dir);
        assert!(pods.get(&by(), "ns_a_1").is_none(), "a link is not followed");
        pods.put(&by(), "ns_c_3", &targets("c"), 100);
        pods.save();
        assert_eq!(fs::read(dir.path().join("precious")).expect("there"), content);
        assert!(fs::symlink_metadata(&file).is_ok_and(|meta| meta.is_file()));
    }

    #[test]
    fn a_dry_run_writes_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        let pods = Remembered::open(dir.path().join("p.yaml.pods"), true);
        pods.put(&by(), "ns_a_1", &targets("a"), 100);
        pods.save();
        assert_eq!(fs::read_dir(dir.path()).expect("there").count(), 0);
    }
}
