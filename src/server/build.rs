//! Which program this is: for `-version`, the pages and `promtail_build_info`.

use prometheus::{IntGauge, Opts, Registry};
use serde::Serialize;

use crate::metrics::register;

/// Known when the program is compiled; the image build sets `FANTAIL_REVISION` and `FANTAIL_BRANCH`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Build {
    pub version: &'static str,
    pub revision: &'static str,
    pub branch: &'static str,
}

impl Build {
    pub const THIS: Build = Build {
        version: env!("CARGO_PKG_VERSION"),
        revision: known(option_env!("FANTAIL_REVISION")),
        branch: known(option_env!("FANTAIL_BRANCH")),
    };

    /// `promtail_build_info`, with the labels that dashboards join and filter by.
    pub(super) fn register(self, registry: &Registry) {
        let opts = Opts::new("promtail_build_info", "A constant 1, labelled with the version of this program.")
            .const_label("branch", self.branch)
            .const_label("goarch", go_arch(std::env::consts::ARCH))
            .const_label("goos", std::env::consts::OS)
            .const_label("goversion", "none")
            .const_label("revision", self.revision)
            .const_label("tags", "fantail")
            .const_label("version", self.version);
        register(registry, IntGauge::with_opts(opts)).set(1);
    }
}

const fn known(value: Option<&'static str>) -> &'static str {
    match value {
        Some(value) => value,
        None => "unknown",
    }
}

/// As Go names it, and with it every other exporter's build info.
fn go_arch(arch: &str) -> &str {
    match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}
