//! Nobody sees a secret of the config: not on a page, not in the log at level debug, not in the output of a command.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use crate::rig::{Loki, Rig, SOON, run, wait_until};

const SECRET: &str = "hunter2";

/// Servers that nobody answers for, so that their addresses are in messages.
const JOBS: &str = "
  - job_name: http
    http_sd_configs:
    - {url: 'http://me:hunter2@127.0.0.1:1/targets?token=hunter2'}
    - {url: 'http://127.0.0.1:1/targets', authorization: {credentials: hunter2}, http_headers: {X-Key: {secrets: [hunter2]}}}
  - job_name: consul
    consul_sd_configs: [{server: '127.0.0.1:1', token: hunter2}]
    consulagent_sd_configs: [{server: '127.0.0.1:1', username: me, password: hunter2}]
  - job_name: docker
    docker_sd_configs: [{host: 'tcp://127.0.0.1:1', basic_auth: {username: me, password: hunter2}}]
  - job_name: kubernetes
    kubernetes_sd_configs: [{role: pod, api_server: 'http://me:hunter2@127.0.0.1:1'}]
";

/// The page, with its headers.
fn page(rig: &Rig, path: &str) -> String {
    let said = rig.said();
    let address = said.split("http=").nth(1).and_then(|rest| rest.split_whitespace().next()).expect("an address");
    let mut stream = TcpStream::connect(address).expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

#[test]
fn no_page_no_message_and_no_command_shows_a_secret() {
    let (loki, mut rig) = (Loki::answering(401), Rig::new());
    rig.write("logs/a.log", "one\n");
    let url = loki.url.replace("http://", "http://me:hunter2@");
    let config = rig.config(&url, ", headers: {X-Key: hunter2}");
    let text = fs::read_to_string(&config)
        .expect("read")
        .replace("http_listen_port: 0", "http_listen_port: 0, log_level: debug");
    fs::write(&config, text + JOBS).expect("written");
    rig.start(&config);
    wait_until("each server was asked", SOON, || {
        let said = rig.said();
        ["401", "job=http", "job=consul", "job=docker", "job=kubernetes"].iter().all(|part| said.contains(part))
    });
    for path in [
        "/",
        "/api/overview",
        "/api/targets",
        "/targets",
        "/service-discovery",
        "/config",
        "/metrics",
        "/ready",
        "/-/healthy",
        "/explain",
    ] {
        for form in ["", "?format=json"] {
            let page = page(&rig, &format!("{path}{form}"));
            assert!(page.starts_with("HTTP/1.1 "), "{path}: {page}");
            assert!(!page.contains(SECRET), "{path}{form} shows a secret:\n{page}");
        }
    }
    assert!(page(&rig, "/config").contains("&lt;secret&gt;"), "the secrets are there, and masked");
    rig.signal("-TERM");
    rig.ended(SOON);
    let said = rig.said();
    let shown: Vec<&str> = said.lines().filter(|line| line.contains(SECRET)).collect();
    assert!(shown.is_empty(), "the log shows a secret: {shown:#?}");

    let file = format!("-config.file={}", config.display());
    for args in [
        &["check", &file][..],
        &["explain", &file, "a=b"],
        &["-check-syntax", "-print-config-stderr", &file],
        &["health", &file],
    ] {
        let output = run(Command::new(env!("CARGO_BIN_EXE_fantail")).args(args));
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(!said.trim().is_empty(), "{args:?}");
        assert!(!said.contains(SECRET), "{args:?} shows a secret:\n{said}");
    }
}
