//! The restrictions of seccomp and Landlock, and reading in spite of them.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use super::rig::{Loki, Rig, SOON, line, wait_until};
use super::watching::mount_rights;

fn start(rig: &mut Rig, config: &std::path::Path, flags: &[&str]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fantail"));
    rig.start_as(command.arg(format!("-config.file={}", config.display())).args(flags));
}

/// A separate directory for a config.
fn alone(rig: &Rig) -> PathBuf {
    fs::create_dir(rig.path("etc")).expect("made");
    rig.path("etc/promtail.yaml")
}

/// Checks the kernel's status of each thread: one seccomp filter more than the parent process. The allocator's threads
/// exist before main.
#[test]
fn seccomp_is_on_in_each_thread_unless_it_is_switched_off() {
    let filters = |status: &std::path::Path| -> u32 {
        let status = fs::read_to_string(status).expect("it runs");
        let filters = status.lines().find_map(|line| line.strip_prefix("Seccomp_filters:"));
        filters.expect("Linux 5.9 or later").trim().parse().expect("a number")
    };
    let own = filters("/proc/self/status".as_ref());
    for (flag, more) in [(None, 1), (Some("-security.seccomp=false"), 0)] {
        let (loki, mut rig) = (Loki::answering(204), Rig::new());
        rig.write("logs/a.log", "one\n");
        let config = rig.config(&loki.url, "");
        start(&mut rig, &config, flag.as_slice());
        wait_until("the line is there", SOON, || loki.stored().len() == 1);
        let threads = fs::read_dir(format!("/proc/{}/task", rig.id())).expect("it runs");
        let threads: Vec<_> = threads.map(|thread| thread.expect("a thread").path()).collect();
        assert!(threads.len() > 4, "{threads:?}");
        for thread in threads {
            let name = fs::read_to_string(thread.join("comm")).expect("it runs");
            assert_eq!(filters(&thread.join("status")), own + more, "{flag:?} {name}");
        }
        assert_eq!(rig.said().contains("seccomp"), flag.is_none());
    }
}

#[test]
fn what_is_on_is_shown() {
    for (flag, shown) in [(None, "landlock=\"abi"), (Some("-security.landlock=false"), "landlock=\"off\"")] {
        let (loki, mut rig) = (Loki::answering(204), Rig::new());
        let config = rig.config(&loki.url, "");
        start(&mut rig, &config, flag.as_slice());
        wait_until("it listens", SOON, || rig.said().contains("http="));
        let said = rig.said();
        assert_eq!(said.contains("landlock: "), flag.is_none(), "{said}");
        let address = said.split("http=").nth(1).and_then(|rest| rest.split_whitespace().next()).expect("an address");
        let get = |path: &str| {
            let mut stream = TcpStream::connect(address).expect("it listens");
            write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("it reads");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("it answers");
            answer
        };
        let metrics = get("/metrics");
        let info = metrics.lines().find(|line| line.starts_with("fantail_confinement_info{")).expect("it is there");
        assert!(info.contains(shown), "{info}");
        let on_page = if flag.is_none() { "# landlock: abi" } else { "# landlock: off" };
        // The page is empty until the run has started, which is after the server.
        wait_until("the page shows it", SOON, || get("/config").contains(on_page));
    }
}

/// Directories that are made again, or made later, are read. If a link leads out of all known directories, the agent
/// reports it, and a restart is enough.
#[test]
fn logs_that_come_later_are_read_or_said_to_be_refused() {
    let (loki, mut rig) = (Loki::answering(204), Rig::new());
    for name in ["one/a/logs/0.log", "two/b/logs/0.log", "x/y/again/0.log"] {
        rig.write(name, &format!("in {name}\n"));
    }
    symlink(rig.path("one/a/logs"), rig.path("x/y/current")).expect("linked");
    let config = rig.config(&loki.url, "");
    let text = fs::read_to_string(&config).expect("there");
    let config = alone(&rig);
    let path = rig.path("x/y/{current,again,later/on}/*.log").display().to_string();
    let text = text.replace(&rig.path("logs/*.log").display().to_string(), &format!("'{path}'"));
    // Positions and config have their own directories, because logs below these could always be read.
    fs::write(&config, text.replace("/positions.yaml", "/state/positions.yaml")).expect("written");
    start(&mut rig, &config, &[]);
    wait_until("what was there is read", SOON, || loki.stored().len() == 2);

    fs::remove_dir_all(rig.path("x/y/again")).expect("removed");
    rig.write("x/y/again/1.log", "again\n");
    rig.write("x/y/later/on/1.log", "later\n");
    fs::remove_file(rig.path("x/y/current")).expect("removed");
    symlink(rig.path("two/b/logs"), rig.path("x/y/current")).expect("linked");
    let came = |text: &str| loki.stored().iter().any(|stored| stored.ends_with(text));
    wait_until("what came is read", SOON, || came(" again") && came(" later"));
    wait_until("what is refused is said", SOON, || rig.said().contains("landlock refuses it"));
    assert!(!came("two/b/logs/0.log") && rig.said().contains("target_config.read_roots"));

    rig.signal("-TERM");
    rig.ended(SOON);
    start(&mut rig, &config, &[]);
    wait_until("it is read", SOON, || came("in two/b/logs/0.log"));
}

/// Disks that are mounted after the start, unmounted and mounted again, or mounted directly below a system directory.
/// For the last, the agent reports at the start that reading is not restricted.
#[test]
fn logs_on_a_disk_that_is_mounted_later_are_read() {
    let Some(rights) = mount_rights() else {
        return;
    };
    for (disk, everything) in [("mnt/disk", false), ("/var/lib/disk", true)] {
        let (loki, mut rig) = (Loki::answering(204), Rig::new());
        rig.write("logs/a.log", "one\n");
        let (disk, again) = (rig.path(disk), rig.path("again/disk"));
        fs::create_dir_all(rig.path("mnt/disk")).expect("made");
        fs::create_dir_all(&again).expect("made");
        let config = rig.config(&loki.url, "");
        let text = fs::read_to_string(&config).expect("there");
        let path = format!(
            "{},{}/app/*.log,{}/app/log/*.log",
            rig.path("logs/*.log").display(),
            disk.display(),
            again.display()
        );
        let text = text.replace(&rig.path("logs/*.log").display().to_string(), &format!("'{{{path}}}'"));
        fs::write(&config, text.replace("/positions.yaml", "/state/positions.yaml")).expect("written");
        // In a separate mount namespace, where one of the disks exists.
        let before = "mount -t tmpfs none /var/lib && mkdir -p /var/lib/disk && mount -t tmpfs none \"$1\" && \
                      mkdir -p \"$1/app/log\" && echo old > \"$1/app/log/0.log\" && exec \"$2\" \"$3\"";
        let mut command = Command::new("unshare");
        command.args(rights).args(["sh", "-c", before, "sh"]).arg(&again).arg(env!("CARGO_BIN_EXE_fantail"));
        rig.start_as(command.arg(format!("-config.file={}", config.display())));
        let came = |text: &str| loki.stored().iter().any(|stored| stored.ends_with(text));
        wait_until("what is there is read", SOON, || came(" one") && came(" old"));
        assert_eq!(rig.said().contains("landlock does not restrict reading"), everything);
        assert_eq!(rig.said().contains("RequiresMountsFor=/var/lib/disk"), everything);

        let mut enter = Command::new("nsenter");
        enter.args(["-t", &rig.id().to_string(), "-m"]).args(rights.contains(&"-rm").then_some("-U"));
        let after = "umount -l \"$2\" && for disk do mount -t tmpfs none \"$disk\" && mkdir -p \"$disk/app/log\" && \
                     echo new > \"$disk/app/log/1.log\" && echo new > \"$disk/app/1.log\"; done";
        let output = enter.args(["sh", "-c", after, "sh"]).args([&disk, &again]).output().expect("it runs");
        assert!(output.status.success(), "{output:?}");
        for file in [disk.join("app/1.log"), again.join("app/log/1.log")] {
            let line = format!("{{filename=\"{}\", job=\"logs\"}} new", file.display());
            wait_until("what is mounted is read", SOON, || loki.stored().contains(&line));
        }
    }
}

#[test]
fn a_port_that_is_not_named_is_said_to_be_refused() {
    let (first, second) =
        (TcpListener::bind("127.0.0.1:0").expect("a port"), TcpListener::bind("127.0.0.1:0").expect("a port"));
    let (url, other) = (first.local_addr().expect("an address"), second.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for mut stream in first.incoming().flatten() {
            let _ = stream.read(&mut [0; 1024]);
            let _ = write!(
                stream,
                "HTTP/1.1 308 There\r\nLocation: https://{other}/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
        }
    });
    let mut rig = Rig::new();
    rig.write("logs/a.log", "one\n");
    let config = rig.config(&format!("http://{url}/push"), "");
    start(&mut rig, &config, &[]);
    wait_until("it is said", SOON, || rig.said().contains("landlock refuses a port"));
}

/// For a missing directory, its nearest existing parent is allowed. In the worst case this is everything, and the agent
/// reports it.
#[test]
fn where_nobody_can_know_reading_goes_on() {
    let (loki, mut rig) = (Loki::answering(204), Rig::new());
    rig.write("far/away/a.log", "one\n");
    let config = rig.config(&loki.url, "");
    let text = fs::read_to_string(&config).expect("there");
    let config = alone(&rig);
    let targets = rig.path("targets/t.json").display().to_string();
    let path = rig.path("far/away/*.log").display().to_string();
    rig.write(
        "targets/t.json",
        &format!("[{{\"targets\": [\"x\"], \"labels\": {{\"__path__\": {path:?}, \"job\": \"logs\"}}}}]"),
    );
    let job = |more: &str| {
        let (head, _) = text.split_once("scrape_configs:").expect("jobs");
        let head = head
            .replace("/positions.yaml", "/state/positions.yaml")
            .replace("sync_period: 500ms", &format!("sync_period: 500ms{more}"));
        fs::write(
            &config,
            format!("{head}scrape_configs: [{{job_name: f, file_sd_configs: [{{files: ['{targets}']}}]}}]\n"),
        )
        .expect("written");
    };
    job("");
    start(&mut rig, &config, &[]);
    wait_until("the line is there", SOON, || loki.stored() == [line(&rig, "far/away/a.log", "one")]);
    assert!(rig.said().contains("landlock does not restrict reading") && rig.said().contains("job \\\"f\\\""));
    rig.signal("-TERM");
    rig.ended(SOON);

    fs::create_dir_all(rig.path("only/this")).expect("made");
    job(&format!(", read_roots: ['{}']", rig.path("only/this").display()));
    rig.write("far/away/a.log", "two\n");
    start(&mut rig, &config, &[]);
    wait_until("it is said", SOON, || rig.said().contains("landlock refuses it"));
    assert_eq!(loki.stored().len(), 1);
}
