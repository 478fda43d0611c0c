//! Options as users write them, rightly and wrongly.

use crate::stages::testing::{mistakes_of, parse, refused, table, warnings};

#[test]
fn keys_in_any_case_and_keys_that_mean_nothing() {
    let yaml = "regex: {EXPRESSION: '(?P<w>.)', no_such: 1}";
    let program = parse(yaml).expect("a stage");
    assert_eq!(warnings(&program), ["pipeline_stages[0].regex: unknown option `no_such` is ignored"]);
    table("[regex: {Expression: '(?P<w>.)'}, output: {SOURCE: w}]", &[("ab", "{app=\"x\"} a")]);
}

#[test]
fn all_mistakes_of_a_stage_are_found() {
    for (yaml, want) in [
        ("json: {expressions: {a: .foo, b: .bar, c: d}}", &["[0].json.expressions.a", "[0].json.expressions.b"][..]),
        ("match: {selector: '{app=x}', action: dorp}", &["[0].match.selector", "[0].match.action"]),
        (
            "drop: {older_than: 7d, longer_than: 8q, expression: '('}",
            &["[0].drop.expression", "[0].drop.older_than", "[0].drop.longer_than"],
        ),
        (
            "timestamp: {source: 3, format: 4, location: Nowhere, action_on_failure: x}",
            &[
                "[0].timestamp.source",
                "[0].timestamp.format",
                "[0].timestamp.location",
                "[0].timestamp.action_on_failure",
            ],
        ),
        ("template: {source: 3, template: '{{ if }}'}", &["[0].template.source", "[0].template.template"]),
        ("replace: {expression: '(', replace: 3}", &["[0].replace.expression", "[0].replace.replace"]),
        ("geoip: {db: 3, db_type: 4, source: 5}", &["[0].geoip.db", "[0].geoip.db_type", "[0].geoip.source"]),
        ("match: {selector: 3, action: x}", &["[0].match.selector", "[0].match.action"]),
        // What is missing only because a key is wrong is no mistake of its own.
        ("drop: {older_than: 7d}", &["[0].drop.older_than"]),
        (
            "metrics: {lines-total: {type: Countr}, foo: {type: Bar}}",
            &["[0].metrics.lines-total", "[0].metrics.lines-total.type", "[0].metrics.foo.type"],
        ),
        (
            "[match: {selector: '{a=\"b\"}', stages: [{labels: 5}, {nostage: }, {regex: {}}, {output: {source: x}}]}, limit: {rate: x}]",
            &["[0].match.stages[0].labels", "[0].match.stages[1]", "[0].match.stages[2].regex", "[1].limit.rate"],
        ),
    ] {
        let mistakes = mistakes_of(yaml).expect_err(yaml);
        let paths: Vec<String> = mistakes.iter().map(|mistake| mistake.path.to_string()).collect();
        assert_eq!(paths, want, "{yaml}: {mistakes:?}");
    }
}

#[test]
fn a_mistyped_option_is_named_and_a_drop_without_its_condition() {
    let of = |yaml: &str| warnings(&parse(yaml).expect(yaml)).join("\n");
    let text = of("drop: {source: level, values: [debug]}");
    assert!(text.contains("unknown option `values` is ignored, did you mean `value`?"), "{text}");
    assert!(text.contains("every line that has `level` is dropped"), "{text}");
    let text = of("drop: {source: level, value: debug, valeu: x}");
    assert!(text.contains("did you mean") && !text.contains("every line"), "{text}");
    assert_eq!(of("drop: {source: level}"), "");
    let mistakes = mistakes_of("match: {selectr: '{a=\"b\"}', action: drop}").expect_err("it has no selector");
    assert!(
        mistakes.len() == 1 && mistakes[0].problem.contains("there is `selectr`: write `selector`"),
        "{mistakes:?}"
    );
}

#[test]
fn words_that_yaml_1_1_takes_for_booleans() {
    // As text they stay text, as booleans they are booleans.
    table("[regex: {expression: '(?P<y>.)'}, output: {source: y}]", &[("ab", "{app=\"x\"} a")]);
    table("[regex: {expression: '(?P<no>.)'}, labels: {on: no}]", &[("ab", "{app=\"x\", on=\"a\"} ab")]);
    table("json: {expressions: {a: }, drop_malformed: yes}", &[("ab", "")]);
    table("json: {expressions: {a: }, drop_malformed: Off}", &[("ab", "{app=\"x\"} ab")]);
}

#[test]
fn stages_without_options_and_empty_ones() {
    let warnings = |yaml: &str| parse(yaml).map(|program| warnings(&program)).map_err(|e| e.problem);
    let stages = [
        "cri: ",
        "cri: {}",
        "docker: ",
        "decolorize: ",
        "labels: ",
        "static_labels: ",
        "structured_metadata: {}",
        "pack: ",
        "sampling: ",
        "eventlogmessage: ",
    ];
    for yaml in stages {
        assert!(warnings(yaml).is_ok(), "{yaml}");
    }
    for (yaml, warning) in [
        ("docker: x", "[0].docker: this stage has no options: a string is ignored"),
        ("docker: []", "[0].docker: this stage has no options: a list is ignored"),
        ("decolorize: 5", "[0].decolorize: this stage has no options: a number is ignored"),
        ("[{}, cri: ]", "[0]: an empty stage does nothing"),
        ("match: {selector: '{a=\"b\"}', stages: [{}]}", "[0].match.stages[0]: an empty stage does nothing"),
    ] {
        assert_eq!(warnings(yaml), Ok(vec![format!("pipeline_stages{warning}")]), "{yaml}");
    }
    table("[{}, static_labels: {a: b}, {}]", &[("x", "{a=\"b\", app=\"x\"} x")]);
    table("match: {selector: '{app=\"x\"}', stages: [{}]}", &[("x", "{app=\"x\"} x")]);
}

#[test]
fn numbers_in_all_their_forms() {
    let lines = |count: usize| vec!["x"; count];
    // How many of twenty lines pass with this burst.
    for (burst, passed) in [
        ("0x10", 16),
        ("'0x10'", 16),
        ("1_0", 10),
        ("'1_0'", 10),
        ("010", 8),
        ("'010'", 8),
        ("0b11", 3),
        ("'0o7'", 7),
        ("09", 9),
        ("1e1", 10),
        ("1.5", 1),
        ("true", 1),
        ("'+5'", 5),
    ] {
        let yaml = format!("limit: {{rate: '0x1p-20', burst: {burst}, drop: 1.5}}");
        let mut bench = super::super::testing::Bench::of(&yaml);
        let mut seen = 0;
        lines(20).into_iter().for_each(|line| bench.run(line, &mut |_| seen += 1));
        assert_eq!(seen, passed, "{burst}");
    }
    for yaml in ["sampling: {rate: ''}", "limit: {rate: .inf, burst: 1}", "limit: {rate: 'Inf', burst: 1}"] {
        assert!(parse(yaml).is_ok(), "{yaml}");
    }
    for number in ["'0x1p2'", "'1e1'", "'1.5'", "' 5'", "many", "-5", "[1]", "'08x'"] {
        refused(&[(&format!("cri: {{max_partial_lines: {number}}}"), "[0].cri.max_partial_lines", "whole number")]);
    }
    for number in ["'0x10'", "nan", "' 5'", "'1e400'", "'+nan'", "{}"] {
        refused(&[(&format!("sampling: {{rate: {number}}}"), "[0].sampling.rate", "a number")]);
    }
    refused(&[("limit: {rate: 1, burst: 1, drop: '2'}", "[0].limit.drop", "true or false")]);
}

#[test]
fn lists_of_stages() {
    refused(&[
        ("[cri: {}, {json: {expressions: {a: }}, labels: {a: }}]", "[1]", "must have exactly one key, this one has 2"),
        ("[cri]", "[0]", "write `cri: {}`"),
        ("[[cri]]", "[0]", "a mapping with one key"),
        ("[jsn: {}]", "[0]", "unknown stage type `jsn`"),
        ("[~]", "[0]", "a mapping with one key"),
        ("['']", "[0]", "a pipeline stage is a mapping"),
        ("[5]", "[0]", "a mapping with one key"),
        ("[{~: x}]", "[0]", "name is a string"),
        ("[cri: '']", "[0].cri", "found a string"),
        ("[json: ]", "[0].json", "`expressions`"),
        ("[output: ]", "[0].output", "`source` is required"),
        ("[match: {selector: '{a=\"b\"}', stages: []}]", "[0].match", "stages"),
        ("[JSON: {expressions: {a: }}]", "[0]", "stage names are lower case: `json`"),
        ("[match: {selector: '{a=\"b\"}', stages: [{jsn: }]}]", "[0].match.stages[0]", "unknown stage type `jsn`"),
    ]);
}
