//! `/api/targets`: one row for each file with its clients inside, and one for each target without files. A page of rows at a
//! time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::cut;
use crate::model::{AccountReport, FileReport, Labels, Report, TargetReport};
use crate::server::targets::contains;

/// Rows of a page, unless the request says how many.
const SIZE: usize = 50;

/// The most rows of a page.
const MOST: usize = 200;

/// The most namespaces and apps to choose from.
const CHOICES: usize = 500;

/// The most labels of a row, and the longest value in bytes.
const LABELS: usize = 40;
const LONGEST: usize = 512;

/// A file with more unread bytes than this is behind. Less may just have been written.
const BEHIND: u64 = 1 << 20;

/// What a request for rows asks for. Empty: no filter.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::server) struct AskedForRows {
    /// Text in a name, a path or a label.
    q: String,
    namespace: String,
    app: String,
    state: Option<State>,
    sort: Sort,
    /// The first page is 0.
    page: usize,
    size: Option<usize>,
}

/// The state of a row, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// The file cannot be read.
    Error,
    /// The target has no file.
    NoFile,
    /// More than 1 MiB is not read yet.
    Behind,
    Ok,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Sort {
    /// The worst state first, then by name.
    #[default]
    Problems,
    Name,
    Unread,
    Lines,
    /// The latest line first.
    LastLine,
}

#[derive(Serialize)]
pub(in crate::server) struct Rows {
    /// All rows, and those that match.
    total: usize,
    matching: usize,
    /// The number of this page, which exists, and how many there are.
    page: usize,
    pages: usize,
    /// Rows of each state, of all those that match without regard to their state.
    states: BTreeMap<State, usize>,
    namespaces: BTreeSet<String>,
    apps: BTreeSet<String>,
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    job: String,
    /// Null: the target has no file.
    file: Option<String>,
    /// The target's `__path__`.
    path: String,
    labels: Labels,
    more_labels: usize,
    state: State,
    /// The error, or why there is no file.
    problem: Option<String>,
    /// What to ask `/explain` about.
    about: String,
    clients: Vec<Client>,
    /// Paths that match and are not read as a log.
    not_read: usize,
}

/// A file as one client reads it.
#[derive(Serialize)]
struct Client {
    name: String,
    size: u64,
    read_offset: u64,
    unread_bytes: u64,
    unacknowledged_bytes: u64,
    last_read_unix_ms: Option<i64>,
    last_delivery_unix_ms: Option<i64>,
    account: AccountReport,
    error: Option<String>,
}

/// A row before it is written: most are not shown.
struct Found<'r> {
    target: &'r TargetReport,
    /// One for each client. Empty: the target has no file.
    files: Vec<&'r FileReport>,
}

impl Rows {
    pub(in crate::server) fn collect(report: &dyn Report, asked: &AskedForRows) -> Self {
        let targets = report.targets();
        let total = targets.iter().map(|target| found(target).len()).sum();
        let matching: Vec<&TargetReport> = targets.iter().filter(|target| asked.wants(target)).collect();
        let mut rows: Vec<Found<'_>> = matching.into_iter().flat_map(found).collect();
        let mut states = BTreeMap::new();
        rows.iter().for_each(|row| *states.entry(row.state()).or_default() += 1);
        rows.retain(|row| asked.state.is_none_or(|state| state == row.state()));
        sort(&mut rows, asked.sort);
        let (matching, size) = (rows.len(), asked.size.unwrap_or(SIZE).clamp(1, MOST));
        let pages = matching.div_ceil(size).max(1);
        let page = asked.page.min(pages - 1);
        Self {
            total,
            matching,
            page,
            pages,
            states,
            namespaces: choices(&targets, "namespace"),
            apps: choices(&targets, "app"),
            rows: rows.iter().skip(page * size).take(size).map(Found::row).collect(),
        }
    }
}

impl AskedForRows {
    fn wants(&self, target: &TargetReport) -> bool {
        let is =
            |name: &str, value: &str| value.is_empty() || target.labels.get(name).is_some_and(|known| known == value);
        is("namespace", &self.namespace) && is("app", &self.app) && (self.q.is_empty() || contains(target, &self.q))
    }
}

/// The files of a target, each once, or the target itself.
fn found(target: &TargetReport) -> Vec<Found<'_>> {
    let mut files: BTreeMap<&str, Vec<&FileReport>> = BTreeMap::new();
    target.files.iter().for_each(|file| files.entry(&file.path).or_default().push(file));
    match files.is_empty() {
        true => vec![Found { target, files: Vec::new() }],
        false => files.into_values().map(|files| Found { target, files }).collect(),
    }
}

fn sort(rows: &mut [Found<'_>], sort: Sort) {
    match sort {
        Sort::Problems => rows.sort_by_key(|row| (row.state(), row.name())),
        Sort::Name => rows.sort_by_key(Found::name),
        Sort::Unread => rows.sort_by_key(|row| (Reverse(row.unread()), row.name())),
        Sort::Lines => rows.sort_by_key(|row| (Reverse(row.most(|file| file.account.read.lines)), row.name())),
        Sort::LastLine => rows.sort_by_key(|row| (Reverse(row.most(|file| file.last_read_unix_ms)), row.name())),
    }
}

/// The values of a label to choose from.
fn choices(targets: &[TargetReport], label: &str) -> BTreeSet<String> {
    let values: BTreeSet<&String> = targets.iter().filter_map(|target| target.labels.get(label)).collect();
    values.into_iter().filter(|value| value.len() <= LONGEST).take(CHOICES).cloned().collect()
}

impl<'r> Found<'r> {
    fn name(&self) -> (&'r str, &'r str, &'r str) {
        (&self.target.job, &self.target.path, self.files.first().map_or("", |file| &file.path))
    }

    fn most<T: Ord>(&self, value: impl Fn(&FileReport) -> T) -> Option<T> {
        self.files.iter().map(|file| value(file)).max()
    }

    fn unread(&self) -> u64 {
        self.most(|file| file.lag_bytes).unwrap_or(0)
    }

    fn state(&self) -> State {
        match self {
            _ if self.files.is_empty() => State::NoFile,
            _ if self.files.iter().any(|file| file.error.is_some()) => State::Error,
            _ if self.unread() > BEHIND => State::Behind,
            _ => State::Ok,
        }
    }

    fn problem(&self) -> Option<String> {
        match self.files.is_empty() {
            true => Some(self.target.nothing.clone().unwrap_or_else(|| "no file matches".into())),
            false => self.files.iter().find_map(|file| file.error.clone()),
        }
    }

    fn row(&self) -> Row {
        let Self { target, files } = self;
        let labels = target.labels.iter().take(LABELS).map(|(name, value)| (cut(name, LONGEST), cut(value, LONGEST)));
        let file = files.first().map(|file| file.path.clone());
        Row {
            job: target.job.clone(),
            about: file.clone().filter(|file| file.starts_with('/')).unwrap_or_else(|| pod(&target.labels)),
            file,
            path: target.path.clone(),
            labels: labels.collect(),
            more_labels: target.labels.len().saturating_sub(LABELS),
            state: self.state(),
            problem: self.problem().map(|problem| cut(&problem, LONGEST)),
            clients: files.iter().map(|file| client(file)).collect(),
            not_read: target.not_read.len() + target.not_read_more,
        }
    }
}

/// The pod that these labels name, as `/explain` reads it. Empty: they name none.
fn pod(labels: &Labels) -> String {
    match (labels.get("namespace"), labels.get("pod")) {
        (Some(namespace), Some(pod)) => format!("{namespace}/{pod}"),
        _ => String::new(),
    }
}

fn client(file: &FileReport) -> Client {
    Client {
        name: file.client.clone(),
        size: file.size,
        read_offset: file.read_offset,
        unread_bytes: file.lag_bytes,
        unacknowledged_bytes: file.unacknowledged_bytes,
        last_read_unix_ms: file.last_read_unix_ms,
        last_delivery_unix_ms: file.last_delivery_unix_ms,
        account: file.account.clone(),
        error: file.error.as_ref().map(|error| cut(error, LONGEST)),
    }
}

#[cfg(test)]
mod tests;
