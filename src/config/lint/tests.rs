//! Mistakes that people make: each has a message that says what to write.

use std::fs;

use super::*;

mod places;

const CLIENT: &str = "clients: [{url: 'http://loki:3100/loki/api/v1/push'}]\n";

/// What is found in a config. `DIR` in it is replaced by a directory with `app.log`, `binary.log` and `dir/a.log`.
fn found(text: &str, expand_env: bool) -> Findings {
    let mut findings = found_on(text, expand_env, "");
    // The default directory may not exist where the test runs.
    findings.warnings.retain(|warning| !warning.contains("positions.filename"));
    findings
}

/// The same with these mounts, in the form of the kernel's list.
fn found_on(text: &str, expand_env: bool, mountinfo: &str) -> Findings {
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("dir")).expect("made");
    for (name, bytes) in [("app.log", &b"one\n"[..]), ("binary.log", b"\x7fELF\0\0\0"), ("dir/a.log", b"a\n")] {
        fs::write(at(name), bytes).expect("written");
    }
    let file = at("f.yaml");
    fs::write(&file, text.replace("DIR", &directory.path().display().to_string())).expect("written");
    let request = Request { files: file.display().to_string(), expand_env, ..Request::default() };
    let real = directory.path().canonicalize().expect("a path").display().to_string();
    let mounts = Mounts::of_text(&mountinfo.replace("DIR", &real));
    let mut findings = lint_on(&request, &|name| (name == "HOME").then(|| "/root".to_string()), &mounts);
    let short = |text: &mut String| {
        *text = text.replace(&request.files, "f.yaml").replace(&directory.path().display().to_string(), "DIR");
    };
    findings.mistakes.iter_mut().chain(&mut findings.warnings).for_each(short);
    findings
}

fn job(rest: &str) -> String {
    format!("{CLIENT}scrape_configs:\n- job_name: a\n{rest}")
}

fn path(glob: &str) -> String {
    job(&format!("  static_configs:\n  - labels:\n      __path__: {glob}\n"))
}

fn stages(stages: &str) -> String {
    path("DIR/app.log") + "  pipeline_stages:\n" + stages
}

#[test]
fn what_is_right_has_no_finding() {
    for text in [
        stages("  - timestamp: {source: t, format: RFC3339}\n  - labels: {level: }\n"),
        stages(
            "  - replace: {expression: '(a)', replace: '{{ .Value }}'}\n  - template: {source: a, template: '${1} ~/“x”'}\n",
        ),
        path("DIR/*.log\n      __path_exclude__: DIR/binary*\n      host: x"),
    ] {
        let findings = found(&text, false);
        assert!(findings.mistakes.is_empty() && findings.warnings.is_empty(), "{text}\n{findings:?}");
    }
}

#[test]
fn mistakes_that_do_not_start() {
    for (text, parts) in [
        ("scrape_confgs: []\n".to_string(), &["f.yaml:1:1", "did you mean scrape_configs?"][..]),
        (path("DIR/app.log") + "\tx: 1\n", &["f.yaml:7:1", "found a tab character that violates indentation"]),
        (
            "clients: [{url: 'loki:3100/loki/api/v1/push'}]\n".into(),
            &["f.yaml:1:", "clients[0].url", "\"loki:3100/loki/api/v1/push\" is not a URL", "http://"],
        ),
        (
            "clients: [{url: 'http://${LOKI_HOST}:3100/loki/api/v1/push'}]\n".into(),
            &["f.yaml:1:", "clients[0].url", "a character that no request can have"],
        ),
        (
            "clients: [{name: a, url: 'http://l/loki/api/v1/push'}, {url: 'http://m/loki/api/v1/push', name: a}]\n"
                .into(),
            &["clients[1].name: \"a\" is the name of clients[0] too"],
        ),
        (
            format!("{CLIENT}positions: {{filename: DIR/dir}}\n"),
            &["DIR/dir is a directory: write DIR/dir/positions.yaml"],
        ),
        (
            format!("{CLIENT}limits_config: {{readline_rate: .nan}}\n"),
            &["limits_config.readline_rate: must be a number"],
        ),
        (String::new(), &["at least one client"]),
        (stages("  - regex: {expression: '(a'}\n"), &["f.yaml:", "pipeline_stages[0].regex.expression"]),
        (stages("  - regex: {expression: 'a(?=b)'}\n"), &["pipeline_stages[0].regex.expression"]),
        (stages("  - jsn: {}\n"), &["pipeline_stages[0]", "did you mean `json`?"]),
        (
            path("DIR/app.log") + "  relabel_configs:\n  - {action: keeep}\n",
            &["relabel_configs[0].action", "expected one of replace, keep"],
        ),
        (path("DIR/app.log") + "  relabel_configs:\n  - {source_labels: [a]}\n", &["relabel_configs[0].target_label"]),
        (path("DIR/app.log") + "- job_name: a\n", &["job names must be unique"]),
        (format!("{CLIENT}positions: {{sync_period: 10}}\n"), &["f.yaml:2:13: positions.sync_period"]),
        (path("DIR/app.log\n      x: 1\n      x: 2"), &["f.yaml:8:7", "the key \"x\" is already set above"]),
        (stages("  - labels: [level]\n"), &["pipeline_stages[0].labels", "write `level:`"]),
        (
            stages("  - regex:\n    expression: a\n"),
            &["pipeline_stages[0]", "if `expression` is an option of `regex`: indent it by two more spaces"],
        ),
        (CLIENT.to_string() + "scrape_configs:\n  job_name: a\n", &["scrape_configs", "expected a list"]),
    ] {
        let findings = found(&text, false);
        let fits = |mistake: &String| parts.iter().all(|part| mistake.contains(part));
        assert!(findings.mistakes.iter().any(fits), "{parts:?}\n{text}\n{findings:?}");
    }
}

#[test]
fn what_starts_and_is_probably_wrong() {
    for (text, parts) in [
        (
            job("  static_configs: [{labels: {__path_: DIR/app.log}}]\n"),
            &["f.yaml:4:", "static_configs[0].labels.__path_", "write __path__"][..],
        ),
        (job("  static_configs: [{labels: {__paths__: DIR/app.log}}]\n"), &["write __path__"]),
        (job("  static_configs: [{labels: {path: /var/log/x}}]\n"), &["write __path__: /var/log/x"]),
        (path("DIR/lgos/*.log"), &["f.yaml:6:7", "matches no file now: ", "DIR/lgos"]),
        (path("DIR/*.txt"), &["matches no file now"]),
        (path("DIR/dir"), &["is a directory", "/*.log"]),
        (path("~/app.log"), &["~ is not replaced"]),
        (path("“DIR/app.log”"), &["typographic quotes"]),
        (path("'${LOGS}/*.log'"), &["${LOGS} is not replaced: start with -config.expand-env=true"]),
        ("clients: [{url: 'http://loki:3100'}]\n".into(), &["f.yaml:1:", "write http://loki:3100/loki/api/v1/push"]),
        (
            job(
                "  static_configs: [{labels: {__path__: DIR/app.log}}]\n  relabel_configs: [{action: keep, modulus: 3}]\n",
            ),
            &["f.yaml:5:", "relabel_configs[0].modulus: has no effect with action keep"],
        ),
        (
            job(
                "  static_configs: [{labels: {__path__: DIR/app.log}}]\n  relabel_configs: [{target_label: my-x, source_labels: [a]}]\n",
            ),
            &["relabel_configs[0].target_label", "the label is sent as \"my_x\""],
        ),
        (stages("  - replace: {expression: 'password=\\S+', replace: x}\n"), &["no group, so nothing is replaced"]),
        (stages("  - regex: {expression: '(\\S+)'}\n"), &["no named group, so nothing is extracted"]),
        (
            format!("{CLIENT}limits_config: {{readline_rate: 5, readline_burst: 7}}\n"),
            &["readline_burst: has no effect without readline_rate_enabled"],
        ),
        (
            format!("{CLIENT}limits_config: {{max_line_size_truncate: true}}\n"),
            &["has no effect without max_line_size"],
        ),
        (format!("{CLIENT}server: {{tls_min_version: foo}}\n"), &["has no effect without http_tls_config"]),
        (format!("{CLIENT}server: {{external_url: agent}}\n"), &["external_url", "or /agent"]),
        (path("DIR/binary.log"), &["DIR/binary.log is not a text file"]),
        (
            stages("  - timestamp: {source: t, format: 'yyyy-MM-dd HH:mm'}\n"),
            &["timestamp.format", "layout of Java", "\"2006-01-02 15:04\""],
        ),
        (stages("  - timestamp: {source: t, format: RFC3399}\n"), &["did you mean RFC3339?"]),
        (stages("  - labels: {trace_id: }\n"), &["labels.trace_id", "structured_metadata"]),
        (
            stages("  - match: {selector: '{a=\"b\"}', stages: [{labels: {user_id: }}]}\n"),
            &["match.stages[0].labels.user_id", "structured_metadata"],
        ),
        (
            path("DIR/*.log") + "- job_name: b\n  static_configs: [{labels: {__path__: DIR/app.log}}]\n",
            &["scrape_configs[1]", "job \"a\" reads DIR/app.log too"],
        ),
        (
            path("/var/lib/docker/containers/*/*.log") + "- job_name: b\n  docker_sd_configs: [{host: 'unix:///x'}]\n",
            &["scrape_configs[0]", "docker_sd_configs of this config reads too"],
        ),
        (
            "clients: [{url: 'http://l/loki/api/v1/push', basic_auth: {username: u, password_file: DIR/none}}]\n"
                .into(),
            &["basic_auth.password_file", "cannot be read"],
        ),
        (format!("{CLIENT}wal: {{enabled: true}}\n"), &["wal.enabled: ignored"]),
        (CLIENT.to_string(), &["there are no scrape_configs"]),
        (format!("{CLIENT}---\nscrape_configs: []\n"), &["f.yaml:2: only the text before this `---` is read"]),
        (job("  static_configs: [{labels: {a: b}}]\n"), &["static_configs[0]", "has no label __path__"]),
        (job("  static_configs: [{labels: {app_path: x}}]\n"), &["static_configs[0]", "has no label __path__"]),
        (
            job("  static_configs: [{targets: [/var/log/x.log]}]\n"),
            &["static_configs[0]", "a target is a host, not a path: write labels: {__path__: \"/var/log/x.log\"}"],
        ),
        (
            path("DIR/app.log") + "  relabel_configs:\n  - {action: labelkeep, regex: job}\n",
            &["relabel_configs remove the label __path__"],
        ),
        (
            path("DIR/app.log") + "  relabel_configs:\n  - {action: keep, source_labels: [a], regex: none}\n",
            &["relabel_configs[0]", "drops all targets of this job"],
        ),
        (
            path("DIR/app.log") + "server: {http_tls_config: {cert_file: DIR/none, key_file: DIR/none}}\n",
            &["http_tls_config.cert_file", "cannot be read"],
        ),
    ] {
        let findings = found(&text, false);
        let fits = |warning: &String| parts.iter().all(|part| warning.contains(part));
        assert!(findings.warnings.iter().any(fits), "{parts:?}\n{text}\n{findings:?}");
        assert_eq!(findings.mistakes, Vec::<String>::new(), "{text}");
    }
}

#[test]
fn a_job_that_drops_its_target_does_not_read_it() {
    let other = |rule: &str| {
        let rules = format!("  relabel_configs: [{rule}]\n");
        path("DIR/*.log\n      __path_exclude__: DIR/binary*\n      env: test")
            + "- job_name: b\n"
            + &rules
            + "  static_configs: [{labels: {__path__: DIR/app.log, env: test}}]\n"
    };
    for (rule, is_read) in [
        ("{action: keep, source_labels: [env], regex: production}", false),
        ("{action: drop, source_labels: [env], regex: production}", true),
        ("{target_label: __path__, replacement: DIR/dir/a.log}", false),
    ] {
        let warnings = found(&other(rule), false).warnings;
        assert_eq!(warnings.iter().any(|text| text.contains("reads DIR/app.log too")), is_read, "{rule} {warnings:?}");
    }
}

/// The start says the same.
#[test]
fn variables_are_said_at_the_start() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let text = "clients: [{url: 'http://l/loki/api/v1/push', tenant_id: 'hunter${NONE}'}]\n";
    fs::write(file.path(), text).expect("written");
    let files = file.path().display().to_string();
    for (expand_env, part) in [(true, "the variable NONE is not set"), (false, "${NONE} is not replaced")] {
        let request = Request { files: files.clone(), expand_env, ..Request::default() };
        let loaded = Config::load(&request, &|_| None).expect("it starts");
        let warnings = crate::config::check(&loaded).expect("it is right");
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains(part) && !warnings[0].contains("hunter"), "{warnings:?}");
    }
}

/// A variable without a value is often the reason of a mistake.
#[test]
fn a_start_that_fails_says_the_variables_too() {
    for text in [
        "clients: [{url: 'http://${NONE}:3100/'}]\n",
        "clients: [{url: 'http://l/', batchsize: '${NONE}'}]\n",
        "clients: [{url: 'http://l/'}, ${NONE:0:1}}]\n",
        "clients: [{url: 'http://l/'}]\npositions: {filename: '${NONE}'}\nscrape_configs: [{job_name: a, gcplog: {}}]\n",
    ] {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), text).expect("written");
        let request = Request { files: file.path().display().to_string(), expand_env: true, ..Request::default() };
        let loaded = Config::load(&request, &|_| None);
        let error = loaded.and_then(|loaded| crate::config::check(&loaded)).expect_err(text).to_string();
        let lines: Vec<&str> = error.lines().collect();
        assert!(lines.len() >= 2 && lines.iter().any(|line| line.contains("the variable NONE is not set")), "{error}");
    }
}

#[test]
fn variables_without_a_value() {
    let text = "# ${COMMENT}\nclients: [{url: 'http://${HOME}:${PORT}/${P:-push}'}] # it's ${ANOTHER}\n";
    let findings = found(text, true);
    let about: Vec<&String> = findings.warnings.iter().filter(|warning| warning.contains("is not set")).collect();
    assert_eq!(about.len(), 1, "{findings:?}");
    assert!(about[0].contains("f.yaml:2:33: the variable PORT is not set"), "{}", about[0]);
    let quoted =
        found("clients: [{url: 'http://l/loki/api/v1/push', external_labels: {a: 'team #${TEAM}'}}]\n", true).warnings;
    assert!(quoted.iter().any(|text| text.contains("the variable TEAM is not set")), "{quoted:?}");
    let replacement =
        job("  relabel_configs: [{target_label: a, replacement: '${1}'}]\n  static_configs: [{labels: {a: b}}]\n");
    let warnings = found(&replacement, true).warnings;
    assert!(warnings.iter().any(|text| text.contains("${1} is replaced by nothing: write $${1}")), "{warnings:?}");
    // Also if what is left is no config.
    let warnings = found("clients: [{url: ${URL}]", true).warnings;
    assert!(warnings.len() == 1 && warnings[0].contains("the variable URL is not set"), "{warnings:?}");
}

#[test]
fn all_mistakes_are_found_in_one_run() {
    let text = "clients: [{url: 'http://l', batch_wait: 1s}]
serve: {}
positions: {sync_period: 0s}
scrape_configs:
- job_name: a
  static_configs: [{labels: {__path__: DIR/app.log}}]
  relabel_configs:
  - {action: keep, regex: '('}
  - {action: hashmod, target_label: x}
  pipeline_stages:
  - jsn: {}
  - drop: {expression: '('}
- job_name: b
";
    let findings = found(text, false);
    for part in [
        "f.yaml:1:29: clients[0].batch_wait",
        "f.yaml:2:1: serve",
        "f.yaml:3:13: positions.sync_period",
        "f.yaml:8:20: scrape_configs[0].relabel_configs[0].regex",
        "scrape_configs[0].relabel_configs[1].modulus",
        "scrape_configs[0].pipeline_stages[0]",
        "f.yaml:12:12: scrape_configs[0].pipeline_stages[1].drop",
        "has no targets",
    ] {
        let count = findings.mistakes.iter().filter(|mistake| mistake.contains(part)).count();
        assert_eq!(count, 1, "{part}: {:#?}", findings.mistakes);
    }
    assert_eq!(findings.mistakes.len(), 8, "{:#?}", findings.mistakes);
    // The start says all of them too, as far as the config can be read.
    let text = text.replace("batch_wait", "batchwait").replace("serve:", "server:");
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), text).expect("written");
    let request = Request { files: file.path().display().to_string(), ..Request::default() };
    let loaded = Config::load(&request, &|_| None).expect("it can be read");
    let error = crate::config::check(&loaded).expect_err("it is wrong").to_string();
    assert!(error.lines().count() >= 5 && error.contains("sync_period") && error.contains("stages[1].drop"), "{error}");
}

#[test]
fn unsupported_jobs_hide_no_other_mistake() {
    let text = "clients: [{url: 'http://l/loki/api/v1/push', batchwait: 5, nonsense: 1}]
scrape_configs:
- job_name: g
  gelf: {}
- job_name: k
  kafka: {}
- job_name: a
  static_configs: [{labels: {__path_: DIR/app.log, __path__: DIR/app.log}}]
  pipeline_stages:
  - jsn: {}
- job_name: b
options: {skip_unsupported_job: true}
serve: {level: '${LEVEL}'}
";
    let findings = found(text, false);
    for part in [
        "f.yaml:4:3: scrape_configs[0].gelf: fantail does not support gelf",
        "f.yaml:6:3: scrape_configs[1].kafka: fantail does not support kafka",
        "f.yaml:1:46: clients[0].batchwait",
        "f.yaml:1:60: clients[0].nonsense",
        "f.yaml:10:5: scrape_configs[2].pipeline_stages[0]",
        "f.yaml:11:3: scrape_configs[3]: job \"b\" has no targets",
        "options.skip_unsupported_job: unknown key, did you mean skip_unsupported_jobs?",
        "f.yaml:13:1: serve: unknown key",
    ] {
        let count = findings.mistakes.iter().filter(|mistake| mistake.contains(part)).count();
        assert_eq!(count, 1, "{part}: {:#?}", findings.mistakes);
    }
    assert_eq!(findings.mistakes.len(), 8, "{:#?}", findings.mistakes);
    assert!(findings.warnings.iter().any(|warning| warning.contains("labels.__path_: has no meaning")), "{findings:?}");
    // What helps against several mistakes is said once, below them.
    assert_eq!(findings.advice.len(), 2, "{findings:?}");
    assert!(findings.advice[0].starts_with("2 other jobs of this config can run"), "{findings:?}");
    assert!(findings.advice[1].starts_with("Use `-config.expand-env=true`"), "{findings:?}");
    assert!(findings.mistakes.iter().all(|mistake| !mistake.contains("expand-env")), "{findings:?}");
}

#[test]
fn variables_that_are_not_replaced_are_said_by_name_and_never_with_the_value() {
    let text = "clients:
- url: http://l/loki/api/v1/push
  tenant_id: a-hunter-${TENANT:-x}
  bearer_token: hunter${TOKEN}
- url: http://m/loki/api/v1/push
  basic_auth: {username: '${USER_NAME}', password: 'hunter-${FIRST}-${SECOND}-${FIRST}'}
  headers: {X-Scope: 'hunter ${A} ${B} ${C}'}
scrape_configs:
- job_name: ${JOB}
  static_configs: [{labels: {__path__: DIR/app.log, price: $5, one: '${1}'}}]
  relabel_configs: [{target_label: a, replacement: '${name}'}]
  pipeline_stages: [{replace: {expression: '(?P<x>a)', replace: '${x}'}}]
- job_name: g
  gelf: {}
";
    let findings = found(text, false);
    let about: Vec<&String> = findings.warnings.iter().filter(|text| text.contains("not replaced")).collect();
    let how = "start with -config.expand-env=true, or write the value";
    let want = [
        format!("f.yaml:3:3: clients[0].tenant_id: ${{TENANT}} is not replaced: {how}"),
        format!("f.yaml:4:3: clients[0].bearer_token: ${{TOKEN}} is not replaced: {how}"),
        format!("f.yaml:6:16: clients[1].basic_auth.username: ${{USER_NAME}} is not replaced: {how}"),
        format!("f.yaml:6:42: clients[1].basic_auth.password: ${{FIRST}} and ${{SECOND}} are not replaced: {how}s"),
        format!("f.yaml:7:13: clients[1].headers.X-Scope: ${{A}}, ${{B}} and ${{C}} are not replaced: {how}s"),
        format!("f.yaml:9:3: scrape_configs[0].job_name: ${{JOB}} is not replaced: {how}"),
    ];
    assert_eq!(about, want.iter().collect::<Vec<_>>(), "{findings:#?}");
    assert!(!format!("{findings:?}").contains("hunter"), "{findings:#?}");
    assert!(found(text, true).warnings.iter().all(|text| !text.contains("not replaced")));
}
