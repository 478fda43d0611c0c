use std::time::Duration;

use super::super::reads::Reads;
use super::super::testing::{Bench, Seen, check, table};
use super::super::{Due, Stage, Surroundings};
use super::{Cri, MAX_LABEL_SETS};
use crate::metrics::{Dropped, Registry};
use crate::model::{Clock, LabelSet};

const T: i64 = 1_709_626_530_000_000_000;

fn line(ns: i64, rest: &str) -> String {
    format!("2024-03-05T08:15:30.{ns:09}Z {rest}")
}

fn seen(ns: i64, stream: &str, text: &str) -> Seen {
    Seen { timestamp: T + ns, labels: format!("{{app=\"x\", stream={stream:?}}}"), line: text.into() }
}

fn raw(text: &str) -> Seen {
    Seen { timestamp: Seen::READ, labels: "{app=\"x\"}".into(), line: text.into() }
}

#[test]
fn full_lines() {
    check(
        "cri: {}",
        &[line(1, "stdout F a b "), line(2, "stderr F "), line(3, "stdout F:x:y tagged"), line(4, "stdout X odd\r")],
        &[seen(1, "stdout", "a b "), seen(2, "stderr", ""), seen(3, "stdout", "tagged"), seen(4, "stdout", "odd\r")],
    );
}

#[test]
fn parts_are_joined_per_stream_with_the_time_of_the_last() {
    check(
        "cri:",
        &[
            line(1, "stdout P o1 "),
            line(2, "stderr P e1 "),
            line(3, "stdout P o2 "),
            line(4, "stderr F e2"),
            line(5, "stdout F o3"),
        ],
        &[seen(4, "stderr", "e1 e2"), seen(5, "stdout", "o1 o2 o3")],
    );
}

#[test]
fn what_is_not_cri_passes_whole() {
    for odd in [
        "kubelet: something odd",
        "",
        " ",
        "2024-03-05T08:15:30Z stdin F no such stream",
        "2024-03-05T08:15:30Z stdout F",
        "2024-03-05T08:15:30Z  stdout F two blanks",
        "2024\t stdout F x",
        " stdout F x",
        "x stdout  y",
        "stdout F x",
    ] {
        check("cri: {}", &[odd.to_string()], &[raw(odd)]);
    }
}

#[test]
fn a_time_that_cannot_be_read_follows_the_last_one() {
    let bad = |text: &str| format!("never stdout F {text}");
    let first = Seen { timestamp: Seen::READ, ..seen(0, "stdout", "a") };
    check(
        "cri: {}",
        &[bad("a"), line(7, "stdout F b"), bad("c"), bad("d"), line(5, "stdout F e"), bad("f")],
        &[
            first,
            seen(7, "stdout", "b"),
            seen(8, "stdout", "c"),
            seen(9, "stdout", "d"),
            seen(5, "stdout", "e"),
            seen(6, "stdout", "f"),
        ],
    );
}

#[test]
fn too_many_partial_streams_let_go_of_what_they_hold() {
    check(
        "cri: {max_partial_lines: 1}",
        &[
            line(1, "stdout P a1"),
            line(2, "stdout P a2"),
            line(3, "stdout F a3"),
            line(4, "stdout P b1"),
            line(5, "stderr P c1"),
            line(6, "stdout F b2"),
            line(7, "stderr F c2"),
        ],
        &[
            seen(1, "stdout", "a1"),
            seen(3, "stdout", "a2a3"),
            seen(4, "stdout", "b1"),
            seen(6, "stdout", "b2"),
            seen(7, "stderr", "c1c2"),
        ],
    );
}

#[test]
fn joined_lines_are_cut_only_when_told_so_twice() {
    let lines = [
        line(1, "stdout P 0123456789"),
        line(2, "stdout P abcdé"),
        line(3, "stdout F K"),
        line(4, "stdout F longer than that"),
    ];
    let whole = seen(4, "stdout", "longer than that");
    check(
        "cri: {max_partial_line_size: '14', max_partial_line_size_truncate: true}",
        &lines,
        &[seen(3, "stdout", "0123456789abcd"), whole.clone()],
    );
    check("cri: {max_partial_line_size: 5}", &lines, &[seen(3, "stdout", "0123456789abcdéK"), whole]);
}

#[test]
fn a_joined_line_without_end_is_discarded_not_held() {
    let part = "x".repeat(600_000);
    let mut lines: Vec<String> = (0..5).map(|i| line(i, &format!("stdout P {part}"))).collect();
    lines.push(line(6, "stdout F end"));
    lines.push(line(7, "stdout F next"));
    check("cri: {}", &lines, &[seen(7, "stdout", "next")]);
}

#[test]
fn what_stands_around_a_line_is_extracted() {
    table(
        "[regex: {expression: '(?P<app>.)'}, cri: {}, labels: {t: time, s: stream, f: flags, c: content, a: app}]",
        &[
            (
                "2024-03-05T08:15:30Z stderr F:x a b",
                r#"{a="x", app="x", c="a b", f="F:x", s="stderr", stream="stderr", t="2024-03-05T08:15:30Z"} a b"#,
            ),
            ("odd", r#"{a="x", app="x"} odd"#),
        ],
    );
}

#[test]
fn a_part_whose_rest_does_not_come_is_let_go_as_it_is() {
    let mut bench = Bench::of("cri: {}");
    assert_eq!(bench.outcome(&line(1, "stdout P one ")), "");
    bench.clock.advance(Duration::from_secs(200));
    assert_eq!(bench.outcome(&line(2, "stdout P two")), "");
    bench.clock.advance(Duration::from_secs(200));
    assert_eq!(bench.due(), "", "a part came not long ago");
    assert!(bench.pipeline().next_due().is_some_and(|due| due > bench.clock.now()));
    bench.clock.advance(Duration::from_secs(200));
    assert_eq!(bench.due(), "{app=\"x\", stream=\"stdout\"} one two");
    assert_eq!(bench.pipeline().next_due(), None);
    assert_eq!(bench.outcome(&line(3, "stdout F three")), "{app=\"x\", stream=\"stdout\"} three");
    bench.end(&mut |_| panic!("nothing is left"));
}

#[test]
fn a_part_waits_as_long_as_its_rest_is_there_and_cannot_be_read() {
    let mut bench = Bench::of("cri: {}");
    assert_eq!(bench.outcome(&line(1, "stdout P one ")), "");
    for _ in 0..5 {
        bench.clock.advance(Duration::from_secs(200));
        assert_eq!(bench.release(Due::Unread(1, bench.clock.now())), "");
        assert_eq!(bench.due(), "", "Loki is away, and the file is not read");
    }
    assert!(bench.pipeline().next_due().is_some_and(|due| due > bench.clock.now()));
    assert_eq!(bench.outcome(&line(2, "stdout F two")), "{app=\"x\", stream=\"stdout\"} one two");
    bench.end(&mut |_| panic!("nothing is left"));
}

#[test]
fn sizes_are_numbers() {
    let error = super::super::testing::parse("cri: {max_partial_line_size: 16kb}").expect_err("refused");
    assert_eq!(
        (error.path.to_string().as_str(), error.problem.as_str()),
        ("[0].cri.max_partial_line_size", "expected a whole number, found \"16kb\"")
    );
}

#[test]
fn labels_that_are_another_for_each_line_are_not_all_remembered() {
    let labels = |n: usize| LabelSet::new([("app", format!("{n}"))]);
    let mut cri = Cri::plain(&Surroundings {
        reads: Reads::nothing(),
        dropped: Dropped::register(&Registry::new()),
        custom: None,
        clock: Clock::standing(0),
        observer: None,
    });
    cri.stream(&labels(0), 2, 0).last = Some(7);
    for n in 1..20 * MAX_LABEL_SETS {
        cri.stream(&labels(n), 1, 0).last = Some(n as i64);
        assert!(cri.logs.len() <= MAX_LABEL_SETS + 1 && cri.by_labels.len() == cri.logs.len(), "{n}");
        assert_eq!(cri.of_log.values().map(Vec::len).sum::<usize>(), cri.logs.len());
        // Recently used label sets are kept, and so are those of the other log.
        assert_eq!(cri.stream(&labels(n.saturating_sub(9).max(1)), 1, 0).last, Some(n.saturating_sub(9).max(1) as i64));
    }
    assert_eq!(cri.stream(&labels(0), 2, 0).last, Some(7));
    cri.forget(1);
    assert_eq!((cri.logs.len(), cri.by_labels.len(), cri.of_log.len()), (1, 1, 1));
    cri.stream(&labels(1), 1, 0);
    for log in [1, 2] {
        cri.release(Due::Log(log), &mut Vec::new());
    }
    assert!(cri.logs.is_empty() && cri.by_labels.is_empty() && cri.of_log.is_empty());
}

#[test]
fn a_quiet_log_is_forgotten_except_its_parts() {
    let mut bench = Bench::of("cri: {}");
    let lines = [
        ("stdout P begin ", ""),
        ("stderr F one", "{app=\"x\", stream=\"stderr\"} one"),
        ("stdout F end", "{app=\"x\", stream=\"stdout\"} begin end"),
        ("stdout F two", "{app=\"x\", stream=\"stdout\"} two"),
    ];
    for (text, sent) in lines {
        assert_eq!(bench.outcome(&line(0, text)), sent, "{text}");
        bench.forget();
    }
}

#[test]
fn a_part_is_not_forgotten_however_many_labels_come_after_it() {
    let mut bench = Bench::of("cri: {}");
    let labels = |n: usize| LabelSet::new([("app", format!("{n}"))]);
    bench.labels = labels(0);
    assert_eq!(bench.outcome(&line(0, "stdout P begin ")), "");
    for n in 1..3 * MAX_LABEL_SETS {
        bench.labels = labels(n);
        assert_eq!(bench.outcome(&line(n as i64, "stdout F x")), format!("{{app=\"{n}\", stream=\"stdout\"}} x"));
    }
    bench.labels = labels(0);
    assert_eq!(bench.outcome(&line(0, "stdout F end")), "{app=\"0\", stream=\"stdout\"} begin end");
}
