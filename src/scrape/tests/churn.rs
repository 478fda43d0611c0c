//! What pods leave behind that come and go: nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::rig::{self, Dir};
use crate::metrics::Registry;
use crate::model::{Labels, TargetGroup, Update, pod};
use crate::scrape::metrics::Metrics;
use crate::scrape::post::{Command, Event, Inbox, Mailbox};
use crate::scrape::scout::Scout;
use crate::scrape::status::Status;
use crate::scrape::watch::Heard;

struct Scene {
    dir: Dir,
    scout: Scout,
    inbox: Arc<Inbox>,
    mailbox: Arc<Mailbox>,
    status: Arc<Status>,
}

impl Scene {
    /// A scout without ears, and a reader that the test is.
    fn new() -> Self {
        let (dir, inbox, status) = (Dir::new(), Arc::new(Inbox::default()), Arc::new(Status::default()));
        let mailbox = Arc::new(Mailbox::new(Arc::default()));
        let metrics = Metrics::register(&Registry::new(), status.clone());
        let jobs = vec![rig::job("job", "[]")].into();
        let readers = vec![mailbox.clone()];
        let scout = Scout::new(rig::config(), jobs, readers, dir.positions(), metrics, status.clone(), inbox.clone());
        Self { dir, scout: scout.deaf(), inbox, mailbox, status }
    }

    fn pod(&self, n: usize, targets: usize) {
        let path = self.dir.path(&format!("pods/ns_p{n}_u{n}/app/*.log")).display().to_string();
        let labels = |_| {
            let pairs = [(pod::NAME, format!("p{n}")), (pod::UID, format!("u{n}")), ("pod", format!("p{n}"))];
            let pairs = pairs.into_iter().chain([("__path__", path.clone())]);
            pairs.map(|(name, value)| (name.to_string(), value)).collect::<Labels>()
        };
        let group = TargetGroup::new(format!("pod/ns/p{n}"), (0..targets).map(labels));
        self.inbox.send(Event::Update(Update::Group { job: "job".into(), group }));
    }

    fn step(&mut self) -> Vec<Command> {
        self.scout.step();
        self.mailbox.take()
    }
}

#[test]
fn pods_that_came_and_went_leave_nothing_behind() {
    let mut scene = Scene::new();
    scene.pod(0, 1);
    scene.step();
    let (before, shown) = (scene.scout.lengths(), scene.status.lengths());
    let mut most = 0;
    for n in 1..=20_000 {
        // One in a hundred writes a log.
        let has_log = n % 100 == 0;
        if has_log {
            scene.dir.append(&format!("pods/ns_p{n}_u{n}/app/0.log"), "line\n");
        }
        scene.pod(n, 1);
        let added = scene.step();
        scene.pod(n, 0);
        let retired = scene.step();
        for command in added.into_iter().chain(retired) {
            if let Command::Retire(log) = command {
                scene.inbox.send(Event::Finished { reader: 0, log });
            }
        }
        if has_log {
            std::fs::remove_dir_all(scene.dir.path(&format!("pods/ns_p{n}_u{n}"))).expect("removed");
        }
        scene.step();
        most = most.max(scene.scout.lengths().into_iter().sum());
    }
    assert_eq!(scene.scout.lengths(), before);
    assert_eq!(scene.status.lengths(), shown);
    assert!(most < before.iter().sum::<usize>() + 40, "{most}");
}

#[test]
fn what_comes_to_the_same_is_one_target_and_shown_as_often_as_it_was_told() {
    let mut scene = Scene::new();
    scene.dir.append("pods/ns_p7_u7/app/0.log", "line\n");
    scene.pod(7, 1_000);
    let added = scene.step().into_iter().filter(|command| matches!(command, Command::Add(_))).count();
    assert_eq!(added, 1);
    assert_eq!(scene.status.discovered_of(&"job".into()), 1_000);
    assert_eq!(scene.status.lengths(), [1, 1, 0]);
}

/// Names that many targets might care for: as with a pattern per container, and a log that is rotated all the time.
fn time_per_name(targets: usize, names: usize) -> Duration {
    let mut scene = Scene::new();
    for n in 0..targets {
        std::fs::create_dir_all(scene.dir.path(&format!("pods/ns_p{n}_u{n}/app"))).expect("made");
        scene.pod(n, 1);
    }
    scene.step();
    let path = |n: usize| scene.dir.path(&format!("pods/ns_p{0}_u{0}/app/{1}.txt", n % targets, n / targets));
    let heard: Vec<_> = (0..names).map(path).collect();
    let begun = Instant::now();
    for names in heard.chunks(1_000) {
        scene.inbox.send(Event::Heard(Heard::Names(names.to_vec())));
        scene.scout.step();
    }
    begun.elapsed() / u32::try_from(names).expect("few")
}

#[test]
fn a_name_costs_no_more_where_there_are_many_targets() {
    let (few, many) = (time_per_name(5, 20_000), time_per_name(1_000, 20_000));
    assert!(many < few * 8 + Duration::from_micros(60), "{many:?} each with 1,000 targets, {few:?} with 5");
}

/// `cargo test --release --lib churn -- --ignored --nocapture` prints it.
#[test]
#[ignore = "a measurement: half a minute without optimisation"]
fn how_long_a_name_takes() {
    for targets in [1, 100, 1_000, 5_000] {
        println!("{targets} targets, 20,000 names: {:?} each", time_per_name(targets, 20_000));
    }
}
