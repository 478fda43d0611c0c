//! Mounts that only the agent sees.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use super::rig::{Loki, Rig, SOON, line, wait_until};

/// The arguments of unshare with which a process may mount. None, said on standard error: nobody may here.
pub fn mount_rights() -> Option<&'static [&'static str]> {
    let private = |rights: &'static [&'static str]| {
        let works = Command::new("unshare").args(rights).args(["mount", "-t", "tmpfs", "none", "/var/lib"]).output();
        works.is_ok_and(|output| output.status.success()).then_some(rights)
    };
    let rights = private(&["-m", "--"]).or_else(|| private(&["-rm", "--"]));
    if rights.is_none() {
        eprintln!("skipped: neither root nor a user namespace may mount here");
    }
    rights
}

/// Whether the kernel reports the next write to the file to the agent.
fn is_watched(rig: &Rig, file: &str) -> bool {
    let inode = format!(" ino:{:x} ", fs::metadata(rig.path(file)).expect("there").ino());
    let watches = fs::read_dir(format!("/proc/{}/fdinfo", rig.id())).expect("it runs");
    watches.flatten().any(|open| fs::read_to_string(open.path()).is_ok_and(|info| info.contains(&inode)))
}

/// The kernel reports a new name in a directory once, under one of its paths. It is looked at under all of them, so a
/// rotation is seen at once, and not by the check that comes once a minute.
#[test]
fn a_rotation_in_a_directory_that_is_mounted_twice_is_seen_at_once() {
    let Some(rights) = mount_rights() else {
        return;
    };
    for (real, mounted) in [("logs", "more"), ("logs", "also")] {
        let (loki, mut rig) = (Loki::answering(204), Rig::new());
        let file = format!("{real}/a.log");
        rig.write(&file, "one\n");
        fs::create_dir(rig.path(mounted)).expect("made");
        let config = rig.config(&loki.url, "");
        let text = fs::read_to_string(&config).expect("there");
        let all = rig.path(&format!("{{{real},{mounted}}}/*.log")).display().to_string();
        let text = text.replace(&rig.path("logs/*.log").display().to_string(), &format!("'{all}'"));
        // As by default: the names are checked once a minute.
        let often = "target_config: {sync_period: 500ms}";
        assert!(text.contains(often), "{text}");
        fs::write(&config, text.replace(often, "")).expect("written");
        let before = "mount --bind \"$1\" \"$2\" && exec \"$3\" \"$4\"";
        let mut command = Command::new("unshare");
        command.args(rights).args(["sh", "-c", before, "sh"]).args([rig.path(real), rig.path(mounted)]);
        rig.start_as(command.arg(env!("CARGO_BIN_EXE_fantail")).arg(format!("-config.file={}", config.display())));
        // It is read under the path that is sorted first.
        let read_as = format!("{}/a.log", real.min(mounted));
        let mut expected = vec![line(&rig, &read_as, "one")];
        wait_until("it is read", SOON, || loki.stored() == expected);
        wait_until("it is quiet", SOON, || is_watched(&rig, &file));
        let mut open = File::options().append(true).open(rig.path(&file)).expect("there");
        open.write_all(b"two\n").expect("written");
        fs::rename(rig.path(&file), rig.path(&format!("{file}.1"))).expect("renamed");
        rig.write(&file, "three\n");
        expected.extend(["two", "three"].map(|text| line(&rig, &read_as, text)));
        wait_until("both are read", SOON, || loki.stored() == expected);
        // A new file is found below the path whose name the kernel does not report.
        rig.write(&format!("{real}/b.log"), "four\n");
        expected.push(line(&rig, &format!("{}/b.log", real.min(mounted)), "four"));
        wait_until("the second file is read", SOON, || loki.stored() == expected);
    }
}
