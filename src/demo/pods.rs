//! Pods that log: they write lines in the form of CRI, and their files are rotated as the kubelet does it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::{Timestamp, tz::TimeZone};
use tokio::time::Instant;

use super::shared::Shared;

/// Names of the pods, and how many lines each writes per second.
const PODS: [(&str, u64); 4] = [("shop-0", 10), ("cart-0", 20), ("payment-0", 40), ("search-0", 80)];

/// The regular expression that finds the name of the pod in the name of its file.
pub(super) const NAME_IN_PATH: &str = "/pods/demo_(?P<pod>[^_/]+)_";

/// How often the log of a pod is rotated.
const ROTATE_EVERY: Duration = Duration::from_secs(4);

/// The most files of a log, as the kubelet keeps by default.
const MOST_FILES: usize = 5;

/// Each line with a number that this divides is written in two parts, as the container runtime writes long lines.
const SPLIT: usize = 16;

/// The most lines that a pod writes at once, if the machine stood still.
const MOST_AT_ONCE: u64 = 1000;

pub(super) struct Pods(Vec<Pod>);

struct Pod {
    index: usize,
    rate: u64,
    directory: PathBuf,
    file: File,
    written: u64,
    rotate_at: Duration,
    /// The rotated files, oldest first.
    rotated: Vec<PathBuf>,
}

impl Pods {
    /// Creates their directories and files below `root`.
    pub fn create(root: &Path) -> io::Result<Self> {
        let pod = |(index, (name, rate)): (usize, &(&str, u64))| {
            let directory = root.join(format!("demo_{name}_00000000-0000-0000-0000-00000000000{index}")).join("app");
            fs::create_dir_all(&directory)?;
            Ok(Pod {
                index,
                rate: *rate,
                file: live(&directory)?,
                directory,
                written: 0,
                // Not all at the same time.
                rotate_at: ROTATE_EVERY * (index as u32 + 1) / PODS.len() as u32,
                rotated: Vec::new(),
            })
        };
        PODS.iter().enumerate().map(pod).collect::<io::Result<_>>().map(Self)
    }

    pub fn names(&self) -> impl Iterator<Item = String> {
        PODS.iter().map(|(name, _)| name.to_string())
    }

    /// Writes what is due at this time after the start.
    pub fn write(&mut self, at: Duration, shared: &Shared) -> io::Result<()> {
        self.0.iter_mut().try_for_each(|pod| pod.write(at, shared))
    }
}

impl Pod {
    fn write(&mut self, at: Duration, shared: &Shared) -> io::Result<()> {
        if at >= self.rotate_at {
            self.rotate_at = at + ROTATE_EVERY;
            self.rotate()?;
            shared.counts().rotated(self.index);
        }
        let due = (at.as_millis() as u64 * self.rate / 1000).saturating_sub(self.written).min(MOST_AT_ONCE);
        if due == 0 {
            return Ok(());
        }
        self.written += due;
        // Counted before they are written, because they may arrive at once.
        let first = shared.counts().write(self.index, due as usize, Instant::now());
        let mut lines = String::new();
        for number in first..first + due as usize {
            let (text, time) = (text(number), Timestamp::now());
            match text.split_at_checked(text.len() / 2).filter(|_| number % SPLIT == 0) {
                Some((begin, rest)) => {
                    lines += &format!("{time:.9} stdout P {begin}\n{time:.9} stdout F {rest}\n");
                }
                None => lines += &format!("{time:.9} stdout F {text}\n"),
            }
        }
        self.file.write_all(lines.as_bytes())
    }

    /// Renames the file and begins a new one, compresses the file that was rotated before, and deletes the oldest.
    fn rotate(&mut self) -> io::Result<()> {
        let time = Timestamp::now().to_zoned(TimeZone::UTC).strftime("%Y%m%d-%H%M%S").to_string();
        let rotated = self.directory.join(format!("0.log.{time}"));
        if let Some(before) = self.rotated.pop() {
            self.rotated.push(compress(&before)?);
        }
        fs::rename(self.directory.join("0.log"), &rotated)?;
        self.file = live(&self.directory)?;
        self.rotated.push(rotated);
        if self.rotated.len() >= MOST_FILES {
            fs::remove_file(self.rotated.remove(0))?;
        }
        Ok(())
    }
}

fn live(directory: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(directory.join("0.log"))
}

/// Replaces the file by a compressed one.
fn compress(file: &Path) -> io::Result<PathBuf> {
    let (compressed, unfinished) = (with_ending(file, ".gz"), with_ending(file, ".tmp"));
    let mut encoder = GzEncoder::new(File::create(&unfinished)?, Compression::fast());
    io::copy(&mut File::open(file)?, &mut encoder)?;
    encoder.finish()?;
    fs::rename(&unfinished, &compressed)?;
    fs::remove_file(file)?;
    Ok(compressed)
}

fn with_ending(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// The text of a line.
fn text(number: usize) -> String {
    let (path, millis) = (["cart", "items", "orders", "users"][number % 4], 3 + number * 7 % 90);
    format!("seq={number} method=GET path=/api/{path}/{} status=200 duration={millis}ms", number * 31 % 1000)
}

/// The number of the line with this text. None: no pod writes such a line.
pub(super) fn number(line: &str) -> Option<usize> {
    // A `u32`: what is made of a larger number may not fit.
    let number: u32 = line.strip_prefix("seq=")?.split(' ').next()?.parse().ok()?;
    let number = usize::try_from(number).ok()?;
    (line == text(number)).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_line_has_a_number() {
        for n in [0, 16, 12_345] {
            let line = text(n);
            assert_eq!(number(&line), Some(n));
            assert_eq!(number(&line[..line.len() / 2]), None);
            assert_eq!(number(&format!("{line} ")), None);
        }
        assert_eq!((number(""), number("seq=x"), number("seq=99999999999999999999 a")), (None, None, None));
    }

    /// Rotation is rename and create, the file before is compressed, and at most five are kept.
    #[test]
    fn files_are_rotated_as_by_the_kubelet() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut pods = Pods::create(directory.path()).expect("created");
        let (kills, _requests) = tokio::sync::mpsc::channel(1);
        let shared = Shared::new(pods.names(), Duration::from_secs(60), Instant::now(), kills);
        pods.write(Duration::from_millis(900), &shared).expect("written");
        let pod = &mut pods.0[3];
        for n in 0..6 {
            pod.rotated.iter_mut().enumerate().for_each(|(at, file)| {
                // Rotations of one second have the same name, so the others get another one.
                let other = with_ending(file, &format!("{n}{at}"));
                fs::rename(&*file, &other).expect("renamed");
                *file = other;
            });
            pod.rotate().expect("rotated");
        }
        let mut names: Vec<_> = fs::read_dir(&pod.directory)
            .expect("listed")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
            .collect();
        names.sort();
        assert_eq!(names.len(), MOST_FILES, "{names:?}");
        assert_eq!(names.iter().filter(|name| name.contains(".gz")).count(), 3, "{names:?}");
        let written: u64 = PODS.iter().map(|(_, rate)| 900 * rate / 1000).sum();
        assert_eq!(shared.counts().total(Instant::now()).written, written);
    }
}
