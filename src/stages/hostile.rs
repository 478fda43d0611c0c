//! Runs all stages on hostile input: random bytes, huge lines, deep nesting, expensive expressions and templates. None
//! may panic, hang, or lose a line without counting it.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::TABLE;
use super::testing::{Bench, parse};
use crate::model::MAX_LINE;

/// A pipeline for each mode of each stage, by the stage's name.
const PIPELINES: &[(&str, &str)] = &[
    ("cri", "{max_partial_lines: 3}"),
    ("cri", "{max_partial_line_size: 1000, max_partial_line_size_truncate: true}"),
    ("decolorize", "{}"),
    ("docker", "{}"),
    ("drop", "{source: [v, app], expression: '(a|aa)+$'}"),
    ("drop", "{source: v, value: x, older_than: 1h, longer_than: 10b}"),
    ("eventlogmessage", "{source: v}"),
    ("eventlogmessage", "{source: v, overwrite_existing: true, drop_invalid_labels: true}"),
    ("json", "{expressions: {a: , b: a.b.c, k: k1}}"),
    (
        "json",
        "{expressions: {a: 'a[0]', b: 'length(@)', c: 'to_string(@)', d: '@.*', k: 'k1 || a'}, drop_malformed: true}",
    ),
    ("json", "{expressions: {a: a.b}, source: v}"),
    ("labelallow", "[v]"),
    ("labeldrop", "[app]"),
    ("labels", "{v: , __tenant_id__: v, w: app}"),
    ("limit", "{rate: 1000000, burst: 1000000}"),
    ("limit", "{rate: 1, burst: 1, drop: true, by_label_name: v}"),
    ("logfmt", "{mapping: {a: , b: k, c: k}}"),
    ("logfmt", "{mapping: {k: , a: k1}, source: v}"),
    (
        "match",
        "{selector: '{app=~\".*x\"} |~ `(x+x+)+y` != \"zz\"', stages: [{labels: {v: }}, {match: {selector: '{v=~\"(a*)*b\"}', action: drop}}]}",
    ),
    (
        "metrics",
        "{c: {type: Counter, source: v, config: {action: add}}, h: {type: Histogram, source: v}, n: {type: Counter, config: {action: add, match_all: true, count_entry_bytes: true}}}",
    ),
    ("multiline", "{firstline: '^(\\S+\\s?)*x', max_lines: 3}"),
    ("multiline", "{firstline: '.', max_wait_time: 1ms}"),
    ("non_indexed_labels", "{v: app, app: v}"),
    ("output", "{source: v}"),
    ("pack", "{labels: [v, app]}"),
    ("regex", "{expression: '(?P<a>(x+x+)+)y|(?P<b>(a|aa)+)$|(?P<c>.*.*=.*)'}"),
    ("regex", "{expression: '(?i)(?P<a>([a-z]{1,30}\\d?){1,30})z', source: v}"),
    ("replace", "{expression: '(a|(k)|\\d)', replace: '{{ len .v }}{{ .Value | upper }}'}"),
    ("replace", "{expression: '(.*)', source: v, replace: '{{ .Value }}{{ .Value }}'}"),
    ("replace", "{expression: '()', replace: 'x'}"),
    ("sampling", "{rate: 0.5}"),
    ("static_labels", "{app: y}"),
    ("structured_metadata", "{v: , app: v, w: app}"),
    ("template", "{source: v, template: '{{ .Value | trim | title | snakecase | kebabcase | camelcase | swapcase }}'}"),
    (
        "template",
        "{source: v, template: '{{ wrap 7 .Value }}{{ nospace .Value }}{{ initials .Value }}{{ indent 2 .Value }}'}",
    ),
    (
        "template",
        "{source: v, template: '{{ range splitList \",\" .Entry }}{{ . | upper }}{{ end }}{{ .Value | b64enc | b64dec | quote }}'}",
    ),
    (
        "template",
        "{source: v, template: '{{ range $i, $e := regexFindAll \"[a-z]+|.\" .Value -1 | uniq | sortAlpha }}{{ $e }}{{ end }}'}",
    ),
    (
        "template",
        "{source: v, template: '{{ regexReplaceAll \"(a*)*\" .Value \"${1}x\" }}{{ regexMatch .Value .Entry }}{{ fromJson .Value | toPrettyJson }}'}",
    ),
    (
        "template",
        "{source: v, template: '{{ toDate \"2006-01-02\" .Value }}{{ int .Value }}{{ float64 .Value }}{{ addf .Value 1 }}{{ urlParse .Value }}{{ clean .Value }}'}",
    ),
    (
        "template",
        "{source: v, template: '{{ Hash \"s\" .Value }}{{ sha1sum .Value }}{{ printf \"%q %x\" .Value .Value }}{{ js .Value }}{{ urlquery .Value }}{{ html .Value }}'}",
    ),
    ("tenant", "{source: v}"),
    (
        "timestamp",
        "{source: v, format: RFC3339, fallback_formats: [Unix, UnixMs, '2006-01-02 15:04:05.000 MST', 'Jan _2 15:04', ANSIC]}",
    ),
    (
        "timestamp",
        "{source: v, format: '2006-01-02T15:04:05.999999999Z07:00', location: Europe/Berlin, action_on_failure: skip}",
    ),
];

/// Far more than any test needs, and far less than quadratic time would need.
const PATIENCE: Duration = Duration::from_secs(20);

/// Extracts the line as `v` first, for stages that read extracted values.
fn pipeline(stage: &str, options: &str) -> String {
    format!("[{{regex: {{expression: '(?s)^(?P<v>.*)$'}}}}, {{{stage}: {options}}}]")
}

/// Runs the lines and returns the total bytes of output. Each line must end somehow.
fn survive(yaml: &str, lines: &[String]) -> usize {
    let mut bench = Bench::of(yaml);
    let mut bytes = 0;
    for line in lines {
        let began = Instant::now();
        bench.run(line, &mut |entry| bytes += entry.line.len());
        let took = began.elapsed();
        assert!(took < PATIENCE, "{yaml}: {took:?} for {} bytes beginning with {:.40}", line.len(), line);
    }
    bench.end(&mut |entry| bytes += entry.line.len());
    bytes
}

#[test]
fn every_stage_is_here() {
    for name in TABLE.iter().map(|row| &row.name).filter(|name| **name != "geoip") {
        assert!(PIPELINES.iter().any(|(stage, _)| stage == name), "{name} is not tried");
    }
}

#[test]
fn huge_lines() {
    let (long, shorter) = (huge(1 << 16), huge(1 << 14));
    for (stage, options) in PIPELINES {
        // A template may run for each byte of a line.
        let lines = if *stage == "replace" { &shorter } else { &long };
        let yaml = pipeline(stage, options);
        let out = survive(&yaml, lines);
        // Packing may escape each byte. No other stage makes lines longer than the limit.
        let most = lines.iter().map(|line| (7 * line.len()).max(MAX_LINE + line.len())).sum();
        assert!(out <= most, "{yaml}: {out} bytes");
    }
}

/// Lines of about this many bytes, each of another kind.
fn huge(bytes: usize) -> Vec<String> {
    let head = "2026-11-22T10:00:00Z stdout ";
    let filled = |unit: &str| unit.repeat(bytes / unit.len());
    let mut lines: Vec<String> = [
        "a",
        "x",
        "9",
        " ",
        "\"",
        "\\",
        "{",
        "[",
        "(",
        "=",
        ":",
        ",",
        "%",
        "é",
        "\u{fffd}",
        "\u{1}",
        "\u{1b}[",
        "\r\n",
        "Aa",
        "a1B2_",
        "k1=v ",
        "k=\"\\n\" ",
        "k=\"",
        "k: v\r\n",
        "2026-",
        "1.",
        "&&",
        "\\ud83d",
        "{{ .a }}",
        "a\n",
    ]
    .map(filled)
    .into();
    let deep = 100_000;
    lines.extend([
        format!("{}{}", "[".repeat(deep), "]".repeat(deep)),
        format!("{{\"a\":{}1{}}}", "{\"b\":".repeat(deep), "}".repeat(deep)),
        format!("{{\"a\":{}{}}}", "[".repeat(deep), "]".repeat(deep)),
        format!("{{\"a\":{}{}}}", "[".repeat(120), "]".repeat(120)),
        format!("{{\"log\":\"{}\",\"a\":{{\"b\":\"{0}\"}}}}", filled("\\n").replace('x', "")),
        format!("{{{}\"a\":1}}", (0..bytes / 12).map(|i| format!("\"k{i}\":{i},")).collect::<String>()),
        format!("{{\"a\":[{}1]}}", filled("1,")),
        format!("{{\"a\":{}}}", filled("9")),
        format!("{head}P {}", filled("p")),
        format!("{head}P {}", filled("q")),
        format!("{head}P {}", filled("q")),
        format!("{head}F {}", filled("r")),
        format!("{} stdout F x", filled("9")),
        format!("2026-11-22T10:00:00.{}Z", filled("0")),
        format!("1.{}", filled("0")),
    ]);
    lines
}

/// Lines of the maximum length: time must be linear in it.
#[test]
fn lines_as_long_as_they_may_be() {
    for unit in ["a", "\"", "{", "k=1 ", "é", "9", "k: v\r\n"] {
        let line = [unit.repeat(MAX_LINE / unit.len())];
        let options = |stage: &str| PIPELINES.iter().find(|(name, _)| *name == stage).expect("it is there").1;
        for stage in
            ["cri", "docker", "json", "logfmt", "eventlogmessage", "decolorize", "regex", "labels", "pack", "drop"]
        {
            survive(&pipeline(stage, options(stage)), &line);
        }
    }
}

#[test]
fn expressions_that_look_endless() {
    let line = format!("{}!", "a".repeat(1 << 18));
    for expression in [
        "(a+)+$",
        "(a|a)*$",
        "(a|aa)+$",
        "(.*)*x",
        "(.*a){20}x",
        "^(([a-z])+.)+[A-Z]([a-z])+$",
        "(a?){50}a{50}b",
        "((a*)*)*b",
        "(?:a{0,30}){0,30}b",
        "[^b]*a[^b]{20}$",
    ] {
        for stage in [
            format!("regex: {{expression: '(?P<w>{expression})'}}"),
            format!("drop: {{expression: '{expression}'}}"),
            format!("match: {{selector: '{{app=\"x\"}} |~ `{expression}`', action: drop}}"),
            format!("multiline: {{firstline: '{expression}'}}"),
            format!("replace: {{expression: '({expression})', replace: x}}"),
        ] {
            survive(&stage, std::slice::from_ref(&line));
        }
    }
}

/// Options that are too large are an error before anything runs.
#[test]
fn options_without_end() {
    let many = 100_000;
    let repeated =
        |before: &str, inner: &str, after: &str| format!("{}{inner}{}", before.repeat(many), after.repeat(many));
    for expression in [
        repeated("(", "a", ")"),
        repeated("(?:", "a", ")*"),
        repeated("(?i:", "a", ")"),
        format!("{}b", "(?:".repeat(many)),
        "((a{100}){100}){100}".into(),
        "(((a{10}){10}){10}){10}".into(),
        "a{1001}".into(),
        "\\pL{1000}".repeat(100),
        format!("{}a", "[[".repeat(many)),
        "|".repeat(many),
    ] {
        for stage in
            ["regex: {expression: ", "drop: {expression: ", "replace: {expression: ", "multiline: {firstline: "]
        {
            let began = Instant::now();
            if let Ok(program) = parse(&format!("{stage}'{expression}'}}")) {
                drop(program);
            }
            assert!(began.elapsed() < PATIENCE, "{:.60}", expression);
        }
    }
    for template in [
        repeated("{{ if .a }}", "x", "{{ end }}"),
        repeated("{{ range .a }}", "x", "{{ end }}"),
        repeated("{{ with .a }}", "x", "{{ end }}"),
        format!("{{{{ {} }}}}", repeated("(", "len .a", ")")),
        format!("{{{{ .a{} }}}}", " | len".repeat(many)),
        format!("{{{{ .a{} }}}}", ".b".repeat(many)),
        format!("{{{{ if .a }}}}x{}{{{{ end }}}}", "{{ else if .a }}y".repeat(many)),
        "{{ define \"a\" }}{{ end }}".repeat(many / 10),
        "{{".repeat(many),
        "{{/*".repeat(many),
        format!("{{{{ \"{}\" }}}}", "\\x".repeat(many)),
    ] {
        let began = Instant::now();
        for stage in ["template: {source: app, template: ", "replace: {expression: '(x)', replace: "] {
            if parse(&format!("{stage}'{template}'}}")).is_ok() {
                survive(&format!("{stage}'{template}'}}"), &["x".into()]);
            }
        }
        assert!(began.elapsed() < PATIENCE, "{:.60}", template);
    }
    let selector = |inner: &str| format!("match: {{selector: '{{{inner}}}', action: drop}}");
    for options in [
        selector(&"a=\"b\",".repeat(many)),
        selector(&format!("a=\"{}\"", "\\x".repeat(many))),
        format!("match: {{selector: '{{a=\"b\"}}{}', action: drop}}", " |= \"x\"".repeat(many)),
        format!("json: {{expressions: {{a: '{}'}}}}", "a.".repeat(many)),
        format!("json: {{expressions: {{a: '{}'}}}}", "a || ".repeat(many)),
        format!("json: {{expressions: {{a: '{}'}}}}", "[]".repeat(many)),
        format!("json: {{expressions: {{a: 'a{}'}}}}", "[*].b".repeat(many)),
        // The longest allowed.
        format!("json: {{expressions: {{a: 'a{}'}}}}", "[*].b".repeat(166)),
        format!("json: {{expressions: {{a: 'a{} || b'}}}}", ".b".repeat(490)),
        format!("json: {{expressions: {{a: 'a{}'}}}}", " | a".repeat(490)),
        format!("json: {{expressions: {{a: 'a{}'}}}}", "[]".repeat(490)),
        format!("json: {{expressions: {{a: 'a{}'}}}}", " | b".repeat(many)),
        format!("json: {{expressions: {{a: '{}a'}}}}", "*.".repeat(many)),
        format!("timestamp: {{source: app, format: '{}'}}", "2006".repeat(many)),
    ] {
        let began = Instant::now();
        if let Ok(program) = parse(&options) {
            drop(program);
            survive(&options, &[r#"{"a":{"a":[1]}}"#.into()]);
        }
        assert!(began.elapsed() < PATIENCE, "{:.60}", options);
    }
}

#[test]
fn templates_that_go_on_and_on() {
    let long = "x".repeat(1 << 20);
    for template in [
        "{{ range until 100000 }}{{ range until 100000 }}{{ end }}{{ end }}",
        "{{ range until 100000 }}{{ $x := repeat 2000000 \"x\" }}{{ end }}",
        "{{ $x := \"xx\" }}{{ range until 40 }}{{ $x = cat $x $x }}{{ end }}",
        "{{ $x := \"xx\" }}{{ range until 40 }}{{ $x = printf \"%s%s\" $x $x }}{{ end }}{{ $x }}",
        "{{ $x := list 1 }}{{ range until 40 }}{{ $x = list $x $x }}{{ end }}{{ $x }}",
        "{{ $x := list 1 }}{{ range until 40 }}{{ $x = concat $x $x }}{{ end }}{{ $x }}",
        "{{ $x := dict }}{{ range until 40 }}{{ $x = dict \"a\" $x \"b\" $x }}{{ end }}{{ toJson $x }}",
        "{{ $x := list }}{{ range until 100000 }}{{ $x = list $x }}{{ end }}{{ $x }}",
        "{{ $x := list }}{{ range until 100000 }}{{ $x = append $x . }}{{ end }}{{ len $x }}",
        "{{ until 100000 | uniq | len }}",
        "{{ without (until 50000) (until 50000) | len }}",
        "{{ range until 100000 }}{{ if eq $.app $.Entry }}{{ end }}{{ end }}",
        "{{ range until 100000 }}{{ $x := eq $.Entry $.Entry }}{{ end }}",
        "{{ range until 100000 }}{{ $x := printf \"%s\" $.Entry }}{{ end }}",
        "{{ range until 100000 }}{{ $x := sha256sum $.Entry }}{{ end }}",
        "{{ range until 100000 }}{{ $x := regexMatch (printf \"\\\\pL{%d}\" (mod . 900)) $.Entry }}{{ end }}",
        "{{ define \"a\" }}{{ template \"a\" . }}{{ template \"a\" . }}{{ end }}{{ template \"a\" . }}",
        "{{ define \"a\" }}{{ if lt (len .) 150 }}{{ template \"a\" (append . 1) }}{{ template \"a\" (append . 1) }}{{ end }}{{ end }}{{ template \"a\" list }}",
        "{{ printf \"%2000000000d\" 1 }}",
        "{{ printf \"%.2000000000f\" 1.0 }}",
        "{{ printf \"%*d\" 2000000000 1 }}",
        "{{ range splitList \"\" .Entry }}{{ . }}{{ end }}",
        "{{ range $i, $c := .Entry | toString | splitList \"x\" | toStrings }}{{ $c }}{{ end }}",
        "{{ randAlphaNum 2000000 | shuffle | sha512sum }}",
        "{{ seq 1 100000 | splitList \" \" | reverse | join \",\" | len }}",
        "{{ untilStep 0 9223372036854775807 1 }}",
        "{{ indent 2000000 .Entry }}",
        "{{ wrapWith 1 .Entry .Entry }}",
        "{{ .Entry | replace \"x\" .Entry }}",
        "{{ regexReplaceAll \"x\" .Entry .Entry }}",
    ] {
        for stage in ["template: {source: w, template: ", "replace: {expression: '(x)', replace: "] {
            survive(&format!("[{stage}'{template}'}}]"), std::slice::from_ref(&long));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_bytes(lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..8)) {
        let lines: Vec<String> = lines.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect();
        for (stage, options) in PIPELINES {
            survive(&pipeline(stage, options), &lines);
        }
    }

    /// Made of fragments that some stage recognises.
    #[test]
    fn nearly_right_lines(
        lines in prop::collection::vec(
            "(2026-11-22T10:00:00\\.5Z|2026| |stdout |stderr |P |F |\\{\"log\":|\"a\":|\"b\":|\"k1\":|[{}\\[\\],:\"\\\\=]|\\\\u[0-9d]{4}|k1?=|\
             [a-z0-9]{1,3}|\r\n|\u{1b}\\[|1e999|-0|null|true|é|\u{fffd}|\\{\\{){0,30}",
            1..8,
        )
    ) {
        for (stage, options) in PIPELINES {
            survive(&pipeline(stage, options), &lines);
        }
    }

    #[test]
    fn random_options(text in "[\\PC\n]{0,40}") {
        let quoted = text.replace('\'', "''");
        for options in [
            "regex: {expression: 'T'}",
            "template: {source: app, template: 'T'}",
            "template: {source: app, template: '{{ T }}'}",
            "replace: {expression: '(T)', replace: 'T'}",
            "match: {selector: 'T', action: drop}",
            "match: {selector: '{a=\"T\"} |~ \"T\"', action: drop}",
            "json: {expressions: {a: 'T'}}",
            "timestamp: {source: app, format: 'T'}",
            "drop: {older_than: 'T', longer_than: 'T'}",
            "labels: {'T': 'T'}",
        ] {
            let yaml = options.replace('T', &quoted);
            if serde_yaml::from_str::<serde_yaml::Value>(&yaml).is_ok() && parse(&yaml).is_ok() {
                survive(&yaml, &["a".into(), text.clone()]);
            }
        }
    }
}

/// Promtail starts with these, so fantail must start too.
#[test]
fn stages_that_do_nothing_are_warned_about() {
    for yaml in [
        "labels:",
        "labels: {}",
        "structured_metadata:",
        "metrics:",
        "metrics: {}",
        "template: {source: a}",
        "multiline: {firstline: ''}",
    ] {
        let program = parse(yaml).unwrap_or_else(|e| panic!("{yaml}: {e}"));
        assert_eq!(program.warnings().len(), 1, "{yaml}: {:?}", program.warnings());
        assert!(survive(yaml, &["a line".into()]) > 0, "{yaml}");
    }
}
