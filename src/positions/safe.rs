//! Creates and reads the agent's own files in a directory that others may write to. Never follows planted files, and
//! never shares them between two agents.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

const O_NOFOLLOW: i32 = OFlags::NOFOLLOW.bits().cast_signed();
const O_NONBLOCK: i32 = OFlags::NONBLOCK.bits().cast_signed();

/// How many names are tried for a new file.
const NAMES: u32 = 16;

/// Reads one of the agent's own files, at most `most` bytes. None: it does not exist. Does not follow a link.
pub fn read(path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    // Does not block: someone may have put a pipe there.
    let file = match OpenOptions::new().read(true).custom_flags(O_NOFOLLOW | O_NONBLOCK).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let meta = file.metadata()?;
    if !meta.is_file() || meta.len() > most {
        return Err(io::Error::new(
            ErrorKind::InvalidData,
            "it is not a file of this agent: not a regular file, or too long",
        ));
    }
    let mut content = Vec::new();
    file.take(most).read_to_end(&mut content)?;
    Ok(Some(content))
}

/// Replaces `path` with a new file with this content. Returns the file.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<File> {
    let (mut file, temporary) = fresh(path)?;
    let written = file.write_all(content).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written.map(|()| file)
}

/// Creates a new file beside `path`, because a rename cannot cross file systems.
fn fresh(path: &Path) -> io::Result<(File, PathBuf)> {
    let mut last = io::Error::from(ErrorKind::AlreadyExists);
    for n in 0..NAMES {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}-{n}.tmp", std::process::id()));
        // Left over from an earlier run, or planted. This removes the name, not a link's target.
        let _ = fs::remove_file(&name);
        match OpenOptions::new().write(true).create_new(true).custom_flags(O_NOFOLLOW).mode(0o600).open(&name) {
            Ok(file) => return Ok((file, name.into())),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Locks the positions against other agents while the file is open. None: the file system has no locks, or the
/// directory is not writable (which is reported when positions are written).
pub(super) fn lock(positions: &Path) -> Result<Option<File>, String> {
    let mut name = positions.as_os_str().to_owned();
    name.push(".lock");
    let mut options = OpenOptions::new();
    let open =
        options.read(true).write(true).create(true).truncate(false).custom_flags(O_NOFOLLOW).mode(0o600).open(&name);
    let mut file = match open {
        Ok(file) => file,
        Err(error) => {
            tracing::warn!(
                file = %Path::new(&name).display(),
                %error,
                "cannot lock positions: make sure that no other agent uses them"
            );
            return Ok(None);
        }
    };
    match file.try_lock() {
        Ok(()) => {
            let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
            let who = format!("process {} on host {}\n", std::process::id(), host.trim());
            let _ = file.set_len(0).and_then(|()| file.write_all(who.as_bytes()));
            Ok(Some(file))
        }
        Err(TryLockError::WouldBlock) => {
            let mut who = String::new();
            let _ = (&file).take(200).read_to_string(&mut who);
            let who = if who.trim().is_empty() { "another process" } else { who.trim() };
            Err(format!(
                "another agent uses it ({who:?}): stop that agent, or give each agent its own positions.filename; otherwise both \
                 would send all lines"
            ))
        }
        Err(TryLockError::Error(error)) => {
            tracing::warn!(%error, "cannot lock positions on this file system: make sure that no other agent uses them");
            Ok(None)
        }
    }
}

/// Whether the file is on a file system that a reboot empties: `/run` or `/dev/shm`.
pub(super) fn is_lost_at_reboot(file: &Path) -> bool {
    /// The kernel's numbers for tmpfs and ramfs, see statfs(2).
    const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];
    let Some(dir) = file.parent().and_then(|dir| dir.canonicalize().ok()) else {
        return false;
    };
    let is_in_memory = |dir: &Path| rustix::fs::statfs(dir).is_ok_and(|fs| IN_MEMORY.contains(&(fs.f_type as u64)));
    ["/run", "/dev/shm"].iter().any(|root| dir.starts_with(root)) && is_in_memory(&dir)
}

/// The process that holds the lock of another agent's positions. None: no process does.
pub(super) fn locked_by(positions: &Path) -> Option<String> {
    let mut name = positions.as_os_str().to_owned();
    name.push(".lock");
    let file = OpenOptions::new().read(true).custom_flags(O_NOFOLLOW).open(&name).ok()?;
    // A shared lock, released at once, so an agent that starts there is not blocked.
    if !matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)) {
        return None;
    }
    let mut who = String::new();
    let _ = (&file).take(200).read_to_string(&mut who);
    Some(who.trim().to_string())
}

/// Warns if users other than the agent's may write to the directory of the positions.
pub(super) fn warn_of_writers(positions: &Path) {
    let folder = positions.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Ok(meta) = fs::metadata(folder) else {
        return;
    };
    if meta.mode() & 0o022 != 0 {
        tracing::warn!(
            folder = %folder.display(),
            mode = format!("{:o}", meta.mode() & 0o7777),
            "other users may write to the directory of the positions file, so they can make the agent repeat or skip lines: \
             give positions.filename its own directory (chmod go-w)"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn what_was_planted_is_neither_followed_nor_kept() {
        let dir = tempfile::tempdir().expect("a folder");
        let at = |name: &str| dir.path().join(name);
        fs::write(at("precious"), "precious").expect("written");
        let temporary = format!("p.yaml.{}-0.tmp", std::process::id());
        for name in ["p.yaml", "p.yaml.tmp", temporary.as_str()] {
            symlink("precious", at(name)).expect("linked");
        }
        // Even root cannot remove a directory as a file: the next name is tried.
        fs::create_dir(at(&format!("q.yaml.{}-0.tmp", std::process::id()))).expect("made");
        for name in ["p.yaml", "q.yaml"] {
            replace(&at(name), b"ours").expect("written");
            let meta = fs::symlink_metadata(at(name)).expect("there");
            assert!(meta.is_file() && meta.permissions().mode() & 0o777 == 0o600, "{name}: {meta:?}");
            assert_eq!(fs::read(at(name)).expect("read"), b"ours");
        }
        assert_eq!(fs::read(at("precious")).expect("read"), b"precious");
        assert!(fs::symlink_metadata(at(&temporary)).is_err(), "nothing is left over");
    }

    #[test]
    fn what_was_planted_is_not_read() {
        let dir = tempfile::tempdir().expect("a folder");
        let at = |name: &str| dir.path().join(name);
        assert!(read(&at("none"), 10).is_ok_and(|read| read.is_none()));
        fs::write(at("ours"), "ours").expect("written");
        assert!(read(&at("ours"), 10).is_ok_and(|read| read.as_deref() == Some(b"ours")));
        assert!(read(&at("ours"), 3).is_err(), "too long");
        symlink("ours", at("link")).expect("linked");
        assert!(read(&at("link"), 10).is_err());
        fs::create_dir(at("folder")).expect("made");
        assert!(read(&at("folder"), 10).is_err());
    }

    #[test]
    fn a_second_agent_is_told_who_has_the_positions() {
        let dir = tempfile::tempdir().expect("a folder");
        let positions = dir.path().join("positions.yaml");
        let first = lock(&positions).expect("free").expect("locks work here");
        let said = lock(&positions).expect_err("taken");
        assert!(said.contains(&format!("process {}", std::process::id())), "{said}");
        drop(first);
        assert!(lock(&positions).expect("free again").is_some());
        fs::remove_file(dir.path().join("positions.yaml.lock")).expect("removed");
        symlink("elsewhere", dir.path().join("positions.yaml.lock")).expect("linked");
        assert!(lock(&positions).expect("no reason not to start").is_none());
        assert!(!dir.path().join("elsewhere").exists());
    }
}
