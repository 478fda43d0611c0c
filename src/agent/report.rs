//! What the pages show, from those who know it.

use std::sync::Arc;

use prometheus::{IntGauge, Opts};

use crate::metrics::{Registry, register};
use crate::model::{ClientReport, DiscoveredReport, Report, TargetReport};
use crate::push;

/// Targets from the scrape, clients from the pushes.
pub(super) struct Whole<T> {
    pub targets: Arc<T>,
    pub clients: Vec<Arc<push::Status>>,
}

impl<T: Report> Report for Whole<T> {
    fn targets(&self) -> Vec<TargetReport> {
        self.targets.targets()
    }

    fn discovered(&self) -> Vec<DiscoveredReport> {
        self.targets.discovered()
    }

    fn clients(&self) -> Vec<ClientReport> {
        self.clients.iter().map(|status| status.report()).collect()
    }
}

/// Before anything runs.
pub(super) struct Nothing;

impl Report for Nothing {
    fn targets(&self) -> Vec<TargetReport> {
        Vec::new()
    }

    fn discovered(&self) -> Vec<DiscoveredReport> {
        Vec::new()
    }

    fn clients(&self) -> Vec<ClientReport> {
        Vec::new()
    }
}

/// What the kernel keeps the process from, as a metric, and as the lines above the config on its page.
pub(super) fn confinement(walls: &[(&'static str, String)], registry: &Registry) -> String {
    let help = "A constant 1, labelled with what the kernel keeps this process from.";
    let opts = walls.iter().fold(Opts::new("fantail_confinement_info", help), |opts, (wall, what)| {
        opts.const_label(*wall, what.split(';').next().unwrap_or_default())
    });
    register(registry, IntGauge::with_opts(opts)).set(1);
    walls.iter().map(|(wall, what)| format!("# {wall}: {what}\n")).collect()
}
