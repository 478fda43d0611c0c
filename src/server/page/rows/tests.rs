use super::*;
use crate::model::{ClientReport, DiscoveredReport};

struct Fixed(Vec<TargetReport>);

impl Report for Fixed {
    fn targets(&self) -> Vec<TargetReport> {
        self.0.clone()
    }
    fn discovered(&self) -> Vec<DiscoveredReport> {
        Vec::new()
    }
    fn clients(&self) -> Vec<ClientReport> {
        Vec::new()
    }
}

fn target(namespace: &str, app: &str, files: Vec<FileReport>) -> TargetReport {
    let labels = [("namespace", namespace), ("app", app), ("pod", "p-0")];
    TargetReport {
        job: "pods".into(),
        path: format!("/logs/{namespace}/{app}/*.log"),
        labels: labels.map(|(name, value)| (name.into(), value.into())).into(),
        nothing: files.is_empty().then(|| "there is no such directory".into()),
        files,
        not_read: Vec::new(),
        not_read_more: 3,
    }
}

fn file(path: &str, client: &str) -> FileReport {
    FileReport { path: path.into(), client: client.into(), ..FileReport::default() }
}

fn some() -> Fixed {
    let failing = FileReport { error: Some("permission denied".into()), ..file("/b", "one") };
    let late = FileReport { lag_bytes: 2 << 20, ..file("/c", "two") };
    Fixed(vec![
        target("shop", "web", vec![file("/a", "one"), file("/a", "two")]),
        target("shop", "cart", vec![file("/c", "one"), late]),
        target("bank", "web", vec![failing]),
        target("bank", "api", vec![]),
    ])
}

fn ask(report: &Fixed, asked: AskedForRows) -> Rows {
    Rows::collect(report, &asked)
}

fn files(rows: &Rows) -> Vec<&str> {
    rows.rows.iter().map(|row| row.file.as_deref().unwrap_or("-")).collect()
}

#[test]
fn a_file_is_one_row_with_its_clients_inside_and_the_worst_come_first() {
    let rows = ask(&some(), AskedForRows::default());
    assert_eq!(files(&rows), ["/b", "-", "/c", "/a"]);
    let states: Vec<State> = rows.rows.iter().map(|row| row.state).collect();
    assert_eq!(states, [State::Error, State::NoFile, State::Behind, State::Ok]);
    let clients: Vec<&str> = rows.rows[3].clients.iter().map(|client| client.name.as_str()).collect();
    assert_eq!(clients, ["one", "two"]);
    assert_eq!(rows.rows[1].problem.as_deref(), Some("there is no such directory"));
    assert_eq!((rows.rows[1].about.as_str(), rows.rows[0].about.as_str()), ("bank/p-0", "/b"));
    assert_eq!((rows.total, rows.matching, rows.pages), (4, 4, 1));
}

#[test]
fn filters_join_and_the_choices_stay() {
    let asked = |namespace: &str, app: &str, q: &str| AskedForRows {
        namespace: namespace.into(),
        app: app.into(),
        q: q.into(),
        ..AskedForRows::default()
    };
    for (namespace, app, q, expected) in [
        ("shop", "", "", vec!["/c", "/a"]),
        ("shop", "web", "", vec!["/a"]),
        ("", "web", "", vec!["/b", "/a"]),
        ("", "", "CART", vec!["/c"]),
        ("bank", "", "cart", vec![]),
        ("sho", "", "", vec![]),
    ] {
        let rows = ask(&some(), asked(namespace, app, q));
        assert_eq!(files(&rows), expected, "{namespace} {app} {q}");
        assert_eq!(rows.namespaces, BTreeSet::from(["bank".into(), "shop".into()]));
        assert_eq!(rows.total, 4);
    }
    let rows = ask(&some(), AskedForRows { state: Some(State::Behind), ..AskedForRows::default() });
    assert_eq!(files(&rows), ["/c"]);
    assert_eq!(rows.states[&State::Error], 1, "states are counted without regard to the asked one");
}

#[test]
fn many_targets_come_page_by_page_in_short_answers() {
    let long = "x".repeat(2_000);
    let targets = (0..5_000).map(|n| {
        let mut target = target(&format!("ns-{}", n % 700), "web", vec![file(&format!("/{n:05}"), "one")]);
        target.labels.insert("annotation".into(), long.clone());
        target
    });
    let report = Fixed(targets.collect());
    let page =
        |page| ask(&report, AskedForRows { page, size: Some(MOST), sort: Sort::Unread, ..AskedForRows::default() });
    let seen: BTreeSet<String> = (0..25).flat_map(|n| page(n).rows).filter_map(|row| row.file).collect();
    assert_eq!(seen.len(), 5_000, "each is on one page");
    assert_eq!((page(0).pages, page(usize::MAX).page), (25, 24), "a page that is gone is the last one");
    let rows = ask(&report, AskedForRows { size: Some(usize::MAX), ..AskedForRows::default() });
    assert_eq!((rows.rows.len(), rows.namespaces.len()), (MOST, CHOICES));
    let length = serde_json::to_string(&rows).expect("JSON").len();
    assert!(length < 512 << 10, "{length} bytes");
}

#[test]
fn rows_are_sorted_as_asked() {
    let mut report = some();
    report.0[0].files[1].last_read_unix_ms = Some(9);
    report.0[1].files[0].last_read_unix_ms = Some(8);
    report.0[2].files[0].account.read.lines = 7;
    for (sort, first) in
        [(Sort::Name, "-"), (Sort::Unread, "/c"), (Sort::Lines, "/b"), (Sort::LastLine, "/a"), (Sort::Problems, "/b")]
    {
        let rows = ask(&report, AskedForRows { sort, ..AskedForRows::default() });
        assert_eq!(files(&rows)[0], first, "{sort:?}");
    }
}
