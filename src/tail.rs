//! Turns a log, with all its rotated generations, into chunks of whole lines.
//!
//! A [`Log`] is one file name and its generations, oldest first. Every generation's descriptor is opened when it appears
//! and kept until it is drained, so renaming, deleting or gzipping it takes nothing away. What was read and how far is
//! said as a [`Position`](crate::model::Position): which file (device, inode, fingerprint of its head) and the offset in
//! its decompressed bytes; a name is only where one looks first.
//!
//! No threads here, and the time is a parameter.

mod allowed_paths;
mod folders;
mod generation;
mod glob;
mod gzip;
mod log;
mod siblings;
mod walls;

pub use allowed_paths::AllowedPaths;
pub use folders::Folders;
pub use glob::{Budget, Glob, Skip, escape};
pub use gzip::Compression;
pub use log::{GENERATIONS, Log, Look, Options, Resume, is_in};
pub use siblings::is_rotation;
pub use walls::{explain, set_readable};

/// How much of a file's head identifies it. Lines with their own times differ within their first 30 bytes.
const FINGERPRINT: usize = 1024;
