//! The state of targets and files for the status pages. Collected on request and stored only once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::targets::Rejected;
use super::unread::{Unread, Why};
use crate::model::{
    Account, AccountReport, ClientReport, DiscoveredReport, DiscoverySummary, FileReport, Ledger, LeftOut,
    NotReadReport, Report, Target, TargetLabels, TargetReport, Weight,
};

/// Written by the target manager and the readers.
#[derive(Debug, Default)]
pub(super) struct Status {
    shared: Mutex<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// By job and group.
    discovered: BTreeMap<(Arc<str>, String), (Vec<Discovered>, LeftOut)>,
    /// By the target manager's number.
    targets: BTreeMap<u64, (Arc<Target>, Arc<Unread>)>,
    files: BTreeMap<(usize, u64), File>,
    /// By client: the accounts of files that are no longer read.
    gone: BTreeMap<Arc<str>, Account>,
    /// By client: what it had read when the last run ended. Entries in flight then are read again, and count as under
    /// way until that happens. Otherwise counters would fall, which looks like a restart.
    read_before: BTreeMap<Arc<str>, Weight>,
    /// Threads that have stood still for long.
    still: Vec<String>,
}

#[derive(Clone, Debug)]
pub(super) struct Discovered {
    pub discovered: TargetLabels,
    pub outcome: Result<Arc<Target>, Rejected>,
}

/// One log that one client reads.
#[derive(Clone, Debug)]
pub(super) struct File {
    pub path: Arc<Path>,
    pub client: Arc<str>,
    pub target: Arc<Target>,
    pub ledger: Arc<Ledger>,
    pub error: Option<String>,
}

impl Status {
    pub fn set_discovered(&self, job: Arc<str>, group: String, targets: Vec<Discovered>, left_out: LeftOut) {
        let mut shared = self.lock();
        if targets.is_empty() {
            shared.discovered.remove(&(job, group));
        } else {
            shared.discovered.insert((job, group), (targets, left_out));
        }
    }

    /// How many targets discovery has sent for the job, including dropped ones.
    pub fn discovered_of(&self, job: &Arc<str>) -> usize {
        self.lock().discovered.iter().filter(|((of, _), _)| of == job).map(|(_, (targets, _))| targets.len()).sum()
    }

    /// Why targets of the job are dropped on purpose: the reason of most of them, and their number. None: there are none.
    /// Mistakes are logged when they are found.
    pub fn usual_rejection(&self, job: &Arc<str>) -> Option<(Arc<str>, usize)> {
        let shared = self.lock();
        let of_job = shared.discovered.iter().filter(|((of, _), _)| of == job).flat_map(|(_, (targets, _))| targets);
        let mut counts: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
        for rejected in of_job.filter_map(|one| one.outcome.as_ref().err().filter(|why| !why.is_mistake())) {
            *counts.entry(&rejected.text).or_default() += 1;
        }
        counts.into_iter().max_by_key(|(_, count)| *count).map(|(reason, count)| (reason.clone(), count))
    }

    /// Why targets of this group are not tailed.
    pub fn rejections(&self, job: &Arc<str>, group: &str) -> BTreeSet<Arc<str>> {
        let shared = self.lock();
        let known = shared.discovered.get(&(job.clone(), group.to_string()));
        known
            .into_iter()
            .flat_map(|(targets, _)| targets)
            .filter_map(|one| Some(one.outcome.as_ref().err()?.text.clone()))
            .collect()
    }

    /// Adds a target that is tailed.
    pub fn add_target(&self, id: u64, target: Arc<Target>) {
        self.lock().targets.insert(id, (target, Arc::default()));
    }

    pub fn remove_target(&self, id: u64) {
        self.lock().targets.remove(&id);
    }

    pub fn set_unread(&self, id: u64, unread: Arc<Unread>) {
        if let Some((_, known)) = self.lock().targets.get_mut(&id) {
            *known = unread;
        }
    }

    /// `client` and `log` identify the file.
    pub fn set_file(&self, client: usize, log: u64, file: File) {
        self.lock().files.insert((client, log), file);
    }

    pub fn set_error(&self, client: usize, log: u64, error: Option<String>) {
        if let Some(file) = self.lock().files.get_mut(&(client, log)) {
            file.error = error;
        }
    }

    pub fn remove_file(&self, client: usize, log: u64) {
        let mut shared = self.lock();
        if let Some(file) = shared.files.remove(&(client, log)) {
            shared.gone.entry(file.client).or_default().add(&file.ledger.account());
        }
    }

    /// Resets the state for a new run. Keeps the accounts of clients that still exist.
    pub fn begin_run<'c>(&self, clients: impl Iterator<Item = &'c Arc<str>>) {
        let clients: BTreeSet<&Arc<str>> = clients.collect();
        let mut shared = self.lock();
        let mut read_before: BTreeMap<_, _> =
            shared.accounts().into_iter().map(|(client, account)| (client, account.read)).collect();
        read_before.retain(|client, _| clients.contains(client));
        let Shared { files, mut gone, .. } = std::mem::take(&mut *shared);
        for file in files.into_values() {
            let mut account = file.ledger.account();
            account.read = account.read - account.under_way();
            gone.entry(file.client).or_default().add(&account);
        }
        gone.retain(|client, _| clients.contains(client));
        (shared.gone, shared.read_before) = (gone, read_before);
    }

    /// Sets which threads have stood still for long.
    pub fn set_still(&self, threads: Vec<String>) {
        self.lock().still = threads;
    }

    pub fn target_count(&self) -> usize {
        self.lock().targets.len()
    }

    /// Files of the first client, so each file appears once.
    pub fn files(&self) -> Vec<File> {
        self.lock().files.iter().filter(|((client, _), _)| *client == 0).map(|(_, f)| f.clone()).collect()
    }

    /// How many files are not read, by reason. Each possible reason is included.
    pub fn unread(&self) -> BTreeMap<&'static str, usize> {
        let shared = self.lock();
        let mut counts: BTreeMap<_, _> = Why::TROUBLES.iter().map(|reason| (*reason, 0)).collect();
        let unread = shared.targets.values().flat_map(|(_, unread)| unread.files.values()).filter_map(Why::trouble);
        unread.for_each(|reason| *counts.entry(reason).or_default() += 1);
        // A file that two clients cannot read counts once.
        let failing: BTreeSet<_> = shared.files.values().filter(|file| file.error.is_some()).map(|f| &f.path).collect();
        counts.insert("error", failing.len());
        counts
    }

    /// Bytes read and not acknowledged, by client.
    pub fn unacknowledged(&self) -> BTreeMap<Arc<str>, u64> {
        let mut sums = BTreeMap::new();
        for file in self.lock().files.values() {
            *sums.entry(file.client.clone()).or_default() += file.ledger.in_flight();
        }
        sums
    }

    /// By client, over all files since the start.
    pub fn accounts(&self) -> BTreeMap<Arc<str>, Account> {
        self.lock().accounts()
    }

    /// How many groups, targets and files are known.
    #[cfg(test)]
    pub fn lengths(&self) -> [usize; 3] {
        let shared = self.lock();
        [shared.discovered.len(), shared.targets.len(), shared.files.len()]
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn accounts(&self) -> BTreeMap<Arc<str>, Account> {
        let mut accounts = self.gone.clone();
        for file in self.files.values() {
            accounts.entry(file.client.clone()).or_default().add(&file.ledger.account());
        }
        for (client, before) in &self.read_before {
            let read = &mut accounts.entry(client.clone()).or_default().read;
            *read = Weight { lines: read.lines.max(before.lines), bytes: read.bytes.max(before.bytes) };
        }
        accounts
    }
}

impl Report for Status {
    fn targets(&self) -> Vec<TargetReport> {
        let shared = self.lock();
        let mut files: BTreeMap<*const Target, Vec<FileReport>> = BTreeMap::new();
        for file in shared.files.values() {
            files.entry(Arc::as_ptr(&file.target)).or_default().push(report(file));
        }
        let listed = shared
            .targets
            .values()
            .map(|(target, unread)| report_of(target, files.remove(&Arc::as_ptr(target)).unwrap_or_default(), unread));
        let mut reports: Vec<TargetReport> = listed.collect();
        // Targets without a group whose files are still being finished.
        let leaving = shared.files.values().filter(|f| files.contains_key(&Arc::as_ptr(&f.target)));
        let leaving: Vec<Arc<Target>> = leaving.map(|f| f.target.clone()).collect();
        for target in leaving {
            if let Some(files) = files.remove(&Arc::as_ptr(&target)) {
                reports.push(report_of(&target, files, &Unread::default()));
            }
        }
        reports
    }

    fn discovered(&self) -> Vec<DiscoveredReport> {
        let shared = self.lock();
        let all = shared.discovered.iter().flat_map(|((job, group), (targets, left_out))| {
            targets.iter().map(move |one| DiscoveredReport {
                job: job.to_string(),
                group: group.clone(),
                discovered: one.discovered.to_labels(),
                labels: one.outcome.as_ref().ok().map(|t| t.labels.to_map()),
                path: one.outcome.as_ref().ok().map(|t| t.path.clone()),
                dropped: one.outcome.as_ref().err().map(|rejected| rejected.text.to_string()),
                is_mistake: one.outcome.as_ref().is_err_and(Rejected::is_mistake),
                left_out: left_out.matters().then(|| left_out.to_string()),
                unread: left_out.unread,
            })
        });
        all.collect()
    }

    fn clients(&self) -> Vec<ClientReport> {
        Vec::new()
    }

    fn accounts(&self) -> BTreeMap<String, AccountReport> {
        let accounts = self.lock().accounts();
        accounts.iter().map(|(client, account)| (client.to_string(), AccountReport::from(account))).collect()
    }

    fn discovery(&self) -> DiscoverySummary {
        let shared = self.lock();
        let all = shared.discovered.iter().flat_map(|((job, _), (targets, _))| {
            targets.iter().map(|one| (&**job, one.outcome.as_ref().err().map(|rejected| &*rejected.text)))
        });
        DiscoverySummary::of(all)
    }

    fn still(&self) -> Vec<String> {
        self.lock().still.clone()
    }
}

fn report_of(target: &Target, files: Vec<FileReport>, unread: &Unread) -> TargetReport {
    let not_read = |(path, why): (&std::path::PathBuf, &Why)| NotReadReport {
        path: path.display().to_string(),
        reason: why.to_string(),
    };
    TargetReport {
        job: target.job.to_string(),
        path: target.path.clone(),
        labels: target.labels.to_map(),
        nothing: unread.nothing.clone().filter(|_| files.is_empty()),
        files,
        not_read: unread.files.iter().map(not_read).collect(),
        not_read_more: unread.more,
    }
}

fn report(file: &File) -> FileReport {
    let progress = file.ledger.progress();
    FileReport {
        path: file.path.display().to_string(),
        client: file.client.to_string(),
        read_offset: progress.read_offset,
        committed_offset: progress.committed_offset,
        size: progress.size,
        lag_bytes: progress.unread,
        unacknowledged_bytes: file.ledger.in_flight(),
        generations: progress.generations,
        last_read_unix_ms: unix_ms(progress.last_read),
        last_delivery_unix_ms: unix_ms(progress.last_delivery),
        account: AccountReport::from(&file.ledger.account()),
        error: file.error.clone(),
    }
}

/// 0: it has not happened yet.
fn unix_ms(nanos: i64) -> Option<i64> {
    (nanos > 0).then_some(nanos / 1_000_000)
}
