//! Log files of containers, written and rotated as by the kubelet and containerd.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;

use crate::load::Grows;
use crate::loki::{Entry, StreamName, nanoseconds};
use crate::verdict::Written;

/// The size of the parts into which containerd divides long lines.
const PART: usize = 16 << 10;

/// One of this many lines is longer than a part of containerd, if any line is.
const LONG_EVERY: usize = 200;

/// The log of one container. The pod's directory is removed when this is dropped, as it is when a pod is removed.
pub(crate) struct ContainerLog {
    pod_dir: PathBuf,
    dir: PathBuf,
    name: String,
    live: File,
    /// The size of the live file in bytes.
    size: u64,
    /// The rotated files, oldest first. All except the last are compressed.
    rotated: Vec<PathBuf>,
    last_rotation: SystemTime,
    last_time: i64,
    stdout: Vec<Entry>,
    stderr: Vec<Entry>,
    /// The last part of a line whose first parts are in the file, and the whole line.
    unfinished: Option<(Output, String, String)>,
    habits: Habits,
    /// A seed, so that no two logs have lines of the same lengths.
    seed: usize,
}

/// How a log grows under load.
#[derive(Clone, Copy)]
pub(crate) struct Habits {
    /// The approximate length of its lines.
    pub(crate) line: usize,
    /// Whether every second line is written to stderr.
    pub(crate) stderr: bool,
    /// Whether it has lines in parts, with a pause and perhaps a rotation between the parts.
    pub(crate) parts: bool,
    /// The size at which the live file is rotated.
    pub(crate) rotate_at: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    Stdout,
    Stderr,
}

impl ContainerLog {
    /// `<root>/<namespace>_<pod>_<uid>/<container>/0.log`
    pub(crate) fn create(root: &Path, namespace: &str, pod: &str, uid: &str, container: &str) -> Self {
        let name = format!("{namespace}_{pod}_{uid}");
        let pod_dir = root.join(&name);
        let dir = pod_dir.join(container);
        fs::create_dir_all(&dir).unwrap_or_else(|e| {
            panic!("{}: {e}: these tests write where the kubelet writes, so run them as root", dir.display())
        });
        ContainerLog {
            live: live(&dir),
            size: 0,
            pod_dir,
            dir,
            seed: name.bytes().map(usize::from).sum(),
            name,
            rotated: Vec::new(),
            last_rotation: SystemTime::UNIX_EPOCH,
            last_time: 0,
            stdout: Vec::new(),
            stderr: Vec::new(),
            unfinished: None,
            habits: Habits { line: 100, stderr: false, parts: false, rotate_at: u64::MAX },
        }
    }

    pub(crate) fn with_habits(mut self, habits: Habits) -> Self {
        self.habits = habits;
        self
    }

    /// Writes `count` lines with the text `what`, each different from all others.
    pub(crate) fn write(&mut self, what: &str, count: usize) {
        let mut text = String::new();
        for _ in 0..count {
            let line = format!("{what}, line {} of {}", self.count(), self.name);
            self.line(&mut text, Output::Stdout, line);
        }
        self.append(&text);
    }

    /// Writes a line of a real program.
    pub(crate) fn say(&mut self, output: Output, line: &str) {
        let mut text = String::new();
        self.line(&mut text, output, line.to_owned());
        self.append(&text);
    }

    /// Writes a line that no verdict checks, because it will be lost.
    pub(crate) fn say_poison(&mut self, time: SystemTime, line: &str) {
        let mut text = String::new();
        parts(&mut text, stamp(nanoseconds(time)), Output::Stdout, line);
        self.append(&text);
    }

    /// Rotates as the kubelet does: compresses the file that was rotated before, renames the live file, begins a new one.
    pub(crate) fn rotate(&mut self) {
        if let Some(rotated) = self.rotated.last_mut() {
            *rotated = compress(rotated).expect("the rotated log is compressed");
        }
        // Names have seconds, and the kubelet rotates a log at most every ten seconds.
        let second = Duration::from_secs(1);
        self.last_rotation = SystemTime::now().max(self.last_rotation + second);
        let time = Timestamp::try_from(self.last_rotation).expect("it is now");
        let name = format!("0.log.{}", time.strftime("%Y%m%d-%H%M%S"));
        let rotated = self.dir.join(name);
        fs::rename(self.path(), &rotated).expect("the live log is there");
        self.live = live(&self.dir);
        self.size = 0;
        self.rotated.push(rotated);
    }

    /// Deletes the oldest rotated file, as the kubelet does when there are too many.
    pub(crate) fn delete_oldest(&mut self) {
        let oldest = self.rotated.remove(0);
        fs::remove_file(&oldest).unwrap_or_else(|e| panic!("{}: {e}", oldest.display()));
    }

    /// The rotated files, oldest first.
    pub(crate) fn rotated(&self) -> &[PathBuf] {
        &self.rotated
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.join("0.log")
    }

    /// All lines that were ever written, whichever file they are in now.
    pub(crate) fn written(&self) -> Vec<Entry> {
        [self.stdout.as_slice(), self.stderr.as_slice()].concat()
    }

    pub(crate) fn written_to(&self, output: Output) -> &[Entry] {
        match output {
            Output::Stdout => &self.stdout,
            Output::Stderr => &self.stderr,
        }
    }

    /// The same, by stream.
    pub(crate) fn streams(&self) -> impl Iterator<Item = Written> {
        let outputs = [(Output::Stdout, &self.stdout), (Output::Stderr, &self.stderr)];
        let written = outputs.into_iter().filter(|(_, entries)| !entries.is_empty());
        written.map(|(output, entries)| Written {
            stream: StreamName { filename: self.path().display().to_string(), output: output.word().to_owned() },
            lines: entries.iter().map(|(time, line)| (Some(*time), line.clone())).collect(),
        })
    }

    fn count(&self) -> usize {
        self.stdout.len() + self.stderr.len()
    }

    fn line(&mut self, text: &mut String, output: Output, line: String) {
        let time = self.now();
        parts(text, stamp(time), output, &line);
        self.wrote(output, time, line);
    }

    /// Writes a line except its last part, which [`ContainerLog::finish_line`] writes.
    fn begin_line(&mut self, text: &mut String, output: Output, line: String) {
        let (first, last) = line.split_at(line.len() / PART * PART);
        let stamp = stamp(self.now());
        for part in chunks(first) {
            let _ = writeln!(text, "{stamp} {} P {part}", output.word());
        }
        self.unfinished = Some((output, last.to_owned(), line));
    }

    /// Writes a line, and returns its length.
    fn finish_line(&mut self, text: &mut String) -> usize {
        let Some((output, last, line)) = self.unfinished.take() else {
            return 0;
        };
        let (time, length) = (self.now(), line.len());
        let _ = writeln!(text, "{} {} F {last}", stamp(time), output.word());
        self.wrote(output, time, line);
        length
    }

    fn wrote(&mut self, output: Output, time: i64, line: String) {
        let written = match output {
            Output::Stdout => &mut self.stdout,
            Output::Stderr => &mut self.stderr,
        };
        written.push((time, line));
    }

    /// A time later than that of the line before.
    fn now(&mut self) -> i64 {
        self.last_time = nanoseconds(SystemTime::now()).max(self.last_time + 1);
        self.last_time
    }

    fn append(&mut self, text: &str) {
        let done = self.live.write_all(text.as_bytes());
        done.expect("the log is written");
        self.size += text.len() as u64;
    }
}

impl Grows for ContainerLog {
    fn grow(&mut self, bytes: usize) -> usize {
        let mut text = String::new();
        let mut grown = self.finish_line(&mut text);
        while grown < bytes && self.unfinished.is_none() {
            let number = self.count();
            let output = match number % 2 {
                1 if self.habits.stderr => Output::Stderr,
                _ => Output::Stdout,
            };
            let varied = number * 37 + self.seed;
            let long = self.habits.parts && number % LONG_EVERY == LONG_EVERY - 1;
            let length = if long { PART + varied % (3 * PART) } else { self.habits.line * (50 + varied % 100) / 100 };
            let line = padded(format!("line {number} of {} ", self.name), length);
            if long {
                self.begin_line(&mut text, output, line);
            } else {
                grown += line.len();
                self.line(&mut text, output, line);
            }
        }
        self.append(&text);
        if self.size >= self.habits.rotate_at {
            self.rotate();
        }
        grown
    }

    fn finish(&mut self) {
        let mut text = String::new();
        self.finish_line(&mut text);
        self.append(&text);
    }
}

impl Output {
    fn word(self) -> &'static str {
        match self {
            Output::Stdout => "stdout",
            Output::Stderr => "stderr",
        }
    }
}

impl Drop for ContainerLog {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.pod_dir);
    }
}

/// Extends the line to this length, with varying text.
pub(crate) fn padded(mut line: String, length: usize) -> String {
    static TEXT: OnceLock<String> = OnceLock::new();
    let text = TEXT.get_or_init(|| {
        let words = (0..60_000_u64).map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 44);
        words.fold(String::new(), |text, word| text + &format!("{word:x} "))
    });
    let pad = length.saturating_sub(line.len());
    let from = (line.len() + length) * 31 % (text.len() - pad);
    line.push_str(&text[from..from + pad]);
    line
}

fn stamp(nanoseconds: i64) -> Timestamp {
    Timestamp::from_nanosecond(nanoseconds.into()).expect("it is about now")
}

fn parts(text: &mut String, stamp: Timestamp, output: Output, line: &str) {
    let parts = chunks(line);
    let last = parts.len() - 1;
    for (nth, part) in parts.into_iter().enumerate() {
        let flag = if nth == last { "F" } else { "P" };
        let _ = writeln!(text, "{stamp} {} {flag} {part}", output.word());
    }
}

/// Divides a line into pieces of at most a part's size, at least one. The lines of these tests are ASCII.
fn chunks(line: &str) -> Vec<&str> {
    let cuts = (0..line.len().max(1)).step_by(PART);
    cuts.map(|at| &line[at..line.len().min(at + PART)]).collect()
}

fn live(dir: &Path) -> File {
    let path = dir.join("0.log");
    File::create_new(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Writes the compressed file beside the plain one, renames it, and then removes the plain one: for a moment both exist.
pub(crate) fn compress(plain: &Path) -> io::Result<PathBuf> {
    let beside = plain.with_added_extension("tmp");
    let compressed = plain.with_added_extension("gz");
    let mut gzip = GzEncoder::new(File::create_new(&beside)?, Compression::default());
    io::copy(&mut File::open(plain)?, &mut gzip)?;
    gzip.finish()?;
    fs::rename(&beside, &compressed)?;
    fs::remove_file(plain)?;
    Ok(compressed)
}
