//! Shows as a metric whether this agent sends the events.

use prometheus::IntGauge;

/// The gauge of a job. It is 0 once this is dropped, as by a reload that removes the job.
pub(super) struct Leads(IntGauge);

impl Leads {
    pub fn new(gauge: IntGauge) -> Self {
        Self(gauge)
    }

    pub fn set(&self, leads: bool) {
        self.0.set(i64::from(leads));
    }
}

impl Drop for Leads {
    fn drop(&mut self) {
        self.set(false);
    }
}
