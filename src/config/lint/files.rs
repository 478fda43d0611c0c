//! What the config says about files, compared with the files that exist now.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::Lint;
use super::jobs::outcomes;
use crate::model::KeyPath;
use crate::relabel::{Rules, Verdict};
use crate::tail::{Glob, Mounts};

/// Files of one target whose first bytes are read.
const SAMPLES: usize = 5;

/// Where Docker keeps the logs of its containers.
const DOCKER: &str = "/var/lib/docker/containers";

pub(super) fn lint(lint: &mut Lint<'_>, mounts: &Mounts) {
    positions(lint, mounts);
    secrets(lint);
    targets(lint);
}

fn positions(lint: &mut Lint<'_>, mounts: &Mounts) {
    let config = &lint.loaded.config;
    let filename = PathBuf::from(&config.positions.filename);
    let path = KeyPath::from("positions.filename");
    let Some(directory) = filename.parent().filter(|directory| directory.is_absolute()) else {
        if filename.is_relative() {
            lint.warn(path, "is relative to the directory in which the agent is started: write a whole path");
        }
        return;
    };
    if !directory.exists() {
        return lint.warn(path, format!("the directory {} does not exist: create it", directory.display()));
    }
    let Ok(real) = directory.canonicalize() else { return };
    let kind = mounts.of(&real).map(|mount| mount.kind.as_str()).unwrap_or_default();
    match kind {
        "tmpfs" | "ramfs" => lint.warn(
            path,
            format!("{} is in memory ({kind}): after a reboot all files are read again; use a directory on a disk", real.display()),
        ),
        "overlay" | "aufs" => lint.warn(
            path,
            format!(
                "{} is in the layer of a container ({kind}): a new container reads all files again; mount a directory of the host",
                real.display()
            ),
        ),
        _ => {}
    }
}

/// Files with passwords and certificates that do not exist.
fn secrets(lint: &mut Lint<'_>) {
    let config = &lint.loaded.config;
    let mut files = Vec::new();
    named_files(&KeyPath::from("server"), &crate::yaml::to_value(&config.server), &mut files);
    for (i, client) in config.clients.iter().enumerate() {
        named_files(&KeyPath::from(format!("clients[{i}]").as_str()), &crate::yaml::to_value(client), &mut files);
    }
    for (i, job) in config.scrape_configs.iter().enumerate() {
        named_files(&KeyPath::from(format!("scrape_configs[{i}]").as_str()), &crate::yaml::to_value(job), &mut files);
    }
    for (path, file) in files {
        match fs::metadata(&file) {
            Ok(found) if found.is_file() => {}
            Ok(_) => lint.warn(path, format!("{file} is not a file")),
            Err(error) => lint.warn(path, format!("{file} cannot be read: {error}")),
        }
    }
}

/// Collects the keys that name a file. Labels may have any name.
fn named_files(path: &KeyPath, value: &serde_yaml::Value, files: &mut Vec<(KeyPath, String)>) {
    for (i, item) in value.as_sequence().into_iter().flatten().enumerate() {
        named_files(&path.then(i), item, files);
    }
    for (key, value) in value.as_mapping().into_iter().flatten() {
        let Some(key) = key.as_str().filter(|key| !matches!(*key, "labels" | "pipeline_stages")) else { continue };
        match value.as_str() {
            Some(file) if key.ends_with("_file") && !file.is_empty() => files.push((path.then(key), file.into())),
            _ => named_files(&path.then(key), value, files),
        }
    }
}

fn targets(lint: &mut Lint<'_>) {
    let loaded = lint.loaded;
    let jobs = &loaded.config.scrape_configs;
    let has_docker = jobs.iter().any(|job| !job.docker_sd_configs.is_empty());
    let links: Vec<PathBuf> = loaded.config.target_config.link_roots.iter().map(PathBuf::from).collect();
    // The job that reads a file first.
    let mut readers: BTreeMap<PathBuf, &str> = BTreeMap::new();
    for (i, job) in jobs.iter().enumerate() {
        // Mistakes in them are reported elsewhere.
        let rules = Rules::compile(&job.relabel_configs).unwrap_or_default();
        for (n, targets) in job.static_configs.iter().enumerate() {
            if targets.labels.get("__path__").is_none_or(String::is_empty) {
                continue;
            }
            // The rules may drop the target, or write another path.
            let mut kept = outcomes(&rules, targets).filter(|(verdict, _)| *verdict == Verdict::Keep);
            let Some((_, labels)) = kept.next() else { continue };
            let Some(text) = labels.get("__path__") else { continue };
            let Ok(glob) = Glob::new(text) else { continue };
            let place = KeyPath::from(format!("scrape_configs[{i}].static_configs[{n}].labels").as_str());
            let path = place.then("__path__");
            if has_docker && text.contains(DOCKER) {
                let message = "these are the logs of Docker's containers, which docker_sd_configs of this config reads too: \
                               each line is sent twice; remove one of both";
                lint.warn(path.clone(), message);
            }
            // The name of a variable or ~ is reported as such.
            if text.contains("${") || text.starts_with('~') {
                continue;
            }
            let exclude = labels.get("__path_exclude__").and_then(|exclude| Glob::new(exclude).ok());
            let found = glob.walk_around(&glob.allowed(&links), &[], &|_| {}).files;
            if found.is_empty() {
                let why = glob.why_nothing().unwrap_or_else(|| "check the path".into());
                lint.warn(path, format!("matches no file now: {why}"));
                continue;
            }
            let files: Vec<&PathBuf> =
                found.iter().filter(|file| exclude.as_ref().is_none_or(|exclude| !exclude.matches(file))).collect();
            if files.is_empty() {
                lint.warn(place.then("__path_exclude__"), "excludes all files that __path__ matches");
            }
            let read_twice = files.iter().find_map(|file| {
                readers.get(*file).filter(|first| **first != job.job_name).map(|first| (file.display(), *first))
            });
            if let Some((file, first)) = read_twice {
                let message = format!("job {first:?} reads {file} too: each line is sent by both jobs");
                lint.warn(path.clone(), message);
            }
            if let Some(file) = files.iter().take(SAMPLES).find(|file| is_binary(file) && !job.decompression.enabled) {
                let message = format!("{} is not a text file: exclude it with __path_exclude__", file.display());
                lint.warn(path, message);
            }
            for file in files {
                readers.entry(file.clone()).or_insert(&job.job_name);
            }
        }
    }
}

/// Whether the first bytes contain a zero byte. UTF-16 begins with a byte-order mark.
fn is_binary(path: &Path) -> bool {
    let mut head = [0; 512];
    let Ok(length) = File::open(path).and_then(|mut file| file.read(&mut head)) else { return false };
    let head = &head[..length];
    head.contains(&0) && !head.starts_with(&[0xff, 0xfe]) && !head.starts_with(&[0xfe, 0xff])
}
