//! The real kubectl, with an administrator's rights.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::apiserver::{Apiserver, User};
use crate::servers;

pub(crate) struct Kubectl {
    kubeconfig: PathBuf,
}

impl Kubectl {
    pub(crate) fn new(apiserver: &Apiserver) -> Kubectl {
        Kubectl { kubeconfig: apiserver.kubeconfig(User::Admin) }
    }

    /// The output of kubectl.
    #[track_caller]
    pub(crate) fn run(&self, args: &[&str]) -> String {
        let output = Command::new("kubectl")
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            // kubectl must read nothing of the user. Its cache is removed with the test.
            .env("HOME", self.kubeconfig.parent().expect("it is in a directory"))
            .env("KUBECONFIG", &self.kubeconfig)
            .args(args)
            .output()
            .expect("kubectl runs: this test needs it, so install kubectl 1.30 or later");
        assert!(output.status.success(), "kubectl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Creates the operator's custom resource definitions.
    pub(crate) fn define(&self, kinds: &[&str]) {
        for kind in kinds {
            let file = definitions().join(format!("monitoring.coreos.com_{kind}.yaml"));
            let file = file.display().to_string();
            self.run(&["create", "--filename", &file]);
            self.run(&["wait", "--for=condition=Established", "--filename", &file]);
        }
    }

    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }
}

fn definitions() -> PathBuf {
    servers::binary("FANTAIL_E2E_DEFINITIONS")
}
