//! Logs that are written continuously, at a given rate, while the test runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The time between two writes. Long enough for several lines, and short compared with any time that a test waits for.
const TICK: Duration = Duration::from_millis(20);

pub(crate) trait Grows: Send + 'static {
    /// Writes lines of about this many bytes. Returns their number.
    fn grow(&mut self, bytes: usize) -> usize;

    /// Writes the rest of a line that was begun.
    fn finish(&mut self) {}
}

pub(crate) struct Load<L> {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    thread: Option<JoinHandle<Vec<L>>>,
}

impl<L: Grows> Load<L> {
    /// Writes to each of `logs` at this rate, until it is stopped.
    pub(crate) fn start(mut logs: Vec<L>, bytes_per_second: u64) -> Load<L> {
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, sum) = (stop.clone(), written.clone());
        let thread = thread::spawn(move || {
            let started = Instant::now();
            let mut done = vec![0; logs.len()];
            while !stopped.load(Ordering::Relaxed) {
                let due = (started.elapsed().as_secs_f64() * bytes_per_second as f64) as usize;
                for (log, done) in logs.iter_mut().zip(&mut done) {
                    if *done < due {
                        let bytes = log.grow(due - *done);
                        *done += bytes;
                        sum.fetch_add(bytes as u64, Ordering::Relaxed);
                    }
                }
                thread::sleep(TICK);
            }
            logs.iter_mut().for_each(L::finish);
            logs
        });
        Load { stop, written, thread: Some(thread) }
    }

    /// The bytes of all lines until now.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    pub(crate) fn stop(mut self) -> Vec<L> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it is stopped once");
        thread.join().expect("the logs could be written")
    }
}

impl<L> Drop for Load<L> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // If the thread could not write, it has panicked with a message.
            let _ = thread.join();
        }
    }
}
