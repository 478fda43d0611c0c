//! Waits for a condition instead of a time.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// Calls `ask` until it returns `Ok`, and returns that value. Panics with the last `Err`, which says why the condition is
/// not true, when the time `within` is over.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, within: Duration, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + within;
    let mut pause = Duration::from_millis(10);
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(why) if Instant::now() > deadline => {
                panic!("{what}: not within {within:?}: {why}")
            }
            Err(_) => sleep(pause),
        }
        // Quick answers are noticed quickly, and slow ones do not load the machine.
        pause = (pause * 3 / 2).min(Duration::from_millis(500));
    }
}

#[track_caller]
pub(crate) fn wait_until(what: &str, within: Duration, mut condition: impl FnMut() -> bool) {
    wait_for(what, within, || condition().then_some(()).ok_or_else(|| "still not so".into()));
}
