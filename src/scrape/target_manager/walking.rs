//! Turns targets into logs: walks globs and assigns files to logs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::neighbours::{SOON, inodes_of};
use super::{AssignedLog, TargetManager, TrackedTarget};
use crate::scrape::SHARE;
use crate::scrape::messages::{Assignment, Command, Event, StopRequest};
use crate::scrape::ownership::Gate;
use crate::scrape::supervised::Held;
use crate::scrape::unread::{Unread, Why};
use crate::tail::{AllowedPaths, is_rotation};

/// Targets whose walk takes longer than this are walked less often, to delay other targets less.
const LONG: Duration = Duration::from_millis(200);

impl Held<'_, TargetManager> {
    pub(super) fn walk_all(&mut self) {
        for log in self.logs.keys() {
            self.tell(|| Command::Look(*log));
        }
        self.tracked.values_mut().for_each(|t| t.dirty = true);
        self.walk_dirty();
        let mut wanted: BTreeSet<PathBuf> = self.tracked.values().flat_map(|t| t.directories.iter().cloned()).collect();
        wanted.extend(self.names.directories().cloned());
        self.watch.retain(&wanted);
    }

    /// Walks the targets with file events, and plans the next walk. A target whose walk took long rests first, so that
    /// other targets do not wait for it again and again.
    pub(super) fn walk_dirty(&mut self) {
        let begun = Instant::now();
        let is_due = |t: &TrackedTarget| {
            let wanted = t.dirty || t.again.is_some_and(|at| at <= begun);
            wanted && t.rests_until.is_none_or(|until| until <= begun)
        };
        let due: Vec<u64> = self.tracked.iter().filter(|(_, t)| is_due(t)).map(|(id, _)| *id).collect();
        for id in due {
            self.walk(id);
            if !self.is_current() {
                return;
            }
        }
        let dirty = self.tracked.values().filter(|t| t.dirty).map(|t| t.rests_until.unwrap_or_else(Instant::now));
        let again =
            self.tracked.values().filter_map(|t| t.again.map(|at| t.rests_until.map_or(at, |until| until.max(at))));
        if let Some(at) = dirty.chain(again).min() {
            self.walk_by(at);
        }
    }

    pub(super) fn walk(&mut self, id: u64) {
        let Some(tracked) = self.tracked.get_mut(&id) else {
            return;
        };
        tracked.dirty = false;
        tracked.again = None;
        let is_first = tracked.directories.is_empty();
        let (job, glob) = (tracked.job, tracked.glob.clone());
        let begun = Instant::now();
        let allowed = Arc::new(glob.allowed(&self.config.link_roots));
        // A new directory may have got a file between the walk and the watch, so walk once more. Other file events wait
        // meanwhile, so the number of rounds is limited.
        let mut rounds = 0;
        let mut found = loop {
            let left_out = self.calls.left_out();
            let (call, at) = self.calls.next(Some(id));
            let found = self.blocking(call, || glob.walk_around(&allowed, &left_out, &|path| at.set(path)));
            if !self.is_current() {
                return;
            }
            let has_new = found.directories.iter().fold(false, |new, dir| self.watch.add(dir) | new);
            // If it was cut, the rest is checked every sync period.
            if !has_new || rounds == 64 || found.cut.is_some() {
                break found;
            }
            if begun.elapsed() > LONG {
                if let Some(tracked) = self.tracked.get_mut(&id) {
                    tracked.dirty = true;
                }
                break found;
            }
            rounds += 1;
        };
        let manager = &mut **self;
        let Some(tracked) = manager.tracked.get_mut(&id) else {
            return;
        };
        tracked.rests_until = rest_after(begun, Instant::now());
        let mut unread = Unread::default();
        if let Some((path, why)) = found.cut {
            unread.add(&path, Why::Cut(why));
        }
        found.errors.iter().for_each(|(path, error)| unread.add(path, Why::Denied(error.clone())));
        if tracked.directories != found.directories {
            manager.places.remove(id, &tracked.directories);
            manager.places.add(id, &found.directories);
            tracked.directories = found.directories;
        }
        if let Some(exclude) = &tracked.exclude {
            found.skipped.retain(|path, _| !exclude.matches(path));
            found.files.retain(|file| {
                let excluded = exclude.matches(file);
                if excluded {
                    unread.add(file, Why::Excluded);
                }
                !excluded
            });
        }
        if let (Some(owner), Some(pod_logs)) = (&tracked.target.owner, &manager.config.pod_logs) {
            let refused = Gate::new(owner, pod_logs).refuse(&mut found.files);
            refused.iter().for_each(|folder| unread.add(folder, Why::Foreign));
        }
        found.skipped.iter().for_each(|(path, skip)| unread.add(path, Why::Skipped(*skip)));
        // Between a rename and the new file only the older generation exists. It still belongs to the known log.
        let known = tracked.files.keys().map(AsRef::as_ref);
        let lives: BTreeSet<&Path> = found.files.iter().map(PathBuf::as_path).chain(known).collect();
        let mut elders: BTreeMap<&PathBuf, PathBuf> =
            found.files.iter().filter_map(|f| Some((f, rotation_of(f, &lives)?))).collect();
        let again = !elders.is_empty() && self.release_neighbours(id, &mut elders);
        if !self.is_current() {
            return;
        }
        let renamed = if is_first { self.renamed_logs(id) } else { Vec::new() };
        if !self.is_current() {
            return;
        }
        let manager = &mut **self;
        let Some(tracked) = manager.tracked.get_mut(&id) else {
            return;
        };
        tracked.again = again.then(|| Instant::now() + SOON);
        let olders: BTreeSet<&PathBuf> = elders.values().collect();
        let mut new = Vec::new();
        let mut back = Vec::new();
        for file in found.files.iter().filter(|f| !elders.contains_key(f)) {
            match tracked.files.get(file.as_path()) {
                Some(log) => back.extend(manager.logs.get(log).is_some_and(|k| !k.away.is_empty()).then_some(*log)),
                None => new.push((Arc::<Path>::from(file.as_path()), olders.contains(file))),
            }
        }
        new.extend(renamed.into_iter().map(|path| (path, false)));
        for log in back {
            self.bring_back(log);
        }
        elders.iter().for_each(|(file, live)| unread.add(file, Why::Older(live.clone())));
        let mut leaving = if new.is_empty() { HashMap::new() } else { self.leaving(job) };
        for (path, from_oldest) in new {
            let heir = leaving.remove(&path);
            if let Some(limit) = self.limit_reached(id).filter(|_| heir.is_none()) {
                unread.add(&path, Why::Beyond(limit));
                continue;
            }
            self.begin(id, path, from_oldest, heir, &allowed);
            if !self.is_current() {
                return;
            }
        }
        self.note_unread(id, unread);
    }

    /// Assigns a log. `heir` is a log with this path whose target is gone.
    pub(super) fn begin(
        &mut self,
        id: u64,
        path: Arc<Path>,
        from_oldest: bool,
        heir: Option<u64>,
        allowed: &Arc<AllowedPaths>,
    ) {
        let Some(tracked) = self.tracked.get(&id) else {
            return;
        };
        let (target, job) = (tracked.target.clone(), tracked.job);
        // The log continues under its new target.
        if let Some(log) = heir.filter(|log| self.logs.contains_key(log)) {
            self.logs.entry(log).and_modify(|known| known.tracked = Some(id));
            self.add_file(id, path, log);
            self.tell(|| Command::Relabel(log, target.clone()));
            if !target.is_held {
                self.held.remove(&log);
            }
            return self.bring_back(log);
        }
        // If the path is a link, rotations show in the directory of the link's target.
        let (call, at) = self.calls.next(Some(id));
        at.set(&path);
        let (real, lives) = self.blocking(call, || (path.canonicalize(), inodes_of(&path)));
        let real = real.unwrap_or_else(|_| path.to_path_buf());
        let Some(tracked) = self.tracked.get(&id) else {
            return;
        };
        if tracked.files.contains_key(&path) {
            return; // Another thread has begun it while the call hung.
        }
        let place = real.parent().zip(real.file_name()).map(|(dir, name)| (dir.to_path_buf(), name.to_os_string()));
        let folder: Arc<Path> = real.parent().unwrap_or(&real).into();
        let log = self.next;
        self.next += 1;
        self.add_file(id, path.clone(), log);
        if let Some((dir, name)) = &place {
            self.watch.add(dir);
            self.names.add(dir, name, log);
        }
        let held_for = target.owner.clone().filter(|_| target.is_held);
        if held_for.is_some() {
            self.held.insert(log);
        }
        let away = BTreeSet::new();
        self.logs.insert(
            log,
            AssignedLog {
                path: path.clone(),
                job,
                tracked: Some(id),
                lives,
                place,
                away,
                held_for,
                given: None,
                is_last: false,
            },
        );
        self.tell(|| {
            Command::Add(Assignment {
                log,
                path: path.clone(),
                folder: folder.clone(),
                target: target.clone(),
                allowed: allowed.clone(),
                job,
                from_oldest,
            })
        });
    }
}

impl TargetManager {
    /// The target's number of logs, if it must not get another. Otherwise None.
    fn limit_reached(&self, id: u64) -> Option<usize> {
        let (most, own) = (self.config.logs, self.tracked.get(&id)?.files.len());
        let limit = if own < SHARE { most } else { most - most / 4 };
        (self.logs.len() >= limit).then_some(own)
    }

    fn add_file(&mut self, id: u64, path: Arc<Path>, log: u64) {
        if let Some(tracked) = self.tracked.get_mut(&id) {
            tracked.files.insert(path, log);
        }
    }

    /// Unfinished logs whose targets are gone.
    fn leaving(&self, job: usize) -> HashMap<Arc<Path>, u64> {
        let leaving = self.logs.iter().filter(|(_, known)| known.tracked.is_none() && known.job == job);
        leaving.map(|(log, known)| (known.path.clone(), *log)).collect()
    }

    /// Handles a log that a reader finished. Returns whether there is something to walk: a new file with its name may
    /// already exist.
    pub(super) fn finished(&mut self, reader: usize, log: u64) -> bool {
        let Some(known) = self.logs.get_mut(&log) else {
            return false;
        };
        if let Some(tracked) = known.tracked.and_then(|id| self.tracked.get_mut(&id)) {
            tracked.dirty = true;
        }
        known.away.insert(reader);
        if known.away.len() < self.readers.len() {
            return true;
        }
        let known = self.logs.remove(&log).expect("it was just seen");
        self.held.remove(&log);
        if let Some(tracked) = known.tracked.and_then(|id| self.tracked.get_mut(&id)) {
            tracked.files.remove(&known.path);
        }
        // Its place may go to a target whose logs wait for one.
        if self.logs.len() + 1 >= self.config.logs - self.config.logs / 4 {
            self.tracked.values_mut().filter(|t| t.unread.beyond > 0).for_each(|t| t.dirty = true);
        }
        if let Some((dir, name)) = known.place {
            self.names.remove(&dir, &name, log);
        }
        if let Some(id) = known.given {
            self.status.remove_target(id);
            self.given.retain(|_, given| *given != log);
        }
        if known.is_last {
            self.events.send(Event::Stop(StopRequest { within: Duration::from_secs(30), reads_on: true }));
        }
        true
    }

    /// Gives a log back to the readers that had finished it, because its path exists again.
    pub(super) fn bring_back(&mut self, log: u64) {
        let Some(known) = self.logs.get_mut(&log) else {
            return;
        };
        let away = std::mem::take(&mut known.away);
        let Some(tracked) = known.tracked.and_then(|id| self.tracked.get(&id)) else {
            return;
        };
        let allowed = Arc::new(tracked.glob.allowed(&self.config.link_roots));
        let folder = known.place.as_ref().map_or(Path::new(""), |(folder, _)| folder);
        for reader in away {
            self.readers[reader].send(Command::Add(Assignment {
                log,
                path: known.path.clone(),
                folder: folder.into(),
                target: tracked.target.clone(),
                allowed: allowed.clone(),
                job: known.job,
                from_oldest: false,
            }));
        }
    }
}

/// Until when a target is not walked again: four times as long as its walk took, if that was long. Otherwise None.
fn rest_after(begun: Instant, now: Instant) -> Option<Instant> {
    let took = now.saturating_duration_since(begun);
    (took > LONG).then(|| now + took * 4)
}

/// The live file among `files` of which `file` is an older generation. None: there is none.
fn rotation_of(file: &Path, files: &BTreeSet<&Path>) -> Option<PathBuf> {
    let name = file.file_name()?;
    let text = name.to_str()?;
    let ends = text.char_indices().filter(|(_, c)| matches!(c, '.' | '-')).map(|(i, _)| &text[..i]);
    ends.filter(|live| !live.is_empty() && is_rotation(live.as_ref(), name))
        .map(|live| file.with_file_name(live))
        .find(|live| files.contains(live.as_path()))
}
