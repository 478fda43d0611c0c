//! `/targets`: the tailed files, their progress and their errors. The worst are first.

mod mistakes;

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use super::html::Html;
use crate::model::{ClientReport, FileReport, LabelSet, Report, TargetReport};
use mistakes::Mistake;

/// The maximum number of unread files of a target on the page. JSON has all.
const NOT_READ: usize = 50;

#[derive(Serialize)]
pub(super) struct Targets {
    summary: Summary,
    clients: Vec<ClientReport>,
    mistakes: Vec<Mistake>,
    targets: Vec<TargetReport>,
}

/// Totals of all targets, also if only some are shown.
#[derive(Serialize)]
pub(super) struct Summary {
    targets: usize,
    files: usize,
    failing_files: usize,
    targets_without_files: usize,
    /// Unread bytes on the disk, and bytes read but not acknowledged. Sums of all clients.
    behind_bytes: u64,
    unacknowledged_bytes: u64,
    clients: usize,
    failing_clients: usize,
}

impl Targets {
    /// Reads `report`, and keeps the targets that contain `text`.
    pub(super) fn collect(report: &dyn Report, text: &str) -> Self {
        let (mut clients, mut targets) = (report.clients(), report.targets());
        let summary = Summary::of(&clients, &targets);
        clients.sort_by_key(|client| (is_well(client), client.name.clone()));
        targets.retain(|target| contains(target, text));
        for target in &mut targets {
            target.files.sort_by_cached_key(|file| (Reverse(trouble(file)), file.path.clone(), file.client.clone()));
        }
        targets.sort_by_cached_key(|target| (Reverse(worst(target)), target.job.clone(), target.path.clone()));
        Self { summary, clients, mistakes: mistakes::collect(report.discovered()), targets }
    }

    pub(super) fn html(&self, text: &str) -> String {
        let mut page = Html::page("targets");
        self.summary.write(&mut page);
        self.write_clients(&mut page);
        mistakes::write(&mut page, &self.mistakes);
        page.search_box(text);
        if self.targets.len() != self.summary.targets {
            page.element("p", format_args!("{} of {} targets:", self.targets.len(), self.summary.targets));
        }
        for target in &self.targets {
            write_target(&mut page, target);
        }
        page.finish()
    }

    fn write_clients(&self, page: &mut Html) {
        page.markup("<h2>Clients</h2>\n<table>\n")
            .markup("<tr><th>client</th><th>url</th><th>state</th><th>last error</th></tr>\n");
        for client in &self.clients {
            page.markup("<tr>").element("td", &client.name).element("td", &client.url);
            page.markup(if is_well(client) { "<td>" } else { "<td class=\"bad\">" }).text(&client.state);
            page.markup("</td>").element("td", client.last_error.as_deref().unwrap_or("")).markup("</tr>\n");
        }
        page.markup("</table>\n");
    }
}

impl Summary {
    pub(super) fn of(clients: &[ClientReport], targets: &[TargetReport]) -> Self {
        let files = || targets.iter().flat_map(|target| &target.files);
        let distinct = |files: &mut dyn Iterator<Item = &FileReport>| {
            files.map(|file| file.path.as_str()).collect::<BTreeSet<_>>().len()
        };
        Self {
            targets: targets.len(),
            files: distinct(&mut files()),
            failing_files: distinct(&mut files().filter(|file| file.error.is_some())),
            targets_without_files: targets.iter().filter(|target| target.files.is_empty()).count(),
            behind_bytes: files().map(|file| file.lag_bytes).sum(),
            unacknowledged_bytes: files().map(|file| file.unacknowledged_bytes).sum(),
            clients: clients.len(),
            failing_clients: clients.iter().filter(|client| !is_well(client)).count(),
        }
    }

    fn write(&self, page: &mut Html) {
        page.markup("<p>").text(format_args!(
            "{} targets, {} files, {} behind, {} unacknowledged, {} of {} clients ok",
            self.targets,
            self.files,
            Bytes(self.behind_bytes),
            Bytes(self.unacknowledged_bytes),
            self.clients - self.failing_clients,
            self.clients,
        ));
        for (count, what) in [
            (self.failing_clients, "failing clients"),
            (self.failing_files, "unreadable files"),
            (self.targets_without_files, "targets without a file"),
        ] {
            if count > 0 {
                page.markup(", <span class=\"bad\">").text(format_args!("{what}: {count}")).markup("</span>");
            }
        }
        page.markup("</p>\n");
    }
}

fn write_target(page: &mut Html, target: &TargetReport) {
    page.markup("<h2>").text(&target.job).markup(" <code>").text(&target.path).markup("</code></h2>\n<code>");
    page.text(LabelSet::from(&target.labels)).markup("</code>\n");
    if target.files.is_empty() {
        let why = target.nothing.as_deref().unwrap_or("no file matches");
        page.markup("<p class=\"bad\">nothing is read: ").text(why).markup("</p>\n");
    } else {
        write_files(page, &target.files);
    }
    write_not_read(page, target);
}

/// Highlights only the reasons that need attention. Most are normal.
fn write_not_read(page: &mut Html, target: &TargetReport) {
    if target.not_read.is_empty() {
        return;
    }
    page.markup("<table>\n<tr><th>not read as a separate log</th><th>reason</th></tr>\n");
    for file in target.not_read.iter().take(NOT_READ) {
        page.markup("<tr><td><code>")
            .text(&file.path)
            .markup("</code></td>")
            .element("td", &file.reason)
            .markup("</tr>\n");
    }
    page.markup("</table>\n");
    let more = target.not_read.len().saturating_sub(NOT_READ) + target.not_read_more;
    if more > 0 {
        page.element("p", format_args!("and {more} more"));
    }
}

fn write_files(page: &mut Html, files: &[FileReport]) {
    page.markup("<table>\n<tr><th>file</th><th>client</th><th>behind</th><th>unacknowledged</th>")
        .markup("<th>read to</th><th>acknowledged to</th><th>size</th><th>generations</th><th>lines read</th>")
        .markup("<th>delivered</th><th>discarded</th><th>lost</th>")
        .markup("<th>error</th></tr>\n");
    for file in files {
        page.markup("<tr><td><code>").text(&file.path).markup("</code></td>").element("td", &file.client);
        page.number(Bytes(file.lag_bytes)).number(Bytes(file.unacknowledged_bytes));
        page.number(file.read_offset).number(file.committed_offset).number(file.size);
        page.number(file.generations).number(file.account.read.lines);
        page.number(file.account.delivered.lines).number(discarded(file)).number(Bytes(lost(file)));
        page.markup("<td class=\"bad\">").text(file.error.as_deref().unwrap_or("")).markup("</td></tr>\n");
    }
    page.markup("</table>\n");
}

fn discarded(file: &FileReport) -> u64 {
    file.account.discarded.values().map(|weight| weight.lines).sum()
}

fn lost(file: &FileReport) -> u64 {
    file.account.lost_bytes.values().sum()
}

fn is_well(client: &ClientReport) -> bool {
    client.state == "ok"
}

/// Files with errors come before files that are late.
fn trouble(file: &FileReport) -> (bool, u64) {
    (file.error.is_some(), file.lag_bytes.saturating_add(file.unacknowledged_bytes))
}

fn worst(target: &TargetReport) -> (bool, bool, u64) {
    let late = target.files.iter().fold(0u64, |sum, file| sum.saturating_add(trouble(file).1));
    (target.files.iter().any(|file| file.error.is_some()), target.files.is_empty(), late)
}

/// Whether a name, a path or a label of the target contains the text, in upper or lower case.
pub(super) fn contains(target: &TargetReport, text: &str) -> bool {
    let text = text.to_lowercase();
    let has = |hay: &str| hay.to_lowercase().contains(&text);
    has(&target.job)
        || has(&target.path)
        || has(&LabelSet::from(&target.labels).to_string())
        || target.files.iter().any(|file| has(&file.path))
        || target.not_read.iter().any(|file| has(&file.path))
}

/// Bytes in a readable form: `0`, `812 B`, `4.2 MiB`.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("0"),
            n @ 1..1024 => write!(f, "{n} B"),
            n => {
                let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
                let power = (n.ilog2() / 10) as usize;
                write!(f, "{:.1} {}", n as f64 / (1u64 << (10 * power)) as f64, units[power - 1])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DiscoveredReport, Labels, NotReadReport};

    struct Fixed(Vec<TargetReport>, Vec<ClientReport>);

    impl Report for Fixed {
        fn targets(&self) -> Vec<TargetReport> {
            self.0.clone()
        }
        fn discovered(&self) -> Vec<DiscoveredReport> {
            Vec::new()
        }
        fn clients(&self) -> Vec<ClientReport> {
            self.1.clone()
        }
    }

    fn file(path: &str, lag_bytes: u64, error: Option<&str>) -> FileReport {
        FileReport {
            path: path.into(),
            client: "0".into(),
            read_offset: 10,
            committed_offset: 5,
            size: 10 + lag_bytes,
            lag_bytes,
            unacknowledged_bytes: 5,
            generations: 1,
            account: Default::default(),
            error: error.map(Into::into),
            ..FileReport::default()
        }
    }

    fn target(job: &str, files: Vec<FileReport>) -> TargetReport {
        let labels = Labels::from([("app".into(), format!("<{job}>"))]);
        TargetReport {
            job: job.into(),
            path: format!("/var/log/{job}/*.log"),
            labels,
            nothing: files.is_empty().then(|| "there is no <directory>".into()),
            files,
            not_read: (0..60).map(|n| not_read(&format!("/pipe-{n}"))).collect(),
            not_read_more: 7,
        }
    }

    fn not_read(path: &str) -> NotReadReport {
        NotReadReport { path: path.into(), reason: "it is <not> a regular file".into() }
    }

    #[test]
    fn what_is_not_read_is_shown_with_its_reason() {
        let targets = Targets::collect(&some(), "pipe-7");
        assert_eq!(targets.targets.len(), 4);
        let page = targets.html("");
        for part in
            ["nothing is read: there is no &lt;directory&gt;", "/pipe-7</code>", "it is &lt;not&gt; a", "and 17 more"]
        {
            assert!(page.contains(part), "{part}: {page}");
        }
        let json = serde_json::to_value(&targets).expect("JSON");
        assert_eq!(json["targets"][1]["nothing"], "there is no <directory>");
        assert_eq!(json["targets"][1]["not_read"][59]["path"], "/pipe-59");
    }

    fn client(name: &str, state: &str) -> ClientReport {
        ClientReport {
            name: name.into(),
            url: "http://loki/push".into(),
            state: state.into(),
            ..ClientReport::default()
        }
    }

    fn some() -> Fixed {
        Fixed(
            vec![
                target("fine", vec![file("/a", 0, None)]),
                target("late", vec![file("/b", 100, None), file("/c", 5 << 20, None)]),
                target("empty", vec![]),
                target("broken", vec![file("/d", 0, Some("permission denied"))]),
            ],
            vec![client("0", "ok"), client("1", "failing since 02:10:00Z")],
        )
    }

    #[test]
    fn the_worst_comes_first() {
        let targets = Targets::collect(&some(), "");
        let jobs: Vec<&str> = targets.targets.iter().map(|target| target.job.as_str()).collect();
        assert_eq!(jobs, ["broken", "empty", "late", "fine"]);
        assert_eq!(targets.targets[2].files[0].path, "/c");
        assert_eq!(targets.clients[0].name, "1");
    }

    #[test]
    fn the_summary_counts_everything_whatever_is_shown() {
        let page = Targets::collect(&some(), "LATE").html("LATE");
        let line = "4 targets, 4 files, 5.0 MiB behind, 20 B unacknowledged, 1 of 2 clients ok";
        assert!(page.contains(line), "{page}");
        for part in ["failing clients: 1", "unreadable files: 1", "targets without a file: 1", "1 of 4 targets:"] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(page.contains("<code>/c</code>") && !page.contains("<code>/a</code>"), "{page}");
    }

    #[test]
    fn a_file_read_for_two_clients_is_one_file() {
        let mut twice = file("/a", 0, None);
        twice.client = "1".into();
        let fixed = Fixed(vec![target("x", vec![file("/a", 0, None), twice])], vec![]);
        assert_eq!(Targets::collect(&fixed, "").summary.files, 1);
    }

    #[test]
    fn labels_cannot_write_markup() {
        let page = Targets::collect(&some(), "").html("");
        assert!(page.contains("{app=&quot;&lt;fine&gt;&quot;}") && !page.contains("<fine>"), "{page}");
    }

    #[test]
    fn bytes_for_people() {
        for (bytes, text) in [
            (0, "0"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
    }
}
