//! The mounts of this process, as the kernel lists them. Reading the list asks no file system, so it never hangs.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// See the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mounts {
    /// In the order in which they were mounted: a later one covers an earlier one.
    mounts: Vec<Mount>,
}

/// One mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    pub point: PathBuf,
    /// As in the metadata of its files (but not on btrfs).
    pub device: u64,
    /// The type of the file system, such as `ext4`.
    pub kind: String,
    pub events: Events,
    /// Whether it is an `emptyDir` volume of a pod, which is deleted with the pod. Not known of one in memory.
    pub is_pod_volume: bool,
}

/// The changes in the directories of a file system that inotify reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Events {
    All,
    /// All except changes that are made in a lower layer of an overlay.
    Some,
    /// At most the changes by this machine. Other machines write too, and the server may be gone.
    Remote,
}

/// File systems whose files are on a server or provided by a daemon.
const REMOTE: [&str; 20] = [
    "9p",
    "acfs",
    "afs",
    "autofs",
    "beegfs",
    "ceph",
    "cifs",
    "coda",
    "fuse",
    "gfs2",
    "glusterfs",
    "gpfs",
    "lustre",
    "ncpfs",
    "nfs",
    "ocfs2",
    "orangefs",
    "smb",
    "vboxsf",
    "virtiofs",
];

/// Part of the path of each `emptyDir` volume on the node, which the kernel shows in its containers too.
const POD_VOLUMES: &str = "/volumes/kubernetes.io~empty-dir/";

impl Mounts {
    /// The current mounts. If the kernel's list cannot be read: none.
    pub fn now() -> Self {
        Self::of_text(&String::from_utf8_lossy(&fs::read("/proc/self/mountinfo").unwrap_or_default()))
    }

    /// The mounts of a list in the form of `/proc/self/mountinfo`.
    pub fn of_text(mountinfo: &str) -> Self {
        let mount = |line: &str| {
            // 36 35 98:0 /root /mount/point rw,noatime master:1 - ext3 /dev/sda rw,errors=continue
            let (before, after) = line.split_once(" - ")?;
            let mut fields = before.split(' ').skip(2);
            let (major, minor) = fields.next()?.split_once(':')?;
            let device = rustix::fs::makedev(major.parse().ok()?, minor.parse().ok()?);
            let is_pod_volume = unescape(fields.next()?).to_string_lossy().contains(POD_VOLUMES);
            let point = unescape(fields.next()?);
            let kind = after.split(' ').next()?;
            let is_remote = || REMOTE.iter().any(|remote| is_kind_of(kind, remote));
            let events = match kind {
                "overlay" | "aufs" | "unionfs" => Events::Some,
                _ if is_remote() => Events::Remote,
                _ => Events::All,
            };
            Some(Mount { point, device, kind: kind.to_string(), events, is_pod_volume })
        };
        Self { mounts: mountinfo.lines().filter_map(mount).collect() }
    }

    /// The file system of a path without links. None: the mounts are not known.
    pub fn of(&self, path: &Path) -> Option<&Mount> {
        let above = self.mounts.iter().filter(|mount| path.starts_with(&mount.point));
        above.max_by_key(|mount| mount.point.as_os_str().len())
    }

    /// Where file systems are mounted whose server may be gone.
    pub fn remote(&self) -> impl Iterator<Item = &Path> {
        self.mounts.iter().filter(|mount| mount.events == Events::Remote).map(|mount| mount.point.as_path())
    }

    /// The events that inotify reports of a directory. If its mount is not known: all events.
    pub fn events_of(&self, path: &Path) -> Events {
        self.of(path).map_or(Events::All, |mount| mount.events)
    }
}

/// `nfs4` and `fuse.sshfs` too.
fn is_kind_of(kind: &str, remote: &str) -> bool {
    let rest = kind.strip_prefix(remote);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.') || rest.starts_with(|c: char| c.is_ascii_digit()))
        || kind == "fuseblk" && remote == "fuse"
}

/// The kernel writes spaces, tabs, newlines and backslashes in octal.
fn unescape(text: &str) -> PathBuf {
    let (mut out, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, more @ ..] = rest {
        let octal = more.get(..3).filter(|_| *first == b'\\');
        let code = octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        out.push(code.unwrap_or(*first));
        rest = if code.is_some() { &more[3..] } else { more };
    }
    OsString::from_vec(out).into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    const SAMPLE: &str = "\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:26 / /proc rw - proc proc rw
40 22 0:50 / /mnt/nfs\\040share rw shared:9 - nfs4 server:/export rw,vers=4.2
41 22 0:51 / /srv/sshfs rw - fuse.sshfs host: rw
42 22 0:52 / /srv/ntfs rw - fuseblk /dev/sdb1 rw
43 22 0:53 / /var/lib/app rw - overlay overlay rw
44 43 8:1 /data /var/lib/app/data rw - ext4 /dev/sda1 rw
45 22 0:54 / /run rw - tmpfs tmpfs rw
46 22 0:55 / /sys/fs/fuse/connections rw - fusectl fusectl rw
47 22 8:1 /var/lib/kubelet/pods/6f3c/volumes/kubernetes.io~empty-dir/logs /logs rw - ext4 /dev/sda1 rw
48 22 8:1 /var/lib/kubelet/pods /pods rw - ext4 /dev/sda1 rw
a line that is none
";

    #[test]
    fn what_inotify_reports_depends_on_the_file_system() {
        let mounts = Mounts::of_text(SAMPLE);
        for (path, events) in [
            ("/var/log/app", Events::All),
            ("/mnt/nfs share/a", Events::Remote),
            ("/mnt/nfs", Events::All),
            ("/srv/sshfs", Events::Remote),
            ("/srv/ntfs/a", Events::Remote),
            ("/var/lib/app/logs", Events::Some),
            ("/var/lib/app/data/logs", Events::All),
            ("/run/log", Events::All),
            ("/sys/fs/fuse/connections", Events::All),
        ] {
            assert_eq!(mounts.events_of(Path::new(path)), events, "{path}");
        }
        assert_eq!(Mounts::default().events_of(Path::new("/")), Events::All);
    }

    #[test]
    fn a_volume_of_the_pod_is_known_in_the_pod_and_not_on_the_node() {
        let mounts = Mounts::of_text(SAMPLE);
        let on_the_node = "/pods/6f3c/volumes/kubernetes.io~empty-dir/logs/app.log";
        for (path, want) in [("/logs/app.log", true), (on_the_node, false), ("/run/log", false), ("/logs.log", false)] {
            assert_eq!(mounts.of(Path::new(path)).map(|mount| mount.is_pod_volume), Some(want), "{path}");
        }
    }

    #[test]
    fn the_device_is_that_of_the_metadata() {
        let metadata = fs::metadata("/proc").expect("there");
        assert_eq!(Mounts::now().of(Path::new("/proc")).map(|mount| mount.device), Some(metadata.dev()));
    }
}
