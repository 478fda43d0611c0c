//! Walks the globs of targets, and finds out which files are logs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::assigning::NewLog;
use super::neighbours::{SOON, inodes_of};
use super::{TargetManager, TrackedTarget};
use crate::scrape::messages::Command;
use crate::scrape::ownership::Gate;
use crate::scrape::supervised::Held;
use crate::scrape::unread::{Unread, Why};
use crate::tail::{Events, Folder, Places, is_rotation};

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
        let (is_first, has_none) = (tracked.directories.is_empty(), tracked.files.is_empty());
        let (job, glob) = (tracked.job, tracked.glob.clone());
        let begun = Instant::now();
        let allowed = Arc::new(glob.allowed(&self.config.link_roots));
        // A new directory may have got a file between the walk and the watch, so walk once more. Other file events wait
        // meanwhile, so the number of rounds is limited.
        let mut rounds = 0;
        let (mut found, mut places, why_nothing) = loop {
            let left_out = self.calls.left_out();
            let (call, at) = self.calls.next(Some(id));
            let (found, places, why) = self.blocking(call, || {
                let at = |path: &Path| at.set(path);
                let found = glob.walk_around(&allowed, &left_out, &at);
                let directories =
                    found.directories.iter().filter(|dir| !left_out.iter().any(|out| dir.starts_with(out)));
                let places = Places::of(directories, &found.files, &at);
                // What hangs is not asked again only to explain it.
                let asks = left_out.is_empty() && (has_none || found.files.is_empty());
                let why = if asks { glob.why_nothing() } else { None };
                (found, places, why)
            });
            if !self.is_current() {
                return;
            }
            // A watch is set by name, which asks the file system. So remote ones, which may hang, get none.
            let to_watch = places.folders.iter().filter(|(_, folder)| folder.events != Events::Remote);
            let has_new = to_watch.fold(false, |new, (real, folder)| self.watch.add(real, folder.id) | new);
            let found = (found, places, why);
            // If it was cut, the rest is checked every sync period.
            if !has_new || rounds == 64 || found.0.cut.is_some() {
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
        let mut unread = Unread { nothing: why_nothing, ..Unread::default() };
        if let Some((path, why)) = found.cut {
            unread.add(&path, Why::Cut(why));
        }
        found.errors.iter().for_each(|(path, error)| unread.add(path, Why::Denied(error.clone())));
        let is_heard = |(real, folder): (&PathBuf, &Folder)| folder.events == Events::All && manager.watch.hears(real);
        tracked.is_polled = !places.folders.iter().all(is_heard);
        found.directories.extend(places.folders.into_keys());
        if tracked.directories != found.directories {
            manager.places.remove(id, &tracked.directories);
            manager.places.add(id, &found.directories);
            tracked.directories = found.directories;
        }
        (tracked.aliases, tracked.links) = (places.aliases, places.links);
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
        let mut moved = Vec::new();
        for file in found.files.iter().filter(|f| !elders.contains_key(f)) {
            let known = tracked.files.get(file.as_path());
            moved.extend(known.copied().zip(places.files.get(file)));
            match known {
                Some(log) => back.extend(manager.logs.get(log).is_some_and(|k| !k.away.is_empty()).then_some(*log)),
                None => new.push((Arc::<Path>::from(file.as_path()), olders.contains(file))),
            }
        }
        // Under a path without links first.
        let is_by_link = |path: &Path| places.files.get(path).is_some_and(|place| place.by_link);
        new.sort_by_key(|(path, _)| is_by_link(path));
        new.extend(renamed.iter().map(|path| (path.clone(), false)));
        for (log, place) in moved {
            manager.place(log, place);
        }
        for log in back {
            self.bring_back(log);
        }
        elders.iter().for_each(|(file, live)| unread.add(file, Why::Older(live.clone())));
        let (call, at) = self.calls.next(Some(id));
        let find = || {
            let at = |path: &Path| at.set(path);
            let renamed: Vec<PathBuf> = renamed.iter().map(|path| path.to_path_buf()).collect();
            let inodes = new.iter().map(|(path, _)| {
                at(path);
                inodes_of(path)
            });
            (inodes.collect::<Vec<_>>(), Places::of([], &renamed, &at).files)
        };
        let (inodes, of_renamed) = if new.is_empty() { Default::default() } else { self.blocking(call, find) };
        if !self.is_current() {
            return;
        }
        places.files.extend(of_renamed);
        let start = self.start_of(job).filter(|_| is_first);
        let mut has_aliases = false;
        let mut leaving = if new.is_empty() { HashMap::new() } else { self.leaving(job) };
        for ((path, from_oldest), lives) in new.into_iter().zip(inodes) {
            let heir = leaving.remove(&path);
            // Another process has removed it meanwhile.
            let Some(place) = places.files.get(&*path) else {
                continue;
            };
            if let Some(first) = self.same_file(id, place).filter(|_| heir.is_none()) {
                has_aliases = true;
                unread.add(&path, Why::Same(first.to_path_buf()));
                continue;
            }
            if let Some(limit) = self.limit_reached(id).filter(|_| heir.is_none()) {
                unread.add(&path, Why::Beyond(limit));
                continue;
            }
            self.begin(id, NewLog { path, from_oldest, start, lives }, heir, place, &allowed);
        }
        if let Some(tracked) = self.tracked.get_mut(&id) {
            tracked.has_aliases = has_aliases;
        }
        self.note_unread(id, unread);
    }

    /// Walks the targets for which no events arrive, and checks their files.
    pub(super) fn poll(&mut self) {
        let polled = self.tracked.values_mut().filter(|tracked| tracked.is_polled);
        let mut logs: Vec<u64> = Vec::new();
        for tracked in polled {
            tracked.dirty = true;
            logs.extend(tracked.files.values());
        }
        for log in logs {
            self.tell(|| Command::Look(log));
        }
        self.walk_dirty();
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
