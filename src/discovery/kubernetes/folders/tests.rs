//! Directories on the disk, with the test as the API server, and with the test's clock.

use std::fs;

use crate::metrics::Registry;
use tokio::sync::mpsc;

use super::*;
use crate::model::{LeftOut, Update};

struct Scene {
    dir: tempfile::TempDir,
    folders: Folders,
    updates: mpsc::Receiver<Update>,
    registry: Registry,
    started: Instant,
}

/// The group that was sent for a directory: the origin of its labels, whether it is held, and its containers.
type Told = Vec<(String, String, bool, Vec<String>)>;

impl Scene {
    fn new(namespace: Namespace) -> Self {
        Self::in_folder(tempfile::tempdir().expect("a folder"), namespace)
    }

    fn in_folder(dir: tempfile::TempDir, namespace: Namespace) -> Self {
        let registry = Registry::new();
        let metrics = Metrics::register(&registry);
        let (sender, updates) = mpsc::channel(64);
        let job: Arc<str> = "j".into();
        let known = Known::new(&job, "kubernetes_sd_configs", 0, &metrics, sender);
        let remembered = Arc::new(Remembered::open(dir.path().join("p.pods"), false));
        let places = Places { pod_logs: dir.path().join("pods"), remembered };
        let folders = Folders::new(places, (&job, &"n1".into(), "by".to_string()), namespace, false, known, metrics);
        Self { dir, folders, updates, registry, started: Instant::now() }
    }

    fn make(&self, folder: &str, container: &str) {
        fs::create_dir_all(self.dir.path().join("pods").join(folder).join(container)).expect("made");
    }

    fn remove(&self, folder: &str) {
        fs::remove_dir_all(self.dir.path().join("pods").join(folder)).expect("removed");
    }

    async fn at(&mut self, seconds: u64) -> Told {
        self.folders.look(self.started + Duration::from_secs(seconds)).await;
        self.told()
    }

    fn told(&mut self) -> Told {
        let mut told = Vec::new();
        while let Ok(Update::Group { group, .. }) = self.updates.try_recv() {
            let first = group.targets.first();
            let labels = first.and_then(|t| t.get(FOUND_BY)).unwrap_or("gone").to_string();
            let is_held = first.is_some_and(|t| t.contains(HELD));
            let containers = group.targets.iter().filter_map(|t| Some(t.get(pod::CONTAINER)?.to_string()));
            let folder = group.id.strip_prefix("kubernetes_sd_configs[0]/folder/").expect("a folder");
            told.push((folder.to_string(), labels, is_held, containers.collect()));
        }
        told
    }

    fn counted(&self, labels: &str) -> u64 {
        let families = self.registry.gather();
        let family = families.iter().find(|f| f.name() == "fantail_discovery_pods_from_path_total").expect("announced");
        let is_it = |pair: &prometheus::proto::LabelPair| pair.value() == labels;
        let series = family.get_metric().iter().find(|m| m.get_label().iter().any(is_it)).expect("announced");
        series.get_counter().get_value() as u64
    }
}

fn pod(name: &str, uid: &str, app: &str) -> TargetGroup {
    let labels =
        [(pod::NAMESPACE, "ns"), (pod::NAME, name), (pod::UID, uid), (pod::LABEL_APP, app), (pod::CONTAINER, "web")];
    let labels: crate::model::Labels = labels.map(|(name, value)| (name.to_string(), value.to_string())).into();
    TargetGroup { id: format!("pod/ns/{name}"), targets: vec![labels.into()], left_out: LeftOut::default() }
}

fn one(folder: &str, labels: &str, is_held: bool, containers: &[&str]) -> (String, String, bool, Vec<String>) {
    (folder.into(), labels.into(), is_held, containers.iter().map(ToString::to_string).collect())
}

#[tokio::test]
async fn a_pod_that_nobody_shows_is_held_then_read_then_let_go_of() {
    let mut scene = Scene::new(Namespace::Named("ns".into()));
    scene.folders.lists(&BTreeSet::new()).await;
    scene.make("other_a_1", "web");
    scene.make("ns_a_1", "web");
    assert_eq!(scene.at(0).await, [one("ns_a_1", "path", true, &["web"])]);
    scene.make("ns_a_1", "proxy");
    assert_eq!(scene.at(1).await, [one("ns_a_1", "path", true, &["proxy", "web"])]);
    scene.remove("ns_a_1");
    assert_eq!(scene.at(2).await, []);
    assert_eq!(scene.counted("path"), 0);
    assert_eq!(scene.at(10).await, [one("ns_a_1", "path", false, &["proxy", "web"])]);
    assert_eq!(scene.counted("path"), 1);
    assert_eq!(scene.at(11).await, [one("ns_a_1", "gone", false, &[])]);
    assert_eq!(scene.at(60).await, []);
    assert!(scene.folders.state.lock().await.book.folders().is_empty());
}

#[tokio::test]
async fn what_the_path_says_is_told_of_a_pod() {
    let mut scene = Scene::new(Namespace::Named("ns".into()));
    scene.folders.lists(&BTreeSet::new()).await;
    scene.make("ns_a-b.c_0f-1", "web");
    scene.folders.look(scene.started + Duration::from_secs(1)).await;
    let Some(Update::Group { group, .. }) = scene.updates.recv().await else { panic!("a group") };
    let expected = [
        (pod::NAMESPACE, "ns"),
        (pod::NAME, "a-b.c"),
        (pod::UID, "0f-1"),
        (pod::CONTAINER, "web"),
        (pod::NODE, "n1"),
        (FOUND_BY, FROM_PATH),
        (HELD, "true"),
    ];
    let expected: crate::model::Labels = expected.map(|(name, value)| (name.to_string(), value.to_string())).into();
    assert_eq!(group.targets.iter().map(TargetLabels::to_labels).collect::<Vec<_>>(), [expected]);
}

#[tokio::test]
async fn a_pod_that_is_shown_late_is_let_go_of_first_and_goes_on_when_it_is_deleted() {
    let mut scene = Scene::new(Namespace::Named("ns".into()));
    scene.folders.lists(&BTreeSet::new()).await;
    scene.make("ns_a_1", "web");
    assert_eq!(scene.at(0).await, [one("ns_a_1", "path", true, &["web"])]);
    scene.folders.shows(&pod("a", "1", "shop")).await;
    assert_eq!(scene.told(), [one("ns_a_1", "gone", false, &[])]);
    assert_eq!(scene.at(60).await, []);
    scene.folders.hides("pod/ns/a").await;
    assert_eq!(scene.at(61).await, [one("ns_a_1", "cache", false, &["web"])]);
    scene.remove("ns_a_1");
    assert_eq!(scene.at(62).await, []);
    assert_eq!(scene.at(68).await, [one("ns_a_1", "gone", false, &[])]);
    assert_eq!(scene.counted("cache") + scene.counted("path"), 0, "the API server showed it");
}

#[tokio::test]
async fn one_that_died_while_the_agent_was_away_has_the_labels_that_it_had() {
    let scene = Scene::new(Namespace::All);
    scene.make("ns_a_1", "web");
    scene.make("ns_b_2", "web");
    scene.folders.shows(&pod("a", "1", "shop")).await;
    scene.folders.remembered.save();
    let mut scene = Scene::in_folder(scene.dir, Namespace::All);
    assert_eq!(scene.at(0).await, []);
    scene.folders.shows(&pod("agent", "9", "agent")).await;
    scene.folders.lists(&BTreeSet::from(["pod/ns/agent".to_string()])).await;
    scene.folders.look(scene.started).await;
    let Some(Update::Group { group, .. }) = scene.updates.recv().await else { panic!("a group") };
    assert_eq!(group.targets.iter().map(|t| t.get(pod::LABEL_APP)).collect::<Vec<_>>(), [Some("shop")]);
    assert_eq!(scene.told(), [one("ns_b_2", "path", true, &["web"])]);
    assert_eq!(scene.counted("cache"), 1);
}

#[tokio::test]
async fn the_own_namespace_is_waited_for() {
    let mut scene = Scene::new(Namespace::NotKnown);
    scene.folders.lists(&BTreeSet::new()).await;
    scene.make("ns_a_1", "web");
    assert_eq!(scene.at(0).await, []);
    scene.folders.set_namespace("ns").await;
    assert_eq!(scene.at(1).await, [one("ns_a_1", "path", true, &["web"])]);
}

/// A system call on a dying disk may take minutes. The thread of all pushes and of the watch must not wait for it.
#[tokio::test]
async fn a_disk_that_hangs_stops_nothing_else() {
    let mut scene = Scene::new(Namespace::All);
    scene.folders.lists(&BTreeSet::new()).await;
    scene.make("ns_a_1", "web");
    let disk = Arc::clone(&scene.folders.disk);
    let (hangs, is_hanging) = std::sync::mpsc::channel();
    let (let_go, until) = std::sync::mpsc::channel::<()>();
    let call = std::thread::spawn(move || {
        let _disk = disk.lock().expect("well");
        hangs.send(()).expect("the test waits");
        let _ = until.recv();
    });
    is_hanging.recv().expect("it hangs");
    let other = pod("b", "2", "b");
    tokio::select! {
        biased;
        () = scene.folders.look(scene.started) => panic!("it has looked, although the disk hangs"),
        () = scene.folders.shows(&other) => {}
    }
    drop(let_go);
    call.join().expect("well");
    assert_eq!(scene.at(1).await, [one("ns_a_1", "path", true, &["web"])]);
}
