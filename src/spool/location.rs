//! A place in a spool.

use std::fmt;
use std::str::FromStr;

/// As text, it is the cursor of a client in `positions.yaml`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    pub segment: u64,
    /// Where the frame begins in the segment, in bytes.
    pub frame: u64,
    /// Bytes of the text in this frame that are before the place.
    pub skip: u64,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.segment, self.frame, self.skip)
    }
}

/// The text is no location.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoLocation;

impl FromStr for Location {
    type Err = NoLocation;

    fn from_str(text: &str) -> Result<Self, NoLocation> {
        let mut parts = text.split(':').map(str::parse);
        let mut part = || parts.next().and_then(Result::ok).ok_or(NoLocation);
        let location = Self { segment: part()?, frame: part()?, skip: part()? };
        if parts.next().is_some() { Err(NoLocation) } else { Ok(location) }
    }
}
