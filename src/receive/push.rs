//! `loki_push_api`: clients push to the agent as they push to Loki.
//!
//! ```yaml
//! scrape_configs:
//!   - job_name: push
//!     loki_push_api:
//!       server:                      # as the agent's own `server`, with a port of its own
//!         http_listen_port: 3500
//!       labels: {}                   # override those of the sender
//!       use_incoming_timestamp: false
//!       max_send_msg_size: 16777216  # bytes of a push, compressed and decompressed
//! ```
//!
//! A push is answered with 204 once each client has committed each of its lines, or a rule has dropped them. A sender
//! that gets another answer sends it again; a push that is still being delivered is not taken again ([`deliveries`]).

mod body;
mod builder;
mod config;
mod deliveries;
mod json;
mod protobuf;
mod selector;
mod server;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

pub use body::{Encoding, decompress, unsnap};
pub use config::Config;
pub(super) use server::serve;

use crate::model::Labels;

/// The mistake in a push that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Malformed {}

/// Why a push is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    Malformed(Malformed),
    /// It needs more memory than one push may have.
    TooLarge,
    /// Other pushes use the memory at the moment.
    Busy,
}

impl From<Malformed> for Refused {
    fn from(malformed: Malformed) -> Self {
        Refused::Malformed(malformed)
    }
}

/// The longest labels of a stream, as text in bytes. Loki takes fifteen labels with at most 3 KiB each by default. They are kept
/// as long as the stream is, and parsed they take several times the memory.
const LABELS: usize = 64 << 10;

/// The most structured metadata of an entry: pairs, and bytes of their texts. Loki takes 128 pairs and 64 KB by default.
const PAIRS: usize = 1_024;
const PAIR_BYTES: usize = 1 << 20;

fn malformed(what: impl Into<String>) -> Refused {
    Refused::Malformed(Malformed(what.into()))
}

/// Gets the streams and entries of a push in order.
pub trait Visit {
    /// A stream begins: the next entries belong to it. `text` has its labels as they were sent, and `parse` reads them.
    fn stream(&mut self, text: &str, parse: fn(&str) -> Result<Labels, Malformed>) -> Result<(), Refused>;

    /// The stream will have about so many entries, with so many bytes.
    fn expect(&mut self, _entries: usize, _bytes: usize) {}

    /// `time` is in Unix nanoseconds.
    fn entry(&mut self, time: i64, line: &str, metadata: &[(Cow<'_, str>, Cow<'_, str>)]) -> Result<(), Refused>;
}

/// The forms of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Without its snappy compression.
    Protobuf,
    Json,
}

/// Reads a decompressed push. Needs no memory of its own: the visitor decides how much it keeps.
pub fn walk(format: Format, push: &[u8], visit: &mut impl Visit) -> Result<(), Refused> {
    match format {
        Format::Protobuf => protobuf::walk(push, visit),
        Format::Json => json::walk(push, visit),
    }
}
