//! New names that the kernel does not report, or reports under another path.

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

/// The config of a rig, with the default for how often the names are checked: once a minute.
fn seldom_checked(config: &str) -> String {
    let often = "target_config: {sync_period: 500ms}";
    assert!(config.contains(often), "{config}");
    config.replace(often, "")
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
        fs::write(&config, seldom_checked(&text)).expect("written");
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

/// When no further directory can be watched, none is. Then all targets are looked at every two seconds, also those whose
/// directories were watched before.
#[test]
fn at_the_limit_of_inotify_the_targets_that_were_watched_are_read_on() {
    let limit = "echo 6 > /proc/sys/user/max_inotify_watches";
    let may = Command::new("unshare").args(["-rU", "--", "sh", "-c", limit]).output();
    if !may.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: nobody may make a user namespace here");
        return;
    }
    let (loki, mut rig) = (Loki::answering(204), Rig::new());
    rig.write("logs/a.log", "one\n");
    let config = rig.config(&loki.url, "");
    let text = seldom_checked(&fs::read_to_string(&config).expect("there"));
    let many = format!(
        "  - job_name: many\n    static_configs: [{{labels: {{job: many, __path__: '{}'}}}}]\n",
        rig.path("many/*/*.log").display()
    );
    fs::write(&config, text + &many).expect("written");
    let mut command = Command::new("unshare");
    command.args(["-rU", "--", "sh", "-c", &format!("{limit} && exec \"$1\" \"$2\""), "sh"]);
    rig.start_as(command.arg(env!("CARGO_BIN_EXE_fantail")).arg(format!("-config.file={}", config.display())));
    wait_until("it is read", SOON, || loki.stored().len() == 1);
    for n in 0..9 {
        rig.write(&format!("many/{n}/b.log"), "two\n");
    }
    wait_until("it is said", SOON, || rig.said().contains("cannot watch more directories"));
    wait_until("all are read", SOON, || loki.stored().len() == 10);
    rig.write("logs/new.log", "three\n");
    wait_until("the new file is read", SOON, || loki.stored().contains(&line(&rig, "logs/new.log", "three")));
}
