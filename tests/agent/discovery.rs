//! Targets that come from a server, read by the program as a user starts it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::rig::{Loki, Rig, SOON, wait_until};

/// The answer of a server to a path. None: it closes the connection without an answer.
type Answers = Arc<Mutex<Box<dyn Fn(&str) -> Option<String> + Send>>>;

/// A server of targets.
struct Server {
    address: String,
    answers: Answers,
}

impl Server {
    fn new(answers: impl Fn(&str) -> Option<String> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let answers: Answers = Arc::new(Mutex::new(Box::new(answers)));
        let shared = answers.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let answers = shared.clone();
                std::thread::spawn(move || {
                    let mut lines = BufReader::new(stream.try_clone().expect("cloned")).lines().map_while(Result::ok);
                    let path =
                        lines.next().and_then(|line| Some(line.split(' ').nth(1)?.to_string())).unwrap_or_default();
                    lines.take_while(|line| !line.is_empty()).for_each(drop);
                    let body = answers.lock().expect("unpoisoned")(&path);
                    if let Some(body) = body {
                        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n";
                        let _ = write!(&stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len());
                    }
                });
            }
        });
        Self { address, answers }
    }

    fn now(&self, answers: impl Fn(&str) -> Option<String> + Send + 'static) {
        *self.answers.lock().expect("unpoisoned") = Box::new(answers);
    }
}

impl Rig {
    /// The config of [`Rig::config`], with `job` in place of its static config.
    fn discovering(&self, url: &str, job: &str) -> PathBuf {
        let config = self.config(url, "");
        let text = fs::read_to_string(&config).expect("read");
        let at = text.find("    static_configs:").expect("a static config");
        fs::write(&config, format!("{}{job}\n", &text[..at])).expect("written");
        config
    }
}

/// Each line is stored once, whatever becomes of the server that names its file.
fn follows_its_server(
    job: &str,
    server: &Server,
    answers: impl Fn(Vec<PathBuf>) -> Box<dyn Fn(&str) -> Option<String> + Send>,
) {
    let (loki, mut rig) = (Loki::answering(204), Rig::new());
    let stored = |line: &str| loki.stored().iter().filter(|stored| stored.ends_with(&format!(" {line}"))).count();
    let (a, b) = (rig.path("logs/a.log"), rig.path("logs/b.log"));
    rig.write("logs/a.log", "a1\n");
    server.now(answers(vec![a.clone()]));
    let config = rig.discovering(&loki.url, job);
    rig.start(&config);
    wait_until("the file of the server is read", SOON, || stored("a1") == 1);
    assert!(loki.stored()[0].contains("env=\"prod\""), "{:?}", loki.stored());

    // The config is reloaded while the server is away.
    server.now(|_| None);
    wait_until("the failure is said", SOON, || rig.said().contains("cannot discover targets"));
    rig.signal("-HUP");
    wait_until("the config is reloaded", SOON, || rig.said().contains("the config was reloaded"));
    rig.write("logs/a.log", "a2\n");
    wait_until("its last targets are read on", SOON, || stored("a2") == 1);

    rig.write("logs/b.log", "b1\n");
    server.now(answers(vec![b.clone()]));
    wait_until("its new targets are read", SOON, || stored("b1") == 1);
    assert!(rig.said().contains("targets can be discovered again"));
    let all: Vec<usize> = ["a1", "a2", "b1"].map(stored).into();
    assert_eq!((all, loki.stored().len()), (vec![1, 1, 1], 3), "{:?}", loki.stored());
}

#[test]
fn files_that_an_http_server_lists() {
    let server = Server::new(|_| None);
    let job = format!("    http_sd_configs: [{{url: 'http://{}/targets', refresh_interval: 50ms}}]", server.address);
    follows_its_server(&job, &server, |files| {
        Box::new(move |_| {
            let group = |file: &PathBuf| {
                format!(
                    r#"{{"targets": ["localhost"], "labels": {{"env": "prod", "__path__": "{}"}}}}"#,
                    file.display()
                )
            };
            Some(format!("[{}]", files.iter().map(group).collect::<Vec<_>>().join(",")))
        })
    });
}

/// The address of a program's metrics stays the same, and its log moves.
#[test]
fn files_of_services_in_consul() {
    let server = Server::new(|_| None);
    let job = format!(
        "    consul_sd_configs: [{{server: '{}', refresh_interval: 50ms}}]
    relabel_configs:
      - {{source_labels: [__meta_consul_service_metadata_log], target_label: __path__}}
      - {{source_labels: [__meta_consul_tags], regex: '.*,env=([^,]+),.*', target_label: env}}",
        server.address
    );
    follows_its_server(&job, &server, |files| {
        Box::new(move |path| {
            let instance = |file: &PathBuf| {
                format!(
                    r#"{{"Node": {{"Node": "n", "Address": "127.0.0.1"}}, "Checks": [], "Service": {{"ID": "web-1",
                        "Service": "web", "Tags": ["a", "env=prod"], "Port": 80, "Meta": {{"log": "{}"}}}}}}"#,
                    file.display()
                )
            };
            let instances = || format!("[{}]", files.iter().map(instance).collect::<Vec<_>>().join(","));
            Some(if path.starts_with("/v1/catalog/services") { r#"{"web": []}"#.into() } else { instances() })
        })
    });
}

#[test]
fn files_of_the_tasks_of_a_swarm() {
    let server = Server::new(|_| None);
    let job = format!(
        "    dockerswarm_sd_configs: [{{host: 'tcp://{}', role: tasks, refresh_interval: 50ms}}]
    relabel_configs:
      - {{source_labels: [__meta_dockerswarm_container_label_log], target_label: __path__}}
      - {{source_labels: [__meta_dockerswarm_service_label_env], target_label: env}}",
        server.address
    );
    follows_its_server(&job, &server, |files| {
        Box::new(move |path| {
            let task = |file: &PathBuf| {
                format!(
                    r#"{{"ID": "t", "ServiceID": "s", "NodeID": "n",
                        "Spec": {{"ContainerSpec": {{"Labels": {{"log": "{}"}}}}}}}}"#,
                    file.display()
                )
            };
            Some(match path.split('?').next() {
                Some("/tasks") => format!("[{}]", files.iter().map(task).collect::<Vec<_>>().join(",")),
                Some("/services") => r#"[{"ID": "s", "Spec": {"Name": "web", "Labels": {"env": "prod"}}}]"#.into(),
                _ => "[]".into(),
            })
        })
    });
}
