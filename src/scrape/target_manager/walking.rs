//! Walks the globs of targets, and finds out which files are logs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::assigning::NewLog;
use super::index::Directories;
use super::neighbours::{SOON, inodes_of};
use super::{FULL_WALK, TargetManager, TrackedTarget};
use crate::scrape::messages::Command;
use crate::scrape::ownership::Gate;
use crate::scrape::supervised::Held;
use crate::scrape::unread::{Unread, Why};
use crate::tail::{AllowedPaths, Events, Folder, Glob, Place, Places, Walk, is_rotation};

/// Targets whose walk takes longer than this are walked less often, to delay other targets less.
const LONG: Duration = Duration::from_millis(200);

/// One walk of a target.
struct TargetWalk {
    /// The target's number.
    id: u64,
    job: usize,
    glob: Arc<Glob>,
    allowed: Arc<AllowedPaths>,
    begun: Instant,
    /// The target was not walked before.
    is_first: bool,
}

/// What a walk found.
struct Listed {
    found: Walk,
    places: Places,
    /// Why the target has no file, if that is known.
    nothing: Option<String>,
    /// When the listing of its directories began.
    time: SystemTime,
}

/// The places of files, by path.
type FilePlaces = BTreeMap<PathBuf, Place>;

/// A file that is no known log.
struct NewFile {
    path: Arc<Path>,
    /// It has older generations, and is read from the start of the oldest one.
    from_oldest: bool,
}

impl Held<'_, TargetManager> {
    /// Walks all targets, and checks the names of all logs.
    pub(super) fn walk_all(&mut self) {
        self.due.full_walk = Instant::now() + self.config.sync_period * FULL_WALK;
        self.tracked.values_mut().for_each(|t| t.dirty = true);
        self.check_all();
    }

    /// Walks the targets with file events, and plans the next walk. A target whose walk took long rests first, so that
    /// other targets do not wait for it again and again.
    pub(super) fn walk_dirty(&mut self) {
        let begun = Instant::now();
        let is_due = |t: &TrackedTarget| {
            let wanted = t.dirty || t.is_to_check || t.again.is_some_and(|at| at <= begun);
            wanted && t.rests_until.is_none_or(|until| until <= begun)
        };
        let due: Vec<u64> = self.tracked.iter().filter(|(_, t)| is_due(t)).map(|(id, _)| *id).collect();
        for id in due {
            self.walk(id);
            if !self.is_current() {
                return;
            }
        }
        let dirty = self
            .tracked
            .values()
            .filter(|t| t.dirty || t.is_to_check)
            .map(|t| t.rests_until.unwrap_or_else(Instant::now));
        let again =
            self.tracked.values().filter_map(|t| t.again.map(|at| t.rests_until.map_or(at, |until| until.max(at))));
        if let Some(at) = dirty.chain(again).min() {
            self.walk_by(at);
        }
    }

    /// Walks one target: finds its files, and assigns the new ones to the readers. If a system call of the walk hangs,
    /// the walk ends here, and the thread that takes over walks the target again.
    pub(super) fn walk(&mut self, id: u64) {
        if self.is_as_listed(id) || !self.is_current() {
            return;
        }
        let Some(walk) = self.begin_walk(id) else {
            return;
        };
        // None: another thread has taken over, or the target is gone.
        let _ = self.finish_walk(&walk);
    }

    fn begin_walk(&mut self, id: u64) -> Option<TargetWalk> {
        let manager = &mut **self;
        let tracked = manager.tracked.get_mut(&id)?;
        tracked.dirty = false;
        tracked.listed = None;
        tracked.again = None;
        let (glob, is_first) = (tracked.glob.clone(), tracked.directories.is_empty());
        let allowed = Arc::new(glob.allowed(&manager.config.link_roots));
        #[cfg(test)]
        {
            manager.walked += 1;
        }
        Some(TargetWalk { id, job: tracked.job, glob, allowed, begun: Instant::now(), is_first })
    }

    fn finish_walk(&mut self, walk: &TargetWalk) -> Option<()> {
        let Listed { mut found, mut places, nothing, time } = self.list(walk)?;
        let mut unread = Unread { nothing, ..Unread::default() };
        let is_local = places.folders.values().all(|folder| folder.events == Events::All);
        let is_empty = found.files.is_empty();
        self.note_directories(walk, &mut found, &mut places)?;
        self.leave_out(walk.id, &mut found, &mut unread)?;
        let elders = self.find_elders(walk.id, &found.files)?;
        let renamed = if walk.is_first { self.renamed_logs(walk.id) } else { Vec::new() };
        if !self.is_current() {
            return None;
        }
        let new = self.note_known(walk.id, &found.files, &elders, &places.files)?;
        elders.iter().for_each(|(file, live)| unread.add(file, Why::Older(live.clone())));
        self.assign_new(walk, new, &renamed, places.files, &mut unread)?;
        if is_local && !is_empty && unread.depends_on_directories_only() {
            self.note_listed(walk.id, time)?;
        }
        self.note_unread(walk.id, unread);
        Some(())
    }

    /// Lists the files and directories of the target, and watches the directories.
    fn list(&mut self, walk: &TargetWalk) -> Option<Listed> {
        let has_none = self.tracked.get(&walk.id)?.files.is_empty();
        // A new directory may have got a file between the walk and the watch, so walk once more. Other file events wait
        // meanwhile, so the number of rounds is limited.
        let mut rounds = 0;
        loop {
            let left_out = self.calls.left_out();
            let (call, at) = self.calls.next(Some(walk.id));
            let time = self.clock.system_time();
            let listed = self.blocking(call, || {
                let at = |path: &Path| at.set(path);
                let found = walk.glob.walk_around(&walk.allowed, &left_out, &at);
                let directories =
                    found.directories.iter().filter(|dir| !left_out.iter().any(|out| dir.starts_with(out)));
                let places = Places::of(directories, &found.files, &at);
                // What hangs is not asked again only to explain it.
                let asks = left_out.is_empty() && (has_none || found.files.is_empty());
                let nothing = if asks { walk.glob.why_nothing() } else { None };
                Listed { found, places, nothing, time }
            });
            if !self.is_current() {
                return None;
            }
            // A watch is set by name, which asks the file system. So remote ones, which may hang, get none.
            let to_watch = listed.places.folders.iter().filter(|(_, folder)| folder.events != Events::Remote);
            let was_on = self.watch.is_on();
            let has_new = to_watch.fold(false, |new, (real, folder)| self.watch.add(real, folder.id) | new);
            if was_on && !self.watch.is_on() {
                // No target gets events any more.
                self.tracked.values_mut().for_each(|tracked| tracked.is_polled = true);
            }
            // If it was cut, the next check walks it again.
            if !has_new || rounds == 64 || listed.found.cut.is_some() {
                return Some(listed);
            }
            if walk.begun.elapsed() > LONG {
                if let Some(tracked) = self.tracked.get_mut(&walk.id) {
                    tracked.dirty = true;
                }
                return Some(listed);
            }
            rounds += 1;
        }
    }

    /// Remembers in which directories a new name may concern the target.
    fn note_directories(&mut self, walk: &TargetWalk, found: &mut Walk, places: &mut Places) -> Option<()> {
        let manager = &mut **self;
        let tracked = manager.tracked.get_mut(&walk.id)?;
        tracked.rests_until = rest_after(walk.begun, Instant::now());
        let is_heard = |(real, folder): (&PathBuf, &Folder)| folder.events == Events::All && manager.watch.hears(real);
        tracked.is_polled = !places.folders.iter().all(is_heard);
        found.directories.extend(std::mem::take(&mut places.folders).into_keys());
        let directories = std::mem::take(&mut found.directories);
        if !tracked.directories.iter().map(AsRef::as_ref).eq(directories.iter().map(PathBuf::as_path)) {
            // Targets and watches of one directory share its path.
            let shared = |path: PathBuf| {
                let known = manager.watch.shared(&path).or_else(|| manager.places.shared(&path));
                known.unwrap_or_else(|| path.into())
            };
            let directories: Directories = directories.into_iter().map(shared).collect();
            manager.places.remove(walk.id, &tracked.directories);
            manager.places.add(walk.id, &directories);
            tracked.directories = directories;
        }
        tracked.aliases = std::mem::take(&mut places.aliases);
        tracked.links = std::mem::take(&mut places.links);
        Some(())
    }

    /// Removes the files from `found` that the target excludes or that its pod does not own. Notes why they, and all
    /// that the walk could not read, are not read.
    fn leave_out(&self, id: u64, found: &mut Walk, unread: &mut Unread) -> Option<()> {
        let tracked = self.tracked.get(&id)?;
        if let Some((path, why)) = found.cut.take() {
            unread.add(&path, Why::Cut(why));
        }
        found.errors.iter().for_each(|(path, error)| unread.add(path, Why::Denied(error.clone())));
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
        if let (Some(owner), Some(pod_logs)) = (&tracked.target.owner, &self.config.pod_logs) {
            let refused = Gate::new(owner, pod_logs).refuse(&mut found.files);
            refused.iter().for_each(|folder| unread.add(folder, Why::Foreign));
        }
        found.skipped.iter().for_each(|(path, skip)| unread.add(path, Why::Skipped(*skip)));
        Some(())
    }

    /// The files that are older generations of a log, each with the path of the log.
    fn find_elders<'f>(&mut self, id: u64, files: &'f BTreeSet<PathBuf>) -> Option<BTreeMap<&'f PathBuf, PathBuf>> {
        // Between a rename and the new file only the older generation exists. It still belongs to the known log.
        let known = self.tracked.get(&id)?.files.keys().map(AsRef::as_ref);
        let lives: BTreeSet<&Path> = files.iter().map(PathBuf::as_path).chain(known).collect();
        let mut elders: BTreeMap<&PathBuf, PathBuf> =
            files.iter().filter_map(|file| Some((file, rotation_of(file, &lives)?))).collect();
        let again = !elders.is_empty() && self.release_neighbours(id, &mut elders);
        if !self.is_current() {
            return None;
        }
        self.tracked.get_mut(&id)?.again = again.then(|| Instant::now() + SOON);
        Some(elders)
    }

    /// Notes the places of the logs that are known, and returns the other files, those under a path without links
    /// first.
    fn note_known(
        &mut self,
        id: u64,
        files: &BTreeSet<PathBuf>,
        elders: &BTreeMap<&PathBuf, PathBuf>,
        places: &FilePlaces,
    ) -> Option<Vec<NewFile>> {
        let tracked = self.tracked.get(&id)?;
        let olders: BTreeSet<&PathBuf> = elders.values().collect();
        let (mut new, mut back, mut moved) = (Vec::new(), Vec::new(), Vec::new());
        for file in files.iter().filter(|file| !elders.contains_key(file)) {
            let known = tracked.files.get(file.as_path());
            moved.extend(known.copied().zip(places.get(file)));
            match known {
                Some(log) => back.extend(self.logs.get(log).is_some_and(|k| !k.away.is_empty()).then_some(*log)),
                None => new.push(NewFile { path: file.as_path().into(), from_oldest: olders.contains(file) }),
            }
        }
        // A log that was read before comes before a file that it may have had.
        let is_new = |path: &Path| !self.positions.is_known(&path.to_string_lossy());
        new.sort_by_cached_key(|file| {
            let is_link = places.get(&*file.path).is_some_and(|place| place.by_link);
            (is_link, is_new(&file.path))
        });
        for (log, place) in moved {
            self.place(log, place);
        }
        for log in back {
            self.bring_back(log);
        }
        Some(new)
    }

    /// Assigns new files and logs without a live file to the readers, except those that are read under another path and
    /// those beyond the limit on logs.
    fn assign_new(
        &mut self,
        walk: &TargetWalk,
        mut new: Vec<NewFile>,
        renamed: &[Arc<Path>],
        mut places: FilePlaces,
        unread: &mut Unread,
    ) -> Option<()> {
        let id = walk.id;
        new.splice(..0, renamed.iter().map(|path| NewFile { path: path.clone(), from_oldest: false }));
        let mut has_aliases = false;
        if !new.is_empty() {
            let (inodes, of_renamed) = self.look_up(id, &new, renamed)?;
            places.extend(of_renamed);
            let start = self.start_of(walk.job).filter(|_| walk.is_first);
            let mut leaving = self.leaving(walk.job);
            for (NewFile { path, from_oldest }, lives) in new.into_iter().zip(inodes) {
                let heir = leaving.remove(&path);
                // Another process has removed it meanwhile.
                let Some(place) = places.get(&*path) else {
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
                self.begin(id, NewLog { path, from_oldest, start, lives }, heir, place, &walk.allowed);
            }
        }
        if let Some(tracked) = self.tracked.get_mut(&id) {
            tracked.has_aliases = has_aliases;
        }
        Some(())
    }

    /// The inodes of the new files, and the places of logs without a live file.
    fn look_up(&mut self, id: u64, new: &[NewFile], renamed: &[Arc<Path>]) -> Option<(Vec<Vec<u64>>, FilePlaces)> {
        let (call, at) = self.calls.next(Some(id));
        let found = self.blocking(call, || {
            let at = |path: &Path| at.set(path);
            let inodes = new.iter().map(|file| {
                at(&file.path);
                inodes_of(&file.path)
            });
            let renamed: Vec<PathBuf> = renamed.iter().map(|path| path.to_path_buf()).collect();
            (inodes.collect(), Places::of([], &renamed, &at).files)
        });
        self.is_current().then_some(found)
    }

    /// Walks the targets for which no events arrive, if their directories changed or may not tell that, and checks their
    /// files.
    pub(super) fn poll(&mut self) {
        let polled = self.tracked.values_mut().filter(|tracked| tracked.is_polled);
        let mut logs: Vec<u64> = Vec::new();
        for tracked in polled {
            tracked.is_to_check = true;
            logs.extend(tracked.files.values());
        }
        for log in logs {
            self.tell(|| Command::Look(log));
        }
        self.walk_dirty();
    }
}

/// The end of the pause after a walk, if the walk took long: the pause is four times as long. None: there is no pause.
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
