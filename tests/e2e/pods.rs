//! Log files of containers as the kubelet and containerd lay them out and rotate them.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;

use crate::loki::{Entry, nanoseconds};

/// One container's log. The pod's directory goes when this is dropped, as it does when a pod is gone.
pub(crate) struct ContainerLog {
    pod_dir: PathBuf,
    dir: PathBuf,
    name: String,
    live: File,
    newest_rotated: Option<PathBuf>,
    last_rotation: SystemTime,
    last_time: i64,
    written: Vec<Entry>,
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
            pod_dir,
            dir,
            name,
            newest_rotated: None,
            last_rotation: SystemTime::UNIX_EPOCH,
            last_time: 0,
            written: Vec::new(),
        }
    }

    /// Writes `count` lines that say `what`, each unlike any other.
    pub(crate) fn write(&mut self, what: &str, count: usize) {
        let mut text = String::new();
        for _ in 0..count {
            self.last_time = nanoseconds(SystemTime::now()).max(self.last_time + 1);
            let number = self.written.len();
            let line = format!("{what}, line {number} of {}", self.name);
            let time = Timestamp::from_nanosecond(self.last_time.into()).expect("it is now");
            text.push_str(&format!("{time} stdout F {line}\n"));
            self.written.push((self.last_time, line));
        }
        let done = self.live.write_all(text.as_bytes());
        done.expect("the log is written");
    }

    /// As the kubelet does: the one rotated before this is compressed, the live file renamed, a new one begun.
    pub(crate) fn rotate(&mut self) {
        if let Some(rotated) = self.newest_rotated.take() {
            compress(&rotated).expect("the rotated log is compressed");
        }
        // Names are to the second, and the kubelet rotates a log every ten seconds at most.
        let second = Duration::from_secs(1);
        self.last_rotation = SystemTime::now().max(self.last_rotation + second);
        let time = Timestamp::try_from(self.last_rotation).expect("it is now");
        let name = format!("0.log.{}", time.strftime("%Y%m%d-%H%M%S"));
        let rotated = self.dir.join(name);
        fs::rename(self.dir.join("0.log"), &rotated).expect("the live log is there");
        self.live = live(&self.dir);
        self.newest_rotated = Some(rotated);
    }

    /// All that was ever written, whatever file it is in by now.
    pub(crate) fn written(&self) -> Vec<Entry> {
        self.written.clone()
    }
}

impl Drop for ContainerLog {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.pod_dir);
    }
}

fn live(dir: &Path) -> File {
    let path = dir.join("0.log");
    File::create_new(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Written beside and renamed, then the plain one removed: for a moment both are there.
fn compress(plain: &Path) -> io::Result<()> {
    let beside = plain.with_added_extension("tmp");
    let mut gzip = GzEncoder::new(File::create_new(&beside)?, Compression::default());
    io::copy(&mut File::open(plain)?, &mut gzip)?;
    gzip.finish()?;
    fs::rename(&beside, plain.with_added_extension("gz"))?;
    fs::remove_file(plain)
}
