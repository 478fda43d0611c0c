//! Comparisons with scripted servers: they hold entries, and answer as Loki does.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::goregex::Regex;

/// A server with entries: time, labels, line. It understands the filters that are added to a query.
#[derive(Default)]
struct Fake {
    entries: Vec<(i64, &'static str, String)>,
    /// Answers with more bytes of lines are refused.
    longest: Option<usize>,
    asked: RefCell<Vec<Query>>,
}

impl Fake {
    fn new(entries: impl IntoIterator<Item = (i64, &'static str, String)>) -> Self {
        let mut entries: Vec<_> = entries.into_iter().collect();
        entries.sort_by_key(|(at, ..)| *at);
        Self { entries, ..Self::default() }
    }

    fn of(entries: &[(i64, &'static str, &str)]) -> Self {
        Self::new(entries.iter().map(|(at, labels, line)| (*at, *labels, line.to_string())))
    }
}

fn labels_of(text: &str) -> BTreeMap<&str, &str> {
    text.split(',').filter_map(|pair| pair.split_once('=')).collect()
}

/// A filter that was added to a query, and whether it selects or leaves out.
enum Filter<'q> {
    Label(&'q str, &'q str, bool),
    Line(Regex, bool),
}

impl Filter<'_> {
    /// Reads ` | name="value"`, ` | name!="value"`, ` |~ \`regex\`` and ` !~ \`regex\``.
    fn all(mut text: &str) -> Vec<Filter<'_>> {
        let mut filters = Vec::new();
        while !text.is_empty() {
            let quote = if text.starts_with(" | ") { '"' } else { '`' };
            let parts: Vec<&str> = text.splitn(3, quote).collect();
            let [sign, value, rest] = parts[..] else { panic!("a filter: {text}") };
            filters.push(match sign {
                " |~ " => Filter::Line(Regex::new(value).expect("a regular expression"), true),
                " !~ " => Filter::Line(Regex::new(value).expect("a regular expression"), false),
                _ => {
                    let name = sign.trim_start_matches(" | ");
                    Filter::Label(name.trim_end_matches(['!', '=']), value, !name.ends_with("!="))
                }
            });
            text = rest;
        }
        filters
    }

    fn passes(&self, labels: &str, line: &str) -> bool {
        match self {
            Self::Label(name, value, wanted) => {
                (labels_of(labels).get(name).copied().unwrap_or_default() == *value) == *wanted
            }
            Self::Line(regex, wanted) => regex.is_match(line) == *wanted,
        }
    }
}

impl Ask for Fake {
    fn ask(&self, query: &Query) -> Result<Vec<u8>, Failure> {
        self.asked.borrow_mut().push(query.clone());
        let filters = query.logql.strip_prefix("{}").expect("the selector of the tests");
        let filters = Filter::all(filters);
        let matching = self.entries.iter().filter(|(at, labels, line)| {
            query.range.contains(at) && filters.iter().all(|filter| filter.passes(labels, line))
        });
        let page: Vec<_> = matching.take(query.limit).collect();
        if self.longest.is_some_and(|most| page.iter().map(|(.., line)| line.len()).sum::<usize>() > most) {
            return Err(Failure::TooLong);
        }
        let mut streams: BTreeMap<&str, Vec<(String, &str)>> = BTreeMap::new();
        for (at, labels, line) in page {
            streams.entry(*labels).or_default().push((at.to_string(), line));
        }
        let result: Vec<_> = streams
            .into_iter()
            .map(|(labels, values)| serde_json::json!({"stream": labels_of(labels), "values": values}))
            .collect();
        let answer = serde_json::json!({"status": "success", "data": {"resultType": "streams", "result": result}});
        Ok(answer.to_string().into_bytes())
    }
}

fn settings() -> Settings {
    Settings {
        queries: ["{}".into(), "{}".into()],
        range: 0..1000,
        window: Duration::ZERO,
        limit: 10,
        ignored_labels: Vec::new(),
        renamed_labels: Vec::new(),
        metadata: false,
        shown_lines: 0,
    }
}

/// Lines on the left and the right, missing on the left and the right, doubled on the left and the right.
fn numbers(left: &Fake, right: &Fake, settings: &Settings) -> [u64; 6] {
    let n = compare([left, right], settings).expect("a comparison").total;
    [n.left, n.right, n.missing_left, n.missing_right, n.doubled_left, n.doubled_right]
}

#[test]
fn lines_are_missing_or_doubled() {
    for (left, right, window, want) in [
        (&[(1, "a=1", "x")][..], &[(1, "a=1", "x")][..], 0, [1, 1, 0, 0, 0, 0]),
        (&[(1, "a=1", "x"), (2, "a=1", "y")], &[(2, "a=1", "y")], 0, [2, 1, 0, 1, 0, 0]),
        (&[(2, "a=1", "y")], &[(1, "a=1", "x"), (2, "a=1", "y")], 0, [1, 2, 1, 0, 0, 0]),
        // Other streams have nothing to do with it.
        (&[(1, "a=1", "x")], &[(1, "a=2", "x")], 9, [1, 1, 1, 1, 0, 0]),
        // Another time is another line, or the same one within the window.
        (&[(1, "a=1", "x")], &[(4, "a=1", "x")], 2, [1, 1, 1, 1, 0, 0]),
        (&[(1, "a=1", "x")], &[(4, "a=1", "x")], 3, [1, 1, 0, 0, 0, 0]),
        (&[(4, "a=1", "x")], &[(1, "a=1", "x")], 3, [1, 1, 0, 0, 0, 0]),
        // Once on the left, twice on the right.
        (&[(1, "a=1", "x")], &[(1, "a=1", "x"), (3, "a=1", "x")], 5, [1, 2, 0, 0, 0, 1]),
        (&[(3, "a=1", "x")], &[(1, "a=1", "x"), (3, "a=1", "x")], 5, [1, 2, 0, 0, 0, 1]),
        (&[(1, "a=1", "x"), (2, "a=1", "x"), (3, "a=1", "x")], &[(2, "a=1", "x")], 5, [3, 1, 0, 0, 2, 0]),
        // Far enough from the match, it is a line of its own.
        (&[(1, "a=1", "x")], &[(1, "a=1", "x"), (30, "a=1", "x")], 5, [1, 2, 1, 0, 0, 0]),
        // A line beyond the range may be a match, but does not count.
        (&[(999, "a=1", "x")], &[(1001, "a=1", "x"), (1002, "a=1", "z")], 5, [1, 0, 0, 0, 0, 0]),
        (&[], &[], 0, [0; 6]),
    ] {
        let settings = Settings { window: Duration::from_nanos(window), ..settings() };
        assert_eq!(numbers(&Fake::of(left), &Fake::of(right), &settings), want, "{left:?} {right:?} {window}");
        // The mirrored comparison has the mirrored result.
        let [l, r, ml, mr, dl, dr] = want;
        assert_eq!(numbers(&Fake::of(right), &Fake::of(left), &settings), [r, l, mr, ml, dr, dl]);
    }
}

#[test]
fn pages_end_anywhere() {
    // 40 entries, up to 7 of them share a nanosecond. Two are missing on the right, one is missing on the left.
    let all = |skip: &'static [usize]| {
        let entries = (0..40usize).filter(|i| !skip.contains(i));
        Fake::new(entries.map(|i| {
            ((i * i % 6 + i / 7 * 10) as i64, if i.is_multiple_of(3) { "a=1" } else { "a=2" }, format!("line {i}"))
        }))
    };
    for limit in [2, 3, 4, 5, 7, 8, 39, 40, 41, 1000] {
        let settings = Settings { limit, ..settings() };
        let (left, right) = (all(&[11]), all(&[5, 30]));
        assert_eq!(numbers(&left, &right, &settings), [39, 38, 1, 2, 0, 0], "{limit}");
        assert!(left.asked.borrow().iter().all(|query| query.limit <= limit));
    }
}

#[test]
fn more_entries_than_a_page_share_a_nanosecond() {
    let burst = |count: usize, same: &str| {
        let line = |i: usize| (500, if i.is_multiple_of(2) { "a=1,pod=x" } else { "a=2" }, format!("{same}{i}"));
        let others = [(499, "a=1,pod=x", "before".to_string()), (501, "a=2", "after".to_string())];
        Fake::new((0..count).map(line).chain(others))
    };
    for same in ["", "the same beginning ", &"x".repeat(1100), "\n \u{e9}"] {
        for (limit, count) in [(2, 50), (7, 50), (10, 300)] {
            let settings = Settings { limit, ..settings() };
            let (left, right) = (burst(count, same), burst(count - 3, same));
            let count = count as u64;
            assert_eq!(numbers(&left, &right, &settings), [count + 2, count - 1, 0, 3, 0, 0], "{limit} {count}");
        }
    }
    // Entries that differ only in the time of arrival cannot be told apart.
    let same = Fake::new((0..20).map(|_| (5, "a=1", "x".to_string())));
    let failed = compare([&same, &Fake::default()], &settings()).expect_err("not all can be read");
    assert!(failed.starts_with("left: more than 10 entries at the nanosecond 5"), "{failed}");
    assert!(!failed.contains('x') || !failed.contains("\"x\""), "{failed}");
}

#[test]
fn answers_that_are_too_long_are_asked_for_in_parts() {
    let lines = |longest| Fake { longest, ..Fake::new((0..50i64).map(|i| (i / 5, "a=1", format!("{i:0100}")))) };
    let settings = Settings { limit: 40, ..settings() };
    assert_eq!(numbers(&lines(Some(1000)), &lines(None), &settings), [50, 50, 0, 0, 0, 0]);
    let failed = compare([&lines(Some(150)), &lines(None)], &settings).expect_err("two lines are too long");
    assert!(failed.starts_with("left: an answer with two lines is too long"), "{failed}");
}

#[test]
fn labels_are_ignored_and_renamed() {
    let left = Fake::of(&[(1, "agent=promtail,pod=a", "x"), (2, "agent=promtail,pod=b", "y")]);
    let right = Fake::of(&[(1, "agent=fantail,pod_name=a", "x"), (2, "agent=fantail,pod_name=b", "y")]);
    assert_eq!(numbers(&left, &right, &settings()), [2, 2, 2, 2, 0, 0]);
    let settings = Settings {
        ignored_labels: vec!["agent".into()],
        renamed_labels: vec![("pod".into(), "pod_name".into())],
        ..settings()
    };
    let comparison = compare([&left, &right], &settings).expect("a comparison");
    assert!(comparison.equal && comparison.streams.len() == 2);
    assert_eq!(comparison.streams[0].labels, BTreeMap::from([("pod_name".to_string(), "a".to_string())]));
}

#[test]
fn content_is_shown_only_if_asked_for() {
    let left = Fake::of(&[(1, "a=1", "secret one"), (2, "a=1", "secret\u{1b}[2J"), (3, "a=1", "secret three")]);
    let right = Fake::of(&[(3, "a=1", "secret three")]);
    let hidden = compare([&left, &right], &settings()).expect("a comparison");
    let json = serde_json::to_string(&hidden).expect("JSON");
    assert!(!text(&hidden).contains("secret") && !json.contains("secret"), "{json}");
    let shown = compare([&left, &right], &Settings { shown_lines: 5, ..settings() }).expect("a comparison");
    let shown = text(&shown);
    assert!(shown.contains("1 only on the left {a=\"1\"} \"secret one\"\n2 only on the left"), "{shown}");
    assert!(!shown.contains('\u{1b}') && !shown.contains("three"), "{shown}");
    assert!(shown.ends_with("missing: 0 on the left, 2 on the right; doubled: 0 on the left, 0 on the right"));
    let first = compare([&left, &right], &Settings { shown_lines: 1, ..settings() }).expect("a comparison");
    assert_eq!(first.lines.len(), 1);
}

#[test]
fn an_answer_may_have_metadata_and_may_be_wrong() {
    struct Says(&'static str);
    impl Ask for Says {
        fn ask(&self, _: &Query) -> Result<Vec<u8>, Failure> {
            Ok(self.0.as_bytes().to_vec())
        }
    }
    let one = Says(
        r#"{"data": {"resultType": "streams", "encodingFlags": ["categorize-labels"], "result": [{"stream": {"a": "1"},
            "values": [["5", "x", {"structuredMetadata": {"trace": "1"}}]]}]}}"#,
    );
    let other =
        Says(r#"{"data": {"resultType": "streams", "result": [{"stream": {"a": "1"}, "values": [["5", "x", {}]]}]}}"#);
    assert!(compare([&one, &other], &settings()).expect("a comparison").equal);
    let exact = Settings { metadata: true, ..settings() };
    assert!(!compare([&one, &other], &exact).expect("a comparison").equal);
    for (answer, want) in [
        ("<html>", "left: the answer is not that of Loki"),
        (
            r#"{"data": {"resultType": "matrix", "result": [{"metric": {}, "values": [[1, "x"]]}]}}"#,
            "left: the query returns a matrix",
        ),
        (
            r#"{"data": {"resultType": "streams", "result": [{"values": [["5"]]}]}}"#,
            "left: the answer is not that of Loki",
        ),
        (
            r#"{"data": {"resultType": "streams", "result": [{"values": [["5000", "x"]]}]}}"#,
            "left: the answer has an entry of 5000",
        ),
    ] {
        let failed = compare([&Says(answer), &other], &settings()).expect_err(answer);
        assert!(failed.starts_with(want) && !failed.contains("\"x\""), "{failed}");
    }
}
