//! Checks whether a reloaded config complies with the Landlock rules of the start. The rules can never be relaxed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Walls, places};
use crate::config::Needs;

/// The rules of the start.
pub(in crate::cli) struct Standing {
    /// `None`: all files and directories.
    read: Option<BTreeSet<PathBuf>>,
    /// `None`: all TCP ports.
    connect: Option<BTreeSet<u16>>,
    listen: Option<BTreeSet<u16>>,
}

/// Linux 6.7, the first version with rules for ports.
const PORTS_SINCE: i32 = 4;

impl Standing {
    pub(super) fn new(walls: Walls, abi: i32) -> Self {
        let real = |place: &PathBuf| fs::canonicalize(place).unwrap_or_else(|_| place.clone());
        let read = walls.read.map(|read| read.iter().map(real).collect());
        let knows_ports = abi >= PORTS_SINCE;
        Self { read, connect: walls.connect.filter(|_| knows_ports), listen: walls.listen.filter(|_| knows_ports) }
    }

    /// Returns an error that lists the needs of the config that the kernel refuses.
    pub(in crate::cli) fn allow(&self, needs: &Needs) -> Result<(), String> {
        let mut refused = Vec::new();
        if needs.runs_programs {
            refused.push("running a program (kubeconfig_exec)".to_string());
        }
        if let Some(read) = &self.read {
            let allowed = |path: &Path| read.iter().any(|place| places::led_to(path).starts_with(place));
            let runtimes = needs.runtimes.iter().filter(|folder| folder.is_dir());
            let named = needs.logs.iter().chain(&needs.files).chain(&needs.named_logs).chain(runtimes);
            let named = named.filter(|path| !allowed(path)).map(|path| format!("reading {}", path.display()));
            refused.extend(named);
            let anywhere = needs.anywhere.iter().chain(&needs.unknown_files);
            refused.extend(anywhere.map(|why| format!("reading any file ({why})")));
        }
        if let Some(connect) = &self.connect {
            refused.extend(needs.ports.difference(connect).map(|port| format!("connecting to port {port}")));
            refused.extend(needs.any_port.iter().map(|why| format!("connecting to any port ({why})")));
        }
        if let Some(listen) = &self.listen {
            refused.extend(needs.listens.difference(listen).map(|port| format!("listening at port {port}")));
        }
        match refused.is_empty() {
            true => Ok(()),
            false => Err(format!(
                "landlock, as set at the start, does not allow these new needs of the config: {}; restart the agent",
                refused.join(", ")
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_a_changed_config_needs_beyond_the_walls_is_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let base = fs::canonicalize(dir.path()).expect("there");
        let at = |name: &str| base.join(name);
        fs::create_dir_all(at("logs/app")).expect("made");
        fs::create_dir_all(at("other")).expect("made");
        fs::create_dir_all(at("docker")).expect("made");
        symlink(at("other"), at("logs/link")).expect("linked");
        symlink(at("logs"), at("way")).expect("linked");
        let walls = || Walls {
            read: Some([at("way")].into()),
            write: None,
            connect: Some([53, 3100].into()),
            listen: Some([80, 1514].into()),
        };
        let standing = Standing::new(walls(), PORTS_SINCE);
        let one = |path: &str| BTreeSet::from([at(path)]);
        let none = Needs::default;
        for (needs, refused) in [
            (none(), &[][..]),
            (Needs { logs: one("logs/app"), ports: [53, 3100].into(), ..none() }, &[]),
            (Needs { logs: one("logs/not/yet"), files: one("way/ca.pem"), ..none() }, &[]),
            (Needs { runtimes: one("no/runtime"), listens: [1514].into(), positions: at("other/p"), ..none() }, &[]),
            (Needs { logs: one("other"), ..none() }, &["reading ", "/other"]),
            (Needs { logs: one("logs/link"), ..none() }, &["/logs/link"]),
            (Needs { logs: one("logs2"), ..none() }, &["/logs2"]),
            (Needs { named_logs: one("other/a.log"), ..none() }, &["/other/a.log"]),
            (Needs { files: one("other/ca.pem"), ports: [3101].into(), ..none() }, &["/other/ca.pem", "port 3101"]),
            (Needs { runtimes: one("docker"), ..none() }, &["/docker"]),
            (Needs { anywhere: vec!["job x".into()], ..none() }, &["any file (job x)"]),
            (Needs { unknown_files: vec!["a file".into()], ..none() }, &["any file (a file)"]),
            (Needs { any_port: vec!["a URL".into()], ..none() }, &["any port (a URL)"]),
            (Needs { listens: [80, 1515].into(), ..none() }, &["listening at port 1515"]),
            (Needs { runs_programs: true, ..none() }, &["kubeconfig_exec"]),
        ] {
            let said = standing.allow(&needs).err();
            assert_eq!(said.is_some(), !refused.is_empty(), "{needs:?}: {said:?}");
            let said = said.unwrap_or_default();
            assert!(refused.iter().all(|text| said.contains(text)), "{needs:?}: {said}");
            assert!(said.is_empty() || said.ends_with("restart the agent"), "{said}");
        }
        // Without rules, nothing is refused.
        let all =
            Needs { logs: one("other"), anywhere: vec!["x".into()], ports: [9].into(), listens: [9].into(), ..none() };
        let open = Walls { read: None, connect: None, listen: None, ..walls() };
        assert_eq!(Standing::new(open, PORTS_SINCE).allow(&all), Ok(()));
        let ports = Needs { ports: [9].into(), listens: [9].into(), ..none() };
        assert_eq!(Standing::new(walls(), PORTS_SINCE - 1).allow(&ports), Ok(()), "an older kernel knows no ports");
    }
}
