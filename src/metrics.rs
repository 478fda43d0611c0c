//! The registry everybody registers with. Each room has a `Metrics` of its own, beside the code that moves it;
//! their names are Promtail's where Promtail has them, and `fantail_*` where it has not.

pub use prometheus::Registry;
use prometheus::core::Collector;

/// Registers `metric` and gives back a handle to it.
///
/// # Panics
/// Two rooms claiming one name is a mistake in the program, seen by the first test that builds an agent.
pub fn register<C: Collector + Clone + 'static>(registry: &Registry, metric: prometheus::Result<C>) -> C {
    let metric = metric.expect("metric names and labels are constants");
    registry.register(Box::new(metric.clone())).expect("each metric is registered once");
    metric
}
