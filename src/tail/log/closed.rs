//! A log whose file is closed, because nothing was written to it for long. It is opened again when it changes, at the place
//! where it was closed: as after a restart of the agent.

use std::collections::VecDeque;
use std::fs::{self, Metadata};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::{Drained, Known, Log, Lost, Options, Resume, inode};
use crate::model::{Mark, Position, Progress};
use crate::tail::allowed_paths::AllowedPaths;
use crate::tail::folders::Folders;

/// How long a rotation may go unnoticed.
const UNHEARD: Duration = Duration::from_secs(60);

/// See the [module](self).
#[derive(Debug)]
pub struct ClosedLog {
    path: Arc<Path>,
    options: Options,
    folders: Arc<Folders>,
    allowed: Arc<AllowedPaths>,
    position: Position,
    mark: Mark,
    drained: VecDeque<Drained>,
    /// All that was written before this time was read.
    closed: SystemTime,
    seen: Seen,
}

/// The file that had the name when the log was closed.
#[derive(Debug, PartialEq)]
struct Seen {
    file: (u64, u64),
    size: u64,
    modified: SystemTime,
}

impl Seen {
    fn of(meta: &Metadata) -> io::Result<Self> {
        Ok(Self { file: (meta.dev(), meta.ino()), size: meta.len(), modified: meta.modified()? })
    }
}

impl Log {
    /// Closes its file, if it has only one, which has its name and was read to its end. The caller has to know that
    /// everything of it is committed. Otherwise, returns the log as it is.
    pub fn close(self: Box<Self>, now: SystemTime) -> Result<ClosedLog, Box<Self>> {
        let Ok(Some(seen)) = self.seen_at_rest() else {
            return Err(self);
        };
        let (position, mark) = (self.position(), self.marks.next);
        let Self { path, options, folders, allowed, drained, .. } = *self;
        Ok(ClosedLog { path, options, folders, allowed, position, mark, drained, closed: now - UNHEARD, seen })
    }

    /// The file that it reads, if that is its only one and is not compressed: device and inode, and the open file.
    pub fn quiet_file(&self) -> Option<((u64, u64), BorrowedFd<'_>)> {
        let file = &self.generations[0];
        self.is_simple().then(|| file.descriptor()).flatten().map(|open| (inode(file), open))
    }

    /// Whether the file that it reads ends where reading continues.
    pub fn is_at_end(&self) -> bool {
        let file = &self.generations[0];
        file.metadata().is_ok_and(|meta| meta.len() == file.offset)
    }

    fn is_simple(&self) -> bool {
        self.generations.len() == 1 && self.spent.is_empty() && self.late.is_empty() && self.gone.is_none()
    }

    fn seen_at_rest(&self) -> io::Result<Option<Seen>> {
        let is_between_lines =
            self.skipping.is_none() && self.hole == 0 && !self.abandoned && self.lost == Lost::default();
        let file = &self.generations[0];
        if !self.is_simple() || !is_between_lines || !file.is_plain() {
            return Ok(None);
        }
        // In this order: what is written in between shows in the second one.
        let named = Seen::of(&fs::metadata(&self.path)?)?;
        let open = Seen::of(&file.metadata()?)?;
        Ok(Some(named).filter(|named| *named == open && open.size == file.offset))
    }
}

impl ClosedLog {
    /// The file that had the name when the log was closed: device and inode.
    pub fn file(&self) -> (u64, u64) {
        self.seen.file
    }

    /// Opens it if it has changed. None: it has not.
    pub fn open_again(&self) -> io::Result<Option<Log>> {
        match fs::metadata(&self.path).and_then(|meta| Seen::of(&meta)) {
            Ok(seen) if seen == self.seen => return Ok(None),
            // It may be found under a rotated name.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let resume = Resume::At { position: self.position, saved: self.closed };
        let ends: Vec<Position> = self.drained.iter().map(|drained| drained.end).collect();
        let known = Known { left: &ends, ..Known::NOTHING };
        let mut log = Log::open_among(&self.path, resume, self.options, &self.folders, &self.allowed, known)?;
        (log.marks.next, log.marks.committed) = (self.mark, self.mark);
        let known = std::mem::take(&mut log.drained);
        log.drained = self.drained.iter().copied().chain(known).collect();
        while log.drained.len() > super::DRAINED {
            log.drained.pop_front();
        }
        Ok(Some(log))
    }

    /// Whether no file has its name any more.
    pub fn is_gone(&self) -> bool {
        matches!(fs::metadata(&self.path), Err(error) if error.kind() == io::ErrorKind::NotFound)
    }

    /// When its file was last modified.
    pub fn written(&self) -> SystemTime {
        self.seen.modified
    }

    pub fn note_progress(&self, progress: &mut Progress) {
        progress.read_offset = self.position.offset;
        progress.size = self.position.offset;
        progress.unread = 0;
        progress.generations = 1;
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions};
    use std::io::Write;
    use std::time::Instant;

    use super::*;
    use crate::model::{Chunk, Read, Source};

    struct Scene {
        dir: tempfile::TempDir,
        log: Option<Box<Log>>,
    }

    impl Scene {
        fn new(text: &str) -> Self {
            let dir = tempfile::tempdir().expect("a directory");
            let scene = Self { dir, log: None };
            scene.append("a.log", text);
            let resume = Resume::Since(SystemTime::UNIX_EPOCH);
            let log = Log::open(&scene.path("a.log"), resume, Options::default()).expect("opened");
            Self { log: Some(Box::new(log)), ..scene }
        }

        fn path(&self, name: &str) -> std::path::PathBuf {
            self.dir.path().join(name)
        }

        fn append(&self, name: &str, text: &str) {
            let file = OpenOptions::new().create(true).append(true).open(self.path(name));
            file.and_then(|mut file| file.write_all(text.as_bytes())).expect("written");
        }

        /// The lines that it has now. All of them are committed.
        fn lines(&mut self) -> Vec<String> {
            let log = self.log.as_mut().expect("it is open");
            let (mut lines, mut chunk) = (Vec::new(), Chunk::default());
            while let Read::Records { .. } = log.read(1 << 16, Instant::now(), &mut chunk).expect("read") {
                let text = std::str::from_utf8(&chunk.bytes[..chunk.len]).expect("text");
                lines.extend(text.lines().map(str::to_string));
                let end = log.mark();
                log.committed(end);
                log.look(Instant::now()).expect("looked");
            }
            lines
        }

        fn close(&mut self) -> ClosedLog {
            self.log.take().expect("it is open").close(SystemTime::now()).expect("closed")
        }

        fn is_refused(&mut self) -> bool {
            let log = self.log.take().expect("it is open");
            match log.close(SystemTime::now()) {
                Ok(_) => false,
                Err(log) => {
                    self.log = Some(log);
                    true
                }
            }
        }
    }

    #[test]
    fn only_what_was_read_to_its_end_is_closed() {
        let mut scene = Scene::new("one\n");
        assert!(scene.is_refused(), "nothing was read");
        assert_eq!(scene.lines(), ["one"]);
        scene.append("a.log", "begun");
        assert!(scene.is_refused(), "a line was begun");
        scene.append("a.log", " and ended\n");
        assert_eq!(scene.lines(), ["begun and ended"]);
        fs::remove_file(scene.path("a.log")).expect("removed");
        assert!(scene.is_refused(), "it has no name");
        scene.append("a.log", "");
        assert!(scene.is_refused(), "another file has its name");
    }

    /// Each way in which a file can change while it is closed: nothing is read twice, and nothing is lost.
    #[test]
    fn it_goes_on_where_it_was_closed() {
        let rename = |scene: &Scene, to: &str| fs::rename(scene.path("a.log"), scene.path(to)).expect("renamed");
        type Change<'c> = &'c dyn Fn(&Scene);
        let ways: [(&str, Change<'_>, &[&str]); 6] = [
            ("grown", &|scene| scene.append("a.log", "two\n"), &["two"]),
            (
                "touched",
                &|scene| {
                    File::options()
                        .append(true)
                        .open(scene.path("a.log"))
                        .and_then(|f| f.set_modified(SystemTime::UNIX_EPOCH))
                        .expect("set")
                },
                &[],
            ),
            (
                "rotated",
                &|scene| {
                    rename(scene, "a.log.1");
                    scene.append("a.log", "two\n");
                },
                &["two"],
            ),
            (
                "grown and rotated twice",
                &|scene| {
                    scene.append("a.log", "two\n");
                    rename(scene, "a.log.1");
                    scene.append("a.log", "three\n");
                    fs::rename(scene.path("a.log.1"), scene.path("a.log.2")).expect("renamed");
                    rename(scene, "a.log.1");
                    scene.append("a.log", "four\n");
                },
                &["two", "three", "four"],
            ),
            (
                "grown and renamed, without a new file",
                &|scene| {
                    scene.append("a.log", "two\n");
                    rename(scene, "a.log.1");
                },
                &["two"],
            ),
            (
                "copied and cut",
                &|scene| {
                    scene.append("a.log", "two\n");
                    fs::copy(scene.path("a.log"), scene.path("a.log.1")).expect("copied");
                    File::create(scene.path("a.log")).expect("cut");
                    scene.append("a.log", "3\n");
                },
                &["two", "3"],
            ),
        ];
        for (way, change, want) in ways {
            let mut scene = Scene::new("one\n");
            assert_eq!(scene.lines(), ["one"]);
            let mark = scene.log.as_ref().expect("it is open").mark();
            let closed = scene.close();
            assert!(closed.open_again().expect("looked").is_none(), "{way}: nothing has changed yet");
            change(&scene);
            let log = closed.open_again().expect("opened").expect(way);
            assert_eq!(log.mark(), mark, "{way}");
            scene.log = Some(Box::new(log));
            assert_eq!(scene.lines(), want, "{way}");
        }
    }

    #[test]
    fn a_file_that_is_gone_is_reported_as_gone() {
        let mut scene = Scene::new("one\n");
        scene.lines();
        let closed = scene.close();
        fs::remove_file(scene.path("a.log")).expect("removed");
        assert_eq!(closed.open_again().expect_err("gone").kind(), io::ErrorKind::NotFound);
        scene.append("a.log", "another file\n");
        scene.log = closed.open_again().expect("opened").map(Box::new);
        assert_eq!(scene.lines(), ["another file"]);
    }
}
