//! Reads a container's log through Docker's API, if its file cannot be seen.
//!
//! ```text
//! answer --> frames --> lines --> buffer --> reader of a client
//!                         |                       |
//!                       cursor  <---------- commit after Loki's answer
//! ```

mod buffer;
mod cursor;
mod follow;
mod frames;
mod lines;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;

use tokio::runtime::Handle;
use tokio::sync::watch;

use super::engine::Engine;
use crate::discovery::buffer::SharedRoom;
use crate::discovery::remote_log::RemoteLog;
use crate::metrics::ContainerLines;
use crate::model::{AbortOnPanic, Source, Streams};
use buffer::{Buffer, ContainerLog};
pub use cursor::Cursor;
use follow::Follow;
pub use frames::{Frame, Frames, NotFrames};
pub use lines::{Line, Lines};

/// The name of a container's cursor in `positions.yaml`.
pub(super) fn position(id: &str) -> String {
    format!("cursor-{id}")
}

/// The data about a container that does not change while it exists.
#[derive(Clone, Debug)]
pub(super) struct Described {
    pub id: String,
    pub name: String,
    pub driver: String,
    pub tty: bool,
}

/// The state of a container, for the tasks that read its log. They end when this is dropped and the log is read.
#[derive(Debug)]
pub(super) struct Steering {
    runs: watch::Sender<bool>,
    labels: buffer::Labels,
}

impl Steering {
    pub fn set(&self, runs: bool, streams: &Streams) {
        self.runs.send_if_modified(|before| std::mem::replace(before, runs) != runs);
        let mut labels = self.labels.lock().unwrap_or_else(PoisonError::into_inner);
        if *labels != *streams {
            labels.clone_from(streams);
        }
    }
}

/// Makes a container's log, and the handle that controls it. `counts` counts its lines once, however many clients read it. Must be called
/// on the runtime.
pub(super) fn new(
    engine: Arc<Engine>,
    described: Described,
    runs: bool,
    streams: Streams,
    counts: ContainerLines,
    shared: Arc<SharedRoom>,
) -> (RemoteLog, Steering) {
    let uncounted = AtomicBool::new(true);
    let runtime = Handle::current();
    let target = streams.stdout.clone().or_else(|| streams.stderr.clone()).unwrap_or_default();
    let labels = Arc::new(Mutex::new(streams));
    let (sender, runs) = watch::channel(runs);
    let steering = Steering { runs: sender, labels: labels.clone() };
    let (name, position) = (format!("docker:{}", described.name), position(&described.id));
    let open = move |cursor: Option<Arc<str>>, waker: Waker| {
        let cursor = cursor.as_deref().map(|text| {
            Cursor::parse(text).unwrap_or_else(|| {
                let container = &described.name;
                tracing::warn!(container, "its position is not a time: its log is read from the beginning");
                Cursor::default()
            })
        });
        let buffer = Buffer::new(labels.clone(), waker, shared.clone());
        let Described { id, name, driver, tty } = described.clone();
        let (engine, runs, lines) = (engine.clone(), runs.clone(), Lines::new(cursor.unwrap_or_default()));
        let counts = uncounted.swap(false, Ordering::Relaxed).then(|| counts.clone());
        let follow = Follow { engine, id, name, driver, tty, runs, lines, buffer: buffer.clone(), counts };
        let task = runtime.spawn(async {
            let _abort_on_panic = AbortOnPanic;
            follow.run().await;
        });
        Box::new(ContainerLog { buffer, task: task.abort_handle() }) as Box<dyn Source>
    };
    (RemoteLog { name: name.into(), position: position.into(), labels: target, open: Box::new(open) }, steering)
}
