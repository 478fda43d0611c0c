//! Renders the chart with the real helm, for the tests in [`helm`](crate::helm).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde::Deserialize as _;
use serde_yaml::Value;

use crate::scratch::Scratch;
use crate::servers;

/// The release name and namespace of all renderings.
pub(crate) const RELEASE: [&str; 3] = ["fantail", "--namespace", "logging"];

pub(crate) struct Helm {
    home: Scratch,
    chart: PathBuf,
}

impl Helm {
    pub(crate) fn new() -> Helm {
        Helm { home: Scratch::new("helm"), chart: Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/helm/fantail") }
    }

    /// The chart with further files.
    pub(crate) fn with_files(files: &[(&str, &str)]) -> Helm {
        let mut helm = Helm::new();
        let copy = helm.home.join("fantail");
        let copied = Command::new("cp").arg("-r").arg(&helm.chart).arg(&copy).status();
        assert!(copied.expect("cp runs").success(), "the chart is copied");
        for (name, text) in files {
            let path = copy.join(name);
            fs::create_dir_all(path.parent().expect("it is in the chart")).expect("the folder is made");
            fs::write(&path, text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        }
        helm.chart = copy;
        helm
    }

    /// A parent chart, with our chart as a part that it calls `promtail`.
    pub(crate) fn as_a_part() -> Helm {
        let mut helm = Helm::with_files(&[]);
        let whole = helm.home.join("whole");
        fs::create_dir_all(whole.join("charts")).expect("the folder is made");
        fs::rename(&helm.chart, whole.join("charts/fantail")).expect("the chart is moved");
        let version = env!("CARGO_PKG_VERSION");
        let about = format!(
            "apiVersion: v2\nname: whole\nversion: 1.0.0\ndependencies:\n- name: fantail\n  version: {version}\n  \
             alias: promtail\n  condition: promtail.enabled\n"
        );
        fs::write(whole.join("Chart.yaml"), about).expect("the chart is written");
        helm.chart = whole;
        helm
    }

    /// `helm <verb> <release> <chart> …`.
    pub(crate) fn run(&self, verb: &str, values: &Path, more: &[&str]) -> Output {
        let mut command = self.command();
        command.arg(verb);
        if verb != "lint" {
            command.args(RELEASE);
        }
        command.arg(&self.chart).arg("--values").arg(values).args(more);
        command.output().expect("helm runs")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(servers::binary("FANTAIL_E2E_HELM"));
        command
            // Helm must read nothing of the user: no plugins, no cluster.
            .env("HOME", &*self.home)
            .env("HELM_CACHE_HOME", self.home.join("cache"))
            .env("HELM_CONFIG_HOME", self.home.join("config"))
            .env("HELM_DATA_HOME", self.home.join("data"))
            .env("KUBECONFIG", self.home.join("none"));
        command
    }

    /// All rendered objects, as text.
    pub(crate) fn template(&self, values: &Path) -> String {
        let output = self.run("template", values, &[]);
        assert!(output.status.success(), "{}: {}", values.display(), said(&output));
        String::from_utf8(output.stdout).expect("helm writes UTF-8")
    }

    /// The notes that `helm install` prints, without a cluster.
    pub(crate) fn notes(&self, values: &Path) -> String {
        let output = self.run("install", values, &["--dry-run=client"]);
        assert!(output.status.success(), "{}: {}", values.display(), said(&output));
        let all = String::from_utf8(output.stdout).expect("helm writes UTF-8");
        all.split_once("\nNOTES:\n").map(|(_, notes)| notes.to_owned()).expect("there are notes")
    }
}

pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn objects(text: &str) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(text)
        .map(|document| Value::deserialize(document).unwrap_or_else(|e| panic!("{e} in {text}")))
        .filter(|object| !object.is_null())
        .collect()
}

/// Each promtail.yaml in the rendered objects.
pub(crate) fn configs(text: &str) -> Vec<String> {
    let of = |object: &Value| {
        let data = if object["kind"] == "Secret" { &object["stringData"] } else { &object["data"] };
        data["promtail.yaml"].as_str().map(str::to_owned)
    };
    objects(text).iter().filter_map(of).collect()
}

/// The values files of a directory below tests/helm, by name. For the valid ones, also those of the tutorial.
pub(crate) fn values(folder: &str) -> Vec<(String, PathBuf)> {
    let folder = data().join(folder);
    let files = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut found: Vec<_> = files
        .map(|file| file.expect("the folder is read").path())
        .map(|path| (path.file_stem().expect("it has a name").to_string_lossy().into_owned(), path))
        .collect();
    assert!(!found.is_empty(), "{}: no values file", folder.display());
    if folder.ends_with("values") {
        found.push(("spring-boot".to_owned(), example("fantail.yaml")));
    }
    found.sort();
    found
}

/// A file of the tutorial.
pub(crate) fn example(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/spring-boot").join(file)
}

pub(crate) fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/helm")
}
