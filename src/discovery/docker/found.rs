//! The containers of the last list, and the way in which the log of each is read.

use std::any::Any;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::future::{BoxFuture, FutureExt, try_join_all};

use super::Outside;
use super::api::{Info, Inspected, Listed};
use super::engine::{Engine, Failure};
use super::log::{self, Described, Steering};
use crate::discovery::buffer::SharedRoom;
use crate::metrics::ContainerLines;
use crate::model::{LabelSet, Labels, Streams, TargetGroup, container, loki_label_name};
use crate::relabel::{Rules, Verdict};
use crate::tail::escape;

/// The most containers that are inspected at the same time.
const AT_ONCE: usize = 8;

pub(super) struct Found {
    outside: Outside,
    counts: ContainerLines,
    /// Of the containers that are read through the API.
    shared: Arc<SharedRoom>,
    containers: HashMap<String, Container>,
    /// The logs that are read through the API.
    given: HashMap<String, GivenLog>,
    /// The directory of Docker's data. None: not known yet.
    root: Option<PathBuf>,
}

/// The data about a container besides its labels.
#[derive(Debug)]
struct Container {
    log: Log,
    /// It had stopped before the agent could read it.
    is_old: bool,
}

struct GivenLog {
    steering: Steering,
    /// Dropping it takes the log back.
    _given: Box<dyn Any + Send + Sync>,
}

/// The place of its log.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Log {
    File(PathBuf),
    Api {
        driver: String,
        tty: bool,
    },
    /// It cannot be read, for this reason.
    Nowhere(String),
}

type Notes = BTreeMap<String, Option<String>>;

impl Found {
    pub fn new(outside: Outside, counts: ContainerLines) -> Self {
        let shared = Arc::default();
        Self { outside, counts, shared, containers: HashMap::new(), given: HashMap::new(), root: None }
    }

    /// The targets, and the notes that are shown in place of targets.
    pub async fn update(
        &mut self,
        engine: &Arc<Engine>,
        listed: Vec<Listed>,
        mut labels: HashMap<String, Labels>,
    ) -> Result<(Vec<TargetGroup>, Notes), Failure> {
        let new: Vec<&Listed> = listed.iter().filter(|listed| !self.containers.contains_key(&listed.id)).collect();
        if !new.is_empty() && self.root.is_none() {
            self.root = Some(root(engine).await?);
        }
        let new: Vec<(String, bool)> = new.into_iter().map(|listed| (listed.id.clone(), is_stopped(listed))).collect();
        for some in new.chunks(AT_ONCE) {
            let inspected = try_join_all(some.iter().map(|(id, _)| inspect(engine, id.clone()))).await?;
            for ((id, is_stopped), inspected) in some.iter().zip(inspected) {
                // A container that was removed meanwhile is not in the next list.
                if let Some(inspected) = inspected {
                    let container = self.found(id, *is_stopped, inspected).await;
                    self.containers.insert(id.clone(), container);
                }
            }
        }
        let here: HashSet<&String> = listed.iter().map(|listed| &listed.id).collect();
        let mut notes = Notes::new();
        self.containers.retain(|id, _| {
            let stays = here.contains(id);
            if !stays {
                self.given.remove(id);
                notes.insert(group_id(id), None);
            }
            stays
        });
        let mut groups = Vec::new();
        for listed in &listed {
            let Some((found, labels)) = self.containers.get_mut(&listed.id).zip(labels.remove(&listed.id)) else {
                continue;
            };
            found.is_old &= is_stopped(listed);
            match &found.log {
                _ if found.is_old => {}
                Log::File(file) => groups.push(of_file(&listed.id, labels, file)),
                Log::Api { driver, tty } => match relabelled(&self.outside.rules, &labels) {
                    Relabelled::Path => {
                        self.given.remove(&listed.id);
                        groups.push(TargetGroup::new(group_id(&listed.id), [labels]));
                    }
                    Relabelled::Streams(streams) => {
                        let runs = !is_stopped(listed) && listed.state != "created";
                        match self.given.get(&listed.id) {
                            Some(given) => given.steering.set(runs, &streams),
                            None => {
                                let (id, name) = (listed.id.clone(), listed.name().trim_start_matches('/').to_string());
                                let described = Described { id, name, driver: driver.clone(), tty: *tty };
                                let (log, steering) = log::new(
                                    engine.clone(),
                                    described,
                                    runs,
                                    streams,
                                    self.counts.clone(),
                                    self.shared.clone(),
                                );
                                let given = GivenLog { steering, _given: (self.outside.give)(log) };
                                self.given.insert(listed.id.clone(), given);
                            }
                        }
                    }
                    Relabelled::Dropped => drop(self.given.remove(&listed.id)),
                },
                Log::Nowhere(why) => {
                    drop(notes.insert(group_id(&listed.id), Some(format!("{}: {why}", listed.name()))))
                }
            }
        }
        Ok((groups, notes))
    }

    async fn found(&self, id: &str, is_stopped: bool, inspected: Inspected) -> Container {
        let driver = inspected.host_config.log_config.driver.as_str();
        // Docker names the file when it starts the container, and always in this way.
        let file = match (driver, inspected.log.as_str(), &self.root) {
            ("json-file", "", Some(root)) => Some(root.join("containers").join(id).join(format!("{id}-json.log"))),
            ("json-file", path, _) if is_log_file(path, id) => Some(PathBuf::from(path)),
            _ => None,
        };
        let is_known = file.as_ref().is_some_and(|file| (self.outside.is_known)(&file.to_string_lossy()));
        let finished = time(&inspected.state.finished_at);
        let has_cursor = (self.outside.is_known)(&log::position(id));
        let is_old = is_stopped && !is_known && !has_cursor && finished.is_none_or(|at| at < self.outside.unseen_since);
        let through_api = || Log::Api { driver: driver.into(), tty: inspected.config.tty };
        let log = match file {
            _ if driver == "none" => {
                Log::Nowhere("its logging driver is \"none\", so Docker keeps no log of it".into())
            }
            // Reading continues in the way in which it began, for instance by Promtail, so that no line is sent again.
            _ if has_cursor && !is_known => through_api(),
            Some(file) => match readable(file).await {
                Ok(file) => Log::File(file),
                Err(why) => {
                    if !is_old {
                        tracing::info!(container = id, why, "a container is read through Docker's API");
                    }
                    through_api()
                }
            },
            None => through_api(),
        };
        if let (Log::Nowhere(why), false) = (&log, is_old) {
            tracing::warn!(container = id, why, "the log of a container cannot be read");
        }
        Container { log, is_old }
    }
}

/// The id of a container's target group.
fn group_id(id: &str) -> String {
    format!("container/{id}")
}

fn of_file(id: &str, mut labels: Labels, file: &Path) -> TargetGroup {
    let file = file.to_string_lossy();
    labels.insert("__path__".into(), escape(&file));
    labels.insert(container::LOG_FILE.into(), file.into_owned());
    TargetGroup::new(group_id(id), [labels])
}

fn is_stopped(listed: &Listed) -> bool {
    matches!(listed.state.as_str(), "exited" | "dead" | "removing")
}

/// None: there is no such container any more.
fn inspect(engine: &Engine, id: String) -> BoxFuture<'_, Result<Option<Inspected>, Failure>> {
    let inspect = async move {
        match engine.json(&format!("/containers/{id}/json"), &[]).await {
            Ok(inspected) => Ok(Some(inspected)),
            Err(Failure::Refused { status: 404, .. }) => Ok(None),
            Err(failure) => Err(failure),
        }
    };
    inspect.boxed()
}

/// The folder of Docker's data. A proxy of the socket may refuse to tell it.
async fn root(engine: &Engine) -> Result<PathBuf, Failure> {
    match engine.json::<Info>("/info", &[]).await {
        Ok(info) if info.data.starts_with('/') => Ok(info.data.into()),
        Ok(_) | Err(Failure::Refused { .. }) => Ok("/var/lib/docker".into()),
        Err(failure) => Err(failure),
    }
}

/// Whether a path is that of a container's log: whoever answers for Docker could name any file.
fn is_log_file(path: &str, id: &str) -> bool {
    let is_plain = !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    is_plain
        && path.starts_with('/')
        && !path.contains("/../")
        && path.ends_with(&format!("/containers/{id}/{id}-json.log"))
}

/// Checks whether the agent can see the file, or its folder if the container has not been started yet.
async fn readable(file: PathBuf) -> Result<PathBuf, String> {
    let checked = tokio::task::spawn_blocking(move || check(&file).map(|()| file));
    match checked.await {
        Ok(checked) => checked,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err("the agent is shutting down".into()),
    }
}

fn check(file: &Path) -> Result<(), String> {
    let opened = fs::File::open(file).map(drop).or_else(|error| match error.kind() {
        std::io::ErrorKind::NotFound => fs::read_dir(file.parent().unwrap_or(file)).map(drop),
        _ => Err(error),
    });
    opened.map_err(|error| {
        format!(
            "its log file {} cannot be read ({error}); to read the file, mount the folder of Docker's containers at the same \
             place, and name it in target_config.read_roots if it is not /var/lib/docker/containers",
            file.display()
        )
    })
}

/// The result of the rules for a container.
enum Relabelled {
    /// They name a file to read.
    Path,
    Streams(Streams),
    Dropped,
}

fn relabelled(rules: &Rules, labels: &Labels) -> Relabelled {
    let of = |stream: &str| {
        let mut labels = labels.clone();
        labels.insert(container::LOG_STREAM.into(), stream.into());
        matches!(rules.apply(&mut labels), Verdict::Keep).then_some(labels)
    };
    let (stdout, stderr) = (of("stdout"), of("stderr"));
    let names_path = |labels: &Labels| labels.get("__path__").is_some_and(|path| !path.is_empty());
    if [&stdout, &stderr].into_iter().flatten().any(names_path) {
        return Relabelled::Path;
    }
    let set = |labels: Labels| {
        let sent = labels.into_iter().filter(|(name, value)| !name.starts_with("__") && !value.is_empty());
        LabelSet::new(sent.map(|(name, value)| (loki_label_name(&name).into_owned(), value)))
    };
    match (stdout.map(set), stderr.map(set)) {
        (None, None) => Relabelled::Dropped,
        (stdout, stderr) => Relabelled::Streams(Streams { stdout, stderr }),
    }
}

/// RFC 3339. None: it has no meaning, as the year 1 of a container that was never stopped.
fn time(text: &str) -> Option<SystemTime> {
    let nanos = text.parse::<jiff::Timestamp>().ok()?.as_nanosecond();
    let nanos = u64::try_from(nanos).ok().filter(|nanos| *nanos > 0)?;
    UNIX_EPOCH.checked_add(Duration::from_nanos(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_file_of_a_container_is_its_log() {
        for (path, id, is_log) in [
            ("/var/lib/docker/containers/0a1b/0a1b-json.log", "0a1b", true),
            ("/data/root/containers/0a1b/0a1b-json.log", "0a1b", true),
            ("/etc/shadow", "0a1b", false),
            ("/var/lib/docker/containers/0a1b/other-json.log", "0a1b", false),
            ("/var/lib/docker/containers/x/../0a1b/0a1b-json.log", "0a1b", false),
            ("containers/0a1b/0a1b-json.log", "0a1b", false),
            ("/x/containers/../../etc/../../etc-json.log", "../../etc", false),
            ("/containers//-json.log", "", false),
        ] {
            assert_eq!(is_log_file(path, id), is_log, "{path} {id}");
        }
    }
}
