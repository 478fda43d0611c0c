//! The version of this program, for `-version`, the pages and `promtail_build_info`.

use serde::Serialize;

use crate::metrics::Registry;

/// Set at compile time. The image build sets `FANTAIL_REVISION` and `FANTAIL_BRANCH`.
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

    /// Registers `promtail_build_info`, with the labels that dashboards use to join and filter.
    pub(super) fn register(self, registry: &Registry) {
        let labels = [
            ("branch", self.branch),
            ("goarch", go_arch(std::env::consts::ARCH)),
            ("goos", std::env::consts::OS),
            ("goversion", "none"),
            ("revision", self.revision),
            ("tags", "fantail"),
            ("version", self.version),
        ];
        registry.info("promtail_build_info", "A constant 1, labelled with the version of this program.", labels);
    }
}

const fn known(value: Option<&'static str>) -> &'static str {
    match value {
        Some(value) => value,
        None => "unknown",
    }
}

/// Go's name of the architecture, as in the build info of other exporters.
fn go_arch(arch: &str) -> &str {
    match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}
