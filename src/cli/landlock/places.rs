//! Which folders the kernel is told of. It knows a folder by its inode: one that is removed and made again is another, and what
//! comes later is known only if a folder above it was there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};

/// Folders that are not opened as a whole so that one beneath them may come again: what is in them is not logs, and they are made by
/// the system. (Whatever has its logs right beneath them, and removes that folder, needs a restart of the agent.)
const NOT_AS_A_WHOLE: [&str; 10] = ["/", "/dev", "/etc", "/home", "/proc", "/root", "/sys", "/usr", "/var", "/var/lib"];

/// What names, certificates and times of day are looked up in, the C library's own parts, and what `/metrics` says of the process.
const SYSTEM: [&str; 24] = [
    "/proc",
    "/dev/null",
    "/dev/urandom",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/host.conf",
    "/etc/services",
    "/etc/localtime",
    "/etc/timezone",
    "/etc/ld.so.cache",
    "/etc/ssl/certs",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ca-certificates",
    "/etc/pki/ca-trust",
    "/etc/pki/tls/certs",
    "/etc/pki/tls/cert.pem",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/usr/share/zoneinfo",
];

/// What name servers and hosts are read from, again whenever they change.
const NAMES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

/// What every run reads, as far as it is there.
pub(super) fn system() -> BTreeSet<PathBuf> {
    let mut places: BTreeSet<PathBuf> = SYSTEM.iter().map(PathBuf::from).filter(|place| place.exists()).collect();
    for name in NAMES.map(Path::new) {
        places.extend(of_names(name));
    }
    if let Some(folders) = std::env::var_os("SSL_CERT_DIR") {
        places.extend(std::env::split_paths(&folders).filter(|folder| folder.is_dir()));
    }
    if let Some(file) = std::env::var_os("SSL_CERT_FILE") {
        places.extend(of_file(Path::new(&file)));
    }
    places
}

/// A container's is mounted, and stays the same file. A machine's is replaced by renaming, now and then: without the folder that it
/// is in no name would be found any more.
fn of_names(file: &Path) -> BTreeSet<PathBuf> {
    match fs::canonicalize(file) {
        Err(_) => BTreeSet::new(),
        Ok(real) if is_mounted(&real) => [real].into(),
        Ok(real) => [parent(&real)].into(),
    }
}

fn is_mounted(path: &Path) -> bool {
    statx(CWD, path, AtFlags::empty(), StatxFlags::BASIC_STATS)
        .is_ok_and(|stat| stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// What has to be readable so that whatever is beneath `folder` is, also when it is made anew, or where links on the way lead.
pub(super) fn of_folder(folder: &Path) -> BTreeSet<PathBuf> {
    around(folder, lasting)
}

/// The folder that `file` is in, since it may be replaced, and where links on the way lead: Kubernetes' files are links to links.
pub(super) fn of_file(file: &Path) -> BTreeSet<PathBuf> {
    let mut places = around(&parent(file), |folder| there(&folder).0);
    if let Ok(real) = fs::canonicalize(file) {
        places.insert(parent(&real));
    }
    match places.contains(Path::new("/")) && file.exists() {
        // Right beneath the root it is only that file.
        true => [file.to_path_buf()].into(),
        false => places,
    }
}

/// The folder that a file is in.
pub(super) fn parent(file: &Path) -> PathBuf {
    let file = std::path::absolute(file).unwrap_or_else(|_| file.into());
    file.parent().unwrap_or(Path::new("/")).into()
}

fn around(folder: &Path, place: impl Fn(PathBuf) -> PathBuf) -> BTreeSet<PathBuf> {
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.into());
    let mut places = BTreeSet::from([place(folder.clone())]);
    let mut at = PathBuf::new();
    for name in folder.iter() {
        at.push(name);
        if !at.is_symlink() {
            continue;
        }
        // Where it leads to now, and the folder that it is in: most links that change lead to somewhere beneath that.
        if let Ok(real) = fs::canonicalize(&at) {
            places.insert(place(real));
        }
        places.extend(fs::canonicalize(parent(&at)).ok().filter(|folder| !is_too_much(folder)));
    }
    if let Ok(real) = fs::canonicalize(&folder) {
        places.insert(place(real));
    }
    places
}

/// The folder above, so that this one may come again; what is there of the way, if this one is not.
fn lasting(folder: PathBuf) -> PathBuf {
    match there(&folder) {
        (there, true) => match there.parent() {
            Some(above) if !is_too_much(above) && there != Path::new("/var/log") => above.into(),
            _ => there,
        },
        (there, false) => there,
    }
}

/// The last folder on the way that is there, and whether that is the whole way.
fn there(folder: &Path) -> (PathBuf, bool) {
    let there = folder.ancestors().find(|at| at.is_dir()).unwrap_or(Path::new("/"));
    (there.into(), there == folder)
}

fn is_too_much(folder: &Path) -> bool {
    NOT_AS_A_WHOLE.iter().any(|whole| folder == Path::new(whole))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_folder_above_is_what_lasts() {
        let dir = tempfile::tempdir().expect("a folder");
        let base = fs::canonicalize(dir.path()).expect("there");
        let at = |name: &str| base.join(name);
        fs::create_dir_all(at("app/releases/1/log")).expect("made");
        symlink("releases/1", at("app/current")).expect("linked");
        let of = |name: &str| of_folder(&at(name)).into_iter().collect::<Vec<_>>();
        assert_eq!(of("app/releases"), [at("app")]);
        assert_eq!(of("app/none/yet"), [at("app")], "it may come in what is there");
        // By the link, where that leads now, and where it may lead next.
        assert_eq!(of("app/current/log"), [at("app"), at("app/current"), at("app/releases"), at("app/releases/1")]);
    }

    #[test]
    fn no_system_folder_is_opened_as_a_whole() {
        for (folder, place) in
            [("/var/log", "/var/log"), ("/etc/ssl", "/etc/ssl"), ("/proc/self", "/proc/self"), ("/", "/")]
        {
            assert_eq!(lasting(folder.into()), Path::new(place), "{folder}");
        }
        assert_eq!(lasting("/var/log/none".into()), Path::new("/var/log"));
        assert_eq!(lasting("/none/at/all".into()), Path::new("/"), "which is said");
    }

    #[test]
    fn of_a_file_it_is_the_folder() {
        let dir = tempfile::tempdir().expect("a folder");
        let base = fs::canonicalize(dir.path()).expect("there");
        let at = |name: &str| base.join(name);
        fs::create_dir_all(at("secret/..1")).expect("made");
        fs::create_dir(at("pki")).expect("made");
        fs::write(at("secret/..1/token"), "x").expect("written");
        fs::write(at("pki/ca.pem"), "x").expect("written");
        symlink("..1", at("secret/..data")).expect("linked");
        symlink("..data/token", at("secret/token")).expect("linked");
        symlink("../pki/ca.pem", at("secret/ca.pem")).expect("linked");
        let of = |name: &str| of_file(&at(name)).into_iter().collect::<Vec<_>>();
        assert_eq!(of("secret/token"), [at("secret"), at("secret/..1")]);
        assert_eq!(of("secret/ca.pem"), [at("pki"), at("secret")]);
        assert_eq!(of("secret/none"), [at("secret")]);
    }
}
