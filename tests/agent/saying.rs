//! Unread files and targets are reported once, with the reason and what to do, and shown on the pages.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::process::Command;

use crate::rig::{Loki, Rig, SOON, run, wait_until};

/// A config with these jobs. `DIR` in them is replaced by the rig's directory.
fn configure(rig: &Rig, loki: &Loki, jobs: &str) -> std::path::PathBuf {
    let config = rig.config(&loki.url, "");
    let text = fs::read_to_string(&config).expect("read");
    let (head, _) = text.split_once("scrape_configs:").expect("jobs");
    let dir = rig.path("");
    let dir = dir.to_str().expect("text").trim_end_matches('/');
    fs::write(&config, format!("{head}scrape_configs:\n{}", jobs.replace("DIR", dir))).expect("written");
    config
}

/// The page as JSON.
pub fn page(rig: &Rig, path: &str) -> serde_json::Value {
    let said = rig.said();
    let address = said.split("http=").nth(1).and_then(|rest| rest.split_whitespace().next()).expect("an address");
    let mut stream = TcpStream::connect(address).expect("it listens");
    let request = format!("GET {path}?format=json HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    serde_json::from_str(answer.split_once("\r\n\r\n").expect("a body").1).expect("JSON")
}

/// For the first target with this in its path: why nothing is read, and the name and reason of each unread file.
fn not_read(rig: &Rig, path: &str) -> (String, Vec<String>) {
    let page = page(rig, "/targets");
    let targets = page["targets"].as_array().expect("a list");
    let target = targets.iter().find(|t| t["path"].as_str().expect("text").contains(path)).expect(path);
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_string();
    let file = |file: &serde_json::Value| {
        let path = text(&file["path"]);
        format!("{}: {}", path.rsplit('/').next().unwrap_or_default(), text(&file["reason"]))
    };
    (text(&target["nothing"]), target["not_read"].as_array().expect("a list").iter().map(file).collect())
}

#[test]
fn what_matches_and_is_not_read_is_said_once_and_shown() {
    let (loki, mut rig) = (Loki::answering(204), Rig::new());
    rig.write("logs/app", "one\n");
    rig.write("logs/app.1", "older\n");
    rig.write("logs/secret", "no\n");
    rig.write("logs/folder/x", "no\n");
    symlink("nowhere", rig.path("logs/broken")).expect("linked");
    let _socket = UnixListener::bind(rig.path("logs/socket")).expect("bound");
    let _sockets: Vec<UnixListener> =
        (0..30).map(|n| UnixListener::bind(rig.path(&format!("logs/more-{n}"))).expect("bound")).collect();
    let config = configure(
        &rig,
        &loki,
        "  - job_name: logs
    static_configs: [{labels: {job: logs, __path__: DIR/logs/*, __path_exclude__: DIR/logs/s*t}}]
",
    );
    rig.start(&config);
    wait_until("what can be read is read", SOON, || loki.stored().len() == 2);
    // Each of these makes the agent check all names again.
    for n in 0..4 {
        rig.write(&format!("logs/new-{n}"), "line\n");
        wait_until("a new file is read", SOON, || loki.stored().len() == 3 + n);
    }
    fs::rename(rig.path("logs/app"), rig.path("logs/app.2026112210")).expect("renamed");
    rig.write("logs/app", "two\n");
    wait_until("it goes on behind a rotation", SOON, || loki.stored().iter().any(|line| line.ends_with("two")));
    let said = rig.said();
    let dir = rig.path("logs");
    let dir = dir.display();
    for (reason, files, advice) in [
        (
            "it is not a regular file",
            format!("{dir}/more-0, {dir}/more-1, {dir}/more-10 and 27 more"),
            "__path_exclude__",
        ),
        ("it is a directory", format!("{dir}/folder"), "/*.log"),
        ("it is a link whose target does not exist", format!("{dir}/broken"), "as soon as the link's target exists"),
        ("excluded by __path_exclude__", format!("{dir}/secret"), "nothing"),
        ("read as an older generation of", format!("{dir}/app.1"), "its own job"),
    ] {
        let lines: Vec<&str> = said.lines().filter(|line| line.contains(reason)).collect();
        assert_eq!(lines.len(), 1, "{reason}: {lines:#?}");
        assert!(lines[0].contains(&files) && lines[0].contains(advice), "{reason}: {}", lines[0]);
    }
    let (nothing, files) = not_read(&rig, "logs/*");
    assert_eq!(nothing, "");
    for file in [
        "broken: it is a link whose target does not exist",
        "folder: it is a directory",
        "more-7: it is not a regular file",
        "secret: excluded by __path_exclude__",
        &format!("app.2026112210: read as an older generation of {dir}/app"),
    ] {
        assert!(files.iter().any(|shown| shown == file), "{file}: {files:#?}");
    }
    assert!(!files.iter().any(|file| file.starts_with("socket")), "it is excluded, and no trouble: {files:#?}");
}

#[test]
fn a_target_of_which_nothing_is_read_is_said_once_with_what_is_wrong() {
    let (loki, mut rig) = (Loki::answering(204), Rig::new());
    rig.write("logs/app.log", "one\n");
    rig.write("sd.yml", "- labels: {__path__: /nothing/of/it}\n- {targets: [x], labels: {app: y}}\n");
    rig.write("empty.yml", "[]\n");
    let config = configure(
        &rig,
        &loki,
        "  - job_name: typo
    static_configs: [{labels: {__paths__: DIR/logs/*.log}}]
  - job_name: missing
    static_configs: [{labels: {__path__: DIR/lgos/*.log}}, {labels: {__path__: '~/app.log'}}]
  - job_name: folder
    static_configs: [{labels: {__path__: DIR/logs}}]
  - job_name: files
    file_sd_configs: [{files: [DIR/sd.yml, DIR/empty.yml]}]
  - job_name: later
    static_configs: [{labels: {__path__: DIR/later/*.log}}]
  - job_name: both
    static_configs: [{labels: {__path__: '{DIR/logs/app.log,DIR/logs/other.log}'}}]
",
    );
    rig.start(&config);
    wait_until("what can be read is read", SOON, || loki.stored().len() == 1);
    wait_until("the rest is said", SOON, || rig.said().matches("nothing is read until a file appears").count() == 3);
    rig.write("later/a.log", "one\n");
    wait_until("it came", SOON, || loki.stored().len() == 2);
    wait_until("that is said too", SOON, || rig.said().contains("__path__ matches files now"));
    let said = rig.said();
    for (words, job) in [
        (&["there is no label __path__", "did you mean __path__ instead of __paths__?"][..], "typo"),
        (&["/lgos: check the mounts", "targets=2"], "missing"),
        (&["logs is a directory: write", "/logs/*.log for the files in it"], "folder"),
        (&["the group has no targets: write targets: [localhost]"], "files"),
        (&["there is no label __path__"], "files"),
        (&["has no targets", "empty.yml"], "files"),
        (&["/later: check the mounts"], "later"),
    ] {
        let fits = |line: &&str| line.contains(&format!("job={job} ")) && words.iter().all(|w| line.contains(w));
        let lines: Vec<&str> = said.lines().filter(fits).collect();
        assert_eq!(lines.len(), 1, "{job}, {words:?}: {said}");
    }
    assert!(not_read(&rig, "~/app.log").0.starts_with("~ is not replaced"));
    let mistakes = page(&rig, "/targets")["mistakes"].to_string();
    for words in ["the group has no targets", "did you mean __path__ instead of __paths__?", "sd.yml:1"] {
        assert!(mistakes.contains(words), "{words}: {mistakes}");
    }
    let discovered = page(&rig, "/service-discovery").to_string();
    assert!(discovered.contains("the group has no targets") && discovered.contains("__paths__"), "{discovered}");
}

#[test]
fn the_first_push_and_a_job_without_kept_targets_are_said_once() {
    let (loki, mut rig) = (Loki::answering(204), Rig::new());
    rig.write("logs/app.log", "one\n");
    let config = configure(
        &rig,
        &loki,
        "  - job_name: kept
    static_configs: [{labels: {__path__: DIR/logs/*.log, env: test}}]
    relabel_configs: [{action: keep, source_labels: [env], regex: test}]
  - job_name: dropped
    static_configs: [{targets: [a, b], labels: {__path__: DIR/logs/*.log, env: prod}}, {labels: {env: test}}]
    relabel_configs: [{action: keep, source_labels: [env], regex: test}]
",
    );
    rig.start(&config);
    for n in 1..4 {
        wait_until("the line is there", SOON, || loki.stored().len() == n);
        rig.write("logs/app.log", "next\n");
    }
    wait_until("the targets are summarised", SOON, || rig.said().contains("no discovered target of this job is read"));
    let said = rig.said();
    let lines = |words: &str| said.lines().filter(|line| line.contains(words)).collect::<Vec<_>>();
    let first = lines("the first push succeeded");
    assert_eq!(first.len(), 1, "{said}");
    assert!(first[0].contains("level=info") && first[0].contains("entries=1"), "{}", first[0]);
    let dropped = lines("no discovered target of this job is read");
    assert_eq!(dropped.len(), 1, "{said}");
    for part in ["job=dropped", "discovered=3", "targets=2", "rule 0: keep if [env] matches"] {
        assert!(dropped[0].contains(part), "{part}: {}", dropped[0]);
    }
}

#[test]
fn a_config_without_jobs_is_said_to_read_nothing() {
    let (loki, mut rig) = (Loki::answering(204), Rig::new());
    let config = configure(&rig, &loki, "");
    rig.start(&config);
    wait_until("it is said", SOON, || rig.said().contains("there are no scrape_configs: nothing is read"));
    rig.signal("-TERM");
    assert_eq!(rig.ended(SOON), Some(0));
}

/// The running agent explains what it knows: targets, files, lines of the question, and its clients.
#[test]
fn the_running_agent_explains_and_is_asked_for_its_health() {
    let (loki, mut rig) = (Loki::answering(204), Rig::new());
    rig.write("logs/app.log", "a-line-of-the-file\n");
    let config = configure(
        &rig,
        &loki,
        "  - job_name: logs
    static_configs: [{labels: {__path__: DIR/logs/*.log, env: test}}, {labels: {__path__: DIR/x, env: prod}}]
    relabel_configs: [{action: keep, source_labels: [env], regex: test}]
    pipeline_stages: [{drop: {expression: secret}}]
",
    );
    rig.start(&config);
    wait_until("the line is there", SOON, || loki.stored().len() == 1);
    let said = rig.said();
    let address = said.split("http=").nth(1).and_then(|rest| rest.split_whitespace().next()).expect("an address");
    let server = format!("http://{address}");
    let fantail = |args: &[&str]| {
        let output = run(Command::new(env!("CARGO_BIN_EXE_fantail")).args(args));
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    wait_until("it is ready", SOON, || fantail(&["health", "-server", &server]) == (Some(0), "Ready\n".into()));
    let file = rig.path("logs/app.log").display().to_string();
    let (code, text) = fantail(&["explain", "-server", &server, &file, "-line", "a secret"]);
    assert_eq!(code, Some(0), "{text}");
    for part in ["kept, with the labels", &format!("file {file}, 19 bytes"), "line a secret", "drops the line", ": ok"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("a-line-of-the-file"), "no line of the file is shown: {text}");
    let (code, text) = fantail(&["explain", "-server", &server]);
    assert!(code == Some(0) && text.contains("not read: rule 0: keep if [env] matches \"test\""), "{text}");
    assert_eq!(fantail(&["explain", "-server", &server, "web-0"]).0, Some(2));
    assert_eq!(fantail(&["explain", "-server", &server, "-job", "other"]).0, Some(1));
}
