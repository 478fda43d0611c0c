//! What the agent cannot do without.

/// Held by every thread and task without which lines would no longer arrive. If one of them panics the process ends at
/// once, for whoever started it to start it again: positions are safe, and an agent that stands still in silence is not.
#[derive(Debug)]
pub struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}
