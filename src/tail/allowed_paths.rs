//! Checks the places where the files of a log may be. The agent can read everything, so links that the log's writer
//! creates must not lead it elsewhere.
//!
//! A path is resolved first, then its target is checked, then exactly that target is opened without following links. A
//! link that is swapped in between is not followed.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

/// Directories of container runtimes, which contain links to each other.
const CONTAINERS: [&str; 3] = ["/var/log/pods", "/var/log/containers", "/var/lib/docker/containers"];

/// The paths that a link may lead to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedPaths {
    /// Directories (or files) that the config names literally. Links in these paths are the user's own. Empty:
    /// everything is allowed.
    written: Vec<PathBuf>,
    /// `target_config.link_roots`.
    more: Vec<PathBuf>,
}

impl AllowedPaths {
    pub(super) fn new(written: Vec<PathBuf>, more: &[PathBuf]) -> Self {
        Self { written, more: more.to_vec() }
    }

    /// Whether `path` is one of the literal paths, or a parent of one.
    pub(super) fn is_before(&self, path: &Path) -> bool {
        self.written.iter().any(|root| root.starts_with(path))
    }

    /// The container runtimes' directories that links may lead to.
    pub fn leads_to(&self) -> Vec<PathBuf> {
        let shared = CONTAINERS.iter().filter(|_| self.written.iter().any(|root| is_containers(root)));
        shared.map(PathBuf::from).chain(self.written.iter().flat_map(|root| runtime_folders(root))).collect()
    }

    /// The target of `path` after all links. An error if it is not allowed.
    pub fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        let real = fs::canonicalize(path)?;
        if self.written.is_empty() {
            return Ok(real);
        }
        let beneath = |root: &Path| fs::canonicalize(root).is_ok_and(|root| real.starts_with(root));
        let own: Vec<&PathBuf> = self.written.iter().filter(|root| path.starts_with(root)).collect();
        let within = own.iter().any(|root| beneath(root))
            || self.more.iter().any(|root| beneath(root))
            || own.iter().any(|root| is_containers(root)) && CONTAINERS.iter().any(|root| beneath(Path::new(root)))
            || own.iter().flat_map(|root| runtime_folders(root)).any(|root| beneath(&root));
        match within {
            true => Ok(real),
            false => Err(io::Error::new(
                ErrorKind::PermissionDenied,
                "it is a link that leads out of its directory: if this is intended, add the directory of its target to \
                 target_config.link_roots",
            )),
        }
    }
}

/// Only links in these directories may lead to other runtime directories. A link in any other directory could lead to
/// another pod's logs.
fn is_containers(root: &Path) -> bool {
    CONTAINERS.iter().any(|c| root.starts_with(c) || Path::new(c).starts_with(root) && root.parent().is_some())
}

/// The allowed link targets if a runtime directory is mounted elsewhere (`/host/var/log/containers`): the pods'
/// directory beside it, and Docker's under the same root. This applies to the directory itself, not to its
/// subdirectories, because only the runtime writes there.
fn runtime_folders(root: &Path) -> Vec<PathBuf> {
    let (Some(name), Some(logs)) = (root.file_name(), root.parent()) else {
        return Vec::new();
    };
    let mut folders = Vec::new();
    if name == "containers" {
        folders.push(logs.join("pods"));
    }
    if (name == "containers" || name == "pods") && logs.ends_with("var/log") {
        folders.extend(logs.ancestors().nth(2).map(|host| host.join("var/lib/docker/containers")));
    }
    folders
}

/// Opens a path that contains no links. Does not block on a pipe.
pub(super) fn open(real: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    match openat2(CWD, real, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS) {
        Ok(file) => Ok(file.into()),
        // The kernel is older than 5.6, or the container runtime blocks unknown system calls.
        Err(Errno::NOSYS | Errno::PERM) => by_hand(real, flags),
        Err(error) => Err(error.into()),
    }
}

/// Does the same component by component.
fn by_hand(real: &Path, flags: OFlags) -> io::Result<File> {
    let mut names: Vec<_> =
        real.components().filter(|c| !matches!(c, Component::RootDir | Component::CurDir)).collect();
    let start = if real.is_absolute() { "/" } else { "." };
    let folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut at = openat(CWD, start, folder, Mode::empty())?;
    let last = names.pop().ok_or(ErrorKind::IsADirectory)?;
    for name in names {
        at = openat(&at, name.as_os_str(), folder, Mode::empty())?;
    }
    Ok(openat(&at, last.as_os_str(), flags | OFlags::NOFOLLOW, Mode::empty())?.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn no_link_is_followed_by_the_kernel_or_by_hand() {
        let dir = tempfile::tempdir().expect("a folder");
        let base = fs::canonicalize(dir.path()).expect("there");
        fs::create_dir(base.join("d")).expect("made");
        fs::write(base.join("d/file"), "x").expect("written");
        symlink("d", base.join("folder")).expect("linked");
        symlink("d/file", base.join("link")).expect("linked");
        for (name, opens) in [("d/file", true), ("link", false), ("folder/file", false), ("none", false)] {
            let path = base.join(name);
            assert_eq!(open(&path).is_ok(), opens, "{name}");
            assert_eq!(by_hand(&path, OFlags::RDONLY).is_ok(), opens, "{name}, by hand");
        }
    }

    #[test]
    fn links_lead_where_they_may() {
        let dir = tempfile::tempdir().expect("a folder");
        let at = |name: &str| dir.path().join(name);
        for name in ["logs/..2026/a.log", "logs/real.log", "other/b.log", "secret/token", "logs-else/c.log"] {
            fs::create_dir_all(at(name).parent().expect("a folder")).expect("made");
            fs::write(at(name), "x").expect("written");
        }
        for (to, name) in [
            ("..2026", "logs/..data"),
            ("..data/a.log", "logs/a.log"),
            ("real.log", "logs/current.log"),
            ("../secret/token", "logs/up.log"),
            ("../other/b.log", "logs/other.log"),
            ("../logs-else/c.log", "logs/else.log"),
            ("/proc/self/environ", "logs/magic.log"),
            ("../secret", "logs/folder"),
            ("up.log", "logs/chain.log"),
            ("logs", "by-link"),
        ] {
            symlink(to, at(name)).expect("linked");
        }
        let allowed = AllowedPaths::new(vec![at("logs"), at("by-link"), at("logs/up.log/")], &[at("other")]);
        let allowed = AllowedPaths { written: allowed.written[..2].to_vec(), ..allowed };
        for (name, may) in [
            ("logs/real.log", true),
            ("logs/current.log", true),
            ("logs/a.log", true),
            ("by-link/current.log", true),
            ("logs/other.log", true),
            ("logs/up.log", false),
            ("logs/chain.log", false),
            ("logs/folder/token", false),
            ("logs/else.log", false),
            ("logs/magic.log", false),
            ("by-link/up.log", false),
        ] {
            assert_eq!(allowed.resolve(&at(name)).is_ok(), may, "{name}");
        }
        // Node directories mounted elsewhere: the runtime's links may lead to pods' and Docker's logs, but not back,
        // and links in a subdirectory may not.
        for name in
            ["host/var/log/containers/x", "host/var/log/pods/p/c/0.log", "host/var/lib/docker/containers/i/i.log"]
        {
            fs::create_dir_all(at(name).parent().expect("a folder")).expect("made");
            fs::write(at(name), "x").expect("written");
        }
        for (to, name) in [
            ("../pods/p/c/0.log", "host/var/log/containers/p.log"),
            ("../../lib/docker/containers/i/i.log", "host/var/log/containers/i.log"),
            ("../../../../secret/token", "host/var/log/containers/up.log"),
            ("../../../../lib/docker/containers/i/i.log", "host/var/log/pods/p/c/1.log"),
            ("../../../containers/x", "host/var/log/pods/p/c/2.log"),
        ] {
            symlink(to, at(name)).expect("linked");
        }
        for (root, name, may) in [
            ("host/var/log/containers", "p.log", true),
            ("host/var/log/containers", "i.log", true),
            ("host/var/log/containers", "up.log", false),
            ("host/var/log/pods", "p/c/1.log", true),
            ("host/var/log/pods", "p/c/2.log", false),
            ("host/var/log/pods/p", "c/1.log", false),
        ] {
            let allowed = AllowedPaths::new(vec![at(root)], &[]);
            assert_eq!(allowed.resolve(&at(root).join(name)).is_ok(), may, "{root} {name}");
        }
        // If the config names a link literally, its target is allowed.
        assert!(AllowedPaths::new(vec![at("logs/up.log")], &[]).resolve(&at("logs/up.log")).is_ok());
        let refused = allowed.resolve(&at("logs/up.log")).expect_err("it leads out");
        assert!(refused.to_string().contains("target_config.link_roots"));
    }
}
