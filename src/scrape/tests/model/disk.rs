//! The files of a history, which are real, and where each line is.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::model::Clock;

/// A line as written, perhaps in several parts.
pub(super) struct Line {
    /// The text that Loki should store.
    pub text: String,
    pub parts: u8,
    pub writer: usize,
    /// The log that it was written to, by its name at that time; and that time, by the monotonic clock.
    pub log: PathBuf,
    pub begun: i64,
    /// Its stages and timestamps guarantee that it is identical when sent again.
    pub identical: bool,
    /// Its file gets a name that the glob matches.
    pub renamed: bool,
    /// It was copied and truncated before the agent surely saw it: it may never arrive, or late.
    pub raced: bool,
    /// A new agent cannot find it any more, at least not completely.
    pub gone: bool,
    /// It was written to a rotated file while its log had a younger one.
    pub late: bool,
}

/// The contents of a file, whatever its name.
#[derive(Default)]
pub(super) struct File {
    /// Lines and parts of lines, in order.
    pub holds: Vec<(usize, u8)>,
    /// The running agent has looked at it, so it keeps the file open as long as needed.
    pub seen: bool,
    /// An agent has looked at it, and has saved that.
    pub known: bool,
    /// No agent can know that it belongs to a log.
    pub lost_track: bool,
    pub size: u64,
    /// When its last byte was written, by the monotonic clock.
    pub written: i64,
}

pub(super) struct Disk {
    pub root: PathBuf,
    pub clock: Clock,
    pub lines: Vec<Line>,
    pub files: Vec<File>,
    pub names: BTreeMap<PathBuf, usize>,
    /// Names that are links, and where they lead.
    pub links: BTreeMap<PathBuf, PathBuf>,
    /// Directories that are away for now, and where they are meanwhile.
    pub away: BTreeMap<PathBuf, PathBuf>,
    /// Lines that need not arrive, because of what happened to their files or before them.
    pub excused: HashSet<usize>,
    /// Writers whose next line may be taken for the end of another one.
    pub mixed_up: BTreeSet<usize>,
    /// Names that changed and were not reported to the target manager.
    pub unheard: BTreeSet<PathBuf>,
    /// By how many seconds the clock was set back in all.
    pub put_back: u64,
    /// Times of reading may go back, because it was set back far, or the time of a line before is not known any more.
    pub times_go_back: bool,
}

impl Disk {
    pub fn new(root: PathBuf, clock: Clock) -> Self {
        let (lines, files) = (Vec::new(), Vec::new());
        Self {
            root,
            clock,
            lines,
            files,
            names: BTreeMap::new(),
            links: BTreeMap::new(),
            away: BTreeMap::new(),
            excused: HashSet::new(),
            mixed_up: BTreeSet::new(),
            unheard: BTreeSet::new(),
            put_back: 0,
            times_go_back: false,
        }
    }

    pub fn file(&self, path: &Path) -> &File {
        &self.files[self.names[self.real(path)]]
    }

    fn real<'p>(&'p self, path: &'p Path) -> &'p Path {
        self.links.get(path).map_or(path, PathBuf::as_path)
    }

    /// Whether its directory is away.
    pub fn is_away(&self, path: &Path) -> bool {
        self.away.keys().any(|dir| path.starts_with(dir))
    }

    /// Makes a name a link to this file, in one step.
    pub fn link(&mut self, path: &Path, to: &Path) {
        let temporary = added(path, ".new");
        std::os::unix::fs::symlink(to, &temporary).expect("linked");
        fs::rename(&temporary, path).expect("renamed");
        self.links.insert(path.into(), to.into());
        self.unheard.insert(path.into());
    }

    /// Takes a directory away, with all that is in it.
    pub fn take_away(&mut self, dir: &Path) {
        let aside = added(&self.root, &format!("-aside-{}", self.away.len()));
        fs::rename(dir, &aside).expect("renamed");
        self.away.insert(dir.into(), aside);
        self.unheard.insert(dir.into());
    }

    pub fn bring_back(&mut self, dir: &Path) {
        if let Some(aside) = self.away.remove(dir) {
            fs::rename(aside, dir).expect("renamed");
            self.unheard.insert(dir.into());
        }
    }

    pub fn create(&mut self, path: &Path) {
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        assert!(!self.names.contains_key(path), "{} is there already", path.display());
        fs::File::create(path).expect("created").set_modified(self.clock.system_time()).expect("dated");
        self.names.insert(path.into(), self.files.len());
        self.files.push(File::default());
        self.unheard.insert(path.into());
    }

    pub fn append(&mut self, path: &Path, bytes: &[u8], line: (usize, u8)) {
        let mut file = OpenOptions::new().append(true).open(path).expect("opened");
        file.write_all(bytes).expect("written");
        file.set_modified(self.clock.system_time()).expect("dated");
        let known = self.names[self.real(path)];
        let known = &mut self.files[known];
        known.holds.push(line);
        known.size += bytes.len() as u64;
        known.written = self.clock.monotonic();
    }

    pub fn rename(&mut self, from: &Path, to: &Path) {
        fs::rename(from, to).expect("renamed");
        let file = self.names.remove(from).expect("known");
        assert!(self.names.insert(to.into(), file).is_none(), "{} is there already", to.display());
        self.unheard.extend([from.to_path_buf(), to.to_path_buf()]);
    }

    pub fn remove(&mut self, path: &Path) {
        fs::remove_file(path).expect("removed");
        self.names.remove(path).expect("known");
        self.unheard.insert(path.into());
    }

    /// Compresses a file and replaces it. `keep_time`: keeps the modification time, as gzip does and the kubelet does
    /// not. Returns its new name.
    pub fn pack(&mut self, path: &Path, keep_time: bool) -> PathBuf {
        let plain = fs::read(path).expect("read");
        // Each program in turn. Most use gzip.
        let (ending, bytes) = match self.files.len() % 8 {
            0 => (".xz", xz(&plain)),
            1 => (".bz2", bzip2(&plain)),
            2 => (".zst", ruzstd::encoding::compress_to_vec(&plain[..], ruzstd::encoding::CompressionLevel::Fastest)),
            _ => (".gz", gzip(&plain)),
        };
        let (packed, temporary) = (added(path, ending), added(path, ".tmp"));
        let before = fs::metadata(path).expect("it is there").modified().expect("a time");
        let mut file = fs::File::create(&temporary).expect("created");
        file.write_all(&bytes).expect("written");
        file.set_modified(if keep_time { before } else { self.clock.system_time() }).expect("dated");
        fs::rename(&temporary, &packed).expect("renamed");
        let File { seen, holds, .. } = self.file(path);
        let (seen, late) = (*seen, holds.iter().map(|(line, _)| *line).filter(|line| self.lines[*line].late));
        // An agent that has not seen these lines may know the file only by its inode.
        self.excused.extend(late.filter(|_| !seen).collect::<Vec<_>>());
        self.copied(path, &packed, seen);
        self.remove(path);
        packed
    }

    /// Copies a file, as copytruncate does before it truncates.
    pub fn copy(&mut self, from: &Path, to: &Path) {
        fs::copy(from, to).expect("copied");
        let file = OpenOptions::new().write(true).open(to).expect("opened");
        file.set_modified(self.clock.system_time()).expect("dated");
        self.copied(from, to, false);
    }

    pub fn truncate(&mut self, path: &Path) {
        let file = OpenOptions::new().write(true).open(path).expect("opened");
        file.set_len(0).expect("cut");
        file.set_modified(self.clock.system_time()).expect("dated");
        let known = &mut self.files[self.names[path]];
        known.holds.clear();
        known.size = 0;
    }

    fn copied(&mut self, from: &Path, to: &Path, seen: bool) {
        let File { holds, size, known, lost_track, .. } = self.file(from);
        let copy = File { holds: holds.clone(), seen, known: *known, lost_track: *lost_track, size: *size, written: 0 };
        self.names.insert(to.into(), self.files.len());
        self.files.push(copy);
        self.unheard.insert(to.into());
    }

    /// The next line of this line's writer that is not gone.
    pub fn after(&self, line: usize, gone: &BTreeSet<usize>) -> Option<usize> {
        let writer = self.lines[line].writer;
        (line + 1..self.lines.len()).find(|next| self.lines[*next].writer == writer && !gone.contains(next))
    }

    /// The lines of this line's block that have been written, in order.
    pub fn block(&self, line: usize) -> Vec<usize> {
        let own = &self.lines[line];
        let same_log = |n: &usize| self.lines[*n].writer == own.writer && self.lines[*n].log == own.log;
        let goes_on = |n: &usize| self.lines[*n].text.starts_with(' ');
        let mut block: Vec<usize> = (0..=line).rev().filter(same_log).collect();
        let begin = block.iter().position(|n| !goes_on(n)).unwrap_or(block.len() - 1);
        block.truncate(begin + 1);
        block.reverse();
        block.extend((line + 1..self.lines.len()).filter(same_log).take_while(goes_on));
        block
    }

    /// The agent has looked everywhere.
    pub fn all_seen(&mut self) {
        for (name, file) in &self.names {
            if !self.away.keys().any(|dir| name.starts_with(dir)) {
                let file = &mut self.files[*file];
                (file.seen, file.known) = (true, true);
            }
        }
    }

    /// What the agent has not seen of these files is read in any order, or not at all.
    pub fn unseen_lines(&self) -> Vec<usize> {
        let unseen = self.names.values().map(|file| &self.files[*file]).filter(|file| !file.seen);
        unseen.flat_map(|file| file.holds.iter().map(|(line, _)| *line)).collect()
    }

    /// The lines of files that no agent knows.
    pub fn unknown_lines(&self, is_asked: impl Fn(&Path) -> bool) -> Vec<usize> {
        let files = self.names.iter().filter(|(name, _)| is_asked(name)).map(|(_, file)| &self.files[*file]);
        files.filter(|file| !file.known).flat_map(|file| file.holds.iter().map(|(line, _)| *line)).collect()
    }

    /// The agent has closed its files without a name.
    pub fn none_unnamed(&mut self) {
        let named: HashSet<usize> = self.names.values().copied().collect();
        let unnamed = self.files.iter_mut().enumerate().filter(|(n, _)| !named.contains(n));
        unnamed.for_each(|(_, file)| file.seen = false);
    }

    /// The agent is gone, with its open files.
    pub fn none_seen(&mut self) {
        self.files.iter_mut().for_each(|file| file.seen = false);
    }

    /// The lines of which a part is nowhere where an agent could find it.
    pub fn gone(&self) -> Vec<usize> {
        let named: HashSet<usize> = self.names.values().copied().collect();
        let within_reach = |(n, file): (usize, &'_ File)| file.seen || named.contains(&n);
        let files = self.files.iter().enumerate().filter(|f| within_reach((f.0, f.1)));
        let there: HashSet<(usize, u8)> = files.flat_map(|(_, file)| file.holds.iter().copied()).collect();
        let whole = |line: usize| (0..self.lines[line].parts).all(|part| there.contains(&(line, part)));
        (0..self.lines.len()).filter(|line| !whole(*line) || self.excused.contains(line)).collect()
    }
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain).and_then(|()| encoder.finish()).expect("to memory")
}

fn bzip2(plain: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(plain).and_then(|()| encoder.finish()).expect("to memory")
}

fn xz(plain: &[u8]) -> Vec<u8> {
    let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(0)).expect("options");
    encoder.write_all(plain).and_then(|()| encoder.finish()).expect("to memory")
}

/// Whether a file has the ending of a program that compresses.
pub(super) fn ending(path: &Path) -> Option<&str> {
    let ending = path.extension()?.to_str()?;
    ["gz", "xz", "bz2", "zst"].contains(&ending).then_some(ending)
}

pub(super) fn added(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
