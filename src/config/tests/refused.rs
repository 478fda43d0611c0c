//! Configs that are refused, and their error messages.

use super::*;

#[test]
fn refusals_name_the_place_and_the_way_out() {
    for (text, want) in [
        ("scrape_confgs: []\n", "f.yaml:1:1: scrape_confgs: unknown key, did you mean scrape_configs?"),
        (
            "clients: [{url: 'http://l', batch_wait: 1s}]",
            "f.yaml:1:29: clients[0].batch_wait: unknown key, did you mean batchwait?",
        ),
        (
            "scrape_configs:\n- job_name: a\n  pipeline_stage: []",
            "f.yaml:3:3: scrape_configs[0].pipeline_stage: unknown key, did you mean pipeline_stages?",
        ),
        (
            "scrape_configs:\n- job_name: a\n  relabel_configs:\n  - source_label: [a]",
            "f.yaml:4:5: scrape_configs[0].relabel_configs[0].source_label: unknown key, did you mean source_labels?",
        ),
        ("clients:\n  url: http://l", "f.yaml:1:1: clients: expected a list, got a mapping"),
        (
            "clients:\n- url: http://l\n  batchwait: 1s\n  batchwait: 2s",
            "f.yaml:4:3: clients[0]: the key \"batchwait\" is already set above",
        ),
        (
            "clients:\n\t- url: x",
            "f.yaml:2:1: found character that cannot start any token (YAML is indented by spaces, never by tabs)",
        ),
        (
            "scrape_configs:\n- job_name: @x",
            "f.yaml:2:13: found character that cannot start any token: if this is a text, such as a glob or a regex, write it in \
             single quotes",
        ),
        (
            "scrape_configs:\n- job_name: \"\\d\"",
            "f.yaml:2:14: found unknown escape character: write the text in single quotes, in \
             which \\ is an ordinary character",
        ),
        (
            "scrape_configs:\n- job_name: *.log",
            "f.yaml:2:14: did not find expected alphabetic or numeric character: if this is a text",
        ),
        (
            "target_config: {stdin: perhaps}",
            "f.yaml:1:17: target_config.stdin: expected true or false, got text \"perhaps\"",
        ),
        ("server: 5", "f.yaml:1:1: server: expected a mapping, got 5"),
        (
            "wal: {clean_segments: 1h}",
            "f.yaml:1:7: wal.clean_segments: unknown key; known here: enabled, dir, cleanSegmentsOlderThan, watchConfig",
        ),
    ] {
        let message = refused(text);
        assert!(message.starts_with(want), "{message}");
    }
}

#[test]
fn wrong_values_are_refused() {
    for (text, place, word) in [
        ("clients: [{url: 'http://l', batchsize: many}]", "f.yaml:1:29: clients[0].batchsize: ", "many"),
        ("clients: [{url: 'http://l', batchwait: 1 second}]", "f.yaml:1:29: clients[0].batchwait: ", "1 second"),
        ("limits_config: {max_line_size: 12 elephants}", "f.yaml:1:17: limits_config.max_line_size: ", "12 elephants"),
        ("positions: {sync_period: 10}", "f.yaml:1:13: positions.sync_period: ", "10"),
        ("positions: {sync_period: 0s}", "f.yaml:1:13: positions.sync_period: ", "longer than 0"),
        ("positions: {filename: }", "f.yaml:1:13: positions.filename: ", "must name a file"),
        ("target_config: {sync_period: 0s}", "f.yaml:1:17: target_config.sync_period: ", "longer than 0"),
        (
            "global: {file_watch_config: {max_poll_frequency: 0}}",
            "f.yaml:1:30: global.file_watch_config.max_poll_frequency: ",
            "longer than 0",
        ),
        (
            "global: {file_watch_config: {min_poll_frequency: 1s, max_poll_frequency: 250ms}}",
            "f.yaml:1:30: global.file_watch_config.min_poll_frequency: ",
            "longer than max_poll_frequency",
        ),
        (
            "limits_config: {readline_rate_enabled: true, readline_rate: 0}",
            "f.yaml:1:46: limits_config.readline_rate: ",
            "more than 0",
        ),
        (
            "limits_config: {readline_rate_enabled: true, readline_burst: 0}",
            "f.yaml:1:46: limits_config.readline_burst: ",
            "at least 1",
        ),
        (
            "limits_config: {readline_rate_enabled: true, readline_rate: 1e-19}",
            "f.yaml:1:46: limits_config.readline_rate: ",
            "100 years",
        ),
        (
            "limits_config: {readline_rate_enabled: true, readline_rate: 1, readline_burst: 4000000000}",
            "f.yaml:1:46: limits_config.readline_rate: ",
            "100 years",
        ),
        ("server: {http_listen_port: 123456}", "f.yaml:1:10: server.http_listen_port: ", "65535"),
        ("server: {log_level: loud}", "f.yaml:1:10: server.log_level: ", "loud"),
    ] {
        let message = refused(text);
        assert!(message.starts_with(place) && message.contains(word), "{message}");
    }
}

#[test]
fn clients_that_cannot_be() {
    for (text, want) in [
        ("", "f.yaml: clients: at least one client config must be provided"),
        ("clients: []", "f.yaml:1:1: clients: at least one client config must be provided"),
        ("clients:\n", "f.yaml:1:1: clients: at least one client config must be provided"),
        ("clients:\n- tenant_id: a", "f.yaml:2:3: clients[0].url: is required"),
        (
            "clients:\n- url: http://l\n- url: http://l\n",
            "f.yaml:3:3: clients[1]: goes to the same place as clients[0]",
        ),
        (
            "clients:\n- {name: a, url: 'http://l'}\n- {name: a, url: 'http://m'}",
            "f.yaml:3:4: clients[1].name: \"a\" is",
        ),
        (
            "clients: [{url: 'http://${LOKI}:3100/loki/api/v1/push'}]",
            "f.yaml:1:12: clients[0].url: \"http://${LOKI}:3100/loki/api/v1/push\" is not a URL: it has a character that no request can have. \
             Use `-config.expand-env=true`",
        ),
        ("client: {tenant_id: a}", "f.yaml:1:1: client.url: is required"),
    ] {
        let message = refused(text);
        assert!(message.starts_with(want), "{message}");
    }
    accepted("clients: [{name: a, url: 'http://l'}, {name: b, url: 'http://l'}, {url: 'http://l', tenant_id: a}]");
}

/// The path of an error is not parsed from text: a key of the user that looks like a path is found in the file.
#[test]
fn keys_that_look_like_paths() {
    for (text, want) in [
        (
            "clients:\n- url: http://l\n  headers:\n    x.y: a\n    'c.d[0]: e': f\n",
            "f.yaml:5:5: clients[0].headers.c.d[0]: e: is not a valid HTTP header",
        ),
        (
            "clients:\n- url: http://l\n  http_headers:\n    a: {values: [b]}\n    '[1].z y': {values: [c]}\n",
            "f.yaml:5:5: clients[0].http_headers.[1].z y: is not a valid HTTP header",
        ),
    ] {
        let message = refused(text);
        assert!(message.starts_with(want), "{message}");
    }
    let job = "scrape_configs:\n- job_name: j\n  static_configs: [{labels: {__path__: /x}}]\n  pipeline_stages:\n";
    let message = refused(&format!("{CLIENT}{job}  - json:\n      expressions:\n        a: b\n        c.d[0]: '['\n"));
    assert!(
        message.starts_with("f.yaml:9:9: scrape_configs[0].pipeline_stages[0].json.expressions.c.d[0]: "),
        "{message}"
    );
}

#[test]
fn without_sending_no_client_is_needed() {
    let mut case = Case::new("");
    case.request.dry_run = true;
    assert_eq!(case.load().expect("no client").0.clients.len(), 0);
}

#[test]
fn jobs_that_cannot_be() {
    let targets = "static_configs: [{labels: {__path__: /x}}]";
    for (jobs, want) in [
        (
            format!("- {{job_name: twin, {targets}}}\n- {{job_name: twin, {targets}}}"),
            "f.yaml:4:4: scrape_configs[1].job_name: \"twin\" is scrape_configs[0]'s already",
        ),
        (format!("- {targets}"), "f.yaml:3:3: scrape_configs[0]: job_name is required"),
        (
            "- job_name: lonely".to_string(),
            "f.yaml:3:3: scrape_configs[0]: job \"lonely\" has no targets: give it one of static_configs, ",
        ),
        (
            format!(
                "- job_name: a\n  {targets}\n  relabel_configs:\n  - {{source_labels: [a], target_label: b}}\n  - {{action: keepp}}"
            ),
            "f.yaml:7:",
        ),
        (
            format!("- job_name: a\n  {targets}\n  pipeline_stages:\n  - cri:\n  - jsn: {{}}"),
            "f.yaml:7:5: scrape_configs[0].pipeline_stages[1]: unknown stage type `jsn`",
        ),
        (
            format!("- job_name: a\n  {targets}\n  pipeline_stages:\n  - cri:\n      max_partial_lines: x"),
            "f.yaml:7:7: scrape_configs[0].pipeline_stages[0].cri.max_partial_lines: ",
        ),
        (
            format!("- job_name: a\n  {targets}\n  pipeline_stages:\n  - labels: {{l: a, l: b}}"),
            "f.yaml:6:20: scrape_configs[0].pipeline_stages[0].labels: the key \"l\" is already set above",
        ),
    ] {
        let message = refused(&format!("{CLIENT}scrape_configs:\n{jobs}\n"));
        assert!(message.starts_with(want), "{message}\nexpected {want}");
    }
}

#[test]
fn standard_input_is_a_target() {
    let case = Case::new(&format!("{CLIENT}scrape_configs: [{{job_name: lonely}}]"));
    let (config, _) = case.with("stdin", "target_config.stdin", Scalar::Bool(true)).load().expect("a target");
    assert!(config.target_config.stdin);
}

/// All kinds of targets of Promtail and Prometheus that are not supported, with a part of what to use instead.
const REFUSED: [(&str, &str); 5] = [
    (
        "digitalocean_sd_configs serverset_sd_configs nerve_sd_configs marathon_sd_configs gce_sd_configs ec2_sd_configs \
         openstack_sd_configs azure_sd_configs triton_sd_configs eureka_sd_configs hetzner_sd_configs ionos_sd_configs \
         kuma_sd_configs lightsail_sd_configs linode_sd_configs nomad_sd_configs ovhcloud_sd_configs puppetdb_sd_configs \
         scaleway_sd_configs stackit_sd_configs uyuni_sd_configs vultr_sd_configs",
        "over HTTP for http_sd_configs, or write them to a file for file_sd_configs",
    ),
    ("gcplog azure_event_hubs cloudflare", "run Grafana Alloy for this job"),
    ("windows_events", "fantail runs on Linux"),
    ("kafka gelf", "push to a job with loki_push_api"),
    ("heroku_drain", "a job with syslog"),
];

#[test]
fn kinds_of_targets_that_are_not_here_are_refused_by_name() {
    let kinds = REFUSED.iter().flat_map(|(kinds, instead)| kinds.split_whitespace().map(move |kind| (kind, instead)));
    for (kind, instead) in kinds {
        let text = |value: &str| {
            format!(
                "{CLIENT}scrape_configs:\n- job_name: a\n  {kind}: {value}\n  static_configs: [{{labels: {{__path__: /x}}}}]"
            )
        };
        let message = refused(&text("{a: b}"));
        let want = format!("f.yaml:4:3: scrape_configs[0].{kind}: fantail does not support {kind}: ");
        assert!(message.starts_with(&want) && message.contains(instead), "{message}");
        assert!(
            message.ends_with(
                "(supported: static_configs, kubernetes_sd_configs, file_sd_configs, http_sd_configs, docker_sd_configs, \
                 dockerswarm_sd_configs, consul_sd_configs, consulagent_sd_configs, dns_sd_configs, journal, syslog and \
                 loki_push_api)"
            ),
            "{message}"
        );
        accepted(&text(""));
    }
}

/// A file with all of them is refused with a line for each, so that nobody has to start the agent twenty times.
#[test]
fn all_kinds_of_a_file_are_named_at_once() {
    let kinds: Vec<&str> = REFUSED.iter().flat_map(|(kinds, _)| kinds.split_whitespace()).collect();
    let jobs = kinds.iter().enumerate().map(|(i, kind)| format!("- {{job_name: j{i}, {kind}: [{{}}]}}\n"));
    let message = refused(&format!("{CLIENT}scrape_configs:\n{}", jobs.collect::<String>()));
    for (i, kind) in kinds.iter().enumerate() {
        assert!(
            message.contains(&format!("scrape_configs[{i}].{kind}: fantail does not support {kind}: ")),
            "{message}"
        );
    }
    assert_eq!(message.lines().count(), kinds.len(), "{message}");
}

#[test]
fn receivers_that_cannot_work() {
    let job = |name: &str, more: &str| {
        format!("- job_name: {name}\n  loki_push_api: {{server: {{http_listen_port: 3500}}}}\n{more}")
    };
    for (jobs, want) in [
        (
            job("a", "  static_configs: [{labels: {__path__: /x}}]\n"),
            "scrape_configs[0].loki_push_api: a job has targets, or syslog, or loki_push_api",
        ),
        (format!("{}{}", job("a", ""), job("b", "")), "scrape_configs[1].loki_push_api: listens where job \"a\" does"),
        (
            job("a", "").replace("http_listen_port: 3500", "http_listen_port: 3500, grcp: 1"),
            "scrape_configs[0].loki_push_api.server.grcp: ",
        ),
        (
            job("a", "").replace("server:", "max_send_msg_size: 0, server:"),
            "scrape_configs[0].loki_push_api.max_send_msg_size: must be more",
        ),
    ] {
        let said = refused(&format!("{CLIENT}scrape_configs:\n{jobs}"));
        assert!(said.contains(want), "{said}");
    }
    accepted(&format!(
        "{CLIENT}scrape_configs:\n{}",
        job("a", "  relabel_configs: [{target_label: a, replacement: b}]\n")
    ));
}

#[test]
fn all_jobs_that_are_not_supported_are_named_at_once_or_left_out() {
    let jobs = "scrape_configs:\n- job_name: mixed\n  gelf: {}\n  kafka: {}\n- job_name: files\n  static_configs: [{labels: {__path__: /x}}]\n\
                - cloudflare: {}\n- job_name: none\n  gelf:\n  static_configs: [{labels: {__path__: /x}}]\n";
    let case = || Case::new(&format!("{CLIENT}{jobs}"));
    let refused = case().load().expect_err("three kinds").to_string();
    let lines: Vec<&str> = refused.lines().collect();
    for (line, kind) in lines.iter().zip(["[0].gelf", "[0].kafka", "[2].cloudflare"]) {
        assert!(
            line.starts_with("f.yaml:") && line.contains(&format!("scrape_configs{kind}: fantail does not")),
            "{line}"
        );
    }
    assert_eq!(lines.len(), 4, "{refused}");
    assert!(lines[3].starts_with("2 other jobs of this config can run: -config.skip-unsupported-jobs"), "{refused}");
    let flag = case().with("config.skip-unsupported-jobs", "options.skip_unsupported_jobs", Scalar::Bool(true));
    let key = Case::new(&format!("options: {{skip_unsupported_jobs: yes}}\n{CLIENT}{jobs}"));
    for case in [flag, key] {
        let (config, warnings) = case.load().expect("two jobs are left");
        let names =
            |jobs: &[crate::config::ScrapeConfig]| jobs.iter().map(|job| job.job_name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&config.scrape_configs), ["files", "none"]);
        let skipped: Vec<&str> = config.skipped_jobs.iter().map(|job| job.name.as_str()).collect();
        assert_eq!(skipped, ["mixed", "scrape_configs[2]"]);
        assert!(config.skipped_jobs[0].reason.contains("gelf") && config.skipped_jobs[0].reason.contains("kafka"));
        let said: Vec<_> = warnings.iter().filter(|warning| warning.contains("this job is not run")).collect();
        assert_eq!(said.len(), 3, "{warnings:?}");
    }
}

#[test]
fn whoever_forgot_expand_env_is_told() {
    let hint = "Use `-config.expand-env=true` flag if you want to expand environment variables in your config file";
    assert!(refused("clients: [{url: 'http://l', batchsize: '${SIZE}'}]").ends_with(hint));
    assert!(!refused("clients: [{url: 'http://l', batchsize: '$SIZE'}]").contains(hint));
}

#[test]
fn paths_that_are_no_globs() {
    for key in ["__path__", "__path_exclude__"] {
        let job = "scrape_configs:\n- job_name: a\n  static_configs:\n  - labels:\n      __path__: /x\n      __path_exclude__: /y\n";
        let text = format!("{CLIENT}{job}").replace(&format!("{key}: /"), &format!("{key}: /{{a,"));
        let said = refused(&text);
        assert!(said.contains(&format!("static_configs[0].labels.{key}: path")) && said.contains("brace"), "{said}");
        assert!(said.starts_with("f.yaml:"), "{said}");
    }
}
