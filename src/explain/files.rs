//! The files of a target: from the file system, or from what the running agent knows.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Known;
use crate::model::{ExplainedClient, ExplainedFile, ExplainedTarget, Target};
use crate::positions::Listed;
use crate::tail::Glob;

/// Files of a target that are shown at most.
const FILES: usize = 20;

/// Bytes at the end of a file in which its last lines are looked for.
const END: u64 = 64 << 10;

/// Lines at the end of a file that are traced.
const LINES: usize = 3;

/// Where the files are looked for.
#[derive(Debug)]
pub enum Files<'a> {
    /// In the file system.
    Look {
        positions: &'a [Listed],
        /// `target_config.link_roots`.
        links: &'a [PathBuf],
    },
    /// In what the running agent knows. It opens no file for an explanation.
    Known(&'a Known),
}

impl Files<'_> {
    pub(super) fn clients(&self) -> &[ExplainedClient] {
        match self {
            Self::Look { .. } => &[],
            Self::Known(known) => &known.clients,
        }
    }

    /// Adds the target's files. `only`: the only file to show.
    pub(super) fn explain(&self, target: &mut ExplainedTarget, resolved: &Target, only: Option<&Path>) {
        match self {
            Self::Look { positions, links } => look(target, resolved, only, positions, links),
            Self::Known(known) => show(target, resolved, only, known),
        }
    }

    /// The last lines of a file, if files may be read.
    pub(super) fn last_lines(&self, file: &Path) -> Vec<String> {
        match self {
            Self::Look { .. } => last_lines(file).unwrap_or_default(),
            Self::Known(_) => Vec::new(),
        }
    }
}

fn look(target: &mut ExplainedTarget, resolved: &Target, only: Option<&Path>, positions: &[Listed], links: &[PathBuf]) {
    let Ok(glob) = Glob::new(&resolved.path) else { return };
    let exclude = resolved.exclude.as_deref().and_then(|exclude| Glob::new(exclude).ok());
    let is_excluded = |path: &Path| exclude.as_ref().is_some_and(|exclude| exclude.matches(path));
    let walk = glob.walk_around(&glob.allowed(links), &[], &|_| {});
    let is_asked = |path: &Path| only.is_none_or(|only| only == path);
    let failed = walk.errors.iter().map(|(path, error)| (path, Some(error.clone())));
    let skipped = walk.skipped.iter().map(|(path, skip)| (path, Some(skip.to_string())));
    let found = walk.files.iter().map(|path| {
        let excluded = is_excluded(path).then(|| "excluded by __path_exclude__".to_string());
        (path, excluded)
    });
    let all: Vec<(&PathBuf, Option<String>)> = found.chain(failed).chain(skipped).collect();
    target.nothing = walk.files.is_empty().then(|| {
        let why = glob.why_nothing().unwrap_or_else(|| "no file matches the path".into());
        match failed_at(&walk.errors) {
            Some(error) => error,
            None => why,
        }
    });
    for (path, problem) in all.into_iter().filter(|(path, _)| is_asked(path)) {
        if target.files.len() == FILES {
            target.more_files += 1;
            continue;
        }
        target.files.extend(file(path, problem, &target.job, positions));
    }
    if let Some(only) = only.filter(|_| target.files.is_empty()) {
        let problem = match fs::metadata(only) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => "there is no such file",
            Err(_) => "the file cannot be reached: its permissions, or those of its directory, do not allow it",
            Ok(_) => "the agent does not read it: it is a link to a directory outside, or the search ended before it",
        };
        let path = only.display().to_string();
        target.files.push(ExplainedFile { path, problem: Some(problem.into()), ..ExplainedFile::default() });
    }
}

fn failed_at(errors: &[(PathBuf, String)]) -> Option<String> {
    errors.first().map(|(path, error)| format!("{} cannot be searched: {error}", path.display()))
}

/// The rows of one file: one for each client that has a position of it.
fn file(path: &Path, problem: Option<String>, job: &str, positions: &[Listed]) -> Vec<ExplainedFile> {
    let name = path.display().to_string();
    let (metadata, problem) = match (problem, File::open(path)) {
        (Some(problem), _) => (None, Some(problem)),
        (None, Ok(file)) => (file.metadata().ok(), None),
        (None, Err(error)) => {
            let problem = format!("it cannot be opened: {error}; give the agent's user permission to read it");
            (fs::metadata(path).ok(), Some(problem))
        }
    };
    let size = metadata.as_ref().map(fs::Metadata::len);
    let id = metadata.as_ref().map(|metadata| (metadata.dev(), metadata.ino()));
    let base = ExplainedFile { path: name.clone(), size, problem, ..ExplainedFile::default() };
    let of_job = |listed: &&Listed| listed.log == name && listed.reader.as_ref().is_none_or(|(_, of)| **of == *job);
    let row = |listed: &Listed| {
        // A position in another file of this name is in an older, rotated file: this one was not read yet.
        let is_older = listed.file.is_some() && listed.file != id;
        let position = if is_older { Some(0) } else { listed.at.parse().ok() };
        let client = listed.reader.as_ref().map(|(client, _)| client.to_string());
        let behind = size.zip(position).map(|(size, position): (u64, u64)| size.saturating_sub(position));
        ExplainedFile { client, position, behind, ..base.clone() }
    };
    let rows: Vec<ExplainedFile> = positions.iter().filter(of_job).map(row).collect();
    if rows.is_empty() { vec![base] } else { rows }
}

fn show(target: &mut ExplainedTarget, resolved: &Target, only: Option<&Path>, known: &Known) {
    let Ok(glob) = Glob::new(&resolved.path) else { return };
    let matches = |path: &str| glob.matches(Path::new(path)) && only.is_none_or(|only| only == Path::new(path));
    for file in known.files.iter().filter(|file| matches(&file.path)) {
        if target.files.len() == FILES {
            target.more_files += 1;
            continue;
        }
        let discarded = file.account.discarded.iter().map(|(reason, weight)| (reason.clone(), weight.lines));
        target.files.push(ExplainedFile {
            path: file.path.clone(),
            size: Some(file.size),
            client: Some(file.client.clone()),
            position: Some(file.committed_offset),
            behind: Some(file.lag_bytes + file.unacknowledged_bytes),
            discarded: discarded.collect(),
            problem: file.error.clone(),
        });
    }
    if target.files.is_empty() {
        target.nothing = Some("the agent reads no file of this target: see /targets for the reason".into());
    }
}

fn last_lines(path: &Path) -> std::io::Result<Vec<String>> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    let from = size.saturating_sub(END);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(END).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines = text.lines().skip(usize::from(from > 0)).filter(|line| !line.is_empty());
    let lines: Vec<String> = lines.map(String::from).collect();
    Ok(lines[lines.len().saturating_sub(LINES)..].to_vec())
}
