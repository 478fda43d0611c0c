//! Labels of containers for static targets whose paths lead to Docker's log files.
//!
//! Docker writes a container's name, image and labels into `config.v2.json` beside its log. So a path such as
//! `/var/lib/docker/containers/*/*-json.log` becomes one target for each container, with the labels of that container.
//! This happens only if a rule of the job reads a label of Docker.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use tokio::sync::mpsc;

use super::super::{Known, StaticConfig};
use super::labels::{Facts, ID, IMAGE, NAME, PREFIX, prefixed};
use crate::model::{Labels, TargetGroup, TargetLabels, bounded, later};
use crate::relabel::Reads;
use crate::tail::{Glob, escape};

const PATH: &str = "__path__";

/// The file of Docker that describes a container.
const CONFIG: &str = "config.v2.json";

/// The largest [`CONFIG`] in bytes that is read.
const LARGEST: u64 = 4 << 20;

/// The most containers in one folder. Their logs beyond that are read without labels of their own.
const MOST: usize = 10_000;

/// How often the folder is checked for new containers.
const LOOK: Duration = Duration::from_secs(1);

/// Every this many checks, the files of all containers are checked too: a container may have been renamed.
const LOOK_AT_ALL: u32 = 10;

/// How long a new folder may be without a [`CONFIG`]: Docker creates the folder first.
const PATIENCE: Duration = Duration::from_secs(10);

/// A static config whose path has one folder for each container.
#[derive(Debug)]
pub(in crate::discovery) struct ContainerFiles {
    config: StaticConfig,
    /// The directory that contains the containers' directories.
    containers: PathBuf,
    folders: Glob,
    /// The last part of the path, for the files in a container's folder.
    files: String,
    known: HashMap<PathBuf, Container>,
    looks: u32,
    containers_changed: Option<SystemTime>,
    /// There are more than [`MOST`] containers, and this was logged.
    is_over: bool,
}

/// The last known state of a container.
#[derive(Debug)]
struct Container {
    changed: Option<(SystemTime, u64)>,
    labels: Labels,
    /// Its labels cannot be read, and this was logged.
    failed: bool,
}

impl ContainerFiles {
    /// None: the config is to be used as it is, because no rule reads labels of Docker, or its path has another form.
    pub fn of(config: &StaticConfig, reads: &Reads) -> Option<Self> {
        let label = prefixed("container_label_", "com.docker.compose.service");
        let is_read = reads.mentions(PREFIX) || [ID, NAME, IMAGE, &label].iter().any(|name| reads.reads(name));
        let path = config.labels.get(PATH).filter(|_| is_read)?;
        let (folders, files) = path.rsplit_once('/')?;
        let (root, folder) = folders.rsplit_once('/')?;
        let is_plain = |text: &str| !text.contains(['*', '?', '[', '{', '\\']);
        let is_glob = !is_plain(folder) && !folder.contains("**");
        if !is_glob || !is_plain(root) || root.is_empty() || files.is_empty() || files.contains('}') {
            return None;
        }
        Some(Self {
            config: config.clone(),
            containers: root.into(),
            folders: Glob::new(folders).ok()?,
            files: files.into(),
            known: HashMap::new(),
            looks: 0,
            containers_changed: None,
            is_over: false,
        })
    }

    /// Sends the targets until it is dropped. `unlisted` is dropped after the first check.
    pub async fn run(mut self, mut known: Known, unlisted: mpsc::Sender<Infallible>) {
        let mut unlisted = Some(unlisted);
        let mut looks = tokio::time::interval(LOOK);
        loop {
            looks.tick().await;
            let looked = tokio::task::spawn_blocking(move || {
                let groups = self.look(SystemTime::now());
                (self, groups)
            });
            let (back, groups) = match looked.await {
                Ok(looked) => looked,
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Err(_) => return, // the runtime is shutting down
            };
            self = back;
            if let Some(groups) = groups {
                known.replace(groups).await;
            }
            drop(unlisted.take());
        }
    }

    /// The targets. None: nothing has changed.
    fn look(&mut self, now: SystemTime) -> Option<Vec<TargetGroup>> {
        let changed = fs::metadata(&self.containers).and_then(|meta| meta.modified()).ok();
        let is_due = self.looks.is_multiple_of(LOOK_AT_ALL);
        self.looks = self.looks.wrapping_add(1);
        let waits = self.known.values().any(|container| container.changed.is_none());
        if !is_due && !waits && changed == self.containers_changed {
            return None;
        }
        self.containers_changed = changed;
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.containers).into_iter().flatten().flatten() {
            let folder = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) && self.folders.matches(&folder) {
                found.push(folder);
            }
        }
        found.sort();
        if found.len() > MOST && !std::mem::replace(&mut self.is_over, true) {
            let folder = self.containers.display();
            tracing::warn!(%folder, found = found.len(), most = MOST, "too many containers: no labels of Docker are used");
        }
        // Without folders, the path itself shows why nothing is read.
        if found.is_empty() || found.len() > MOST {
            self.known.clear();
            return Some(vec![TargetGroup::new("static".to_string(), self.config.targets())]);
        }
        let mut before = std::mem::take(&mut self.known);
        let mut groups = Vec::new();
        for folder in found {
            let container = refresh(&folder, before.remove(&folder));
            let is_new =
                || folder.metadata().and_then(|meta| meta.modified()).is_ok_and(|at| now < later(at, PATIENCE));
            if container.changed.is_some() || !is_new() {
                groups.push(self.group(&folder, &container.labels));
            }
            self.known.insert(folder, container);
        }
        Some(groups)
    }

    fn group(&self, folder: &Path, labels: &Labels) -> TargetGroup {
        let path = format!("{}/{}", escape(&folder.to_string_lossy()), self.files);
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let with = |target: TargetLabels| {
            // Labels of the config override labels of Docker.
            let mut all = labels.clone();
            all.extend(target.to_labels());
            all.insert(PATH.into(), path.clone());
            TargetLabels::from(all)
        };
        TargetGroup::new(format!("container/{name}"), self.config.targets().into_iter().map(with))
    }
}

/// Reads the container's file if it has changed.
fn refresh(folder: &Path, before: Option<Container>) -> Container {
    let file = folder.join(CONFIG);
    let changed = fs::metadata(&file).and_then(|meta| Ok((meta.modified()?, meta.len())));
    let failed = before.as_ref().is_some_and(|before| before.failed);
    let read = match changed {
        Ok(changed) => match before {
            Some(before) if before.changed == Some(changed) => return before,
            _ => read(&file).map(|labels| Container { changed: Some(changed), labels, failed: false }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Container { changed: None, labels: Labels::new(), failed };
        }
        Err(error) => Err(error),
    };
    read.unwrap_or_else(|error| {
        if !failed {
            tracing::warn!(
                file = %file.display(), %error,
                "cannot read Docker's file about a container: its log is read without labels of Docker; make the file readable"
            );
        }
        // The file is read again once it changes.
        let changed = fs::metadata(&file).and_then(|meta| Ok((meta.modified()?, meta.len()))).ok();
        Container { changed: changed.or(Some((SystemTime::UNIX_EPOCH, 0))), labels: Labels::new(), failed: true }
    })
}

fn read(file: &Path) -> io::Result<Labels> {
    // A pipe or a device in its place could block.
    if !fs::metadata(file)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    Ok(described(&bounded::read(fs::File::open(file)?, LARGEST)?)?)
}

/// The labels of a container from the content of its [`CONFIG`].
pub fn described(json: &[u8]) -> serde_json::Result<Labels> {
    #[derive(Deserialize)]
    struct Described {
        #[serde(rename = "ID", default)]
        id: String,
        #[serde(rename = "Name", default)]
        name: String,
        #[serde(rename = "Config", default)]
        config: Config,
    }
    #[derive(Default, Deserialize)]
    struct Config {
        #[serde(rename = "Image", default)]
        image: String,
        #[serde(rename = "Labels", default)]
        labels: Option<BTreeMap<String, String>>,
    }
    let Described { id, name, config } = serde_json::from_slice(json)?;
    let facts = Facts { id: &id, name: &name, image: &config.image, network_mode: "", labels: config.labels.as_ref() };
    Ok(facts.labels())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relabel::Rules;

    const ONE: &str = r#"{"ID":"aa11","Name":"/web","LogPath":"","Config":{"Image":"nginx:1.27","Tty":false,
        "Labels":{"com.docker.compose.service":"front","com.docker.compose.project":"shop"}},"Driver":"overlay2"}"#;

    fn reads(rules: &str) -> Reads {
        Rules::compile(&serde_yaml::from_str::<Vec<_>>(rules).expect("rules")).expect("rules").reads()
    }

    fn config(path: &str) -> StaticConfig {
        let labels = [("job", "docker"), (PATH, path)].map(|(name, value)| (name.to_string(), value.to_string()));
        StaticConfig { targets: Vec::new(), labels: labels.into() }
    }

    const NAMES: &str = "[{source_labels: [__meta_docker_container_name], target_label: container}]";

    #[test]
    fn which_configs_are_split_by_container() {
        let of = |path: &str, rules: &str| ContainerFiles::of(&config(path), &reads(rules)).is_some();
        let usual = "/var/lib/docker/containers/*/*-json.log";
        let map = "[{regex: __meta_docker_container_label_com_docker_compose_(.+), action: labelmap}]";
        for (path, rules, is_split) in [
            (usual, NAMES, true),
            (usual, map, true),
            (usual, "[{regex: '__meta_(.+)', action: labelmap}]", true),
            (usual, "[]", false),
            (usual, "[{source_labels: [__address__], target_label: instance}]", false),
            ("/var/lib/docker/containers/*/*log", NAMES, true),
            ("/var/lib/docker/containers/**/*log", NAMES, false),
            ("/var/lib/docker/*/a/*.log", NAMES, false),
            ("/var/log/*.log", NAMES, false),
            ("{/a/*/b.log,/c/*/d.log}", NAMES, false),
            ("/*/x.log", NAMES, false),
        ] {
            assert_eq!(of(path, rules), is_split, "{path} {rules}");
        }
    }

    /// The targets: for each group its name and, of its first target, the path and some labels.
    fn look(files: &mut ContainerFiles, now: SystemTime) -> Vec<String> {
        let groups = files.look(now).unwrap_or_default();
        let get = |group: &TargetGroup, name: &str| group.targets[0].get(name).unwrap_or("-").to_string();
        let service = prefixed("container_label_", "com.docker.compose.service");
        let line = |g: &TargetGroup| format!("{} {} {} {}", g.id, get(g, NAME), get(g, IMAGE), get(g, &service));
        groups.iter().map(line).collect()
    }

    #[test]
    fn a_container_is_a_target_with_its_labels() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("containers/*/*-json.log").to_string_lossy().into_owned();
        let mut files = ContainerFiles::of(&config(&path), &reads(NAMES)).expect("its form");
        files.looks = 1;
        let now = SystemTime::now();
        // The folder comes later: the path itself is the target.
        assert_eq!(look(&mut files, now), Vec::<String>::new());
        files.looks = LOOK_AT_ALL;
        assert_eq!(look(&mut files, now), ["static - - -"]);

        let folder = dir.path().join("containers/aa11");
        fs::create_dir_all(&folder).expect("made");
        assert_eq!(look(&mut files, now), Vec::<String>::new(), "Docker has not written its file yet");
        fs::write(folder.join(CONFIG), ONE).expect("written");
        assert_eq!(look(&mut files, now), ["container/aa11 /web nginx:1.27 front"]);
        assert_eq!(look(&mut files, now), Vec::<String>::new(), "nothing has changed");
        let group = files.group(&folder, &Labels::new());
        assert_eq!(group.targets[0].get(PATH), Some(&*path.replace("/*/", "/aa11/")));
        assert_eq!(group.targets[0].get("job"), Some("docker"));

        // It is renamed.
        fs::write(folder.join(CONFIG), ONE.replace("/web", "/shop-web-1")).expect("written");
        files.looks = LOOK_AT_ALL;
        assert_eq!(look(&mut files, now), ["container/aa11 /shop-web-1 nginx:1.27 front"]);

        // Files that cannot be read cost the labels, and not the log.
        for (name, content) in [("bb", "{\"ID\":"), ("cc", "[]"), ("dd", "{\"Name\": {}}")] {
            fs::create_dir(dir.path().join("containers").join(name)).expect("made");
            fs::write(dir.path().join("containers").join(name).join(CONFIG), content).expect("written");
        }
        fs::create_dir(dir.path().join("containers/ee")).expect("made");
        let (later, all) = (now + PATIENCE * 2, "container/aa11 /shop-web-1 nginx:1.27 front");
        files.looks = LOOK_AT_ALL;
        let bare = ["bb", "cc", "dd", "ee"].map(|name| format!("container/{name} - - -"));
        assert_eq!(look(&mut files, later), [&[all.to_string()], &bare[..]].concat());
    }

    #[test]
    fn a_file_without_end_is_not_read() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join(CONFIG);
        fs::write(&file, " ".repeat(LARGEST as usize + 1)).expect("written");
        assert!(read(&file).is_err_and(|error| error.kind() == io::ErrorKind::FileTooLarge));
        fs::remove_file(&file).expect("removed");
        fs::create_dir(&file).expect("made");
        assert!(read(&file).is_err_and(|error| error.to_string().contains("not a regular file")));
    }
}
