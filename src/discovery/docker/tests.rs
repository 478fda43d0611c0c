//! Discovery against a scripted engine on a Unix socket.

pub(super) mod engine;

use std::any::Any;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;

use super::super::{Around, Config as Discovery, Metrics, run};
use super::{Config, Outside};
use crate::discovery::remote_log::RemoteLog;
use crate::metrics::Registry;
use crate::model::{NO_TARGETS, Update, container};
use crate::relabel::{Reads, Rules};
use engine::{Docker, Scripted};

/// Waits for what a test expects to come.
pub(super) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("it comes soon")
}

pub(super) fn config(docker: &Docker) -> Config {
    let yaml = format!("{{host: 'unix://{}', refresh_interval: 10m}}", docker.socket.display());
    crate::yaml::from_str(&yaml).expect("a config")
}

fn outside(known: &'static [&'static str]) -> Outside {
    Outside {
        is_known: Arc::new(|name| known.iter().any(|known| name.contains(known))),
        unseen_since: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        rules: Rules::default(),
        give: Arc::new(|log| panic!("{log:?} has a file")),
    }
}

/// Like [`outside`], with rules. Notes the names and labels of the logs that are given.
fn noting(rules: &str, given: &Arc<Mutex<BTreeMap<String, String>>>) -> Outside {
    struct Given(Arc<Mutex<BTreeMap<String, String>>>, String);
    impl Drop for Given {
        fn drop(&mut self) {
            self.0.lock().expect("no test has panicked").remove(&self.1);
        }
    }
    let rules = Rules::compile(&serde_yaml::from_str::<Vec<_>>(rules).expect("rules")).expect("rules");
    let given = given.clone();
    let give = move |log: RemoteLog| {
        let name = log.name.to_string();
        given.lock().expect("no test has panicked").insert(name.clone(), log.labels.to_string());
        Box::new(Given(given.clone(), name)) as Box<dyn Any + Send + Sync>
    };
    Outside { rules, give: Arc::new(give), ..outside(&[]) }
}

/// The targets or notes that discovery has sent, by group, until `Synced` or until `is_there` holds.
struct Listener {
    updates: mpsc::Receiver<Update>,
    told: BTreeMap<String, Vec<String>>,
    synced: bool,
}

impl Listener {
    fn start(docker: &Docker, outside: Outside) -> Self {
        let (sender, updates) = mpsc::channel(64);
        let discovery = Discovery { docker: vec![config(docker)], ..Discovery::default() };
        let around = Around { containers: Some(outside), ..Around::default() };
        let metrics = Metrics::register(&Registry::new());
        tokio::spawn(run("j".into(), discovery, "n".into(), Reads::default(), around, metrics, sender));
        Self { updates, told: BTreeMap::new(), synced: false }
    }

    async fn until(&mut self, is_there: impl Fn(&Self) -> bool) {
        while !is_there(self) {
            match soon(self.updates.recv()).await.expect("it goes on") {
                Update::Synced { .. } => self.synced = true,
                Update::Group { group, .. } => {
                    let group_id = group.id.trim_start_matches("docker_sd_configs[0]/").to_string();
                    let shown = |name: &str| {
                        let values = group.targets.iter().filter_map(|target| target.get(name));
                        values.map(String::from).collect::<Vec<_>>()
                    };
                    let lines = ["__meta_docker_container_name", container::LOG_FILE, NO_TARGETS].map(shown).concat();
                    match lines.is_empty() {
                        true => drop(self.told.remove(&group_id)),
                        false => drop(self.told.insert(group_id, lines)),
                    }
                }
            }
        }
    }
}

fn with_file(id: &str, folder: &Path) -> Scripted {
    let mut container = Scripted::running(id, "json-file");
    let folder = folder.join("containers").join(&container.id);
    std::fs::create_dir_all(&folder).expect("made");
    container.log_path = folder.join(format!("{}-json.log", container.id)).to_string_lossy().into_owned();
    std::fs::write(&container.log_path, "").expect("written");
    container
}

#[tokio::test]
async fn containers_come_change_and_go_with_events() {
    let folder = tempfile::tempdir().expect("a folder");
    let docker = Docker::new(folder.path());
    let (a, b) = (with_file("aaaa", folder.path()), with_file("bbbb", folder.path()));
    docker.change(|world| world.containers.push(a.clone()));
    let _listening = docker.listen();
    let mut listener = Listener::start(&docker, outside(&[]));
    listener.until(|listener| listener.synced).await;
    let group_id = |container: &Scripted| format!("container/{}", container.id);
    assert_eq!(listener.told, [(group_id(&a), vec![a.name.clone(), a.log_path.clone()])].into());

    // The refresh interval is ten minutes: these are events.
    docker.happen(|world| world.containers.push(b.clone()));
    listener.until(|listener| listener.told.len() == 2).await;
    docker.happen(|world| world.containers[0].name = "/renamed".into());
    listener.until(|listener| listener.told[&group_id(&a)][0] == "/renamed").await;
    // A stopped container may have lines that are not read yet.
    docker.happen(|world| world.containers[0].state = "exited".into());
    docker.happen(|world| world.containers.retain(|container| container.id == a.id));
    listener.until(|listener| !listener.told.contains_key(&group_id(&b))).await;
    assert!(listener.told.contains_key(&group_id(&a)));
}

#[tokio::test]
async fn what_stopped_before_the_agent_was_there_is_read_only_if_it_is_known() {
    let folder = tempfile::tempdir().expect("a folder");
    let docker = Docker::new(folder.path());
    let old = |id: &str, finished: &str| {
        let [state, finished_at] = ["exited", finished].map(String::from);
        Scripted { state, finished_at, ..with_file(id, folder.path()) }
    };
    let (before, after) = ("2023-11-14T22:00:00Z", "2023-11-14T23:00:00.5Z");
    docker.change(|world| world.containers = vec![old("aaaa", before), old("bbbb", before), old("cccc", after)]);
    let _listening = docker.listen();
    let mut listener = Listener::start(&docker, outside(&["bbbb"]));
    listener.until(|listener| listener.synced).await;
    let names = |listener: &Listener| listener.told.values().map(|told| told[0].clone()).collect::<Vec<_>>();
    assert_eq!(names(&listener), ["/c-bbbb", "/c-cccc"]);
    docker.happen(|world| world.containers[0].state = "running".into());
    listener.until(|listener| listener.told.len() == 3).await;
    // It is not forgotten when it stops again.
    docker.happen(|world| world.containers[0].state = "exited".into());
    docker.happen(|world| world.containers[1].name = "/last".into());
    listener.until(|listener| names(listener)[1] == "/last").await;
    assert_eq!(names(&listener), ["/c-aaaa", "/last", "/c-cccc"]);
}

#[tokio::test]
async fn an_engine_that_is_away_is_said_and_waited_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let docker = Docker::new(folder.path());
    let a = with_file("aaaa", folder.path());
    docker.change(|world| world.containers.push(a.clone()));
    let mut listener = Listener::start(&docker, outside(&[]));
    listener.until(|listener| listener.told.contains_key("docker")).await;
    let said = listener.told["docker"][0].clone();
    assert!(said.contains("there is no socket") && said.contains("mount"), "{said}");
    assert!(!listener.synced);
    let listening = docker.listen();
    listener.until(|listener| listener.synced && !listener.told.contains_key("docker")).await;
    assert_eq!(listener.told.len(), 1);
    // Docker is restarted: its containers stay meanwhile.
    drop(listening);
    let _listening = docker.listen();
    docker.change(|world| world.containers[0].name = "/after".into());
    listener.until(|listener| listener.told.values().any(|told| told[0] == "/after")).await;
}

#[tokio::test]
async fn what_has_no_file_is_given_through_the_api_with_the_labels_of_the_rules() {
    let folder = tempfile::tempdir().expect("a folder");
    let docker = Docker::new(folder.path());
    let mut unmounted = Scripted::running("aaaa", "json-file");
    let not_mounted = format!("not/mounted/containers/{0}/{0}-json.log", unmounted.id);
    unmounted.log_path = folder.path().join(not_mounted).to_string_lossy().into_owned();
    let kinds = [("bbbb", "none"), ("cccc", "journald"), ("dddd", "local"), ("eeee", "local")];
    let others = kinds.map(|(id, driver)| Scripted::running(id, driver));
    docker.change(|world| world.containers = [vec![unmounted], others.to_vec()].concat());
    let _listening = docker.listen();
    let given = Arc::new(Mutex::new(BTreeMap::new()));
    let rules = "[{source_labels: [__meta_docker_container_name], regex: /c-dddd, action: drop}, \
                  {source_labels: [__meta_docker_container_name], regex: /c-eeee, target_label: __path__, replacement: /x.log}, \
                  {source_labels: [__meta_docker_container_log_stream], target_label: stream}]";
    let mut listener = Listener::start(&docker, noting(rules, &given));
    listener.until(|listener| listener.synced).await;
    let names = || given.lock().expect("no test has panicked").clone();
    let labels = "{stream=\"stdout\"}".to_string();
    let all = ["docker:c-aaaa", "docker:c-cccc"].map(|name| (name.to_string(), labels.clone()));
    assert_eq!(names(), all.clone().into());
    let told: Vec<&String> = listener.told.values().flatten().collect();
    assert!(told[0].starts_with("/c-bbbb: ") && told[0].contains("\"none\""), "{told:?}");
    assert_eq!(told[1..], ["/c-eeee"], "a rule names its file");
    // The last one is removed.
    docker.happen(|world| world.containers.retain(|container| container.driver != "journald"));
    docker.happen(|world| world.containers.push(with_file("ffff", folder.path())));
    listener.until(|listener| listener.told.len() == 3).await;
    assert_eq!(names(), [all[0].clone()].into());
}

/// Promtail has read it through the API, and has its cursor in `positions.yaml`.
#[tokio::test]
async fn a_container_goes_on_as_it_was_begun() {
    let folder = tempfile::tempdir().expect("a folder");
    let docker = Docker::new(folder.path());
    let containers = [with_file("aaaa", folder.path()), with_file("bbbb", folder.path())];
    docker.change(|world| world.containers = containers.to_vec());
    let _listening = docker.listen();
    let given = Arc::new(Mutex::new(BTreeMap::new()));
    let is_known = Arc::new(|name: &str| name.starts_with("cursor-aaaa"));
    let mut listener = Listener::start(&docker, Outside { is_known, ..noting("[]", &given) });
    listener.until(|listener| listener.synced).await;
    assert_eq!(listener.told.values().map(|told| &*told[0]).collect::<Vec<_>>(), ["/c-bbbb"]);
    assert_eq!(given.lock().expect("no test has panicked").keys().collect::<Vec<_>>(), ["docker:c-aaaa"]);
}
