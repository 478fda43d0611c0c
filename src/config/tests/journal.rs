//! The block `journal` of a job.

use std::time::Duration;

use super::*;

fn job(journal: &str) -> String {
    let labels = "relabel_configs: [{source_labels: [__journal__systemd_unit], target_label: unit}]";
    format!("{CLIENT}scrape_configs: [{{job_name: j, {labels}, journal: {journal}}}]")
}

#[test]
fn every_key_of_promtail_is_honoured() {
    let all =
        "{max_age: 12h, json: true, path: /var/log/journal, labels: {job: systemd-journal}, matches: '_UID=0 + A=b=c'}";
    let (config, warnings) = accepted(&job(all));
    assert_eq!(warnings, Vec::<String>::new());
    let journal = config.scrape_configs[0].journal().expect("a journal");
    assert_eq!(
        (journal.max_age.0, journal.json, journal.path.as_str()),
        (Duration::from_hours(12), true, "/var/log/journal")
    );
    assert_eq!(journal.labels["job"], "systemd-journal");
    let (config, warnings) = accepted(&job("{}"));
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(config.scrape_configs[0].journal().expect("a journal").max_age.0, Duration::from_hours(7));
    // Without a value it is not there.
    assert!(refused(&job("")).contains("has no targets"));
}

#[test]
fn mistakes_are_named() {
    for (journal, want) in [
        ("{max_ago: 1h}", "scrape_configs[0].journal.max_ago: unknown key, did you mean max_age?"),
        ("{max_age: soon}", "scrape_configs[0].journal.max_age: "),
        ("{path: journal}", "scrape_configs[0].journal.path: must be an absolute path"),
        ("{matches: unit}", "scrape_configs[0].journal.matches: \"unit\" has no `=`"),
        ("{json: maybe}", "scrape_configs[0].journal.json: "),
    ] {
        let said = refused(&job(journal));
        assert!(said.contains(want), "{journal}: {said}");
    }
}

#[test]
fn what_would_send_nothing_is_said() {
    let (_, warnings) = accepted(&format!("{CLIENT}scrape_configs: [{{job_name: j, journal: {{}}}}]"));
    assert!(warnings.len() == 1 && warnings[0].contains("every entry is dropped"), "{warnings:?}");
    let files = "static_configs: [{labels: {__path__: /x}}]";
    let (config, warnings) =
        accepted(&format!("{CLIENT}scrape_configs: [{{job_name: j, {files}, journal: {{labels: {{a: b}}}}}}]"));
    assert!(warnings.len() == 1 && warnings[0].contains("ignored, as in Promtail"), "{warnings:?}");
    assert!(config.scrape_configs[0].journal().is_none());
}
