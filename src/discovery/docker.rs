//! Containers of Docker.

mod beside;
mod labels;

pub(super) use beside::ContainerFiles;
