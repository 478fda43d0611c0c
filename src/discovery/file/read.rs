//! Reads the files of one `file_sd_configs` entry, and finds changes. Synchronous: only waits for the disk.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

use tracing::{info, warn};

use crate::discovery::Metrics;
use crate::discovery::groups::groups;
use crate::model::{TargetGroup, bounded};

/// The maximum size of a file in bytes. A list of targets is smaller.
const LARGEST: u64 = 16 << 20;

/// The most files that may match one path.
const FILES: usize = 1000;

pub(super) struct Files {
    patterns: Vec<Pattern>,
    files: BTreeMap<String, File>,
    job: String,
    metrics: Metrics,
}

struct Pattern {
    text: String,
    /// Why the last search of the path failed.
    trouble: Option<String>,
}

#[derive(Default)]
struct File {
    stamp: Option<Stamp>,
    /// The last valid content.
    groups: Vec<TargetGroup>,
    is_empty: bool,
    trouble: Option<String>,
}

/// Identifies a state of a file. Two equal stamps mean the same content, as far as this can be known.
#[derive(PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    len: u64,
    inode: u64,
}

impl Files {
    pub(super) fn new(patterns: Vec<String>, job: &str, metrics: Metrics) -> Self {
        metrics.announce_files(job);
        let patterns = patterns.into_iter().map(|text| Pattern { text, trouble: None }).collect();
        Self { patterns, files: BTreeMap::new(), job: job.to_string(), metrics }
    }

    /// All groups of all files, or none if no file was read or disappeared. `all` also reads files that look unchanged.
    ///
    /// An invalid file keeps its last valid content. A missing file has none.
    pub(super) fn look(&mut self, all: bool) -> Option<Vec<TargetGroup>> {
        let mut before = std::mem::take(&mut self.files);
        let mut changed = false;
        for pattern in &mut self.patterns {
            let paths = match matching(&pattern.text) {
                Ok(paths) => {
                    let none = paths.is_empty().then(|| "no such file".to_string());
                    transition(&mut pattern.trouble, none, &self.job, &pattern.text);
                    paths
                }
                Err(error) => {
                    self.metrics.file_failed(&self.job);
                    transition(&mut pattern.trouble, Some(error.to_string()), &self.job, &pattern.text);
                    // They may still exist.
                    before.keys().filter(|path| fits(&pattern.text, path)).cloned().collect()
                }
            };
            for path in paths {
                if self.files.contains_key(&path) {
                    continue;
                }
                let mut file = before.remove(&path).unwrap_or_default();
                changed |= file.look(&path, all, &self.job, &self.metrics);
                self.files.insert(path, file);
            }
        }
        let vanished = !before.is_empty();
        (changed || vanished).then(|| self.files.values().flat_map(|file| file.groups.clone()).collect())
    }
}

impl File {
    /// Reads the file if it changed. Returns whether the content is new.
    fn look(&mut self, path: &str, all: bool, job: &str, metrics: &Metrics) -> bool {
        let content = match fs::metadata(path) {
            Ok(metadata) => {
                let stamp = Some(Stamp::of(&metadata));
                if !all && self.trouble.is_none() && self.stamp == stamp {
                    return false;
                }
                // The stamp is older than the content, so a write in between is detected at the next check.
                self.stamp = stamp;
                read(path, &metadata)
            }
            Err(error) => Err(error.to_string()),
        };
        match content {
            Ok(groups) => {
                let was_empty = std::mem::replace(&mut self.is_empty, groups.is_empty());
                if self.is_empty && !was_empty {
                    info!(job, file = path, "a file of file_sd_configs has no targets");
                }
                self.groups = groups;
                transition(&mut self.trouble, None, job, path);
                true
            }
            Err(error) => {
                metrics.file_failed(job);
                transition(&mut self.trouble, Some(format!("{error}: the last valid content stays in use")), job, path);
                false
            }
        }
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self { modified: metadata.modified().ok(), len: metadata.len(), inode: metadata.ino() }
    }
}

/// Logs when an error starts, changes or ends.
fn transition(was: &mut Option<String>, is: Option<String>, job: &str, file: &str) {
    if *was == is {
        return;
    }
    match &is {
        Some(error) => warn!(job, file, error, "cannot read a file of file_sd_configs"),
        None => info!(job, file, "a file of file_sd_configs can be read again"),
    }
    *was = is;
}

fn read(path: &str, metadata: &Metadata) -> Result<Vec<TargetGroup>, String> {
    // Reading a pipe could block.
    if !metadata.is_file() {
        return Err("it is not a regular file".to_string());
    }
    if metadata.len() > LARGEST {
        return Err(format!("the file has {} bytes, but a file of targets may have at most {LARGEST}", metadata.len()));
    }
    let file = fs::File::open(path).map_err(|e| e.to_string())?;
    let text = bounded::read_text(file, LARGEST).map_err(|e| e.to_string())?;
    groups(&text, path.ends_with(".json") || path.ends_with(".JSON"), ("__meta_filepath", path))
}

/// The paths that match `pattern` now.
fn matching(pattern: &str) -> io::Result<Vec<String>> {
    let absent = |e: &io::Error| matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
    if !pattern.contains('*') {
        return match fs::metadata(pattern) {
            Ok(_) => Ok(vec![pattern.to_string()]),
            Err(e) if absent(&e) => Ok(Vec::new()),
            Err(e) => Err(e),
        };
    }
    let directory = &pattern[..pattern.rfind('/').map_or(0, |slash| slash + 1)];
    let listing = match fs::read_dir(if directory.is_empty() { Path::new(".") } else { Path::new(directory) }) {
        Ok(listing) => listing,
        Err(e) if absent(&e) => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut paths = Vec::new();
    for entry in listing {
        if let Ok(name) = entry?.file_name().into_string() {
            let path = format!("{directory}{name}");
            if fits(pattern, &path) {
                paths.push(path);
            }
            if paths.len() > FILES {
                return Err(io::Error::other(format!("more than {FILES} files match: none of them is read")));
            }
        }
    }
    paths.sort();
    Ok(paths)
}

/// Whether `pattern` matches `path`. `*` matches any text without `/`.
fn fits(pattern: &str, path: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = path.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part) && !rest.contains('/');
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use crate::metrics::Registry;
    use crate::model::NO_TARGETS;
    use tempfile::TempDir;

    use super::*;

    struct Scene {
        directory: TempDir,
        registry: Registry,
        files: Files,
    }

    impl Scene {
        fn new(pattern: &str) -> Self {
            let (directory, registry) = (tempfile::tempdir().expect("a directory"), Registry::new());
            let pattern = format!("{}/{pattern}", directory.path().display());
            let files = Files::new(vec![pattern], "job", Metrics::register(&registry));
            Self { directory, registry, files }
        }

        fn write(&self, name: &str, content: &str) {
            fs::write(self.directory.path().join(name), content).expect("written");
        }

        /// Each group as `file:index=addresses`.
        fn look(&mut self, all: bool) -> Option<Vec<String>> {
            let base = format!("{}/", self.directory.path().display());
            let short = |g: TargetGroup| {
                let addresses: Vec<_> = g.targets.iter().filter_map(|t| t.get("__address__")).collect();
                for target in &g.targets {
                    assert!(target.get("__meta_filepath").is_some_and(|path| g.id.starts_with(path)));
                }
                format!("{}={}", g.id.strip_prefix(&base).expect("a path"), addresses.join(","))
            };
            self.files.look(all).map(|groups| groups.into_iter().map(short).collect())
        }

        fn errors(&self) -> f64 {
            self.registry.gather().iter().map(|family| family.get_metric()[0].get_counter().get_value()).sum()
        }
    }

    #[test]
    fn a_broken_file_keeps_its_last_good_content() {
        let mut scene = Scene::new("*.yml");
        scene.write("a.yml", "- targets: [x]\n- targets: [y, z]\n  labels: {env: prod}");
        scene.write("other.json", "[]");
        let good = Some(vec!["a.yml:0=x".to_string(), "a.yml:1=y,z".to_string()]);
        assert_eq!(scene.look(true), good);
        assert_eq!(scene.look(false), None);
        assert_eq!(scene.look(true), good, "a full look reads again");

        for (broken, why) in [
            ("- targets: [x", "a line cut off"),
            ("- target: [x]", "unknown key"),
            ("targets: [x]", "not a list"),
            ("- targets: [x]\n  labels: {'': c}", "a label without a name"),
        ] {
            let errors = scene.errors();
            scene.write("a.yml", broken);
            assert_eq!(scene.look(false), None, "{why}");
            assert_eq!(scene.errors(), errors + 1.0, "{why}");
            assert_eq!(scene.look(false), None, "{why}");
            assert!(scene.files.files.values().all(|f| f.trouble.is_some() && f.groups.len() == 2), "{why}");
        }

        scene.write("a.yml", "- targets: [w]");
        assert_eq!(scene.look(false), Some(vec!["a.yml:0=w".to_string()]));
        scene.write("a.yml", "");
        assert_eq!(scene.look(false), Some(vec![]), "an empty file is a list of nothing");
    }

    #[test]
    fn a_group_without_targets_is_told_as_one() {
        let mut scene = Scene::new("*.yml");
        scene.write("a.yml", "- labels: {__path__: /a}\n- {targets: [], labels: {__path__: /b}}\n- targets: [x]");
        let groups = scene.files.look(true).expect("it was read");
        let named: Vec<bool> = groups.iter().map(|g| g.targets.iter().any(|t| !t.contains(NO_TARGETS))).collect();
        assert_eq!(named, [false, false, true]);
        assert!(groups.iter().all(|group| group.targets.len() == 1 && group.targets[0].contains("__meta_filepath")));
        assert!(groups[..2].iter().all(|group| !group.targets[0].contains("__address__")));
    }

    #[test]
    fn files_come_and_go() {
        let mut scene = Scene::new("t_*.json");
        assert_eq!(scene.look(true), None);
        scene.write("t_2.json", r#"[{"targets": ["b"], "labels": {"x": "1"}}]"#);
        scene.write("t_1.json", "[{\"targets\":\n\t[\"a\"]}]");
        assert_eq!(scene.look(false), Some(vec!["t_1.json:0=a".to_string(), "t_2.json:0=b".to_string()]));
        fs::remove_file(scene.directory.path().join("t_1.json")).expect("removed");
        assert_eq!(scene.look(false), Some(vec!["t_2.json:0=b".to_string()]));
        fs::remove_dir_all(scene.directory.path()).expect("removed");
        assert_eq!(scene.look(false), Some(vec![]));
        assert_eq!(scene.look(false), None);
        assert_eq!(scene.errors(), 0.0);
    }

    #[test]
    fn a_replaced_file_is_seen_by_its_inode() {
        let mut scene = Scene::new("a.yml");
        scene.write("a.yml", "- targets: [x]");
        let path = scene.directory.path().join("a.yml");
        let modified = fs::metadata(&path).and_then(|m| m.modified()).expect("a time");
        assert!(scene.look(true).is_some());
        scene.write("new", "- targets: [y]");
        fs::File::options()
            .write(true)
            .open(scene.directory.path().join("new"))
            .and_then(|f| f.set_modified(modified))
            .expect("set");
        fs::rename(scene.directory.path().join("new"), path).expect("renamed");
        assert_eq!(scene.look(false), Some(vec!["a.yml:0=y".to_string()]));
    }

    #[test]
    fn what_a_star_stands_for() {
        for (pattern, path, fit) in [
            ("a.yml", "a.yml", true),
            ("a.yml", "b.yml", false),
            ("a.yml", "a.yml.bak", false),
            ("/d/*.yml", "/d/a.yml", true),
            ("/d/*.yml", "/d/.yml", true),
            ("/d/*.yml", "/d/e/a.yml", false),
            ("/d/*.yml", "/d/a.yml.bak", false),
            ("/d/a*b*.yml", "/d/a1b2.yml", true),
            ("/d/a*b*.yml", "/d/a1.yml", false),
            ("/d/ab*b.yml", "/d/ab.yml", false),
            ("*.json", "x.json", true),
        ] {
            assert_eq!(fits(pattern, path), fit, "{pattern} {path}");
        }
    }

    #[test]
    fn what_is_no_file_or_too_many_files_is_not_read() {
        let mut scene = Scene::new("*.yml");
        scene.write("a.yml", "- targets: [x]");
        let good = Some(vec!["a.yml:0=x".to_string()]);
        assert_eq!(scene.look(true), good);
        fs::create_dir(scene.directory.path().join("b.yml")).expect("made");
        assert_eq!(scene.look(true), good, "a pipe would be waited for, a directory is as little a file");
        assert_eq!(scene.errors(), 1.0);
        for n in 0..=FILES {
            scene.write(&format!("n{n}.yml"), "");
        }
        scene.look(true);
        assert!(scene.files.patterns[0].trouble.as_ref().is_some_and(|t| t.contains("more than 1000")));
        assert!(scene.files.files.len() <= 2);
    }
}
