//! Finds pods that the API server does not show by their log directories:
//! `/var/log/pods/<namespace>_<pod>_<uid>/<container>`.
//!
//! Such a pod came and went while the API server or the agent was away, or faster than the watch. Its files are opened
//! at once, because the kubelet deletes them soon. They are read when the API server is not expected to show the pod
//! any more. The labels are those that the API server gave earlier ([`Remembered`]), or those of the path. If the API
//! server shows the pod later, its logs continue under the pod's own labels.

mod book;
mod disk;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::Mutex;
use tracing::info;

use self::book::{Book, Labels, Verdict};
use self::disk::Disk;
use super::remembered::Remembered;
use crate::discovery::{Known, Metrics};
use crate::model::{FOUND_BY, FROM_CACHE, FROM_NOWHERE, FROM_PATH, HELD, LabelSet, TargetGroup, TargetLabels, pod};

/// How often new directories are searched: a directory may exist for only a second. A search costs one system call.
const OFTEN: Duration = Duration::from_millis(250);

/// How often the remembered pods are saved.
const SAVE: Duration = Duration::from_secs(10);

/// How often directories without open questions are checked.
const SELDOM: Duration = Duration::from_secs(10);

/// How long a target stays after its directory is gone. Longer than the readers need to open its files.
const LEAVE: Duration = Duration::from_secs(5);

/// The directory of pods' logs, and the remembered pods.
#[derive(Clone, Debug)]
pub struct Places {
    /// `/var/log/pods`.
    pub pod_logs: PathBuf,
    pub remembered: Arc<Remembered>,
}

/// The log directories for one watch.
pub(in crate::discovery) struct Folders {
    job: Arc<str>,
    node: Arc<str>,
    /// Under which key pods are remembered. Other jobs read other labels.
    by: Arc<str>,
    remembered: Arc<Remembered>,
    metrics: Metrics,
    state: Mutex<State>,
    /// Only touched by threads that may wait: a call on a dying disk may take minutes.
    disk: Arc<std::sync::Mutex<Disk>>,
}

struct State {
    book: Book,
    known: Known,
    /// The namespace of the watch.
    namespace: Namespace,
    /// The last sent verdict of each directory, and its number of containers.
    told: BTreeMap<String, (Verdict, usize)>,
    /// The next time to check directories without open questions, and to log new pods.
    relook_at: Instant,
    /// The number of pods found since the last message, by the origin of their labels.
    news: BTreeMap<&'static str, usize>,
    /// Directories of which the names of containers are not needed any more.
    left: Vec<String>,
}

/// The containers of a pod that have a directory in the pod's.
struct Containers {
    /// All that were found so far, also if their directories are gone.
    names: Vec<String>,
    /// The pod's directory exists, and some were found.
    are_there: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Namespace {
    All,
    Named(String),
    /// The agent's own namespace, which is not known yet.
    NotKnown,
}

impl Folders {
    pub(super) fn new(
        places: Places,
        (job, node, by): (&Arc<str>, &Arc<str>, String),
        namespace: Namespace,
        is_selective: bool,
        known: Known,
        metrics: Metrics,
    ) -> Self {
        metrics.announce_paths(job, &[FROM_CACHE, FROM_PATH, FROM_NOWHERE]);
        let book = Book::new(Instant::now(), is_selective, namespace == Namespace::All);
        let disk = Disk::new(places.pod_logs);
        Self {
            job: Arc::clone(job),
            node: Arc::clone(node),
            by: by.into(),
            remembered: places.remembered,
            metrics,
            disk: Arc::new(std::sync::Mutex::new(disk)),
            state: Mutex::new(State {
                book,
                known,
                namespace,
                told: BTreeMap::new(),
                relook_at: Instant::now(),
                news: BTreeMap::new(),
                left: Vec::new(),
            }),
        }
    }

    /// Checks directories until it is dropped.
    pub(in crate::discovery) async fn run(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(OFTEN);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut save_at = Instant::now() + SAVE;
        loop {
            ticks.tick().await;
            self.look(Instant::now()).await;
            if Instant::now() >= save_at {
                save_at = Instant::now() + SAVE;
                let remembered = Arc::clone(&self.remembered);
                let saved = tokio::task::spawn_blocking(move || remembered.save()).await;
                if let Err(error) = saved
                    && error.is_panic()
                {
                    std::panic::resume_unwind(error.into_panic());
                }
            }
        }
    }

    /// Sets the agent's own namespace.
    pub(super) async fn set_namespace(&self, name: &str) {
        let mut state = self.state.lock().await;
        if state.namespace == Namespace::NotKnown {
            state.namespace = Namespace::Named(name.to_string());
        }
    }

    /// The API server shows this pod. The caller sends its group right after this, and this module removes its own.
    pub(super) async fn shows(&self, group: &TargetGroup) {
        let folders = folders_of(group);
        let now = seconds();
        folders.iter().for_each(|folder| self.remembered.put(&self.by, folder, &group.targets, now));
        let mut state = self.state.lock().await;
        for folder in state.book.shows(&group.id, folders, Instant::now()) {
            state.take_back(&folder).await;
        }
    }

    /// The API server has reported that the pod is gone.
    pub(super) async fn hides(&self, group_id: &str) {
        self.state.lock().await.book.hides(group_id, Instant::now());
    }

    /// The API server has sent a complete list.
    pub(super) async fn lists(&self, listed: &BTreeSet<String>) {
        self.state.lock().await.book.lists(listed, Instant::now());
    }

    async fn look(&self, now: Instant) {
        let (namespace, left) = {
            let mut state = self.state.lock().await;
            (state.namespace.clone(), std::mem::take(&mut state.left))
        };
        let found = self.on_disk(move |disk| {
            left.iter().for_each(|folder| disk.forget(folder));
            let is_asked_for = |folder: &str| match &namespace {
                Namespace::All => true,
                Namespace::Named(name) => folder.split_once('_').is_some_and(|(of, _)| of == name),
                Namespace::NotKnown => false,
            };
            disk.folders(now, &is_asked_for).cloned()
        });
        let found = found.await;
        let asked: Vec<(String, bool)> = {
            let mut state = self.state.lock().await;
            if let Some(folders) = found {
                state.book.sees(&folders, now);
                self.remembered.keep(&self.by, &folders, seconds());
            }
            let open = state.book.folders().into_iter().filter(|folder| state.is_open(folder, now));
            open.map(|folder| {
                let exists = state.book.gone(&folder).is_none();
                (folder, exists)
            })
            .collect()
        };
        let containers = match asked.is_empty() {
            true => BTreeMap::new(),
            false => self.on_disk(move |disk| Self::containers(disk, asked, now)).await,
        };
        let mut state = self.state.lock().await;
        for folder in state.book.folders() {
            self.settle(&mut state, &folder, containers.get(&folder), now).await;
        }
        if now >= state.relook_at {
            state.relook_at = now + SELDOM;
            self.say(std::mem::take(&mut state.news));
        }
    }

    /// Calls the file system where it may take long.
    async fn on_disk<R: Send + 'static>(&self, call: impl FnOnce(&mut Disk) -> R + Send + 'static) -> R {
        let disk = Arc::clone(&self.disk);
        let called =
            tokio::task::spawn_blocking(move || call(&mut disk.lock().unwrap_or_else(PoisonError::into_inner)));
        match called.await {
            Ok(result) => result,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The agent ends.
            Err(_) => std::future::pending().await,
        }
    }

    /// The containers of each of these directories, which are looked for again in those that exist.
    fn containers(disk: &mut Disk, folders: Vec<(String, bool)>, now: Instant) -> BTreeMap<String, Containers> {
        let of = |(folder, exists): (String, bool)| {
            let are_there = exists && disk.containers(&folder, now).is_some_and(|names| !names.is_empty());
            let names = disk.known_containers(&folder);
            (folder, Containers { names, are_there })
        };
        folders.into_iter().map(of).collect()
    }

    /// Sends the new state of a directory if it has changed. `containers` are what was found for it just now.
    async fn settle(&self, state: &mut State, folder: &str, containers: Option<&Containers>, now: Instant) {
        let told = state.told.get(folder).copied();
        let gone = state.book.gone(folder);
        let is_done = matches!(told, None | Some((Verdict::Read(_), _)));
        let leave = if told.is_some() { LEAVE } else { Duration::ZERO };
        if gone.is_some_and(|since| is_done && now >= since + leave) {
            state.take_back(folder).await;
            state.book.forget(folder);
            return;
        }
        // If it became open while the disk was asked, the next look settles it.
        let Some(containers) = containers.filter(|_| state.is_open(folder, now)) else {
            return;
        };
        let cached = self.remembered.get(&self.by, folder);
        let verdict = state.book.verdict(folder, cached.is_some(), now);
        let (labels, is_held) = match verdict {
            Verdict::Leave => return,
            Verdict::Hold(labels) => (labels, true),
            Verdict::Read(labels) => (labels, false),
        };
        let found = if containers.are_there { containers.names.len() } else { 0 };
        let count = found.max(told.map_or(0, |(_, count)| count));
        if told == Some((verdict, count)) || count == 0 {
            return;
        }
        let mut targets = cached.unwrap_or_default();
        targets = self.targets(folder, targets, &containers.names, labels, is_held);
        if told.is_none_or(|(told, _)| told != verdict) && !is_held && !state.book.was_shown(folder) {
            self.metrics.pod_from_path(&self.job, name(labels));
            *state.news.entry(name(labels)).or_default() += 1;
        }
        state.told.insert(folder.to_string(), (verdict, count));
        state.known.set(TargetGroup::new(format!("folder/{folder}"), targets)).await;
    }

    /// Pods with unknown labels are not logged: with selectors there are always some.
    fn say(&self, news: BTreeMap<&'static str, usize>) {
        let of = |labels| news.get(labels).copied().unwrap_or_default();
        let (job, with_cached_labels, with_labels_of_path) = (&*self.job, of(FROM_CACHE), of(FROM_PATH));
        if with_cached_labels + with_labels_of_path > 0 {
            info!(
                job,
                with_cached_labels,
                with_labels_of_path,
                "found pods that the API server does not show, by their log directories"
            );
        }
    }

    /// The remembered targets, and a target for each container without one.
    fn targets(
        &self,
        folder: &str,
        mut targets: Vec<TargetLabels>,
        containers: &[String],
        labels: Labels,
        is_held: bool,
    ) -> Vec<TargetLabels> {
        let of_pod = match targets.first() {
            Some(target) => target.parts().0.clone(),
            None => LabelSet::new(self.of_path(folder)),
        };
        let is_new = |name: &&String| !targets.iter().any(|target| target.get(pod::CONTAINER) == Some(name));
        let new: Vec<_> = containers.iter().filter(is_new).cloned().collect();
        targets.extend(
            new.into_iter()
                .map(|container| TargetLabels::new(of_pod.clone(), LabelSet::new([(pod::CONTAINER, container)]))),
        );
        let marked = |target: TargetLabels| {
            let found = target.with(FOUND_BY, name(labels));
            if is_held { found.with(HELD, "true") } else { found }
        };
        targets.into_iter().map(marked).collect()
    }

    /// The labels from the directory's name.
    fn of_path<'a>(&'a self, folder: &'a str) -> [(&'static str, &'a str); 4] {
        let mut parts = folder.splitn(3, '_');
        let mut next = || parts.next().unwrap_or_default();
        [(pod::NAMESPACE, next()), (pod::NAME, next()), (pod::UID, next()), (pod::NODE, &*self.node)]
    }
}

impl State {
    /// Whether something may have to be told of the directory, so that its containers are needed.
    fn is_open(&self, folder: &str, now: Instant) -> bool {
        // Only new containers are possible now. They are checked less often.
        let is_read = matches!(self.told.get(folder), Some((Verdict::Read(_), _)));
        if is_read && self.book.gone(folder).is_none() && now < self.relook_at {
            return false;
        }
        // The lookup of remembered pods is more expensive, and only needed for pods that are not shown.
        [true, false].into_iter().any(|is_cached| !matches!(self.book.verdict(folder, is_cached, now), Verdict::Leave))
    }

    async fn take_back(&mut self, folder: &str) {
        self.told.remove(folder);
        self.left.push(folder.to_string());
        self.known.remove(&format!("folder/{folder}")).await;
    }
}

fn name(labels: Labels) -> &'static str {
    match labels {
        Labels::Cache => FROM_CACHE,
        Labels::Path => FROM_PATH,
        Labels::Unknown => FROM_NOWHERE,
    }
}

/// Possible names of a pod's log directory: with its uid, or for a static pod with the hash of its config.
fn folders_of(group: &TargetGroup) -> Vec<String> {
    let Some(first) = group.targets.first() else {
        return Vec::new();
    };
    let get = |name| first.get(name).unwrap_or_default();
    let ids = [get(pod::UID), get(pod::CONFIG_HASH)];
    let (namespace, pod) = (get(pod::NAMESPACE), get(pod::NAME));
    ids.iter().filter(|id| !id.is_empty()).map(|id| format!("{namespace}_{pod}_{id}")).collect()
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests;
