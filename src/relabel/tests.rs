//! Tables: rules in YAML, labels before, labels after. The reference is Promtail 3.6.15.

use super::*;

fn rules(yaml: &str) -> Rules {
    let configs: Vec<Config> = serde_yaml::from_str(yaml).unwrap_or_else(|e| panic!("{yaml}: {e}"));
    Rules::compile(&configs).unwrap_or_else(|e| panic!("{yaml}: {e}"))
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect()
}

#[track_caller]
fn becomes(yaml: &str, before: &[(&str, &str)], after: &[(&str, &str)]) {
    let mut actual = labels(before);
    assert_eq!(rules(yaml).apply(&mut actual), Verdict::Keep, "{yaml}");
    assert_eq!(actual, labels(after), "{yaml}");
}

#[track_caller]
fn verdict(yaml: &str, before: &[(&str, &str)], expected: Verdict) {
    assert_eq!(rules(yaml).apply(&mut labels(before)), expected, "{yaml} over {before:?}");
}

const KEEP: Verdict = Verdict::Keep;
const DROP: Verdict = Verdict::Drop { rule: 0 };

#[test]
fn what_cannot_be_read_is_refused() {
    for (yaml, mention) in [
        ("- {source_label: [a], target_label: b}", "unknown field `source_label`, expected one of `source_labels`"),
        ("- {action: keepp, regex: b}", "unknown relabel action \"keepp\", expected one of replace, keep, drop"),
        ("- {action: null}", "unknown relabel action \"\""),
        ("- {action: hashmod, modulus: -1}", "integer"),
        ("- {source_labels: a}", "source_labels"),
    ] {
        let error = serde_yaml::from_str::<Vec<Config>>(yaml).expect_err(yaml).to_string();
        assert!(error.contains(mention), "{yaml}: {error}");
    }
}

#[test]
fn what_cannot_run_is_refused_by_number_and_key() {
    for (yaml, key, mention) in [
        ("{source_labels: [a]}", "target_label", "action replace needs the name of a label"),
        ("{source_labels: [a], target_label: null}", "target_label", "action replace needs the name"),
        ("{action: KeepEqual, source_labels: [a]}", "target_label", "action keepequal needs the name"),
        ("{action: dropequal}", "target_label", "action dropequal needs the name"),
        ("{action: hashmod, modulus: 3}", "target_label", "action hashmod needs the name"),
        ("{action: lowercase}", "target_label", "action lowercase needs the name"),
        ("{action: uppercase, target_label: ''}", "target_label", "action uppercase needs the name"),
        ("{action: hashmod, target_label: b}", "modulus", "a number greater than 0"),
        ("{action: hashmod, target_label: b, modulus: 0}", "modulus", "a number greater than 0"),
        ("{action: hashmod, target_label: b, modulus: null}", "modulus", "a number greater than 0"),
        ("{action: labelmap, replacement: ''}", "replacement", "needs a label name"),
        ("{action: labelmap, replacement: null}", "replacement", "needs a label name"),
        ("{action: lowercase, target_label: b, replacement: x}", "replacement", "nothing else, remove this key"),
        ("{action: uppercase, target_label: b, replacement: x}", "replacement", "nothing else, remove this key"),
        ("{source_labels: [a, ''], target_label: b}", "source_labels", "no name"),
        ("{source_labels: [a], regex: '*', target_label: b}", "regex", "`*`: nothing stands before *"),
        ("{action: lowercase, target_label: b, regex: '(?=b)'}", "regex", "Go's RE2 has none"),
        // Actions that take two keys, or one.
        ("{action: keepequal, target_label: b, regex: x}", "regex", "takes source_labels and target_label and nothing"),
        ("{action: keepequal, target_label: b, regex: '(.*)'}", "regex", "takes source_labels and target_label"),
        ("{action: dropequal, target_label: b, regex: null}", "regex", "takes source_labels and target_label"),
        ("{action: keepequal, target_label: b, separator: ','}", "separator", "remove this key"),
        ("{action: keepequal, target_label: b, modulus: 1}", "modulus", "remove this key"),
        ("{action: dropequal, target_label: b, replacement: b}", "replacement", "remove this key"),
        ("{action: labeldrop, source_labels: [a], regex: b}", "source_labels", "takes regex and nothing else"),
        ("{action: labelkeep, source_labels: [], regex: b}", "source_labels", "takes regex and nothing else"),
        ("{action: labeldrop, target_label: a, regex: b}", "target_label", "remove this key"),
        ("{action: labelkeep, modulus: 1, regex: b}", "modulus", "remove this key"),
        ("{action: labeldrop, separator: '', regex: b}", "separator", "remove this key"),
        ("{action: labelkeep, replacement: b, regex: b}", "replacement", "remove this key"),
    ] {
        let yaml = format!("- {{action: keep}}\n- {yaml}");
        let configs: Vec<Config> = serde_yaml::from_str(&yaml).expect(&yaml);
        let error = Rules::compile(&configs).expect_err(&yaml);
        assert_eq!(error.path.to_string(), format!("relabel_configs[1].{key}"), "{yaml}: {error}");
        let text = error.to_string();
        assert!(text.starts_with(&format!("relabel_configs[1].{key}: ")), "{text}");
        assert!(text.contains(mention), "{yaml}: {text}");
    }
}

#[test]
fn what_looks_wrong_and_is_not_runs() {
    for yaml in [
        "- {action: labeldrop, regex: b, separator: ';', replacement: $1, modulus: 0, target_label: '', source_labels: null}",
        "- {action: keepequal, target_label: b, separator: ';', replacement: $1, modulus: 0}",
        "- {action: lowercase, target_label: b, replacement: $1, regex: x, modulus: 3}",
        "- {action: keep, target_label: b, replacement: x, modulus: 3}",
        "- {action: keep}",
        "- {target_label: name.with-dots é}",
        "- {target_label: '${1}'}",
        "[]",
    ] {
        rules(yaml);
    }
}

#[test]
fn replace() {
    // The defaults copy the value.
    becomes("- {source_labels: [__a], target_label: b}", &[("__a", "x")], &[("__a", "x"), ("b", "x")]);
    // A part of the value, and parts in reverse order.
    becomes(
        r"- {source_labels: [v], regex: '(\w+)-(\w+)', replacement: '$2-$1', target_label: v}",
        &[("v", "alpha-beta")],
        &[("v", "beta-alpha")],
    );
    // Anchored at both ends: without a match nothing happens.
    becomes(
        "- {source_labels: [v], regex: alpha, replacement: hit, target_label: t}",
        &[("v", "alpha-beta"), ("t", "old")],
        &[("v", "alpha-beta"), ("t", "old")],
    );
    // The dot matches a line break.
    becomes("- {source_labels: [v], target_label: t}", &[("v", "a\nb")], &[("v", "a\nb"), ("t", "a\nb")]);
    // A constant, with and without a source.
    becomes("- {target_label: t, replacement: constant}", &[], &[("t", "constant")]);
    becomes("- {source_labels: [v], target_label: t, replacement: c}", &[("v", "x")], &[("v", "x"), ("t", "c")]);
    // Matches only the empty text.
    for regex in ["''", "null", ""] {
        let yaml = format!("[{{source_labels: [m], regex: {regex}, replacement: none, target_label: t}}]");
        becomes(&yaml, &[], &[("t", "none")]);
        becomes(&yaml, &[("m", "x")], &[("m", "x")]);
    }
}

#[test]
fn replace_with_nothing_removes() {
    becomes("- {target_label: gone, replacement: ''}", &[("gone", "here")], &[]);
    becomes("- {target_label: gone, replacement: null}", &[("gone", "here")], &[]);
    becomes("- {source_labels: [missing], target_label: gone}", &[("gone", "here")], &[]);
    becomes("- {source_labels: [a], target_label: gone, replacement: $2}", &[("a", "1"), ("gone", "x")], &[("a", "1")]);
    // Text around an empty group is not empty.
    becomes("- {source_labels: [missing], target_label: t, replacement: 'x$1'}", &[], &[("t", "x")]);
}

#[test]
fn templates() {
    let value = &[("v", "app-web-42")];
    for (replacement, expected) in [
        ("${1}x", Some("appx")),
        ("$1x", None),
        ("${mid}.$mid", Some("web.web")),
        ("$$1-$0", Some("$1-app-web-42")),
        ("$9", None),
        ("$3$", Some("42$")),
    ] {
        let yaml = format!(
            r"[{{source_labels: [v], regex: '(\w+)-(?P<mid>\w+)-(\d+)', replacement: '{replacement}', target_label: t}}]"
        );
        let mut after = value.to_vec();
        after.extend(expected.map(|text| ("t", text)));
        becomes(&yaml, value, &after);
    }
    // The target label is a template too. If its name is empty, nothing is set.
    let yaml = r"- {source_labels: [v], regex: '(\w+)-(\w+)-(\d+)', replacement: v, target_label: 'lbl_${2}_$3'}";
    becomes(yaml, value, &[("v", "app-web-42"), ("lbl_web_42", "v")]);
    becomes("- {source_labels: [v], replacement: v, target_label: '$2'}", value, value);
}

#[test]
fn source_labels_are_joined_in_order_and_missing_ones_are_empty() {
    let before = &[("a", "A"), ("c", "C")];
    for (rule, expected) in [
        ("source_labels: [a, missing, c]", "A;;C"),
        ("source_labels: [c, a], separator: /", "C/A"),
        ("source_labels: [a, c], separator: ''", "AC"),
        ("source_labels: [a, c], separator: null", "AC"),
        ("source_labels: [a, c], separator: '; ', regex: '(.*); (.*)', replacement: '$2|$1'", "C|A"),
        ("source_labels: [missing, missing, missing], replacement: '<$1>'", "<;;>"),
    ] {
        let yaml = format!("[{{{rule}, target_label: t}}]");
        becomes(&yaml, before, &[("a", "A"), ("c", "C"), ("t", expected)]);
    }
}

#[test]
fn keep_and_drop() {
    for (regex, value, matches) in [
        ("test", "test", true),
        ("test", "testing", false),
        ("test", "a test", false),
        ("te.t", "te\nt", true),
        ("a|b", "b", true),
        ("a|b", "ab", false),
        ("(?i)A", "a", true),
        ("", "", true),
        ("", "x", false),
        (".+", "", false),
        (r"[\w-.]+", "a-b.c", true),
    ] {
        let [kept, dropped] = if matches { [KEEP, DROP] } else { [DROP, KEEP] };
        verdict(&format!("[{{action: keep, source_labels: [v], regex: '{regex}'}}]"), &[("v", value)], kept);
        verdict(&format!("[{{action: drop, source_labels: [v], regex: '{regex}'}}]"), &[("v", value)], dropped);
    }
    let both = "- {action: keep, source_labels: [ns, app], regex: 'te.t;monitoring-.*'}";
    verdict(both, &[("ns", "test"), ("app", "monitoring-test")], KEEP);
    verdict(both, &[("ns", "test")], DROP);
    // Without a source: the empty text.
    verdict("- {action: keep, regex: x}", &[("v", "x")], DROP);
    verdict("- {action: keep}", &[], KEEP);
}

#[test]
fn keepequal_and_dropequal() {
    for (before, equal) in [
        (&[("a", "x"), ("b", "x")][..], true),
        (&[("a", "x"), ("b", "y")], false),
        (&[("a", "x")], false),
        (&[("b", "x")], false),
        (&[("a", ""), ("c", "x")], true),
        (&[], true),
    ] {
        let [kept, dropped] = if equal { [KEEP, DROP] } else { [DROP, KEEP] };
        verdict("- {action: KeepEqual, source_labels: [a], target_label: b}", before, kept);
        verdict("- {action: dropequal, source_labels: [a], target_label: b}", before, dropped);
    }
    verdict("- {action: keepequal, source_labels: [a, b], target_label: c}", &[("a", "x"), ("c", "x;")], KEEP);
}

#[test]
fn hashmod_is_the_hash_of_prometheus() {
    let before = [("pod", "web-0"), ("node", "node-a")];
    for (rule, expected) in [
        ("source_labels: [pod], modulus: 8", "1"),
        ("source_labels: [pod, node], modulus: 1000", "5"),
        ("source_labels: [missing], modulus: 97", "43"),
        ("source_labels: [pod], modulus: 18446744073709551615", "8083954615578968865"),
        ("source_labels: [pod], modulus: 1", "0"),
    ] {
        let yaml = format!("[{{action: hashmod, {rule}, target_label: shard}}]");
        becomes(&yaml, &before, &[before[0], before[1], ("shard", expected)]);
    }
}

#[test]
fn labelmap_copies_by_name() {
    let pod = [("__pod_label_app", "shop"), ("__pod_labelpresent_app", "true"), ("x__pod_label_y", "z")];
    becomes("- {action: labelmap, regex: '__pod_label_(.+)'}", &pod, &[&pod[..], &[("app", "shop")]].concat());
    becomes(
        "- {action: labelmap, regex: 'oth(er)', replacement: 'my_${1}'}",
        &[("other", "o")],
        &[("other", "o"), ("my_er", "o")],
    );
    // A copied label is not matched again.
    becomes("- {action: labelmap, regex: 'a(.*)', replacement: 'aa$1'}", &[("a", "1")], &[("a", "1"), ("aa", "1")]);
    // Equal names: the later one wins. An empty name and a label without a value are skipped.
    becomes(
        "- {action: labelmap, regex: '.(_x)'}",
        &[("a_x", "1"), ("b_x", "2")],
        &[("a_x", "1"), ("b_x", "2"), ("_x", "2")],
    );
    becomes("- {action: labelmap, regex: 'a(.*)'}", &[("a", "1")], &[("a", "1")]);
    becomes("- {action: labelmap, regex: 'a(.*)'}", &[("ab", ""), ("b", "kept")], &[("b", "kept")]);
}

#[test]
fn labeldrop_and_labelkeep_go_by_whole_names() {
    let before = &[("a_one", "1"), ("a_two", "2"), ("b_one", "3"), ("c", "4"), ("cc", "5"), ("__path__", "p")];
    becomes(
        "- {action: labeldrop, regex: 'c|a_o.*'}",
        before,
        &[("a_two", "2"), ("b_one", "3"), ("cc", "5"), ("__path__", "p")],
    );
    becomes(
        "- {action: labelkeep, regex: 'a_.*|cc|b_on|__path__'}",
        before,
        &[("a_one", "1"), ("a_two", "2"), ("cc", "5"), ("__path__", "p")],
    );
    // No label is exempt.
    becomes("- {action: labelkeep, regex: c}", before, &[("c", "4")]);
    becomes("- {action: labeldrop}", before, &[]);
}

#[test]
fn lowercase_and_uppercase() {
    let before = [("a", "MiXed-É"), ("b", "Two")];
    becomes(
        "- {action: lowercase, source_labels: [a], target_label: t}",
        &before,
        &[before[0], before[1], ("t", "mixed-é")],
    );
    becomes(
        "- {action: UPPERCASE, source_labels: [a, b], separator: +, target_label: t}",
        &before,
        &[before[0], before[1], ("t", "MIXED-É+TWO")],
    );
    becomes("- {action: Lowercase, source_labels: [missing], target_label: b}", &before, &before[..1]);
}

#[test]
fn rules_run_in_order_until_one_drops() {
    let yaml = r"
        - {source_labels: [__app, __name], regex: '^;*([^;]+)(;.*)?$', target_label: __tmp_name}
        - {source_labels: [__tmp_name], regex: '(.+)-[0-9a-f]+', target_label: __tmp_name}
        - {source_labels: [__tmp_name], target_label: app}
        - {action: drop, source_labels: [app], regex: worker}
        - {target_label: app, replacement: never}";
    let mut kept = labels(&[("__name", "cart-7f9c"), ("__app", "")]);
    assert_eq!(rules(yaml).apply(&mut kept), Verdict::Keep);
    assert_eq!(kept, labels(&[("__name", "cart-7f9c"), ("__tmp_name", "cart"), ("app", "never")]));
    verdict(yaml, &[("__name", "worker-7f9c")], Verdict::Drop { rule: 3 });
}

#[test]
fn labels_without_value_are_missing_even_without_rules() {
    becomes("[]", &[("a", ""), ("b", "x")], &[("b", "x")]);
}

#[test]
fn the_usual_rules_for_pods() {
    let yaml = r"
        - {source_labels: [__meta_kubernetes_pod_controller_name], regex: '([0-9a-z-.]+?)(-[0-9a-f]{8,10})?', action: replace, target_label: __tmp_controller_name}
        - {source_labels: [__meta_kubernetes_pod_label_app_kubernetes_io_name, __meta_kubernetes_pod_label_app, __tmp_controller_name, __meta_kubernetes_pod_name], regex: '^;*([^;]+)(;.*)?$', target_label: app}
        - {source_labels: [__meta_kubernetes_namespace], target_label: namespace}
        - {action: replace, replacement: $1, separator: /, source_labels: [namespace, app], target_label: job}
        - {replacement: '/var/log/pods/*$1/*.log', separator: /, source_labels: [__meta_kubernetes_pod_uid, __meta_kubernetes_pod_container_name], target_label: __path__}
        - {regex: 'true/(.*)', replacement: '/var/log/pods/*$1/*.log', separator: /, source_labels: [__meta_kubernetes_pod_annotationpresent_kubernetes_io_config_hash, __meta_kubernetes_pod_annotation_kubernetes_io_config_hash, __meta_kubernetes_pod_container_name], target_label: __path__}
        - {action: labeldrop, regex: '__(meta|tmp)_.*'}";
    let pod = [
        ("__meta_kubernetes_namespace", "shop"),
        ("__meta_kubernetes_pod_name", "cart-6c4b8d7f9-x2x4z"),
        ("__meta_kubernetes_pod_uid", "0b0f"),
        ("__meta_kubernetes_pod_container_name", "cart"),
    ];
    let with = |more: &[(&'static str, &'static str)]| [&pod[..], more].concat();
    becomes(
        yaml,
        &with(&[("__meta_kubernetes_pod_controller_name", "cart-6c4b8d7f9")]),
        &[("app", "cart"), ("namespace", "shop"), ("job", "shop/cart"), ("__path__", "/var/log/pods/*0b0f/cart/*.log")],
    );
    let static_pod = with(&[
        ("__meta_kubernetes_pod_label_app", "etcd"),
        ("__meta_kubernetes_pod_annotationpresent_kubernetes_io_config_hash", "true"),
        ("__meta_kubernetes_pod_annotation_kubernetes_io_config_hash", "c0ffee"),
    ]);
    becomes(
        yaml,
        &static_pod,
        &[
            ("app", "etcd"),
            ("namespace", "shop"),
            ("job", "shop/etcd"),
            ("__path__", "/var/log/pods/*c0ffee/cart/*.log"),
        ],
    );
}

#[test]
fn described_in_one_line_each() {
    let rules = rules(
        r#"
        - {action: keep, source_labels: [__meta_kubernetes_namespace], regex: test}
        - {action: DROP, source_labels: [a, b], regex: '\w+'}
        - {action: drop, source_labels: [a], regex: "x\ny"}
        - {action: keepequal, source_labels: [a], target_label: b}
        - {action: dropequal, source_labels: [a], target_label: b}
        - {source_labels: [a], target_label: b}
        - {action: hashmod, source_labels: [a], target_label: b, modulus: 4}
        - {action: labelmap, regex: 'a_(.+)'}
        - {action: labeldrop, regex: a}
        - {action: labelkeep, regex: a}
        - {action: lowercase, source_labels: [a], target_label: b}
        - {action: uppercase, source_labels: [a], target_label: b}"#,
    );
    let texts = [
        r#"rule 0: keep if [__meta_kubernetes_namespace] matches "test""#,
        r#"rule 1: drop if [a, b] matches "\w+""#,
        r#"rule 2: drop if [a] matches "x\ny""#,
        "rule 3: keep if [a] equals b",
        "rule 4: drop if [a] equals b",
        r#"rule 5: set b to "$1" if [a] matches "(.*)""#,
        "rule 6: set b to the hash of [a] mod 4",
        r#"rule 7: copy labels whose name matches "a_(.+)" to "$1""#,
        r#"rule 8: remove labels whose name matches "a""#,
        r#"rule 9: remove labels unless their name matches "a""#,
        "rule 10: set b to [a] in lower case",
        "rule 11: set b to [a] in upper case",
    ];
    assert_eq!(rules.len(), texts.len());
    for (i, text) in texts.iter().enumerate() {
        assert_eq!(&*rules.describe(i), *text);
    }
}

#[test]
fn printed_as_it_was_written() {
    let yaml =
        "- source_labels:\n  - a\n  - '123'\n  regex: ''\n  action: labelmap\n- target_label: b\n  action: replace\n";
    let configs: Vec<Config> = serde_yaml::from_str(yaml).expect("valid");
    assert_eq!(serde_yaml::to_string(&configs).expect("a list"), yaml);
    let scalars: Config = serde_yaml::from_str("source_labels: [123, true]").expect("scalars");
    assert_eq!(scalars.source_labels, Some(vec!["123".to_string(), "true".to_string()]));
}
