//! Each config in `examples/` and `manifests/` starts. The binary itself checks them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde::Deserialize;
use serde_yaml::Value as Yaml;

#[test]
fn every_example_is_a_valid_config() {
    let mut checked = 0;
    for path in configs() {
        let output = check_syntax(&path, &[]);
        assert!(output.status.success(), "{}: {}", path.display(), both(&output));
        checked += 1;
    }
    assert!(checked >= 5, "only {checked} configs were found");
}

/// Two agents on one machine cannot use the same positions, and an example must not continue where another one stopped. Only
/// configs that replace `manifests/promtail.yaml` in the DaemonSet have its positions.
#[test]
fn no_two_examples_share_a_positions_file() {
    let mut seen = BTreeMap::new();
    let mut checked = 0;
    for path in ["manifests", "examples"].into_iter().flat_map(|folder| below(&root().join(folder))) {
        for config in agent_configs(&path) {
            let Some(file) = config["positions"]["filename"].as_str().map(str::to_owned) else { continue };
            checked += 1;
            if replaces_the_config_of_the_manifests(&path) {
                assert_eq!(file, "/var/lib/fantail/positions.yaml", "{}", path.display());
            } else if let Some(other) = seen.insert(file.clone(), path.clone()) {
                panic!("{} and {} both have their positions in {file}", other.display(), path.display());
            }
        }
    }
    assert!(checked >= 8, "only {checked} configs were found");
}

fn replaces_the_config_of_the_manifests(path: &Path) -> bool {
    let beside = path.with_file_name("kustomization.yaml");
    let texts = [path, beside.as_path()].map(|file| fs::read_to_string(file).unwrap_or_default());
    path.starts_with(root().join("manifests"))
        || texts[0].contains("manifests/promtail.yaml")
        || texts[1].contains("../../manifests")
}

/// The configs of agents in a file: the file itself, or the values of a ConfigMap. Templates of the chart are none.
fn agent_configs(path: &Path) -> Vec<Yaml> {
    let Ok(text) = fs::read_to_string(path) else { return Vec::new() };
    let yaml = path.extension().is_some_and(|extension| extension == "yaml");
    if !yaml || text.contains("{{") {
        return Vec::new();
    }
    let (mut configs, mut all) = (Vec::new(), documents(&text));
    while let Some(document) = all.pop() {
        let values = document["data"].as_mapping().into_iter().flat_map(|data| data.values()).filter_map(Yaml::as_str);
        all.extend(values.flat_map(documents));
        if document.get("scrape_configs").is_some() {
            configs.push(document);
        }
    }
    configs
}

/// Loki refuses lines that are older than a week. So what an example sends has the time of now, and what is in the repository
/// is only printed.
#[test]
fn example_logs_have_times_that_loki_takes() {
    let mut checked = 0;
    for path in below(&root().join("examples")) {
        for config in agent_configs(&path) {
            let text = serde_yaml::to_string(&config).expect("YAML");
            let paths = text.lines().filter_map(|line| line.trim().strip_prefix("__path__: examples/logs/"));
            for log in paths {
                let printed = fs::read_to_string(&path).expect("it is text").contains("sends nothing");
                assert!(printed || log.starts_with("now/"), "{} sends old lines: {log}", path.display());
                checked += 1;
            }
        }
    }
    assert!(checked >= 3, "only {checked} paths were found");

    let folder = tempfile::tempdir().expect("a temporary directory");
    let script =
        Command::new(root().join("examples/write-logs")).arg("1").arg(folder.path()).output().expect("it runs");
    assert!(script.status.success(), "{}", both(&script));
    let now = jiff::Timestamp::now();
    for log in ["app.log", "cri.log"] {
        let text = fs::read_to_string(folder.path().join(log)).expect("it was written");
        assert!(!text.is_empty(), "{log}");
        for line in text.lines() {
            let time: jiff::Timestamp = line.split(' ').next().unwrap_or_default().parse().expect("a time");
            assert!(now.duration_since(time).abs() < jiff::SignedDuration::from_hours(1), "{log}: {line}");
        }
    }
}

/// What compose.yaml mounts is there, and its dashboards find the lines.
#[test]
fn the_compose_file_names_what_is_there() {
    let folder = root().join("examples/compose");
    let read = |name: &str| fs::read_to_string(folder.join(name)).expect("the file is there");
    let compose = &documents(&read("compose.yaml"))[0];
    let services = compose["services"].as_mapping().expect("services");
    let mut mounted = 0;
    for volume in services.values().filter_map(|service| service["volumes"].as_sequence()).flatten() {
        let source = volume.as_str().and_then(|volume| volume.split(':').next()).expect("a source");
        match source.starts_with('.') {
            true => assert!(folder.join(source).exists(), "{source}"),
            false => assert!(compose["volumes"].get(source).is_some(), "{source} is no volume"),
        }
        mounted += 1;
    }
    assert!(mounted >= 8, "only {mounted} volumes were found");
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(compose["services"]["fantail"]["image"], format!("localhost/fantail:{version}"));
    let output = check_syntax(&folder.join("promtail.yaml"), &[]);
    assert!(output.status.success(), "{}", both(&output));

    let config = &agent_configs(&folder.join("promtail.yaml"))[0];
    for job in config["scrape_configs"].as_sequence().expect("jobs") {
        for label in ["namespace", "app", "pod"] {
            assert!(job["static_configs"][0]["labels"][label].is_string(), "the dashboards need the label {label}");
        }
    }
    let sources = &documents(&read("grafana/datasources.yaml"))[0];
    for source in sources["datasources"].as_sequence().expect("data sources") {
        let host =
            source["url"].as_str().and_then(|url| url.strip_prefix("http://")?.split(':').next()).expect("a host");
        assert!(services.contains_key(host), "there is no service {host}");
    }
}

/// The config of the sidecar is in a ConfigMap, between manifests.
#[test]
fn the_sidecars_config_is_valid() {
    let manifests = fs::read_to_string(root().join("examples/sidecar.yaml")).expect("the example is there");
    let (_, rest) = manifests.split_once("promtail.yaml: |\n").expect("a ConfigMap with a promtail.yaml");
    let lines = rest.lines().take_while(|line| line.is_empty() || line.starts_with("    "));
    let config: String = lines.map(|line| format!("{}\n", line.get(4..).unwrap_or(""))).collect();

    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("promtail.yaml");
    fs::write(&path, &config).expect("it can be written");
    let output = check_syntax(&path, &["-config.expand-env=true"]);
    assert!(output.status.success(), "{config}\n{}", both(&output));
}

#[test]
fn the_config_with_tls_is_valid() {
    let output = check_syntax(&root().join("examples/tls/promtail.yaml"), &["-web.config.file=examples/tls/web.yaml"]);
    assert!(output.status.success(), "{}", both(&output));
}

#[test]
fn the_tests_of_the_example_pass() {
    let fantail = |args: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_fantail")).current_dir(root()).args(args).output().expect("the binary runs")
    };
    let output = fantail(&["test", "examples/tests/pods.yaml"]);
    assert!(output.status.success(), "{}", both(&output));
    assert!(both(&output).contains("3 passed, 0 failed"), "{}", both(&output));
}

#[test]
fn a_config_with_a_mistake_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("promtail.yaml");
    fs::write(&path, "server:\n  http_listen_prot: 80\n").expect("it can be written");
    let output = check_syntax(&path, &[]);
    assert_eq!(output.status.code(), Some(1), "{}", both(&output));
    assert!(both(&output).contains("http_listen_prot"), "{}", both(&output));
}

/// The tutorial has the same commands, outputs and files in both languages, and the files exist.
#[test]
fn the_tutorial_names_what_is_there() {
    let pages = ["docs/tutorial.md", "docs/tutorial.ko.md"].map(|page| {
        let text = fs::read_to_string(root().join(page)).expect("the page is there");
        let blocks: Vec<String> = text.lines().filter(|line| line.starts_with("    ")).map(str::to_owned).collect();
        let is_of_path = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
        let words =
            text.split(|c: char| !is_of_path(c)).map(|word| word.trim_start_matches("../").trim_end_matches('.'));
        let folders = ["examples/", "manifests/", "tests/e2e/", "ci/", "tutorial."];
        let files: Vec<String> =
            words.filter(|w| folders.iter().any(|f| w.starts_with(f))).map(str::to_owned).collect();
        let headings = text.lines().filter(|line| line.starts_with('#')).count();
        let rows = text.lines().filter(|line| line.starts_with('|')).count();
        (page, blocks, files, headings, rows)
    });
    let [english, korean] = &pages;
    assert_eq!(english.1, korean.1, "commands, and what one sees");
    assert!(english.1.len() > 30, "{:?}", english.1);
    assert_eq!((english.3, english.4), (korean.3, korean.4), "sections, and rows of tables");
    for (page, _, files, ..) in &pages {
        assert!(files.len() > 10, "{page}: {files:?}");
        for file in files {
            let of = if file.starts_with("tutorial.") { "docs" } else { "" };
            assert!(root().join(of).join(file).exists(), "{page} names {file}");
        }
    }
}

/// The program in the same pod can write to the log's volume. It must not be able to change positions or make links
/// there.
#[test]
fn the_sidecars_positions_are_where_no_other_container_is() {
    let documents = documents(&fs::read_to_string(root().join("examples/sidecar.yaml")).expect("the example is there"));
    let of_kind = |kind: &str| documents.iter().find(|document| document["kind"] == *kind).expect("it has one");
    let config = of_kind("ConfigMap")["data"]["promtail.yaml"].as_str().expect("a config");
    let config: Yaml = serde_yaml::from_str(config).expect("YAML");
    let positions = Path::new(config["positions"]["filename"].as_str().expect("a file"));

    let spec = &of_kind("Pod")["spec"];
    let lists = [&spec["initContainers"], &spec["containers"]].map(|list| list.as_sequence().expect("containers"));
    let (agent, others): (Vec<&Yaml>, Vec<&Yaml>) =
        lists.into_iter().flatten().partition(|container| container["name"] == "fantail");
    let mounts = |container: &Yaml| container["volumeMounts"].as_sequence().cloned().unwrap_or_default();
    let path = |mount: &Yaml| PathBuf::from(mount["mountPath"].as_str().expect("a path"));
    let around =
        mounts(agent.first().expect("the agent")).into_iter().filter(|mount| positions.starts_with(path(mount)));
    let volume = around.max_by_key(|mount| path(mount).components().count()).expect("positions outlive the container");
    assert!(!others.is_empty(), "the agent has a program beside it");
    for container in others {
        let mounted = mounts(container).iter().any(|mount| mount["name"] == volume["name"]);
        assert!(!mounted, "{:?} mounts the volume of {}", container["name"], positions.display());
    }
}

/// An unused verb would only help an attacker who has the agent's token.
#[test]
fn roles_give_list_and_watch_of_pods_and_nothing_else() {
    let mut roles = 0;
    for path in ["manifests", "examples"].into_iter().flat_map(|folder| below(&root().join(folder))) {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        if !text.contains("kind: ClusterRole") && !text.contains("kind: Role") {
            continue;
        }
        // Lines of a chart's template contain names and labels.
        let plain: String = text.lines().filter(|line| !line.contains("{{")).map(|line| format!("{line}\n")).collect();
        for document in documents(&plain) {
            let kind = document["kind"].as_str().unwrap_or_default();
            if kind == "ClusterRole" || kind == "Role" {
                let expected = "[{apiGroups: [''], resources: [pods], verbs: [list, watch]}]";
                let expected: Yaml = serde_yaml::from_str(expected).expect("YAML");
                assert_eq!(document["rules"], expected, "{}", path.display());
                assert!(document.get("aggregationRule").is_none(), "{}", path.display());
                roles += 1;
            }
        }
    }
    assert!(roles >= 2, "manifests/rbac.yaml and the chart have one each: {roles}");
}

fn documents(text: &str) -> Vec<Yaml> {
    let all = serde_yaml::Deserializer::from_str(text).map(|document| Yaml::deserialize(document).expect("YAML"));
    all.collect()
}

fn below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder is there");
    let paths = entries.map(|entry| entry.expect("the folder can be read").path());
    paths.flat_map(|path| if path.is_dir() { below(&path) } else { vec![path] }).collect()
}

/// YAML files that are not manifests for `kubectl`.
fn configs() -> impl Iterator<Item = PathBuf> {
    let files =
        ["examples", "examples/journal", "examples/labels-of-grafana", "manifests"].into_iter().flat_map(|folder| {
            let entries = fs::read_dir(root().join(folder)).expect("the folder is there");
            entries.map(|entry| entry.expect("the folder can be read").path())
        });
    files.filter(|path| path.extension().is_some_and(|extension| extension == "yaml")).filter(|path| {
        let text = fs::read_to_string(path).expect("it is text");
        !text.lines().any(|line| line.starts_with("apiVersion:") || line.starts_with("services:"))
    })
}

fn check_syntax(config: &Path, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fantail"))
        .current_dir(root())
        .arg("-check-syntax")
        .arg(format!("-config.file={}", config.display()))
        .args(more)
        .output()
        .expect("the binary runs")
}

fn both(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
