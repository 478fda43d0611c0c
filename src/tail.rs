//! Reads a log, including all its rotated generations, as chunks of whole lines.
//!
//! A [`Log`] is one file name and its generations, oldest first. Each generation is opened when it appears and stays
//! open until it is read to its end, so renaming, deleting or compressing it loses nothing. A
//! [`Position`](crate::model::Position) says how far reading is: the file (device, inode, fingerprint of its head), the
//! offset in its decompressed bytes, and a hash of the bytes before it. A file name is only the first place to look.
//!
//! This module starts no threads and takes the time as a parameter.

mod allowed_paths;
mod compressed;
mod copies;
mod folders;
mod generation;
mod glob;
mod log;
mod mounts;
mod places;
mod quiet;
mod siblings;
mod snapshot;
mod walls;

pub use allowed_paths::AllowedPaths;
pub use compressed::Compression;
pub use copies::{Copied, copied, originals};
pub use folders::Folders;
pub use generation::file_id;
pub use glob::{Budget, Glob, Skip, Walk, escape};
pub use log::{ClosedLog, GENERATIONS, Known, LastLine, Log, Look, Lost, Options, Resume, is_in};
pub use mounts::{Events, Mount, Mounts};
pub use places::{Folder, Place, Places};
pub use quiet::{QuietFiles, Unwatched, Watched};
pub use siblings::is_rotation;
pub use snapshot::Snapshot;
pub use walls::{explain, set_readable};

/// How much of a file's head identifies it. Lines with their own times differ within their first 30 bytes.
const FINGERPRINT: usize = 1024;

/// How many bytes before a position identify the file too: several generations may begin with the same banner.
const BEFORE: usize = 256;
