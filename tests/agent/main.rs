//! The program as a user starts it, with a fake Loki.

mod discovery;
#[path = "../support/fake_loki.rs"]
mod fake_loki;
mod journal;
mod receive;
mod reload;
mod rig;
mod saying;
mod secrets;
mod spool;
mod stdin;
mod stopping;
mod traps;
mod walls;
mod watching;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use rig::{Loki, Rig, SOON, line, run, wait_until};

#[test]
fn the_readmes_first_command_prints_labelled_lines() {
    let mut agent = Command::new(env!("CARGO_BIN_EXE_fantail"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["-config.file=examples/dry-run.yaml", "-dry-run", "-server.disable"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("started");
    let mut lines = BufReader::new(agent.stdout.take().expect("piped")).lines();
    let first = lines.next().expect("a line").expect("text");
    agent.kill().expect("killed");
    agent.wait().expect("ended");
    assert!(first.contains("\t{") && first.contains("job=\""), "{first}");
}

#[test]
fn a_wrong_password_costs_no_line_and_is_said() {
    let (loki, mut rig) = (Loki::answering(401), Rig::new());
    rig.write("logs/a.log", "one\n");
    let config = rig.config(&loki.url, ", basic_auth: {username: me, password: hunter2}");
    rig.start(&config);
    wait_until("it is said", SOON, || rig.said().contains("401"));
    loki.answer(204);
    wait_until("the line is there", Duration::from_secs(90), || loki.stored().len() == 1);
    assert!(!rig.said().contains("hunter2"));
}

#[test]
fn positions_of_who_was_here_before_are_taken_over_once() {
    let (loki, mut rig) = (Loki::answering(204), Rig::new());
    rig.write("logs/a.log", "sent\nnew\n");
    let log = rig.path("logs/a.log");
    rig.write("before/positions.yaml", &format!("positions:\n  {}: \"5\"\n", log.display()));
    let config = rig.config(&loki.url, "");
    let text = fs::read_to_string(&config).expect("read");
    let before = rig.path("before/positions.yaml");
    let text = text.replace("sync_period: 200ms", &format!("sync_period: 200ms, import_from: [{}]", before.display()));
    fs::write(&config, text).expect("written");
    rig.start(&config);
    wait_until("the new line is there", SOON, || loki.stored() == [line(&rig, "logs/a.log", "new")]);
    assert!(rig.said().contains("positions taken over"), "{}", rig.said());
    rig.signal("-TERM");
    assert_eq!(rig.ended(SOON), Some(0));

    rig.write("logs/a.log", "newer\n");
    rig.start(&config);
    let all = ["new", "newer"].map(|text| line(&rig, "logs/a.log", text));
    wait_until("the newer line is there", SOON, || loki.stored() == all);
}

#[test]
fn killed_at_any_moment_it_loses_nothing() {
    let (loki, mut rig) = (Loki::answering(204), Rig::new());
    let config = rig.config(&loki.url, "");
    let mut written = Vec::new();
    for round in 0..8 {
        rig.start(&config);
        // Files that were rotated before the first start are not read.
        wait_until("it has begun", SOON, || rig.path("positions.yaml.journal").exists());
        for n in 0..200 {
            let text = format!("{round} {n}");
            rig.write("logs/a.log", &format!("{text}\n"));
            written.push(line(&rig, "logs/a.log", &text));
        }
        let enough = written.len() * (round % 3) / 3;
        wait_until("some of it is there", SOON, || loki.stored().len() >= enough);
        rig.signal("-KILL");
        assert_eq!(rig.ended(SOON), None);
        fs::rename(rig.path("logs/a.log"), rig.path(&format!("logs/a.log.2026112210000{round}"))).expect("renamed");
        rig.write("logs/a.log", "");
    }
    rig.start(&config);
    let missing = || {
        let stored = loki.stored();
        written.iter().filter(|w| !stored.contains(w)).count()
    };
    wait_until("every line is there", SOON, || missing() == 0);
}

#[test]
fn positions_that_cannot_be_written_are_said_and_lines_arrive() {
    let (loki, mut rig) = (Loki::answering(204), Rig::new());
    rig.write("logs/a.log", "one\n");
    let config = rig.config(&loki.url, "");
    // Nobody may create files there.
    let text = fs::read_to_string(&config).expect("read");
    let own = format!("{}", rig.path("positions.yaml").display());
    assert!(text.contains(&own));
    fs::write(&config, text.replace(&own, "/proc/positions.yaml")).expect("written");
    rig.start(&config);
    wait_until("the line is there", SOON, || loki.stored().len() == 1);
    wait_until("it is said", SOON, || rig.said().contains("cannot write positions"));
    rig.write("logs/a.log", "two\n");
    wait_until("the next line is there", SOON, || loki.stored().len() == 2);
    assert_eq!(rig.said().matches("cannot write positions").count(), 1, "once is enough");
}

#[test]
fn a_second_agent_with_the_same_positions_does_not_start() {
    let (loki, mut rig) = (Loki::answering(204), Rig::new());
    rig.write("logs/a.log", "one\n");
    let config = rig.config(&loki.url, "");
    rig.start(&config);
    wait_until("the line is there", SOON, || loki.stored().len() == 1);
    let output = run(Command::new(env!("CARGO_BIN_EXE_fantail")).arg(format!("-config.file={}", config.display())));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("another agent uses it") && said.contains("positions.filename"), "{said}");
}

#[test]
fn positions_that_cannot_be_understood_stop_the_start() {
    let rig = Rig::new();
    let config = rig.config("http://127.0.0.1:9/push", "");
    fs::write(rig.path("positions.yaml"), "positions: [").expect("written");
    let output = run(Command::new(env!("CARGO_BIN_EXE_fantail")).arg(format!("-config.file={}", config.display())));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("positions.yaml") && said.contains("ignore_invalid_yaml"), "{said}");
}

#[test]
fn a_port_in_use_is_said_with_the_key_to_change() {
    let rig = Rig::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let config = rig.config("http://127.0.0.1:9/push", "");
    let output = run(Command::new(env!("CARGO_BIN_EXE_fantail"))
        .args([&format!("-config.file={}", config.display()), &format!("-server.http-listen-port={port}")]));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("http_listen_port") && said.contains(&port), "{said}");
}

#[test]
fn a_file_without_permission_is_said_and_its_neighbour_is_read() {
    use std::os::unix::fs::PermissionsExt;
    let (loki, mut rig) = (Loki::answering(204), Rig::new());
    rig.write("logs/a.log", "one\n");
    rig.write("logs/secret.log", "two\n");
    let config = rig.config(&loki.url, "");
    let open = |mode| fs::Permissions::from_mode(mode);
    fs::set_permissions(rig.path("logs/secret.log"), open(0o000)).expect("set");
    // Root can read all files, so the agent runs as nobody.
    let is_root = fs::read(rig.path("logs/secret.log")).is_ok();
    let arguments = format!("-config.file={}", config.display());
    if is_root {
        // User nobody may not have access to the build directory.
        let program = rig.path("fantail");
        fs::copy(env!("CARGO_BIN_EXE_fantail"), &program).expect("copied");
        for (path, mode) in
            [("", 0o777), ("logs", 0o755), ("promtail.yaml", 0o644), ("logs/a.log", 0o644), ("fantail", 0o755)]
        {
            fs::set_permissions(rig.path(path), open(mode)).expect("set");
        }
        rig.start_as(
            Command::new("setpriv")
                .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
                .arg(program)
                .arg(arguments),
        );
    } else {
        rig.start(&config);
    }
    wait_until("the neighbour is read", SOON, || loki.stored().len() == 1);
    wait_until("it is said", SOON, || rig.said().contains("secret.log") && rig.said().contains("Permission denied"));
    fs::set_permissions(rig.path("logs/secret.log"), open(0o644)).expect("set");
    wait_until("it is read once it may be", SOON, || loki.stored().len() == 2);
}

#[test]
fn more_files_than_the_limit_of_open_ones_are_read_where_the_limit_can_be_raised() {
    let (loki, mut rig) = (Loki::answering(204), Rig::new());
    for n in 0..200 {
        rig.write(&format!("logs/{n}.log"), "line\n");
    }
    let config = rig.config(&loki.url, "");
    let program = env!("CARGO_BIN_EXE_fantail");
    rig.start_as(
        Command::new("sh")
            .args(["-c", "ulimit -Sn 64; exec \"$0\" \"$1\"", program])
            .arg(format!("-config.file={}", config.display())),
    );
    wait_until("all are read", SOON, || loki.stored().len() == 200);
    assert!(!rig.said().contains("open files"), "{}", rig.said());
}
