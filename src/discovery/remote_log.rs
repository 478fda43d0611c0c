//! A log that a server gives, such as a container's log through Docker's API.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::task::Waker;

use crate::model::{LabelSet, Source};

/// See the [module](self). It is for the readers of all clients.
pub struct RemoteLog {
    /// Shown on the pages in place of a path.
    pub name: Arc<str>,
    /// The name of its cursor in `positions.yaml`.
    pub position: Arc<str>,
    pub labels: LabelSet,
    pub open: Open,
}

/// Opens the log for one client at its cursor, if it has one. The waker wakes the client's reader.
pub type Open = Box<dyn Fn(Option<Arc<str>>, Waker) -> Box<dyn Source> + Send + Sync>;

/// Gives a log to the readers of all clients. When the result is dropped, the log is taken back.
pub type Give = Arc<dyn Fn(RemoteLog) -> Box<dyn Any + Send + Sync> + Send + Sync>;

impl fmt::Debug for RemoteLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteLog").field("name", &self.name).finish_non_exhaustive()
    }
}
