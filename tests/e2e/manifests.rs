//! The manifests, applied to a real API server.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::apiserver::Apiserver;
use crate::kubectl::Kubectl;
use crate::scratch::Scratch;

#[test]
fn manifests_are_accepted() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let apiserver = Apiserver::start();
    let kubectl = Kubectl::new(&apiserver);

    // A dry run creates nothing, so the namespaces of the manifests must exist before it.
    let rendered = kubectl.run(&["kustomize", "manifests"]);
    let namespaces: BTreeSet<&str> =
        rendered.lines().filter_map(|line| line.trim().strip_prefix("namespace: ")).collect();
    let kube = apiserver.admin();
    for namespace in namespaces {
        if !["default", "kube-system"].contains(&namespace) {
            kube.create_namespace(namespace);
        }
    }

    // A component is used in a kustomization of the user.
    let scratch = Scratch::new("kustomization");
    for folder in ["manifests", "examples"] {
        let copied = Command::new("cp").arg("-r").arg(root.join(folder)).arg(&*scratch).status();
        assert!(copied.expect("cp runs").success(), "{folder} is copied");
    }
    fs::create_dir(scratch.join("own")).expect("the folder is made");
    let own = "resources: [../manifests]\ncomponents: [../examples/labels-of-grafana]\n";
    fs::write(scratch.join("own/kustomization.yaml"), own).expect("the kustomization is written");
    let own = scratch.join("own").display().to_string();
    kubectl.run(&["apply", "-k", &own, "--dry-run=server"]);
    let rendered = kubectl.run(&["kustomize", &own]);
    assert!(rendered.contains("service_instance_id") && !rendered.contains("target_label: app\n"), "{rendered}");

    kubectl.define(&["podmonitors", "prometheusrules"]);
    let monitored = "resources: [../manifests]\ncomponents: [../examples/monitoring]\n";
    fs::write(scratch.join("own/kustomization.yaml"), monitored).expect("the kustomization is written");
    let applied = kubectl.run(&["apply", "-k", &own, "--dry-run=server"]);
    for kind in ["podmonitor.monitoring.coreos.com/fantail", "prometheusrule.monitoring.coreos.com/fantail"] {
        assert!(applied.contains(kind), "{applied}");
    }

    for folder in ["manifests", "examples/read-all", "examples/network-policy"] {
        let applied = kubectl.run(&["apply", "-k", folder, "--dry-run=server"]);
        assert!(applied.contains("daemonset.apps/fantail"), "{folder}: {applied}");
        let reads_all = kubectl.run(&["kustomize", folder]).contains("DAC_READ_SEARCH");
        assert_eq!(reads_all, folder == "examples/read-all", "{folder}");
        let has_policy = applied.contains("networkpolicy.networking.k8s.io/fantail");
        assert_eq!(has_policy, folder == "examples/network-policy", "{folder}");
    }
}
