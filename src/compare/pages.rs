//! Reads all entries of one side, in the order of time, whatever shares a nanosecond.
//!
//! Loki returns at most `limit` entries. A full page may end between two entries of the same nanosecond, so its last
//! nanosecond is left out and read with the next page. If a page has only one nanosecond, that one is divided by filters,
//! until each part has less than a page.

use std::ops::Range;

use super::answer::Entry;
use super::split;

/// One request: `query_range` with `direction=forward`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    pub logql: String,
    /// Nanoseconds since 1970. The end is exclusive.
    pub range: Range<i64>,
    pub limit: usize,
}

#[derive(Debug)]
pub enum Failure {
    /// The answer has too many bytes.
    TooLong,
    Because(String),
}

/// Answers queries with the body of Loki's answer.
pub trait Ask {
    fn ask(&self, query: &Query) -> Result<Vec<u8>, Failure>;
}

/// The longest time that one request asks for. A request for a longer time makes Loki look for chunks that it will not
/// return.
const SLICE: i64 = 3600 * 1_000_000_000;

/// How many entries of one nanosecond are read.
const MOST_AT_ONCE: usize = 1_000_000;
/// And how many bytes of their lines.
const MOST_BYTES_AT_ONCE: usize = 256 << 20;

/// How often the entries of a nanosecond are divided.
const DEEPEST: usize = 64;

/// A page cannot be divided if it has one entry.
const SMALLEST: usize = 2;

pub(super) struct Pages<'a> {
    loki: &'a dyn Ask,
    query: &'a str,
    at: i64,
    to: i64,
    /// The limit of the next request. It is lower than that of the settings while answers are too long.
    limit: usize,
    most: usize,
}

impl<'a> Pages<'a> {
    pub fn new(loki: &'a dyn Ask, query: &'a str, range: Range<i64>, limit: usize) -> Self {
        let limit = limit.max(SMALLEST);
        Self { loki, query, at: range.start, to: range.end, limit, most: limit }
    }

    /// The next entries: at least one, and all of each nanosecond. None: there are no more.
    pub fn next_page(&mut self) -> Result<Option<Vec<Entry>>, String> {
        while self.at < self.to {
            let end = self.at.saturating_add(SLICE).min(self.to);
            let (mut page, is_full) = self.page("", self.at..end)?;
            let last = page.last().map(|entry| entry.at);
            match last.filter(|_| is_full) {
                None => self.at = end,
                Some(last) if page.first().is_some_and(|first| first.at < last) => {
                    page.retain(|entry| entry.at < last);
                    self.at = last;
                }
                Some(last) => {
                    page = self.nanosecond(last)?;
                    self.at = last.saturating_add(1);
                }
            }
            if !page.is_empty() {
                return Ok(Some(page));
            }
        }
        Ok(None)
    }

    /// All entries of a nanosecond that has more than a page.
    fn nanosecond(&mut self, at: i64) -> Result<Vec<Entry>, String> {
        let (mut entries, mut parts) = (Vec::new(), vec![(0, String::new())]);
        while let Some((depth, filters)) = parts.pop() {
            let (page, is_full) = self.page(&filters, at..at.saturating_add(1))?;
            if !is_full {
                entries.extend(page);
            } else {
                let split = split::of(&page).filter(|_| depth < DEEPEST).ok_or_else(|| {
                    format!(
                        "more than {} entries at the nanosecond {at} differ in nothing that a filter can tell apart: \
                         raise -limit, and max_entries_limit_per_query of Loki",
                        page.len()
                    )
                })?;
                parts.extend(split.map(|filter| (depth + 1, format!("{filters}{filter}"))));
            }
            let bytes: usize = entries.iter().map(|entry: &Entry| entry.line.len()).sum();
            if entries.len() > MOST_AT_ONCE || bytes > MOST_BYTES_AT_ONCE {
                return Err(format!(
                    "more than {MOST_AT_ONCE} entries, or {} MiB of them, at the nanosecond {at}: write a narrower query",
                    MOST_BYTES_AT_ONCE >> 20
                ));
            }
        }
        Ok(entries)
    }

    /// The entries of a range, up to the limit, and whether there may be more.
    fn page(&mut self, filters: &str, range: Range<i64>) -> Result<(Vec<Entry>, bool), String> {
        loop {
            let query = Query { logql: format!("{}{filters}", self.query), range: range.clone(), limit: self.limit };
            match self.loki.ask(&query) {
                Ok(body) => {
                    let entries = super::answer::entries(&body)?;
                    let is_full = entries.len() >= self.limit;
                    self.limit = self.limit.saturating_mul(2).min(self.most);
                    if let Some(stray) = entries.iter().find(|entry| !range.contains(&entry.at)) {
                        return Err(format!("the answer has an entry of {}, which is outside of {range:?}", stray.at));
                    }
                    return Ok((entries, is_full));
                }
                Err(Failure::TooLong) if self.limit > SMALLEST => self.limit = (self.limit / 2).max(SMALLEST),
                Err(Failure::TooLong) => {
                    return Err("an answer with two lines is too long: leave out long lines in the query".into());
                }
                Err(Failure::Because(why)) => return Err(why),
            }
        }
    }
}
