//! The directories to allow. The kernel knows a directory by its inode, so a directory that is removed and made again
//! is unknown. A later directory is known only if one of its parents is allowed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};

use super::mounts::Mounts;

/// Directories that are never allowed as a whole just because a subdirectory may be made again. They belong to the
/// system and contain more than logs. (If a log directory directly below them is removed and made again, the agent
/// needs a restart.)
const NOT_AS_A_WHOLE: [&str; 10] = ["/", "/dev", "/etc", "/home", "/proc", "/root", "/sys", "/usr", "/var", "/var/lib"];

/// Files for name lookups, certificates, time zones and the C library, and for the process metrics.
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

/// Files for name lookups that are read again when they change.
const NAMES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

/// The existing files and directories that each run reads.
pub(super) fn system() -> BTreeSet<PathBuf> {
    let mut places: BTreeSet<PathBuf> = SYSTEM.iter().map(PathBuf::from).filter(|place| place.exists()).collect();
    for name in NAMES.map(Path::new) {
        places.extend(of_names(name));
    }
    places.extend(RESOLVERS.iter().map(PathBuf::from).filter(|folder| folder.is_dir()));
    if let Some(folders) = std::env::var_os("SSL_CERT_DIR") {
        places.extend(std::env::split_paths(&folders).filter(|folder| folder.is_dir()));
    }
    if let Some(file) = std::env::var_os("SSL_CERT_FILE") {
        places.extend(around_file(Path::new(&file)));
    }
    places
}

/// Directories that links from `/etc/resolv.conf` lead to when the service runs.
const RESOLVERS: [&str; 3] = ["/run/systemd/resolve", "/run/NetworkManager", "/run/resolvconf"];

/// In a container, this file is mounted and stays the same. On a machine, it is sometimes replaced by renaming, becomes
/// a link, or does not exist yet. Without its current and future directories, later name lookups would fail.
fn of_names(file: &Path) -> BTreeSet<PathBuf> {
    match fs::canonicalize(file) {
        Ok(real) if is_mounted(&real) => [real].into(),
        _ => hops(file).iter().map(|hop| there(&led_to(&parent(hop)))).filter(|at| at != Path::new("/")).collect(),
    }
}

fn is_mounted(path: &Path) -> bool {
    statx(CWD, path, AtFlags::empty(), StatxFlags::BASIC_STATS)
        .is_ok_and(|stat| stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Directories that must be readable, and reasons why everything must be.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) places: BTreeSet<PathBuf>,
    pub(super) why_all: BTreeSet<String>,
}

/// Directories that must be readable to read everything below `folder`, also after it is made again or mounted over,
/// and across links on the way.
pub(super) fn of_folder(folder: &Path, mounts: &Mounts) -> Found {
    let mut found = Found::default();
    for (link, real) in links(folder) {
        // The parent of the link and the parent of its target: most links that change lead to another place below
        // these.
        found.places.extend([parent(&link), parent(&real)].into_iter().filter(|at| at.is_dir()));
    }
    found.places = real(&found.places).into_iter().filter(|at| !is_too_much(at)).collect();
    for way in BTreeSet::from([absolute(folder), led_to(folder)]) {
        let there = there(&way);
        found.places.extend(real(&[lasting(&there)].into()));
        found.mounted(&there, mounts);
    }
    found.or_say(folder)
}

/// Directories for a container runtime. Nothing else is allowed in case it is installed later: if the runtime exists,
/// its directory does.
pub(super) fn of_runtime(folder: &Path, mounts: &Mounts) -> Found {
    let mut found = Found::default();
    let real = led_to(folder);
    let there = there(&real);
    if !is_too_much(&there) {
        if there != real {
            found.mounted(&there, mounts);
        }
        found.places.insert(there);
    }
    found
}

/// Directories for a log named without wildcards. Often such a name is a link to today's file in today's directory.
pub(super) fn of_log(file: &Path, mounts: &Mounts) -> Found {
    if parent(file) == Path::new("/") {
        return of_file(file);
    }
    let mut found = of_folder(&parent(file), mounts);
    // The log's writer makes these links, so they never allow a system directory or everything.
    for hop in hops(file).iter().skip(1) {
        let folders = of_folder(&parent(hop), mounts).places;
        found
            .places
            .extend(folders.into_iter().filter(|at| !is_too_much(at) && !NO_FILES.iter().any(|no| at.starts_with(no))));
    }
    found.places.extend(fs::canonicalize(file));
    found
}

/// Directories of the kernel without regular files.
const NO_FILES: [&str; 3] = ["/dev", "/proc", "/sys"];

/// Where and why something may be mounted over `folder`, if there are signs of that.
pub(super) fn waits_for_mount(folder: &Path, mounts: &Mounts) -> Option<(PathBuf, &'static str)> {
    let folder = led_to(folder);
    let there = there(&folder);
    let empty = (there != folder).then(|| Some((there.clone(), mounts.may_come(&there)?))).flatten();
    let listed = || there.ancestors().find_map(|at| Some((at.to_path_buf(), mounts.will_come(at)?)));
    empty.or_else(listed)
}

/// The directory of `file`, because the file may be replaced, and the targets of links on the way. In Kubernetes, such
/// files are links to links.
fn around_file(file: &Path) -> BTreeSet<PathBuf> {
    let folder = parent(file);
    let links = links(&folder).into_iter().map(|(link, _)| parent(&link));
    let mut places: BTreeSet<PathBuf> = real(&links.collect()).into_iter().filter(|at| !is_too_much(at)).collect();
    places.insert(there(&led_to(&folder)));
    places.insert(there(&parent(&led_to(file))));
    match places.contains(Path::new("/")) && file.exists() {
        // Directly below the root directory, only the file itself.
        true => [file.to_path_buf()].into(),
        false => places,
    }
}

/// As `around_file`, with a reason if this is everything.
pub(super) fn of_file(file: &Path) -> Found {
    Found { places: around_file(file), ..Found::default() }.or_say(file)
}

/// Directories for the config file, which a reload reads again, and which may be replaced. In a system directory, only
/// the file itself is allowed, so there it must be changed in place.
pub(super) fn of_config(file: &Path) -> BTreeSet<PathBuf> {
    let (small, too_much): (BTreeSet<_>, BTreeSet<_>) = around_file(file).into_iter().partition(|at| !is_too_much(at));
    let alone = fs::canonicalize(file).ok().filter(|_| !too_much.is_empty());
    small.into_iter().chain(alone).collect()
}

impl Found {
    fn or_say(mut self, path: &Path) -> Self {
        if self.places.contains(Path::new("/")) {
            self.why_all.insert(format!("{}: none of its parent directories exists yet", path.display()));
        }
        self
    }

    /// A later mount on a directory is covered only by rules for its parent. Adds these parents.
    fn mounted(&mut self, there: &Path, mounts: &Mounts) {
        let there = fs::canonicalize(there).unwrap_or_else(|_| there.into());
        for at in there.ancestors() {
            let Some(above) = at.parent() else { break };
            let why = mounts.may_come(at);
            match is_too_much(above) {
                false if why.is_some() || mounts.is_mounted(at) => drop(self.places.insert(above.into())),
                true => self.why_all.extend(why.map(|why| {
                    format!(
                        "a disk with logs may be mounted on {}: {why}; start the agent after the mount (RequiresMountsFor={} in its systemd unit)",
                        at.display(),
                        at.display()
                    )
                })),
                false => {}
            }
        }
    }
}

/// The parent directory of a file.
pub(super) fn parent(file: &Path) -> PathBuf {
    absolute(file).parent().unwrap_or(Path::new("/")).into()
}

/// The absolute path. Keeps `..`, because behind a link it is not the parent.
fn absolute(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.into());
    match path.components().any(|name| name == Component::ParentDir) {
        true => led_to(&path),
        false => path,
    }
}

/// The links on the way to `path`, each with its target.
fn links(path: &Path) -> Vec<(PathBuf, PathBuf)> {
    let path = absolute(path);
    let links = path.ancestors().filter(|at| at.is_symlink());
    links.map(|link| (link.to_path_buf(), led_to(link))).collect()
}

/// The file, the target if it is a link, and so on.
fn hops(file: &Path) -> Vec<PathBuf> {
    let mut hops = vec![absolute(file)];
    while let Some(last) = hops.last()
        && hops.len() < LINKS
        && let Ok(target) = fs::read_link(last)
    {
        hops.push(absolute(&parent(last).join(target)));
    }
    hops
}

/// The maximum number of links that the kernel follows.
const LINKS: usize = 40;

/// The target of a path after all links, even if it does not exist yet.
pub(super) fn led_to(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.into());
    let backwards = |path: &Path| path.iter().rev().map(PathBuf::from).collect::<Vec<_>>();
    let (mut rest, mut at, mut links) = (backwards(&path), PathBuf::from("/"), 0);
    while let Some(name) = rest.pop() {
        match name.components().next() {
            Some(Component::ParentDir) => drop(at.pop()),
            Some(Component::RootDir) => at = PathBuf::from("/"),
            Some(Component::Normal(name)) => at.push(name),
            _ => {}
        }
        if links < LINKS
            && let Ok(target) = fs::read_link(&at)
        {
            links += 1;
            at.pop();
            rest.extend(backwards(&target));
        }
    }
    at
}

fn real(places: &BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
    places.iter().map(|place| fs::canonicalize(place).unwrap_or_else(|_| place.clone())).collect()
}

/// The parent of a directory, so that the directory can be made again or mounted over.
fn lasting(there: &Path) -> PathBuf {
    let above = there.parent().filter(|above| !is_too_much(above) && there != Path::new("/var/log"));
    above.unwrap_or(there).into()
}

/// The nearest existing parent directory.
fn there(folder: &Path) -> PathBuf {
    folder.ancestors().find(|at| at.is_dir()).unwrap_or(Path::new("/")).into()
}

pub(super) fn is_too_much(folder: &Path) -> bool {
    NOT_AS_A_WHOLE.iter().any(|whole| folder == Path::new(whole))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn base() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a folder");
        let base = fs::canonicalize(dir.path()).expect("there");
        (dir, base)
    }

    #[test]
    fn a_config_may_be_replaced_unless_a_system_folder_had_to_be_opened_for_that() {
        let (_dir, base) = base();
        let at = |name: &str| base.join(name);
        // As mounted by Kubernetes.
        fs::create_dir_all(at("etc/..1")).expect("made");
        fs::write(at("etc/..1/promtail.yaml"), "").expect("written");
        symlink("..1", at("etc/..data")).expect("linked");
        symlink("..data/promtail.yaml", at("etc/promtail.yaml")).expect("linked");
        assert_eq!(of_config(&at("etc/promtail.yaml")), [at("etc"), at("etc/..1")].into());
        // A file that exists on every machine.
        let own = Path::new("/etc/passwd");
        assert_eq!(of_config(own), fs::canonicalize(own).into_iter().collect());
    }

    #[test]
    fn the_folder_above_is_what_lasts() {
        let (_dir, base) = base();
        let at = |name: &str| base.join(name);
        fs::create_dir_all(at("app/releases/1/log")).expect("made");
        symlink("releases/1", at("app/current")).expect("linked");
        let of = |name: &str| of_folder(&at(name), &Mounts::default()).places.into_iter().collect::<Vec<_>>();
        assert_eq!(of("app/releases"), [at("app")]);
        assert_eq!(of("app/none/yet"), std::slice::from_ref(&base), "what is there may be mounted, or made anew");
        // The parents of the link, of its current target, and of possible later targets.
        assert_eq!(of("app/current/log"), [at("app"), at("app/releases"), at("app/releases/1")]);
        // The target of a link that does not exist yet.
        symlink(at("app/disk/none"), at("app/releases/dangling")).expect("linked");
        fs::create_dir(at("app/disk")).expect("made");
        assert_eq!(of("app/releases/dangling/log"), [at("app"), at("app/disk"), at("app/releases")]);
        symlink("loop", at("loop")).expect("linked");
        assert_eq!(of("loop/log"), [base.parent().expect("a folder").to_path_buf(), base.clone()][..]);
    }

    #[test]
    fn what_is_mounted_is_known_by_the_folder_above() {
        let (_dir, base) = base();
        let at = |name: &str| base.join(name);
        fs::create_dir_all(at("mnt/disk/app/log")).expect("made");
        let line = format!("36 35 98:0 / {} rw - ext4 /dev/x rw", at("mnt/disk").display());
        let of = |name: &str, mounts: &Mounts| of_folder(&at(name), mounts).places.into_iter().collect::<Vec<_>>();
        let unmounted = format!("/dev/x {} ext4 defaults", at("mnt/disk").display());
        for mounts in [Mounts::of(&line, ""), Mounts::of("", &unmounted)] {
            assert_eq!(of("mnt/disk/app/log", &mounts), [at("mnt"), at("mnt/disk/app")]);
        }
        assert_eq!(of("mnt/disk/app/log", &Mounts::default()), [at("mnt/disk/app")]);
        // If the parent directory is a system directory, there is a reason.
        let listed = Mounts::of("", "/dev/x /var/log ext4 defaults");
        let why: Vec<String> = of_folder("/var/log/x".as_ref(), &listed).why_all.into_iter().collect();
        assert!(why.len() == 1 && why[0].contains("RequiresMountsFor=/var/log "), "{why:?}");
    }

    #[test]
    fn no_system_folder_is_opened_as_a_whole() {
        for (folder, place) in
            [("/var/log", "/var/log"), ("/etc/ssl", "/etc/ssl"), ("/proc/self", "/proc/self"), ("/", "/")]
        {
            assert_eq!(lasting(folder.as_ref()), Path::new(place), "{folder}");
        }
        assert_eq!(lasting(&there("/var/log/none".as_ref())), Path::new("/var/log"));
        let nowhere = of_folder("/none/at/all".as_ref(), &Mounts::default());
        assert!(nowhere.places.contains(Path::new("/")) && nowhere.why_all.len() == 1, "{nowhere:?}");
        let runtime = of_runtime("/none/docker/containers".as_ref(), &Mounts::default());
        assert!(runtime.places.is_empty() && runtime.why_all.is_empty(), "{runtime:?}");
    }

    #[test]
    fn a_runtime_may_come_after_the_start() {
        let (_dir, base) = base();
        fs::create_dir_all(base.join("docker/volumes")).expect("made");
        let of = |name: &str| of_runtime(&base.join(name), &Mounts::default()).places;
        assert_eq!(of("docker/containers"), [base.join("docker")].into());
        fs::create_dir(base.join("docker/containers")).expect("made");
        assert_eq!(of("docker/containers"), [base.join("docker/containers")].into(), "nothing else of it");
    }

    #[test]
    fn a_log_that_is_a_link_to_one_of_today() {
        let (_dir, base) = base();
        let at = |name: &str| base.join(name);
        for folder in ["log/app", "data/logs/1127"] {
            fs::create_dir_all(at(folder)).expect("made");
        }
        fs::write(at("data/logs/1127/x.log"), "x").expect("written");
        symlink("today.log", at("log/app/current.log")).expect("linked");
        symlink("../../data/logs/1127/x.log", at("log/app/today.log")).expect("linked");
        let of = |name: &str| of_log(&at(name), &Mounts::default());
        let found = of("log/app/current.log").places;
        assert_eq!(found, [at("log"), at("data/logs"), at("data/logs/1127/x.log")].into(), "1128 is beneath data/logs");
        // A log's writer cannot use links to allow everything.
        for (name, target) in [("a", "/none/at/all"), ("b", "/etc/none/x"), ("c", "/dev/sda"), ("d", "/proc/1/environ")]
        {
            symlink(target, at(&format!("log/app/{name}"))).expect("linked");
            let found = of(&format!("log/app/{name}"));
            let file = fs::canonicalize(at(&format!("log/app/{name}"))).ok();
            let expected: BTreeSet<PathBuf> = file.into_iter().chain([at("log")]).collect();
            assert_eq!((found.places, found.why_all.len()), (expected, 0), "{target}");
        }
    }

    #[test]
    fn names_are_found_whatever_becomes_of_resolv_conf() {
        let (_dir, base) = base();
        let at = |name: &str| base.join(name);
        for folder in ["etc", "run/resolve"] {
            fs::create_dir_all(at(folder)).expect("made");
        }
        let of = || of_names(&at("etc/resolv.conf"));
        assert_eq!(of(), [at("etc")].into(), "it comes");
        symlink("../run/resolve/stub/resolv.conf", at("etc/resolv.conf")).expect("linked");
        assert_eq!(of(), [at("etc"), at("run/resolve")].into(), "what it leads to comes, or it is replaced");
        fs::create_dir(at("run/resolve/stub")).expect("made");
        fs::write(at("run/resolve/stub/resolv.conf"), "x").expect("written");
        assert_eq!(of(), [at("etc"), at("run/resolve/stub")].into());
    }

    #[test]
    fn a_link_on_the_way_to_a_file_opens_only_what_is_beneath() {
        let (_dir, base) = base();
        let at = |name: &str| base.join(name);
        fs::create_dir_all(at("run/secrets/account")).expect("made");
        fs::create_dir(at("var")).expect("made");
        fs::write(at("run/secrets/account/token"), "x").expect("written");
        symlink(at("run"), at("var/run")).expect("linked");
        let places = around_file(&at("var/run/secrets/account/token"));
        assert_eq!(places, [at("run/secrets/account"), at("var")].into(), "not all of run");
    }

    #[test]
    fn positions_that_wait_for_a_disk() {
        let (_dir, base) = base();
        let at = |name: &str| base.join(name);
        for folder in ["disk", "lib/fantail", "listed/fantail"] {
            fs::create_dir_all(at(folder)).expect("made");
        }
        let mounts = Mounts::of("", &format!("/dev/x {} ext4 defaults", at("listed").display()));
        let of = |name: &str| waits_for_mount(&at(name), &mounts).map(|(at, _)| at);
        assert_eq!(of("disk/fantail"), Some(at("disk")));
        assert_eq!(of("listed/fantail"), Some(at("listed")));
        assert_eq!(of("lib/fantail"), None, "that is how it is at the first start");
        assert_eq!(of("lib/other"), None);
    }

    #[test]
    fn of_a_file_it_is_the_folder() {
        let (_dir, base) = base();
        let at = |name: &str| base.join(name);
        fs::create_dir_all(at("secret/..1")).expect("made");
        fs::create_dir(at("pki")).expect("made");
        fs::write(at("secret/..1/token"), "x").expect("written");
        fs::write(at("pki/ca.pem"), "x").expect("written");
        symlink("..1", at("secret/..data")).expect("linked");
        symlink("..data/token", at("secret/token")).expect("linked");
        symlink("../pki/ca.pem", at("secret/ca.pem")).expect("linked");
        let of = |name: &str| around_file(&at(name)).into_iter().collect::<Vec<_>>();
        assert_eq!(of("secret/token"), [at("secret"), at("secret/..1")]);
        assert_eq!(of("secret/ca.pem"), [at("pki"), at("secret")]);
        assert_eq!(of("secret/none"), [at("secret")]);
    }
}
