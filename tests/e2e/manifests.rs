//! What a user installs, judged by a real API server.

use std::collections::BTreeSet;
use std::process::{Command, Output};

use crate::apiserver::{Apiserver, User};

#[test]
fn manifests_are_accepted() {
    let apiserver = Apiserver::start();
    let kubeconfig = apiserver.kubeconfig(User::Admin);
    let kubectl = |args: &[&str]| -> Output {
        let output = Command::new("kubectl")
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            // Nothing of the user's own is read, and kubectl's cache goes with the test.
            .env("HOME", kubeconfig.parent().expect("it is in a directory"))
            .env("KUBECONFIG", &kubeconfig)
            .args(args)
            .output()
            .expect("kubectl runs: this test needs it, so install kubectl 1.30 or later");
        assert!(output.status.success(), "kubectl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        output
    };

    // A dry run creates nothing, so the namespaces the manifests speak of have to be there before it.
    let rendered = kubectl(&["kustomize", "manifests"]).stdout;
    let rendered = String::from_utf8_lossy(&rendered);
    let namespaces: BTreeSet<&str> =
        rendered.lines().filter_map(|line| line.trim().strip_prefix("namespace: ")).collect();
    let kube = apiserver.admin();
    for namespace in namespaces {
        if !["default", "kube-system"].contains(&namespace) {
            kube.create_namespace(namespace);
        }
    }

    for folder in ["manifests", "examples/read-all", "examples/network-policy"] {
        let applied = kubectl(&["apply", "-k", folder, "--dry-run=server"]).stdout;
        let applied = String::from_utf8_lossy(&applied);
        assert!(applied.contains("daemonset.apps/fantail"), "{folder}: {applied}");
        let rendered = kubectl(&["kustomize", folder]).stdout;
        let reads_all = String::from_utf8_lossy(&rendered).contains("DAC_READ_SEARCH");
        assert_eq!(reads_all, folder == "examples/read-all", "{folder}");
        let has_policy = applied.contains("networkpolicy.networking.k8s.io/fantail");
        assert_eq!(has_policy, folder == "examples/network-policy", "{folder}");
    }
}
