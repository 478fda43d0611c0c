//! Aborts the process when a vital thread or task panics.

/// Held by every thread and task that the agent needs to deliver lines. If one of them panics, the process aborts at
/// once and its supervisor restarts it. Positions are safe, and a restart is better than an agent that silently does
/// nothing.
#[derive(Debug)]
pub struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}
