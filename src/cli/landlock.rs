//! Restricts the process with Landlock. The kernel lets the agent read only directories of logs and files that the
//! config names, write only to the positions' directory, and connect only to ports that the config names. This limits
//! an attacker who controls the process.
//!
//! If the directories of logs cannot be known at the start, reading is not restricted, and a warning says so: unread
//! logs would be worse than a weaker restriction.

mod mounts;
mod places;
mod silent;
mod standing;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, NetPort, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope, path_beneath_rules,
};

use mounts::Mounts;
use silent::patiently;
pub(super) use standing::Standing;

use crate::config::Needs;
use crate::tail;

/// The requested version. An older kernel uses the part that it supports.
const ABI: ABI = ABI::V6;

/// The rules for the kernel.
#[derive(Debug, Default)]
struct Walls {
    /// Files and directories that may be read. None: all.
    read: Option<BTreeSet<PathBuf>>,
    /// The directory that may also be written to.
    write: Option<PathBuf>,
    /// TCP ports. None: all.
    connect: Option<BTreeSet<u16>>,
    listen: Option<BTreeSet<u16>>,
}

/// The result of setting the rules.
struct Done {
    /// Landlock's version that both the kernel and the agent support.
    abi: i32,
    /// The readable files and directories, by device and inode.
    places: HashSet<(u64, u64)>,
}

/// Restricts this thread and all threads that it starts, permanently. Logs and returns the result. If the kernel does
/// not support Landlock, the agent runs without it, and the second result is None.
pub(super) fn install(needs: &Needs, may_write: bool) -> (String, Option<Standing>) {
    if needs.runs_programs {
        tracing::warn!(
            "landlock is off: kubernetes_sd_configs[].kubeconfig_exec lets a program run, whose needs are not known; use a \
             token or a certificate in the kubeconfig instead"
        );
        return ("off: kubeconfig_exec".into(), None);
    }
    if may_write {
        make_folder(&needs.positions);
    }
    let (walls, why_all) = Walls::of(needs, may_write);
    let done = match walls.build(AccessFs::from_all(ABI)) {
        Ok(done) => done,
        Err(error) => {
            tracing::warn!(error, "landlock is not available: the agent runs without it");
            return ("not available".into(), None);
        }
    };
    for reason in &why_all {
        tracing::warn!(reason, "landlock does not restrict reading");
    }
    if let Some(folder) = walls.write.as_ref().filter(|folder| needs.logs.iter().any(|logs| logs.starts_with(folder))) {
        tracing::warn!(
            folder = %folder.display(),
            "landlock cannot prevent writes to logs that are in the directory of the positions file: give \
             positions.filename its own directory"
        );
    }
    for reason in &needs.any_port {
        tracing::warn!(reason, "landlock does not restrict the ports to connect to");
    }
    let words = walls.words(done.abi);
    tracing::info!(
        abi = done.abi,
        read = words[0],
        write = words[1],
        connect = words[2],
        listen = words[3],
        "landlock: the kernel refuses all other files and ports"
    );
    if walls.read.is_some() {
        tail::set_readable(done.places);
    }
    let [read, write, connect, listen] = words;
    let words = format!("abi {}; read {read}; write {write}; connect to {connect}; listen on {listen}", done.abi);
    (words, Some(Standing::new(walls, done.abi)))
}

/// Makes the positions' directory. It must exist now, because a directory made later could not be written to.
fn make_folder(positions: &Path) {
    let folder = places::parent(positions);
    if let Some((at, why)) = places::waits_for_mount(&folder, &Mounts::now()) {
        tracing::warn!(
            folder = %folder.display(),
            "positions cannot be written after a later mount on {}: {why}; start the agent after the mount \
             (RequiresMountsFor={} in its systemd unit), otherwise a restart sends delivered lines again",
            at.display(),
            folder.display()
        );
    }
    if !folder.exists()
        && let Err(error) = DirBuilder::new().recursive(true).mode(0o700).create(&folder)
    {
        tracing::warn!(folder = %folder.display(), %error, "cannot make the directory of positions.filename: check its parent's permissions");
    }
}

impl Walls {
    /// The rules for these needs, and the reasons why reading is not restricted, if any.
    fn of(needs: &Needs, may_write: bool) -> (Self, Vec<String>) {
        let mounts = Arc::new(Mounts::now());
        let name_them = "name the folders that logs may be in in target_config.read_roots";
        let mut why_all: Vec<String> = needs.anywhere.iter().map(|why| format!("{why}: {name_them}")).collect();
        why_all.extend(needs.unknown_files.iter().cloned());
        let mut read: BTreeSet<PathBuf> = places::system();
        let mut more = BTreeSet::new();
        for found in (needs.logs.iter().map(|folder| patiently(folder, &mounts, places::of_folder)))
            .chain(needs.runtimes.iter().map(|folder| patiently(folder, &mounts, places::of_runtime)))
            .chain(needs.named_logs.iter().map(|file| patiently(file, &mounts, places::of_log)))
            .chain(needs.files.iter().map(|file| places::of_file(file)))
        {
            read.extend(found.places);
            more.extend(found.why_all);
        }
        why_all.extend(more);
        let folder = places::parent(&needs.positions);
        read.insert(folder.clone());
        // If the positions file is a link, it is read there once, and then replaced by a file.
        read.extend(fs::canonicalize(&needs.positions));
        read.extend(needs.config_files.iter().filter(|file| file.exists()).flat_map(|file| places::of_config(file)));
        let walls = Self {
            read: why_all.is_empty().then_some(read),
            write: (may_write && folder.is_dir()).then_some(folder),
            connect: needs.any_port.is_empty().then(|| needs.ports.clone()),
            // Port 0 means any free port.
            listen: (!needs.listens.contains(&0)).then(|| needs.listens.clone()),
        };
        (walls, why_all)
    }

    /// Sets the rules in the kernel.
    fn build(&self, handled: BitFlags<AccessFs>) -> Result<Done, String> {
        let read: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::ReadDir;
        let write = AccessFs::WriteFile | AccessFs::Truncate | AccessFs::MakeReg | AccessFs::RemoveFile;
        let rooms: Vec<&Path> = match &self.read {
            Some(read) => read.iter().map(PathBuf::as_path).collect(),
            None => vec![Path::new("/")],
        };
        let places =
            rooms.iter().filter_map(|room| fs::metadata(room).ok()).map(|meta| (meta.dev(), meta.ino())).collect();
        let apply = || {
            let mut rules = Ruleset::default().set_compatibility(CompatLevel::BestEffort).handle_access(handled)?;
            rules = rules.scope(Scope::from_all(ABI))?;
            if self.connect.is_some() {
                rules = rules.handle_access(AccessNet::ConnectTcp)?;
            }
            if self.listen.is_some() {
                rules = rules.handle_access(AccessNet::BindTcp)?;
            }
            let mut rules = rules.create()?.add_rules(path_beneath_rules(rooms, read))?;
            rules = rules.add_rules(path_beneath_rules(&self.write, read | write))?;
            for port in self.connect.iter().flatten() {
                rules = rules.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
            }
            for port in self.listen.iter().flatten() {
                rules = rules.add_rule(NetPort::new(*port, AccessNet::BindTcp))?;
            }
            rules.restrict_self()
        };
        let status = apply().map_err(|e: ::landlock::RulesetError| e.to_string())?;
        match status.landlock {
            LandlockStatus::Available { effective_abi, .. } if status.ruleset != RulesetStatus::NotEnforced => {
                Ok(Done { abi: effective_abi as i32, places })
            }
            _ => Err("this kernel has no Landlock, or it is not switched on (lsm=landlock)".into()),
        }
    }

    /// Descriptions of the files to read, the directory to write to, and the ports to connect to and to listen on.
    fn words(&self, abi: i32) -> [String; 4] {
        let ports = |ports: &Option<BTreeSet<u16>>| match ports {
            None => "any port".to_string(),
            Some(_) if abi < 4 => "any port (before Linux 6.7)".to_string(),
            Some(ports) if ports.is_empty() => "no port".to_string(),
            Some(ports) => ports.iter().map(u16::to_string).collect::<Vec<_>>().join(","),
        };
        let read = self.read.as_ref().map_or("anywhere".into(), |read| format!("{} places", read.len()));
        let write = self.write.as_ref().map_or("nowhere".into(), |folder| folder.display().to_string());
        [read, write, ports(&self.connect), ports(&self.listen)]
    }
}
