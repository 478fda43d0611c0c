//! Go's regular expressions (RE2 syntax), implemented with the `regex` crate.
//!
//! Both find the same match (leftmost-first, in linear time) but differ in syntax. In Go, `\d`, `\w`, `\s` and `\b` are
//! ASCII; `[`, `{` and `&&` are often plain text; two groups may have the same name. `translate` rewrites Go's syntax
//! for `regex`. [`Replacement`] implements Go's `$1` and `${name}`. Expressions that Go rejects are rejected here too.

mod chars;
mod class;
mod replacement;
mod translate;

use std::fmt;
use std::sync::Arc;

use regex::RegexBuilder;
pub use regex::{CaptureLocations, Captures, NoExpand};

pub use replacement::Replacement;

/// A compiled expression. A clone only increments a reference count.
#[derive(Clone)]
pub struct Regex {
    pattern: Arc<str>,
    inner: regex::Regex,
    /// Group names by index. 0 is the whole match. `inner` only has numbered groups.
    groups: Arc<[Option<Box<str>>]>,
}

impl Regex {
    /// Compiles an expression that matches anywhere in the text.
    pub fn new(pattern: &str) -> Result<Self, Error> {
        Self::compile(pattern, "", "")
    }

    /// Compiles an expression that must match the whole text, including line breaks. Relabelling and label matchers use
    /// this.
    pub fn anchored(pattern: &str) -> Result<Self, Error> {
        Self::compile(pattern, "^(?s:", ")$")
    }

    fn compile(pattern: &str, before: &str, after: &str) -> Result<Self, Error> {
        let error = |reason| Error { pattern: pattern.into(), reason };
        let translated = translate::translate(pattern).map_err(error)?;
        // The limits are those of `regex`: a program of 10 MiB, and 250 nested groups.
        let inner = RegexBuilder::new(&format!("{before}{}{after}", translated.pattern))
            .build()
            .map_err(|e| error(in_one_line(&e)))?;
        // `regex` drops a group that is repeated zero times, as in `(a){0}`, if no other follows. Such a group never
        // matches.
        debug_assert!(inner.captures_len() <= translated.groups.len());
        Ok(Self { pattern: pattern.into(), inner, groups: translated.groups.into() })
    }

    /// The expression as written.
    pub fn as_str(&self) -> &str {
        &self.pattern
    }

    pub fn is_match(&self, text: &str) -> bool {
        self.inner.is_match(text)
    }

    pub fn captures<'t>(&self, text: &'t str) -> Option<Captures<'t>> {
        self.inner.captures(text)
    }

    /// A buffer for `captures_read`, which can be reused.
    pub fn capture_locations(&self) -> CaptureLocations {
        self.inner.capture_locations()
    }

    /// Finds the first match without allocating. If it returns false, the contents of `groups` are undefined.
    pub fn captures_read(&self, groups: &mut CaptureLocations, text: &str) -> bool {
        self.inner.captures_read(groups, text).is_some()
    }

    /// The names of the groups by index, starting with the whole match, which has no name. Names may repeat.
    pub fn group_names(&self) -> impl ExactSizeIterator<Item = Option<&str>> {
        self.groups.iter().map(Option::as_deref)
    }

    /// The text of the first group with this name that takes part in the match, like `$name` in Go. None: no such group
    /// takes part.
    pub fn named<'t>(&self, captures: &Captures<'t>, name: &str) -> Option<&'t str> {
        let mut indexes = self.group_names().enumerate().filter(|(_, n)| *n == Some(name));
        indexes.find_map(|(i, _)| captures.get(i)).map(|m| m.as_str())
    }

    /// For methods that are missing here. Its groups have no names.
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
        // In backquotes, as Go prints it: backslashes stay as written.
        write!(f, "invalid regular expression `{}`: {}", self.pattern, self.reason)
    }
}

impl std::error::Error for Error {}

/// The error from `regex`, without its drawing of the translated pattern, which the user never wrote.
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
