//! What the pages show, from those who know it.

use std::sync::Arc;

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
