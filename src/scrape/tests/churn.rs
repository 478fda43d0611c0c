//! Pods that come and go leave nothing behind.

use super::rig::{Dir, ManagerRig};
use crate::model::{Labels, TargetGroup, Update, pod};
use crate::scrape::messages::{Command, Event};
use crate::scrape::watch::Heard;

impl ManagerRig {
    fn pod(&self, n: usize, targets: usize) {
        let path = self.dir.path(&format!("pods/ns_p{n}_u{n}/app/*.log")).display().to_string();
        let labels = |_| {
            let pairs = [(pod::NAME, format!("p{n}")), (pod::UID, format!("u{n}")), ("pod", format!("p{n}"))];
            let pairs = pairs.into_iter().chain([("__path__", path.clone())]);
            pairs.map(|(name, value)| (name.to_string(), value)).collect::<Labels>()
        };
        let group = TargetGroup::new(format!("pod/ns/p{n}"), (0..targets).map(labels));
        self.events.send(Event::Update(Update::Group { job: "job".into(), group }));
    }

    fn step(&mut self) -> Vec<Command> {
        self.target_manager.hold().step();
        self.commands.take()
    }
}

#[test]
fn pods_that_came_and_went_leave_nothing_behind() {
    let mut scene = ManagerRig::new(Dir::new());
    scene.pod(0, 1);
    scene.step();
    let (before, shown) = (scene.target_manager.hold().lengths(), scene.status.lengths());
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
                scene.events.send(Event::Finished { reader: 0, log });
            }
        }
        if has_log {
            std::fs::remove_dir_all(scene.dir.path(&format!("pods/ns_p{n}_u{n}"))).expect("removed");
        }
        scene.step();
        most = most.max(scene.target_manager.hold().lengths().into_iter().sum());
    }
    assert_eq!(scene.target_manager.hold().lengths(), before);
    assert_eq!(scene.status.lengths(), shown);
    assert!(most < before.iter().sum::<usize>() + 40, "{most}");
}

#[test]
fn what_comes_to_the_same_is_one_target_and_shown_as_often_as_it_was_told() {
    let mut scene = ManagerRig::new(Dir::new());
    scene.dir.append("pods/ns_p7_u7/app/0.log", "line\n");
    scene.pod(7, 1_000);
    let added = scene.step().into_iter().filter(|command| matches!(command, Command::Add(_))).count();
    assert_eq!(added, 1);
    assert_eq!(scene.status.discovered_of(&"job".into()), 1_000);
    assert_eq!(scene.status.lengths(), [1, 1, 0]);
}

/// As with one path per container and constantly rotating logs.
#[test]
fn a_name_is_compared_with_the_targets_of_its_folder_and_no_others() {
    let mut scene = ManagerRig::new(Dir::new());
    for n in 0..1_000 {
        std::fs::create_dir_all(scene.dir.path(&format!("pods/ns_p{n}_u{n}/app"))).expect("made");
        scene.pod(n, 1);
    }
    scene.step();
    let path = |n: usize| scene.dir.path(&format!("pods/ns_p{0}_u{0}/app/{1}.txt", n % 1_000, n / 1_000));
    let heard: Vec<_> = (0..20_000).map(path).collect();
    scene.target_manager.hold().compared = 0;
    for names in heard.chunks(1_000) {
        scene.events.send(Event::Heard(Heard::Names(names.to_vec())));
        scene.target_manager.hold().step();
    }
    assert_eq!(scene.target_manager.hold().compared, heard.len());
}
