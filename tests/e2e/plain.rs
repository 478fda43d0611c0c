//! Files whose lines have no time: the agent uses the time of reading, and must save it.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::agent::Agent;
use crate::faults::{clients, die_at_work};
use crate::load::{Grows, Load};
use crate::loki::{Loki, StreamName};
use crate::pods::{compress, padded};
use crate::proxy::{Deed, Proxy};
use crate::scratch::Scratch;
use crate::verdict::{self, Written};

const ROTATE_AT: u64 = 40_000;

/// An application's own log, rotated as by logrotate with `delaycompress`.
struct PlainLog {
    path: PathBuf,
    live: File,
    size: u64,
    rotations: usize,
    lines: Vec<String>,
}

impl PlainLog {
    fn create(path: PathBuf) -> PlainLog {
        let live = File::create_new(&path).expect("it is the first");
        PlainLog { path, live, size: 0, rotations: 0, lines: Vec::new() }
    }

    fn rotate(&mut self) {
        let name = |number: usize, suffix: &str| self.path.with_added_extension(format!("{number}{suffix}"));
        for number in (2..=self.rotations).rev() {
            fs::rename(name(number, ".gz"), name(number + 1, ".gz")).expect("it was compressed");
        }
        if self.rotations > 0 {
            fs::rename(name(1, ""), name(2, "")).expect("it was rotated");
        }
        fs::rename(&self.path, name(1, "")).expect("it was written");
        self.live = File::create_new(&self.path).expect("the name is free");
        if self.rotations > 0 {
            compress(&name(2, "")).expect("the rotated log is compressed");
        }
        self.size = 0;
        self.rotations += 1;
    }

    fn written(&self) -> Written {
        Written {
            stream: StreamName { filename: self.path.display().to_string(), output: String::new() },
            lines: self.lines.iter().map(|line| (None, line.clone())).collect(),
        }
    }
}

impl Grows for PlainLog {
    fn grow(&mut self, bytes: usize) -> usize {
        let mut text = String::new();
        while text.len() < bytes {
            let number = self.lines.len();
            let line = padded(format!("line {number} of {} ", self.path.display()), 80 + number * 37 % 150);
            text.push_str(&line);
            text.push('\n');
            self.lines.push(line);
        }
        self.live.write_all(text.as_bytes()).expect("the log is written");
        self.size += text.len() as u64;
        if self.size >= ROTATE_AT {
            self.rotate();
        }
        text.len()
    }
}

fn scrape_configs(root: &Path) -> String {
    let root = root.display();
    format!(
        "\
scrape_configs:
  - job_name: files
    static_configs:
      - targets: [localhost]
        labels:
          job: files
          __path__: {root}/*.log
"
    )
}

#[test]
fn twenty_kills_under_load() {
    const KILLS: usize = 20;
    let loki = Loki::with_limits("");
    let tenant = loki.tenant("plain");
    let proxy = Proxy::start(loki.address(), |_| Deed::Pass);
    let root = Scratch::new("logs");
    let logs = (0..3).map(|nth| PlainLog::create(root.join(format!("app-{nth}.log"))));
    let load = Load::start(logs.collect(), 120_000);
    let mut agent = Agent::new(&clients(&tenant.by_way_of(&proxy)), &scrape_configs(&root));

    for kill in 0..KILLS {
        agent.start();
        die_at_work(&mut agent, &proxy, kill);
    }
    agent.start();
    let logs = load.stop();
    let rotations: usize = logs.iter().map(|log| log.rotations).sum();
    assert!(rotations >= KILLS / 2, "only {rotations} rotations in {KILLS} lives: there was no load");
    let written: Vec<Written> = logs.iter().map(PlainLog::written).collect();
    verdict::every_line_once(&loki, &tenant, &written, KILLS);
    agent.assert_accounts_add_up();
    agent.terminate();
}
