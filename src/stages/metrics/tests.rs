use std::time::Duration;

use prometheus::TextEncoder;

use super::super::testing::{Bench, refused};
use crate::metrics::Registry;

/// The metrics of lines of `{app="x"}`, as `/metrics` shows them, without comments and without those of the stage
/// `docker`, which each pipeline has.
fn shown(yaml: &str, lines: &[&str]) -> Vec<String> {
    let mut bench = Bench::of(yaml);
    for line in lines {
        bench.outcome(line);
    }
    let shown = text(&bench.registry);
    bench.end(&mut |_| {});
    shown
}

fn text(registry: &Registry) -> Vec<String> {
    let text = TextEncoder::new().encode_to_string(&registry.gather()).expect("what is shown can be written");
    let others = ["#", "promtail_docker_target_", "fantail_timestamp_parse_errors_total 0"];
    let is_other = |line: &&str| others.iter().any(|other| line.starts_with(other));
    text.lines().filter(|line| !is_other(line)).map(str::to_string).collect()
}

#[test]
fn what_is_refused() {
    let m = "[0].metrics.m";
    let metric = |rest: &str| format!("metrics: {{m: {{{rest}}}}}");
    for (yaml, path, message) in [
        ("metrics: [m]".into(), "[0].metrics", "expected a mapping"),
        (
            "metrics: {'my-metric': {type: Gauge, config: {action: set}}}".into(),
            "[0].metrics.my-metric",
            "promtail_custom_my-metric",
        ),
        ("metrics: {m: }".into(), m, "unknown type"),
        (metric("type: Summary"), "[0].metrics.m.type", "Summary"),
        (metric("type: Counter"), m, "config.action"),
        (metric("type: Counter, config: {action: dec}"), m, "inc, add"),
        (metric("type: Gauge, config: {value: '1'}"), m, "set, inc, dec, add, sub"),
        (metric("type: Counter, config: {action: inc, match_all: true, value: x}"), m, "leave out `value`"),
        (metric("type: Counter, config: {action: inc, match_all: true, count_entry_bytes: true}"), m, "action: add"),
        (metric("type: Counter, config: {action: add, count_entry_bytes: true}"), m, "match_all"),
        (metric("type: Counter, config: {action: inc, value: 200}"), "[0].metrics.m.config.value", "in quotes"),
        (
            metric("type: Counter, config: {action: inc, match_all: 1}"),
            "[0].metrics.m.config.match_all",
            "true or false",
        ),
        (metric("type: Counter, max_idle_duration: 10ms, config: {action: inc}"), m, "at least 1s"),
        (metric("type: Counter, max_idle_duration: x, config: {action: inc}"), "[0].metrics.m.max_idle_duration", "x"),
        (metric("type: Histogram, config: {buckets: [2, 1]}"), "[0].metrics.m.config.buckets", "increasing"),
        (metric("type: Histogram, config: {buckets: [a]}"), "[0].metrics.m.config.buckets[0]", "a number"),
    ] {
        refused(&[(yaml.as_str(), path, message)]);
    }
}

const VALUE: &str = "{regex: {expression: '^v=(?P<v>.*)$'}}";

#[test]
fn counters() {
    for (config, lines, want) in [
        ("action: inc", &["v=a", "v=", "w=1"][..], Some("2")),
        ("action: INC, value: a", &["v=a", "v=b", "v=a"], Some("2")),
        ("action: add", &["v=1.5", "v=2", "v=250ms", "v=1h1m", "v=3 apples", "v=1e2"], Some("3763.75")),
        ("action: add", &["v=x"], None),
        ("action: inc, match_all: true", &["", "x"], Some("2")),
        ("action: add, match_all: true, count_entry_bytes: true", &["12345", "é", ""], Some("7")),
        ("action: add, match_all: true", &["5"], None),
        // A counter cannot decrease.
        ("action: add", &["v=3", "v=-1", "v=-1s", "v=-inf"], Some("3")),
        ("action: add", &["v=0x1p4", "v=1_000", "v=0x1F", "v=1e400", "v=1__0"], Some("1016")),
        ("action: add", &["v=3", "v=Infinity"], Some("inf")),
        ("action: add", &["v=3", "v=nan", "v=1"], Some("NaN")),
    ] {
        let yaml = format!("[{VALUE}, {{metrics: {{m: {{type: counter, source: v, config: {{{config}}}}}}}}}]");
        let metric = want.map(|n| format!("promtail_custom_m{{app=\"x\"}} {n}"));
        let shown = shown(&yaml, lines);
        assert_eq!(shown.iter().find(|line| line.starts_with("promtail_custom")), metric.as_ref(), "{config}");
    }
    let yaml = format!("[{VALUE}, {{metrics: {{m: {{type: Counter, source: v, config: {{action: add}}}}}}}}]");
    let skipped = "fantail_stage_metric_skipped_total{metric=\"promtail_custom_m\",reason=\"negative\"} 1";
    assert_eq!(shown(&yaml, &["v=-1"]), [skipped]);
}

#[test]
fn lines_whose_time_is_not_parsed_are_counted() {
    let yaml =
        "[{regex: {expression: '^t=(?P<t>.*)$'}}, {timestamp: {source: t, format: Unix, fallback_formats: [RFC3339]}}]";
    let count = "fantail_timestamp_parse_errors_total 2".to_string();
    assert_eq!(shown(yaml, &["t=1", "t=2026-11-28T13:00:02Z", "t=noon", "without"]), [count]);
    assert_eq!(shown(yaml, &["t=1"]), [""; 0]);
}

#[test]
fn gauges() {
    for (action, want) in [("set", "-1.5"), ("inc", "5"), ("dec", "-5"), ("add", "3.5"), ("SUB", "-3.5")] {
        let yaml = format!("[{VALUE}, {{metrics: {{m: {{type: Gauge, source: v, config: {{action: {action}}}}}}}}}]");
        let shown = shown(&yaml, &["v=3", "v=2s", "v=text", "v=0x10", "v=-1500ms", "w=1"]);
        assert_eq!(shown, [format!("promtail_custom_m{{app=\"x\"}} {want}")], "{action}");
    }
}

#[test]
fn histograms() {
    let stage =
        |config: &str| format!("[{VALUE}, {{metrics: {{m: {{type: histogram, source: v, config: {config}}}}}}}]");
    let lines = ["v=0.5", "v=1", "v=1s", "v=99", "v=x"];
    assert_eq!(
        shown(&stage("{buckets: [1, 10, .inf]}"), &lines),
        [
            "promtail_custom_m_bucket{app=\"x\",le=\"1\"} 3",
            "promtail_custom_m_bucket{app=\"x\",le=\"10\"} 3",
            "promtail_custom_m_bucket{app=\"x\",le=\"+Inf\"} 4",
            "promtail_custom_m_sum{app=\"x\"} 101.5",
            "promtail_custom_m_count{app=\"x\"} 4",
        ]
    );
    assert_eq!(
        shown(&stage("{buckets: [.5, 010, 09, 1_0]}"), &["v=nan", "v=0x1p3", "v=8.5", "v=-inf", "v=1_0"])[..5],
        [
            "promtail_custom_m_bucket{app=\"x\",le=\"0.5\"} 1",
            "promtail_custom_m_bucket{app=\"x\",le=\"8\"} 2",
            "promtail_custom_m_bucket{app=\"x\",le=\"9\"} 3",
            "promtail_custom_m_bucket{app=\"x\",le=\"10\"} 4",
            "promtail_custom_m_bucket{app=\"x\",le=\"+Inf\"} 5",
        ]
    );
    let default = shown(&stage("{value: 1s}"), &lines);
    assert_eq!(default.len(), 11 + 3);
    assert_eq!(default[7], "promtail_custom_m_bucket{app=\"x\",le=\"1\"} 1");
}

#[test]
fn names_and_labels() {
    let all = "config: {action: inc, match_all: true}";
    assert_eq!(
        shown(
            &format!(
                "[{{static_labels: {{__a: 1, 'b.c': 2, q: 'a\"\\n'}}}},
                  {{metrics: {{m: {{type: Counter, prefix: my_, {all}}}, n: {{type: Counter, prefix: '', {all}}}}}}}]"
            )
            .replace("__a: 1", "__a: '1'")
            .replace("'b.c': 2", "'b.c': '2'"),
            &["a", "b"],
        ),
        ["my_m{app=\"x\",q=\"a\\\"\\\\n\"} 2", "promtail_custom_n{app=\"x\",q=\"a\\\"\\\\n\"} 2"]
    );
    // If labels differ between lines, each label set is a series.
    assert_eq!(
        shown(
            &format!("[{VALUE}, {{labels: {{v: null}}}}, {{metrics: {{m: {{type: Counter, {all}}}}}}}]"),
            &["v=1", "v=2", "none", "v=1"],
        ),
        [
            "promtail_custom_m{app=\"x\"} 1",
            "promtail_custom_m{app=\"x\",v=\"1\"} 2",
            "promtail_custom_m{app=\"x\",v=\"2\"} 1",
        ]
    );
}

#[test]
fn stages_with_one_name_count_together_or_not_at_all() {
    let counter = "{metrics: {m: {type: Counter, config: {action: inc, match_all: true}}}}";
    let gauge = "{metrics: {m: {type: Gauge, source: app, config: {action: inc}}}}";
    let line = |n: u32| [format!("promtail_custom_m{{app=\"x\"}} {n}")];
    assert_eq!(shown(&format!("[{counter}, {counter}]"), &["a"]), line(2));
    assert_eq!(shown(&format!("[{counter}, {gauge}]"), &["a"]), line(1));
    // Tenants with the same labels share the series.
    let tenants = "[{regex: {expression: '(?P<t>.)'}}, {tenant: {source: t}}, ".to_string() + counter + "]";
    assert_eq!(shown(&tenants, &["a", "b"]), line(2));
}

#[test]
fn what_is_idle_goes_away() {
    let metric =
        |idle| format!("{{type: Counter, max_idle_duration: {idle}, config: {{action: inc, match_all: true}}}}");
    let mut bench = Bench::of(&format!("metrics: {{short: {}, long: {}}}", metric("1s"), metric("1m")));
    bench.outcome("a");
    bench.clock.advance(Duration::from_millis(900));
    assert_eq!(text(&bench.registry).len(), 2);
    bench.clock.advance(Duration::from_millis(900));
    assert_eq!(text(&bench.registry), ["promtail_custom_long{app=\"x\"} 1"]);
    bench.outcome("b");
    assert_eq!(text(&bench.registry), ["promtail_custom_long{app=\"x\"} 2", "promtail_custom_short{app=\"x\"} 1"]);
    bench.end(&mut |_| {});
}

/// A label with a new value per line uses a bounded number of samples. Idle series are removed first.
#[test]
fn series_are_bounded_by_the_samples_they_show() {
    for (kind, most) in [
        ("Histogram, source: v, config: {buckets: [1, 2, 3, 4, 5, 6, 7]}", 5_000),
        ("Gauge, source: v, config: {action: set}", 50_000),
    ] {
        let yaml = format!(
            "[{{regex: {{expression: '^(?P<u>.*)=(?P<v>.*)$'}}}}, {{labels: {{u: }}}}, \
             {{metrics: {{m: {{type: {kind}, max_idle_duration: 10s}}}}}}, {{labeldrop: [u]}}]"
        );
        let mut bench = Bench::of(&yaml);
        let series = |bench: &Bench| {
            let text = text(&bench.registry);
            let shown = text.iter().filter(|line| line.starts_with("promtail_custom_m")).count();
            let skipped =
                text.iter().find_map(|line| line.strip_prefix("fantail_stage_metric_skipped_total")?.split_once("} "));
            (shown, skipped.map_or(0, |(_, count)| count.parse().expect("a count")))
        };
        for n in 0..most + 100 {
            bench.outcome(&format!("u{n}=1"));
        }
        let (shown, skipped) = series(&bench);
        assert!((most..=50_000).contains(&shown), "{shown}");
        assert_eq!(skipped, 100, "{kind}");
        // A known series still counts.
        bench.outcome("u0=5");
        assert_eq!(series(&bench).1, 100);
        bench.clock.advance(Duration::from_secs(11));
        bench.outcome("new=1");
        assert_eq!(series(&bench), (shown / most, 100));
    }
}

/// Values of 10 kB use a bounded number of bytes, in all metrics together, and leave some for other metrics.
#[test]
fn series_are_bounded_by_the_bytes_of_their_labels() {
    let stages = |metrics: &str| {
        let fields = "{regex: {expression: '^(?P<u>.*?)(=(?P<v>.*)|:(?P<w>.*))$'}}, {labels: {u: }}";
        format!("[{fields}, {{metrics: {{{metrics}}}}}, {{labeldrop: [u]}}]")
    };
    let mut bench = Bench::of(&stages(
        "a: {type: Gauge, source: v, max_idle_duration: 10s, config: {action: set}}, \
         b: {type: Histogram, source: w, max_idle_duration: 10s, config: {buckets: [1, 2, 3, 4, 5, 6, 7]}}",
    ));
    let shown = |bench: &Bench, name: &str| {
        let text = text(&bench.registry);
        let lines = text.iter().filter(|line| line.starts_with(&format!("promtail_custom_{name}{{")));
        (lines.count(), text.iter().map(String::len).sum::<usize>())
    };
    let long = "x".repeat(10_000);
    let feed = |bench: &mut Bench, count: usize, value: &str| {
        for n in 0..count {
            bench.outcome(&format!("{n}{long}{value}"));
        }
    };
    feed(&mut bench, 3_000, "=1");
    let (gauges, bytes) = shown(&bench, "a");
    assert!((1_000..1_300).contains(&gauges) && bytes < 48 << 20, "{gauges} series, {bytes} bytes");
    let skipped = format!(
        "fantail_stage_metric_skipped_total{{metric=\"promtail_custom_a\",reason=\"too_many_series\"}} {}",
        3_000 - gauges
    );
    assert!(text(&bench.registry).contains(&skipped), "{skipped}");
    // What the gauges leave. Each sample of a histogram has all labels.
    feed(&mut bench, 300, ":1");
    let (histograms, bytes) = shown(&bench, "b_count");
    assert!((80..120).contains(&histograms) && bytes < 48 << 20, "{histograms} series, {bytes} bytes");
    // Idle series, and a metric that is gone after a reload, give their bytes back.
    bench.clock.advance(Duration::from_secs(11));
    bench.outcome("short=1");
    bench.outcome("short:1");
    assert_eq!((shown(&bench, "a").0, shown(&bench, "b_count").0), (1, 1));
    feed(&mut bench, 1_300, "=1");
    assert!(shown(&bench, "a").0.abs_diff(gauges) <= 1);
    bench.reload(&stages("c: {type: Gauge, source: v, config: {action: set}}"));
    feed(&mut bench, 1_300, "=1");
    assert!(shown(&bench, "c").0.abs_diff(gauges) <= 1);
}

#[test]
fn a_reload_keeps_what_still_has_its_name_type_and_buckets() {
    let metric = |name: &str, rest: &str| format!("{name}: {{{rest}}}");
    let stages = |metrics: &[String]| format!("[{VALUE}, {{metrics: {{{}}}}}]", metrics.join(", "));
    let counter = "type: Counter, source: v, config: {action: add}";
    let mut bench = Bench::of(&stages(&[
        metric("kept", counter),
        metric("retyped", counter),
        metric("gone", counter),
        metric("rebucketed", "type: Histogram, source: v, config: {buckets: [1, 2]}"),
        metric("histogram", "type: Histogram, source: v, config: {buckets: [1]}"),
    ]));
    for line in ["v=2", "v=-1"] {
        bench.outcome(line);
    }
    // Another description, action or old name does not make it another metric.
    bench.reload(&stages(&[
        metric("kept", "type: counter, description: new, source: v, config: {action: inc}"),
        metric("retyped", "type: Gauge, source: v, config: {action: set}"),
        metric("rebucketed", "type: Histogram, source: v, config: {buckets: [1, 3]}"),
        metric("histogram", "type: Histogram, source: v, config: {buckets: [1]}"),
    ]));
    let series = |bench: &Bench, name: &str| -> Vec<String> {
        text(&bench.registry).into_iter().filter(|line| line.contains(name)).collect()
    };
    assert_eq!(
        series(&bench, "kept"),
        [
            "fantail_stage_metric_skipped_total{metric=\"promtail_custom_kept\",reason=\"negative\"} 1",
            "promtail_custom_kept{app=\"x\"} 2"
        ]
    );
    assert!(series(&bench, "promtail_custom_histogram_count")[0].ends_with(" 2"));
    for name in ["custom_retyped{", "custom_rebucketed", "custom_gone"] {
        assert_eq!(series(&bench, name), Vec::<String>::new(), "{name}");
    }
    bench.outcome("v=5");
    assert_eq!(series(&bench, "custom_kept{"), ["promtail_custom_kept{app=\"x\"} 3"]);
    assert_eq!(series(&bench, "custom_retyped{"), ["promtail_custom_retyped{app=\"x\"} 5"]);
    assert!(series(&bench, "custom_rebucketed_count")[0].ends_with(" 1"));
    assert!(series(&bench, "custom_histogram_count")[0].ends_with(" 3"));
    // It starts again from nothing.
    bench.reload(&stages(&[metric("gone", counter)]));
    assert_eq!(series(&bench, "custom_"), Vec::<String>::new());
}
