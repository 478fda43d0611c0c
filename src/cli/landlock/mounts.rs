//! Detects directories that may be mounted over while the agent runs. After such a mount, the kernel applies the rules
//! of the parent directories, not those of the covered directory. It forgets the rules of an unmounted filesystem.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// The mounts of this process, and the entries of `/etc/fstab`.
#[derive(Debug, Default)]
pub(super) struct Mounts {
    mounted: HashMap<PathBuf, Mounted>,
    /// Whether the entry is mounted and unmounted while the machine runs.
    listed: HashMap<PathBuf, bool>,
}

#[derive(Debug, Default)]
struct Mounted {
    /// Managed by an automounter, which mounts and unmounts it.
    automatic: bool,
    /// Mounts from outside this container appear here (`mountPropagation: HostToContainer`).
    from_outside: bool,
}

/// Options in fstab for entries that are not permanently mounted.
const COMES_AND_GOES: [&str; 5] = ["noauto", "user", "users", "x-systemd.automount", "comment=systemd.automount"];

impl Mounts {
    /// An unreadable file counts as empty.
    pub(super) fn now() -> Self {
        let read = |path: &str| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        Self::of(&read("/proc/self/mountinfo"), &read("/etc/fstab"))
    }

    pub(super) fn of(mountinfo: &str, fstab: &str) -> Self {
        let mut mounts = Self::default();
        for line in mountinfo.lines() {
            // 36 35 98:0 /root /mount/point rw,noatime master:1 - ext3 /dev/sda rw,errors=continue
            let Some((before, after)) = line.split_once(" - ") else { continue };
            let mut fields = before.split(' ').skip(4);
            let Some(point) = fields.next() else { continue };
            let at = mounts.mounted.entry(unescape(point)).or_default();
            at.automatic |= after.split(' ').next() == Some("autofs");
            at.from_outside |= fields.any(|field| field.starts_with("master:"));
        }
        for line in fstab.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
            let mut fields = line.split_whitespace().skip(1);
            let Some(point) = fields.next().filter(|point| point.starts_with('/')) else { continue };
            let options = fields.nth(1).unwrap_or_default();
            let comes_and_goes = options.split(',').any(|option| COMES_AND_GOES.contains(&option));
            mounts.listed.insert(unescape(point), comes_and_goes);
        }
        mounts
    }

    pub(super) fn is_mounted(&self, folder: &Path) -> bool {
        self.mounted.contains_key(folder)
    }

    /// Why `folder` may be mounted over after the start, if there are signs of that.
    pub(super) fn may_come(&self, folder: &Path) -> Option<&'static str> {
        let may_be_covered = self.mounted.get(folder).is_none_or(|mounted| mounted.from_outside);
        let empty =
            || (may_be_covered && is_empty(folder)).then_some("the directory is empty, so a disk may be mounted there");
        self.will_come(folder).or_else(empty)
    }

    /// Why `folder` will be mounted over, if the system is configured to do so.
    pub(super) fn will_come(&self, folder: &Path) -> Option<&'static str> {
        match (self.mounted.get(folder), self.listed.get(folder)) {
            (Some(Mounted { automatic: true, .. }), _) => Some("an automounter mounts it on first use"),
            (None, Some(_)) => Some("it is in /etc/fstab, but not mounted"),
            (Some(_), Some(true)) => Some("its options in /etc/fstab allow it to be mounted again"),
            _ => None,
        }
    }
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}

/// Spaces and other special characters are three octal digits: `/mnt/my\040disk`.
fn unescape(field: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let digits = behind.get(..3).filter(|_| *first == b'\\');
        let code = digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &behind[3..] } else { behind };
    }
    // Removes a slash at the end.
    PathBuf::from(OsString::from_vec(bytes)).components().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tells_of_a_mount_that_may_come() {
        let dir = tempfile::tempdir().expect("a folder");
        let at = |name: &str| dir.path().join(name);
        for folder in ["disk/lost+found", "auto/x", "list ed/x", "again/x", "stays/x", "empty", "pod", "slave"] {
            fs::create_dir_all(at(folder)).expect("made");
        }
        let mounted = |name: &str, more: &str, kind: &str| {
            format!("36 35 98:0 / {} rw,relatime {more}- {kind} /dev/x rw\n", at(name).display())
        };
        let mountinfo = mounted("disk", "shared:1 ", "ext4")
            + &mounted("auto", "shared:2 ", "autofs")
            + &mounted("auto", "", "nfs4")
            + &mounted("again", "", "ext4")
            + &mounted("stays", "", "ext4")
            + &mounted("pod", "", "ext4")
            + &mounted("slave", "master:3 ", "ext4")
            + "nonsense\n36 - x\n";
        let base = dir.path().display();
        let fstab = format!(
            "# {base}/disk\n/dev/a {base}/list\\040ed ext4 defaults\n/dev/b {base}/again/ ext4 rw,noauto 0 0\n\
             /dev/c\t{base}/stays ext4 defaults,nofail 0 0\nUUID=x none swap sw\nbroken\n"
        );
        let mounts = Mounts::of(&mountinfo, &fstab);
        for (name, why) in [
            ("disk", None),
            ("auto", Some("automounter")),
            ("list ed", Some("/etc/fstab, but not mounted")),
            ("again", Some("mounted again")),
            ("stays", None),
            ("empty", Some("empty")),
            ("pod", None),
            ("slave", Some("empty")),
            ("list ed/x", Some("empty")),
            ("nowhere", None),
        ] {
            let said = mounts.may_come(&at(name));
            assert_eq!(said.is_some(), why.is_some(), "{name}: {said:?}");
            assert!(said.unwrap_or_default().contains(why.unwrap_or_default()), "{name}: {said:?}");
        }
        assert!(mounts.is_mounted(&at("stays")) && !mounts.is_mounted(&at("list ed")));
    }
}
