//! Lines from standard input.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use crate::rig::{Loki, Rig, SOON, wait_until};

#[test]
fn standard_input_goes_to_loki_and_the_agent_ends_with_it() {
    let (loki, rig) = (Loki::answering(204), Rig::new());
    let config = rig.config(&loki.url, "");
    let mut agent = Command::new(env!("CARGO_BIN_EXE_fantail"))
        .args(["-stdin", &format!("-config.file={}", config.display())])
        .stdin(Stdio::piped())
        .spawn()
        .expect("started");
    agent.stdin.take().expect("piped").write_all(b"one\r\n\ntwo\nlast without newline").expect("written");
    assert!(agent.wait().expect("ended").success());
    let want = ["one", "two", "last without newline"].map(|l| format!("{{job=\"logs\"}} {l}"));
    assert_eq!(loki.stored(), want);
}

#[test]
fn a_dry_run_of_standard_input_prints_every_line() {
    let rig = Rig::new();
    let config = rig.config("http://127.0.0.1:9/loki/api/v1/push", "");
    let mut agent = Command::new(env!("CARGO_BIN_EXE_fantail"))
        .args(["-stdin", "-dry-run", &format!("-config.file={}", config.display())])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    let input: String = (0..5_000).map(|n| format!("line {n}\n")).collect();
    let mut stdin = agent.stdin.take().expect("piped");
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = agent.wait_with_output().expect("ended");
    writer.join().expect("joined").expect("written");
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!(text.lines().count(), 5_000);
    assert!(text.lines().enumerate().all(|(n, l)| l.ends_with(&format!("\t{{job=\"logs\"}}\tline {n}"))));
}

/// What Promtail's own manual says to type, each with its port 80 and without a job.
#[test]
fn standard_input_needs_no_config() {
    let (loki, rig) = (Loki::answering(204), Rig::new());
    let url = format!("-client.url={}", loki.url);
    fs::write(rig.path("jobless.yaml"), format!("clients: [{{url: '{}'}}]\n", loki.url)).expect("written");
    let file = format!("-config.file={}", rig.path("jobless.yaml").display());
    let own = "{hostname=\"here\", job=\"stdin\"}";
    let labelled = "{a=\"b\", hostname=\"here\", job=\"stdin\"}";
    for (arguments, sent) in [
        (&["-stdin", &url][..], Some(own)),
        (&["--stdin", "--client.url", &loki.url, "-client.external-labels=a=b"], Some(labelled)),
        (&["-stdin", &file], Some(own)),
        (&["--stdin", "--dry-run", "--inspect", "--client.url", "http://127.0.0.1:3100/loki/api/v1/push"], None),
        (&["-stdin", "-dry-run"], None),
        (&["-stdin", "-dry-run", &file], None),
    ] {
        let before = loki.stored().len();
        let mut agent = Command::new(env!("CARGO_BIN_EXE_fantail"))
            .args(arguments)
            .env("HOSTNAME", "here")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("started");
        agent.stdin.take().expect("piped").write_all(b"hi\n").expect("written");
        let output = agent.wait_with_output().expect("ended");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {said}");
        assert!(!said.contains("panicked"), "{arguments:?}: {said}");
        match sent {
            Some(labels) => assert_eq!(loki.stored()[before..], [format!("{labels} hi")], "{arguments:?}"),
            None => {
                let printed = String::from_utf8_lossy(&output.stdout).into_owned();
                assert!(printed.ends_with(&format!("\t{own}\thi\n")), "{arguments:?}: {printed}");
            }
        }
    }
}

#[test]
fn what_loki_has_not_taken_when_somebody_stops_it_is_said_to_be_lost() {
    let loki = Loki::start(None);
    let mut agent = Command::new(env!("CARGO_BIN_EXE_fantail"))
        .args(["-stdin", "-server.disable", "-client.url", &loki.url])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    agent.stdin.take().expect("piped").write_all(b"hi\n").expect("written");
    wait_until("a push is on its way", SOON, || loki.requests() > 0);
    let pid = agent.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
    let output = agent.wait_with_output().expect("ended");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("they are lost unless Loki stored them") && !said.contains("sent again"), "{said}");
}

#[test]
fn keys_of_the_job_that_standard_input_does_not_use_are_named() {
    let (loki, rig) = (Loki::answering(204), Rig::new());
    let config = rig.config(&loki.url, "");
    let text = fs::read_to_string(&config).expect("read");
    fs::write(&config, text + "    encoding: latin1\n    relabel_configs: [{action: labeldrop, regex: x}]\n")
        .expect("written");
    let mut agent = Command::new(env!("CARGO_BIN_EXE_fantail"))
        .args(["-stdin", &format!("-config.file={}", config.display())])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    agent.stdin.take().expect("piped").write_all(b"hi\n").expect("written");
    let output = agent.wait_with_output().expect("ended");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("unused=\"relabel_configs, encoding\""), "{said}");
    assert_eq!(loki.stored(), ["{job=\"logs\"} hi"]);
}

#[test]
fn a_client_whose_loki_is_dead_stops_no_other() {
    let (loki, dead, rig) = (Loki::answering(204), Loki::start(None), Rig::new());
    let config = rig.config(&loki.url, "");
    let text = fs::read_to_string(&config).expect("read");
    let second = format!("clients: [{{url: '{}', name: dead, batchwait: 50ms}}, {{", dead.url);
    fs::write(&config, text.replacen("clients: [{", &second, 1)).expect("written");
    let mut agent = Command::new(env!("CARGO_BIN_EXE_fantail"))
        .args(["-stdin", &format!("-config.file={}", config.display())])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    // Several times what is kept for a client that takes nothing.
    let lines: Vec<String> = (0..12_000).map(|n| format!("line {n:06} {}", "x".repeat(1_000))).collect();
    let mut input = agent.stdin.take().expect("piped");
    input.write_all((lines.join("\n") + "\n").as_bytes()).expect("written");
    wait_until("the other client has every line", SOON, || loki.stored().len() >= lines.len());
    let want: Vec<String> = lines.iter().map(|line| format!("{{job=\"logs\"}} {line}")).collect();
    assert!(loki.stored() == want, "in order, each once");
    drop(input);
    let pid = agent.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
    let output = agent.wait_with_output().expect("ended");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said.matches("a client has taken no lines of standard input").count(), 1, "{said}");
    assert!(said.contains("they are lost unless Loki stored them"), "{said}");
}
