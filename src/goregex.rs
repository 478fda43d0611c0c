//! Regular expressions as Go reads them (RE2 syntax), on the `regex` crate.
//!
//! The two agree on how a match is found (leftmost-first, linear time) and differ in spelling: `\d`, `\w`, `\s` and `\b`
//! are ASCII in Go, `[`, `{`, `&&` are often plain text there, two groups may share a name. `translate` rewrites the one
//! into the other, `Replacement` is Go's `$1` and `${name}`. What Go refuses is refused here too.

mod class;
mod replacement;
mod translate;

use std::fmt;
use std::sync::Arc;

use regex::RegexBuilder;
pub use regex::{CaptureLocations, Captures, NoExpand};

pub use replacement::Replacement;

/// A compiled expression; a clone is a reference count.
#[derive(Clone)]
pub struct Regex {
    pattern: Arc<str>,
    inner: regex::Regex,
    /// By index; 0 is the whole match. Kept here because `inner` has numbers only.
    groups: Arc<[Option<Box<str>>]>,
}

impl Regex {
    /// An expression that matches anywhere in the text.
    pub fn new(pattern: &str) -> Result<Self, Error> {
        Self::compile(pattern, "", "")
    }

    /// An expression that must match the whole text, line breaks included: what relabelling and label matchers use.
    pub fn anchored(pattern: &str) -> Result<Self, Error> {
        Self::compile(pattern, "^(?s:", ")$")
    }

    fn compile(pattern: &str, before: &str, after: &str) -> Result<Self, Error> {
        let error = |reason| Error { pattern: pattern.into(), reason };
        let translated = translate::translate(pattern).map_err(error)?;
        // The limits are `regex`'s own: 10 MiB for the program, 250 nested groups.
        let inner = RegexBuilder::new(&format!("{before}{}{after}", translated.pattern))
            .build()
            .map_err(|e| error(in_one_line(&e)))?;
        // `regex` forgets a group that is repeated no times, as in `(a){0}`, if none follows it: it never matches.
        debug_assert!(inner.captures_len() <= translated.groups.len());
        Ok(Self { pattern: pattern.into(), inner, groups: translated.groups.into() })
    }

    /// The expression as it was written.
    pub fn as_str(&self) -> &str {
        &self.pattern
    }

    pub fn is_match(&self, text: &str) -> bool {
        self.inner.is_match(text)
    }

    pub fn captures<'t>(&self, text: &'t str) -> Option<Captures<'t>> {
        self.inner.captures(text)
    }

    /// Room for `captures_read`, to be used again and again.
    pub fn capture_locations(&self) -> CaptureLocations {
        self.inner.capture_locations()
    }

    /// Finds the first match without allocating; false leaves nothing useful in `groups`.
    pub fn captures_read(&self, groups: &mut CaptureLocations, text: &str) -> bool {
        self.inner.captures_read(groups, text).is_some()
    }

    /// The names of the groups in order of their index, beginning with the whole match, which has none.
    /// A name may come twice.
    pub fn group_names(&self) -> impl ExactSizeIterator<Item = Option<&str>> {
        self.groups.iter().map(Option::as_deref)
    }

    /// The text of the first group of this name that takes part in the match: `$name` in Go.
    pub fn named<'t>(&self, captures: &Captures<'t>, name: &str) -> Option<&'t str> {
        let mut indexes = self.group_names().enumerate().filter(|(_, n)| *n == Some(name));
        indexes.find_map(|(i, _)| captures.get(i)).map(|m| m.as_str())
    }

    /// For what has no method here. Its groups have no names.
    pub fn inner(&self) -> &regex::Regex {
        &self.inner
    }
}

impl fmt::Display for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.pattern)
    }
}

impl fmt::Debug for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Regex({:?})", self.pattern)
    }
}

/// Why an expression cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pattern: Box<str>,
    reason: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Back quotes as Go prints them: backslashes stay as they were written.
        write!(f, "invalid regular expression `{}`: {}", self.pattern, self.reason)
    }
}

impl std::error::Error for Error {}

/// What `regex` says of a translated pattern, less its drawing of a text the user never wrote.
fn in_one_line(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(limit) => {
            format!("compiled it is larger than {} MiB, use fewer or smaller repetitions", limit >> 20)
        }
        other => {
            let text = other.to_string();
            let last = text.lines().last().unwrap_or_default();
            last.trim().trim_start_matches("error: ").to_string()
        }
    }
}

#[cfg(test)]
mod tests;
