//! Reads systemd's journal: the files of a folder as one sequence of entries, by the documented format
//! (<https://systemd.io/JOURNAL_FILE_FORMAT>).
//!
//! [`Journal`] lists the folders, opens the files and merges their entries. Nothing beyond the number of entries in a
//! file's header is read, so a file can be read while journald writes it. Entries and fields that cannot be read are
//! skipped and counted ([`Skips`]). No size in a file is trusted: memory is bounded whatever the bytes are.

mod arrays;
mod config;
mod entry;
mod file;
mod folders;
mod header;
mod location;
mod matches;
mod merge;
mod object;
mod pages;
mod payload;
#[cfg(test)]
mod tests;

pub use config::Config;
pub use entry::{Entry, Skips};
pub use folders::{Folders, MACHINE_ID};
pub use location::Location;
pub use matches::Matches;
pub use merge::{From, Journal, Place, Problem};
