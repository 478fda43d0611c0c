//! A config that changes while the agent runs.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::rig::{Loki, Rig, SOON, line, wait_until};

/// The ways to request a reload.
#[derive(Clone, Copy, Debug)]
enum Way {
    Signal,
    Http,
}

const WAYS: [Way; 2] = [Way::Signal, Way::Http];

impl Rig {
    /// The config of [`Rig::config`] with `/reload` enabled.
    fn reloadable(&self, url: &str) {
        let config = self.config(url, "");
        let text = fs::read_to_string(&config).expect("read");
        let text = text.replace("http_listen_port: 0", "http_listen_port: 0, enable_runtime_reload: true");
        fs::write(&config, text).expect("written");
    }

    fn edit(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.path("promtail.yaml")).expect("read");
        assert!(text.contains(from), "{from:?} is not in {text}");
        replace(&self.path("promtail.yaml"), &text.replace(from, to));
    }

    fn begin(&mut self) {
        self.start(&self.path("promtail.yaml"));
        wait_until("it listens", SOON, || self.said().contains("http="));
    }

    fn get(&self, path: &str) -> String {
        self.ask("GET", path)
    }

    /// The answer of the agent.
    fn ask(&self, method: &str, path: &str) -> String {
        let said = self.said();
        let address = said.rsplit("http=").next().and_then(|rest| rest.split_whitespace().next()).expect("an address");
        let mut stream = TcpStream::connect(address).expect("it listens");
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    }

    /// The value of the first series of `/metrics` with this prefix.
    fn metric(&self, name: &str) -> f64 {
        let page = self.get("/metrics");
        let series = page.lines().find_map(|line| line.strip_prefix(name)?.split(' ').next_back()?.parse().ok());
        series.unwrap_or_else(|| panic!("no {name} in {page}"))
    }

    /// Reloads the config and waits for the outcome.
    fn reload(&mut self, way: Way) -> bool {
        let (done, failed) = ("the config was reloaded", "cannot reload the config");
        let count = |rig: &Self| rig.said().matches(done).count() + rig.said().matches(failed).count();
        let before = count(self);
        match way {
            Way::Signal => self.signal("-HUP"),
            Way::Http => {
                let answer = self.ask("POST", "/reload");
                assert!(answer.starts_with("HTTP/1.1 200") || answer.contains("failed to reload config: "), "{answer}");
            }
        }
        wait_until("something comes of the reload", SOON, || count(self) > before);
        let said = self.said();
        said.rfind(done) > said.rfind(failed)
    }
}

/// Replaces the file atomically, as editors and Kubernetes do.
fn replace(file: &Path, text: &str) {
    let new = file.with_extension("new");
    fs::write(&new, text).expect("written");
    fs::rename(&new, file).expect("renamed");
}

#[test]
fn a_changed_label_applies_from_the_next_line_on_and_jobs_come_and_go() {
    for way in WAYS {
        let (loki, mut rig) = (Loki::answering(204), Rig::new());
        rig.write("logs/a.log", "one\n");
        rig.write("later/b.log", "early\n");
        rig.reloadable(&loki.url);
        rig.begin();
        wait_until("the first line is there", SOON, || loki.stored().len() == 1);

        rig.edit("labels: {job: logs, ", "labels: {job: logs, env: new, ");
        let new = format!("  - job_name: later\n    static_configs: [{{labels: {{__path__: {}}}}}]\n", "LATER");
        let new = new.replace("LATER", &rig.path("later/*.log").display().to_string());
        rig.edit("scrape_configs:\n", &format!("scrape_configs:\n{new}"));
        assert!(rig.reload(way), "{way:?}");
        rig.write("logs/a.log", "two\n");
        let mut expected = vec![
            line(&rig, "logs/a.log", "one"),
            line(&rig, "logs/a.log", "two").replace("{filename", "{env=\"new\", filename"),
            format!("{{filename=\"{}\"}} early", rig.path("later/b.log").display()),
        ];
        expected.sort();
        let stored = || {
            let mut stored = loki.stored();
            stored.sort();
            stored
        };
        wait_until("both jobs are read", SOON, || stored() == expected);

        rig.edit(&new, "");
        assert!(rig.reload(way), "{way:?}");
        rig.write("later/b.log", "nobody reads this\n");
        rig.write("logs/a.log", "three\n");
        expected.push(line(&rig, "logs/a.log", "three").replace("{filename", "{env=\"new\", filename"));
        expected.sort();
        wait_until("the job that is left goes on", SOON, || stored() == expected);
        let page = rig.metric("promtail_targets_active_total");
        assert_eq!(page, 1.0);

        rig.signal("-TERM");
        assert_eq!(rig.ended(SOON), Some(0));
        assert_eq!(stored(), expected);
    }
}

#[test]
fn a_broken_config_changes_nothing_and_is_said() {
    for way in WAYS {
        let (loki, mut rig) = (Loki::answering(204), Rig::new());
        rig.write("logs/a.log", "one\n");
        rig.reloadable(&loki.url);
        rig.begin();
        wait_until("the line is there", SOON, || loki.stored().len() == 1);
        let client = format!("clients: [{{url: '{}'", loki.url);
        for (n, (good, bad, says)) in [
            ("job_name: logs", "job_nam: logs", "did you mean job_name?"),
            ("scrape_configs:", "scrape_configs: [", "promtail.yaml"),
            (
                "job_name: logs",
                "job_name: logs\n    pipeline_stages: [{regex: {expression: '('}}]",
                "pipeline_stages[0]",
            ),
            // A mistake that only building the config finds.
            (client.as_str(), &client.replace("{url", "{tls_config: {ca_file: /none}, url"), "/none"),
        ]
        .into_iter()
        .enumerate()
        {
            rig.edit(good, bad);
            assert!(!rig.reload(way), "{way:?} {bad}");
            let said = rig.said();
            let told = said.rsplit("cannot reload the config").next().expect("it is said");
            assert!(told.contains(says), "{told}");
            rig.write("logs/a.log", &format!("{n}\n"));
            wait_until("reading goes on", SOON, || loki.stored().len() == n + 2);
            assert_eq!(rig.metric("fantail_config_last_reload_successful "), 0.0);
            assert_eq!(rig.metric("promtail_config_reload_fail_total "), (n + 1) as f64);
            assert!(rig.get("/config").contains("The last reload failed"));
            rig.edit(bad, good);
        }
        assert!(rig.reload(way), "{way:?}");
        assert_eq!(rig.metric("fantail_config_last_reload_successful "), 1.0);
        assert_eq!(rig.metric("promtail_config_reload_success_total "), 1.0);
        assert!(!rig.get("/config").contains("reload failed"));
    }
}

#[test]
fn keys_that_need_a_restart_are_named_and_the_rest_is_used() {
    let (loki, mut rig) = (Loki::answering(204), Rig::new());
    rig.write("logs/a.log", "one\n");
    rig.reloadable(&loki.url);
    rig.begin();
    wait_until("the line is there", SOON, || loki.stored().len() == 1);
    rig.edit("http_listen_port: 0", "http_listen_port: 1, log_level: debug");
    rig.edit("/positions.yaml", "/elsewhere/positions.yaml");
    rig.edit("job: logs", "job: new");
    assert!(rig.reload(Way::Signal));
    rig.write("logs/a.log", "two\n");
    let new = line(&rig, "logs/a.log", "two").replace("job=\"logs\"", "job=\"new\"");
    wait_until("the new label is there", SOON, || loki.stored().last() == Some(&new));
    assert!(rig.said().contains("keys=\"server.http_listen_port, positions.filename\""), "{}", rig.said());
    wait_until("the log level is used", SOON, || {
        assert!(rig.reload(Way::Signal));
        rig.said().contains("level=debug")
    });
    assert!(rig.path("positions.yaml").exists() && !rig.path("elsewhere").exists());
    assert_eq!(loki.stored().len(), 2);
}

/// The Landlock rules of the start cannot be relaxed. The config is in its own directory, which the agent may read.
#[test]
fn a_config_that_needs_what_landlock_refuses_is_refused_by_name() {
    let (loki, mut rig) = (Loki::answering(204), Rig::new());
    let elsewhere = tempfile::tempdir().expect("a folder");
    rig.write("logs/app/a.log", "one\n");
    rig.reloadable(&loki.url);
    rig.edit("/positions.yaml", "/state/positions.yaml");
    rig.edit("/logs/*.log", "/logs/app/*.log");
    fs::create_dir(rig.path("etc")).expect("made");
    let config = rig.path("etc/promtail.yaml");
    fs::rename(rig.path("promtail.yaml"), &config).expect("moved");
    rig.start(&config);
    wait_until("the line is there", SOON, || loki.stored().len() == 1);
    assert!(rig.said().contains("landlock: the kernel refuses"), "{}", rig.said());

    let good = fs::read_to_string(&config).expect("read");
    let (here, there) = (rig.path("logs/app/*.log"), elsewhere.path().join("deep/*.log"));
    let (here, there) = (here.display().to_string(), there.display().to_string());
    replace(&config, &good.replace(&here, &format!("'{{{here},{there}}}'")));
    assert!(!rig.reload(Way::Signal));
    let refused = format!("reading {}", elsewhere.path().join("deep").display());
    assert!(rig.said().contains(&refused) && rig.said().contains("restart the agent"), "{}", rig.said());
    replace(&config, &good.replace("clients: [", "clients: [{url: 'http://127.0.0.1:9/push'}, "));
    assert!(!rig.reload(Way::Signal));
    assert!(rig.said().contains("connecting to port 9"), "{}", rig.said());

    // A further path below the allowed directory.
    rig.write("logs/b.log", "two\n");
    replace(&config, &good.replace("/logs/app/*.log", "/logs/*.log"));
    assert!(rig.reload(Way::Signal));
    wait_until("the other file is read", SOON, || loki.stored().last() == Some(&line(&rig, "logs/b.log", "two")));
}

/// No line may be sent under both the old and the new labels.
#[test]
fn with_loki_away_a_reload_takes_a_moment_and_no_line_is_lost() {
    let (loki, mut rig) = (Loki::answering(503), Rig::new());
    rig.write("logs/a.log", "one\n");
    rig.reloadable(&loki.url);
    rig.begin();
    wait_until("a push is refused", SOON, || loki.requests() > 0);
    rig.edit("job: logs", "job: new");
    assert!(rig.reload(Way::Http));
    // The file was rotated meanwhile.
    fs::rename(rig.path("logs/a.log"), rig.path("logs/a.log.1")).expect("renamed");
    rig.write("logs/a.log", "two\n");
    loki.answer(204);
    let new = |text: &str| line(&rig, "logs/a.log", text).replace("job=\"logs\"", "job=\"new\"");
    wait_until("both lines are there", SOON, || loki.stored() == [new("one"), new("two")]);
    assert_eq!(rig.metric("fantail_under_way_lines"), 0.0);
}

#[test]
fn a_signal_to_stop_is_heard_after_any_number_of_reloads() {
    let (loki, mut rig) = (Loki::answering(204), Rig::new());
    rig.reloadable(&loki.url);
    rig.begin();
    for _ in 0..20 {
        rig.signal("-HUP");
    }
    rig.signal("-TERM");
    assert_eq!(rig.ended(SOON), Some(0));
    assert!(rig.said().contains("msg=stopped"));
}

/// Half of the reloads are of an invalid config.
#[test]
fn no_line_is_lost_or_doubled_by_reloads_under_load_and_nothing_piles_up() {
    const RELOADS: usize = 50;
    let (loki, mut rig) = (Loki::answering(204), Rig::new());
    rig.write("logs/a.log", "");
    rig.reloadable(&loki.url);
    rig.begin();
    wait_until("it has begun", SOON, || rig.metric("promtail_files_active_total") == 1.0);
    let (is_over, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let log = rig.path("logs/a.log");
    let writer = std::thread::spawn({
        let (is_over, written, log) = (is_over.clone(), written.clone(), log.clone());
        move || {
            let (mut n, mut rotations) = (0, 0);
            let mut file = fs::File::options().append(true).open(&log).expect("opened");
            while !is_over.load(Ordering::Relaxed) {
                let lines: String = (n..n + 20).map(|n| format!("{n}\n")).collect();
                file.write_all(lines.as_bytes()).expect("written");
                n += 20;
                written.store(n, Ordering::Relaxed);
                if n % 2000 == 0 {
                    rotations += 1;
                    fs::rename(&log, log.with_extension(format!("log.{rotations}"))).expect("renamed");
                    file = fs::File::options().create(true).append(true).open(&log).expect("opened");
                }
                std::thread::park_timeout(std::time::Duration::from_millis(4));
            }
            rotations
        }
    });
    let counts = |rig: &Rig| {
        let count = |what| fs::read_dir(format!("/proc/{}/{what}", rig.id())).expect("it runs").count();
        (count("fd"), count("task"))
    };
    let mut before = (0, 0);
    for n in 0..RELOADS {
        let (good, bad) = ("job_name: logs", "job_nam: logs");
        if n % 2 == 1 {
            rig.edit(good, bad);
            assert!(!rig.reload(WAYS[n / 2 % 2]));
            rig.edit(bad, good);
        } else {
            assert!(rig.reload(WAYS[n / 2 % 2]));
        }
        // New lines arrive between two reloads.
        let seen = loki.stored().len();
        wait_until("lines come", SOON, || loki.stored().len() > seen);
        if n == 4 {
            before = counts(&rig);
        }
    }
    is_over.store(true, Ordering::Relaxed);
    let rotations = writer.join().expect("it writes");
    let written = written.load(Ordering::Relaxed);
    wait_until("all lines are there", SOON, || loki.stored().len() >= written);
    let mut numbers: Vec<usize> = loki
        .stored()
        .iter()
        .map(|line| line.split(' ').next_back().and_then(|n| n.parse().ok()).expect("a number"))
        .collect();
    numbers.sort_unstable();
    let expected: Vec<usize> = (0..written).collect();
    assert!(numbers == expected, "{} of {written} lines", numbers.len());
    assert!(rotations > 3, "{rotations} rotations of {written} lines");
    // Some descriptors come and go: a rotated file, a connection, a thread that loads. One per reload would be twenty.
    wait_until("no descriptor and no thread is left over", SOON, || {
        let now = counts(&rig);
        now.0 <= before.0 + 5 && now.1 <= before.1 + 2
    });
    eprintln!("descriptors and threads: {before:?}, then {:?}; {written} lines, {rotations} rotations", counts(&rig));
}

#[test]
fn a_config_file_is_watched_through_the_links_of_a_config_map() {
    let (loki, mut rig) = (Loki::answering(204), Rig::new());
    rig.write("logs/a.log", "one\n");
    rig.reloadable(&loki.url);
    let text = fs::read_to_string(rig.path("promtail.yaml")).expect("read");
    // As the kubelet does: a directory for each version, and one link that is replaced atomically.
    let map = rig.path("map");
    let version = |name: &str, text: &str| {
        fs::create_dir_all(map.join(name)).expect("made");
        fs::write(map.join(name).join("promtail.yaml"), text).expect("written");
        std::os::unix::fs::symlink(name, map.join("..new")).expect("linked");
        fs::rename(map.join("..new"), map.join("..data")).expect("moved");
    };
    version("..1", &text);
    std::os::unix::fs::symlink("..data/promtail.yaml", rig.path("map/promtail.yaml")).expect("linked");
    let config = format!("-config.file={}", rig.path("map/promtail.yaml").display());
    rig.start_as(Command::new(env!("CARGO_BIN_EXE_fantail")).args([&config, "-config.watch-interval=100ms"]));
    wait_until("the line is there", SOON, || loki.stored().len() == 1);

    let edit = |name: &str, to: &str| version(name, &text.replace("job: logs, __path__", to));
    edit("..2", "job: [");
    wait_until("the mistake is said", SOON, || rig.said().contains("cannot reload the config"));
    edit("..3", "job: renamed, __path__");
    wait_until("the new config is in use", SOON, || rig.said().contains("the config was reloaded"));
    let mut file = fs::OpenOptions::new().append(true).open(rig.path("logs/a.log")).expect("opened");
    file.write_all(b"two\n").expect("written");
    wait_until("the next line has the new label", SOON, || {
        loki.stored().last().is_some_and(|entry| entry.contains("job=\"renamed\"") && entry.ends_with("two"))
    });
    assert_eq!(loki.stored().len(), 2);
    assert_eq!(rig.said().matches("cannot reload the config").count(), 1, "{}", rig.said());
}
