//! Decides what to do with log directories, from the pods that the API server shows and the directories on the disk.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

/// How long the API server may take to show a pod after its directory appeared. A watch is much faster.
const WAIT: Duration = Duration::from_secs(10);

/// How long to wait at the start for an API server that does not answer.
const START: Duration = Duration::from_secs(30);

/// How long to wait at the start for a list before files are held open. Until it arrives, all directories are unknown.
const LIST: Duration = Duration::from_secs(1);

/// How long the directory of a pod that was shown is remembered.
const SHOWN: Duration = Duration::from_secs(600);

/// The most remembered directories of pods that are not shown any more. Ten minutes do not produce more.
const SHOWN_MOST: usize = 20_000;

/// The most directories that are checked. A node has some hundred.
pub(super) const FOLDERS: usize = 5_000;

/// The decision about a directory whose pod the API server does not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing: it is handled elsewhere, or it is too early.
    Leave,
    /// Open its files, and read them when its pod is known.
    Hold(Labels),
    Read(Labels),
}

/// Where the labels of a pod come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Labels {
    Cache,
    Path,
    /// It is not known whether the job selects the pod.
    Unknown,
}

#[derive(Debug)]
pub(super) struct Book {
    started: Instant,
    /// A complete list of pods was read.
    pub(super) listed: bool,
    /// Only selected pods are requested, so a missing pod proves nothing.
    pub(super) is_selective: bool,
    /// The pods of all namespaces are requested, so at least one must exist: the agent's own.
    pub(super) is_of_all: bool,
    /// A pod was shown since the start.
    any_shown: bool,
    /// The directories of pods that the API server shows, by the id of the pod's group.
    shown: HashMap<String, Vec<String>>,
    /// The same, by directory.
    group_of: HashMap<String, String>,
    /// The directories of pods that are not shown any more, and since when.
    past: HashMap<String, Instant>,
    /// Directories that exist, or whose files may still be read, and since when.
    seen: BTreeMap<String, Seen>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    first: Instant,
    gone: Option<Instant>,
}

impl Book {
    pub(super) fn new(started: Instant, is_selective: bool, is_of_all: bool) -> Self {
        Self {
            started,
            listed: false,
            is_selective,
            is_of_all,
            any_shown: false,
            shown: HashMap::new(),
            group_of: HashMap::new(),
            past: HashMap::new(),
            seen: BTreeMap::new(),
        }
    }

    /// The API server shows the pod of this group, whose logs are in one of `folders`. Returns those that counted as
    /// unknown.
    pub(super) fn shows(&mut self, group_id: &str, folders: Vec<String>, now: Instant) -> Vec<String> {
        self.any_shown = true;
        if self.shown.get(group_id).is_some_and(|known| *known == folders) {
            return Vec::new();
        }
        // A pod with the same name replaces it.
        self.hides(group_id, now);
        for folder in &folders {
            self.past.remove(folder);
            self.group_of.insert(folder.clone(), group_id.to_string());
        }
        let taken = folders.iter().filter(|folder| self.seen.contains_key(*folder)).cloned().collect();
        self.shown.insert(group_id.to_string(), folders);
        taken
    }

    /// The API server does not show the pod any more.
    pub(super) fn hides(&mut self, group_id: &str, now: Instant) {
        for folder in self.shown.remove(group_id).unwrap_or_default() {
            self.group_of.remove(&folder);
            if self.past.len() < SHOWN_MOST {
                self.past.insert(folder, now);
            }
        }
    }

    /// A list was read: only `listed` exist.
    pub(super) fn lists(&mut self, listed: &BTreeSet<String>, now: Instant) {
        self.listed = true;
        let gone: Vec<String> = self.shown.keys().filter(|group_id| !listed.contains(*group_id)).cloned().collect();
        gone.iter().for_each(|group_id| self.hides(group_id, now));
    }

    /// The directories on the disk.
    pub(super) fn sees(&mut self, folders: &BTreeSet<String>, now: Instant) {
        for folder in folders {
            if let Some(seen) = self.seen.get_mut(folder) {
                seen.gone = None;
            } else if self.seen.len() < FOLDERS {
                self.seen.insert(folder.clone(), Seen { first: now, gone: None });
            }
        }
        for (_, seen) in self.seen.iter_mut().filter(|(folder, _)| !folders.contains(*folder)) {
            seen.gone.get_or_insert(now);
        }
        self.past.retain(|folder, since| folders.contains(folder) || now < *since + SHOWN);
    }

    pub(super) fn folders(&self) -> Vec<String> {
        self.seen.keys().cloned().collect()
    }

    /// Since when the directory is gone.
    pub(super) fn gone(&self, folder: &str) -> Option<Instant> {
        self.seen.get(folder)?.gone
    }

    /// Whether its pod was shown since the start.
    pub(super) fn was_shown(&self, folder: &str) -> bool {
        self.past.contains_key(folder)
    }

    pub(super) fn forget(&mut self, folder: &str) {
        self.seen.remove(folder);
    }

    /// `is_cached`: labels of its pod were saved earlier.
    pub(super) fn verdict(&self, folder: &str, is_cached: bool, now: Instant) -> Verdict {
        let Some(seen) = self.seen.get(folder).filter(|_| !self.group_of.contains_key(folder)) else {
            return Verdict::Leave;
        };
        let was_shown = self.was_shown(folder);
        if is_cached && (was_shown || self.listed) {
            return Verdict::Read(Labels::Cache);
        }
        // The result of the rules for its labels is not known any more.
        if was_shown {
            return Verdict::Leave;
        }
        let start = if self.listed { self.started } else { self.started + START };
        let is_over = now >= start.max(seen.first + WAIT);
        let labels = if is_cached { Labels::Cache } else { Labels::Path };
        if !is_cached && (self.is_selective || self.is_of_all && self.listed && !self.any_shown) {
            return if is_over { Verdict::Read(Labels::Unknown) } else { Verdict::Leave };
        }
        match is_over {
            true => Verdict::Read(labels),
            false if self.listed || now >= self.started + LIST => Verdict::Hold(labels),
            false => Verdict::Leave,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scene {
        book: Book,
        started: Instant,
        disk: BTreeSet<String>,
    }

    impl Scene {
        fn new(is_selective: bool, is_of_all: bool) -> Self {
            let started = Instant::now();
            Self { book: Book::new(started, is_selective, is_of_all), started, disk: BTreeSet::new() }
        }

        fn at(&self, milliseconds: u64) -> Instant {
            self.started + Duration::from_millis(milliseconds)
        }

        fn appears(&mut self, folder: &str, at: u64) {
            self.disk.insert(folder.to_string());
            self.book.sees(&self.disk, self.at(at));
        }

        fn shows(&mut self, group_id: &str, folders: &[&str], at: u64) -> Vec<String> {
            self.book.shows(group_id, folders.iter().map(ToString::to_string).collect(), self.at(at))
        }

        fn lists(&mut self, group_ids: &[&str], at: u64) {
            self.book.lists(&group_ids.iter().map(ToString::to_string).collect(), self.at(at));
        }

        fn says(&self, folder: &str, is_cached: bool, at: u64) -> Verdict {
            self.book.verdict(folder, is_cached, self.at(at))
        }
    }

    use Labels::{Cache, Path, Unknown};
    use Verdict::{Hold, Leave, Read};

    #[test]
    fn a_pod_that_is_never_shown_is_held_and_read_after_a_while() {
        let mut scene = Scene::new(false, true);
        scene.shows("pod/ns/agent", &["ns_agent_1"], 100);
        scene.lists(&["pod/ns/agent"], 100);
        scene.appears("ns_agent_1", 200);
        scene.appears("ns_a_2", 1_000);
        assert_eq!(scene.says("ns_agent_1", false, 60_000), Leave);
        assert_eq!(scene.says("ns_a_2", false, 1_000), Hold(Path));
        assert_eq!(scene.says("ns_a_2", false, 10_999), Hold(Path));
        scene.disk.remove("ns_a_2");
        scene.book.sees(&scene.disk.clone(), scene.at(2_000));
        assert_eq!(scene.says("ns_a_2", false, 11_000), Read(Path), "its files are open");
        assert_eq!(scene.shows("pod/ns/a", &["ns_a_2"], 12_000), ["ns_a_2"], "late, but there");
        assert_eq!(scene.says("ns_a_2", false, 12_000), Leave);
    }

    #[test]
    fn an_api_server_that_is_away_is_waited_for_at_the_start() {
        let mut scene = Scene::new(false, true);
        scene.appears("ns_a_1", 0);
        assert_eq!(scene.says("ns_a_1", false, 999), Leave);
        for (is_cached, labels) in [(false, Path), (true, Cache)] {
            assert_eq!(scene.says("ns_a_1", is_cached, 1_000), Hold(labels));
            assert_eq!(scene.says("ns_a_1", is_cached, 29_999), Hold(labels));
            assert_eq!(scene.says("ns_a_1", is_cached, 30_000), Read(labels));
        }
        scene.appears("ns_b_2", 29_000);
        assert_eq!(scene.says("ns_b_2", false, 38_999), Hold(Path));
        assert_eq!(scene.says("ns_b_2", false, 39_000), Read(Path));
    }

    #[test]
    fn one_that_died_while_nobody_looked_has_the_labels_that_it_had() {
        let mut scene = Scene::new(true, true);
        scene.appears("ns_a_1", 0);
        assert_eq!(scene.says("ns_a_1", true, 500), Leave);
        scene.lists(&[], 600);
        assert_eq!(scene.says("ns_a_1", true, 600), Read(Cache));
    }

    #[test]
    fn one_that_was_shown_goes_on_with_what_is_remembered_or_not_at_all() {
        let mut scene = Scene::new(false, true);
        scene.appears("ns_a_1", 0);
        scene.shows("pod/ns/a", &["ns_a_1", "ns_a_hash"], 100);
        scene.lists(&["pod/ns/a"], 100);
        scene.book.hides("pod/ns/a", scene.at(20_000));
        assert_eq!(scene.says("ns_a_1", true, 20_000), Read(Cache));
        assert_eq!(scene.says("ns_a_1", false, 60_000), Leave, "a rule may have dropped it");
        scene.shows("pod/ns/web-0", &["ns_web-0_1"], 100);
        scene.shows("pod/ns/web-0", &["ns_web-0_2"], 200);
        scene.appears("ns_web-0_1", 300);
        scene.appears("ns_web-0_2", 300);
        assert_eq!(scene.says("ns_web-0_1", true, 300), Read(Cache), "the one that had the name before");
        assert_eq!(scene.says("ns_web-0_2", true, 300), Leave);
        scene.lists(&[], 400);
        assert_eq!(scene.says("ns_web-0_2", true, 400), Read(Cache));
    }

    #[test]
    fn a_static_pod_is_known_by_its_hash() {
        let mut scene = Scene::new(false, true);
        scene.shows("pod/kube-system/etcd", &["kube-system_etcd_uid", "kube-system_etcd_hash"], 0);
        scene.lists(&["pod/kube-system/etcd"], 0);
        scene.appears("kube-system_etcd_hash", 0);
        assert_eq!(scene.says("kube-system_etcd_hash", false, 60_000), Leave);
    }

    #[test]
    fn what_cannot_be_judged_is_left_alone() {
        // Selectors say nothing about pods that are not shown. A node without pods has another name.
        for (is_selective, is_of_all) in [(true, true), (true, false), (false, true)] {
            let mut scene = Scene::new(is_selective, is_of_all);
            scene.lists(&[], 0);
            scene.appears("ns_a_1", 0);
            assert_eq!(scene.says("ns_a_1", false, 9_999), Leave);
            assert_eq!(scene.says("ns_a_1", false, 10_000), Read(Unknown));
        }
        let mut scene = Scene::new(false, false);
        scene.lists(&[], 0);
        scene.appears("ns_a_1", 0);
        assert_eq!(scene.says("ns_a_1", false, 0), Hold(Path), "a namespace may be empty");
    }

    #[test]
    fn it_is_bounded() {
        let mut scene = Scene::new(false, true);
        scene.disk = (0..FOLDERS + 10).map(|n| format!("ns_a_{n:06}")).collect();
        scene.book.sees(&scene.disk.clone(), scene.at(0));
        assert_eq!(scene.book.folders().len(), FOLDERS);
        for n in 0..SHOWN_MOST + 10 {
            scene.shows("pod/ns/a", &[&format!("ns_a_{n}")], 0);
        }
        assert_eq!((scene.book.past.len(), scene.book.shown.len(), scene.book.group_of.len()), (SHOWN_MOST, 1, 1));
        scene.book.sees(&BTreeSet::new(), scene.at(600_001));
        assert!(scene.book.past.is_empty());
    }
}
