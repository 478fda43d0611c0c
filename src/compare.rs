//! Compares the lines that two agents sent to Loki: to two servers, to two tenants, or with different labels.
//!
//! Both sides are read page by page in the order of time, and together: the side that is behind is read next. A line is
//! kept as a hash, and only until no line of the other side can match it, so memory has a limit.

mod answer;
mod loki;
mod matcher;
mod pages;
mod report;
mod split;
mod streams;

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

pub use loki::{Access, Loki};
pub use pages::{Ask, Failure, Query};
pub use report::{Comparison, DifferentLine, StreamResult, text};

use answer::Entry;
use matcher::{Item, Matcher};
use pages::Pages;
use streams::Streams;

/// What to compare.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The LogQL query of each side: a selector, and filters.
    pub queries: [String; 2],
    /// Nanoseconds since 1970. The end is exclusive.
    pub range: Range<i64>,
    /// The longest time between a line and the same line of the other side.
    pub window: Duration,
    /// Entries per request.
    pub limit: usize,
    /// Labels that do not tell streams apart.
    pub ignored_labels: Vec<String>,
    /// Old and new names of labels. The old names may be on either side.
    pub renamed_labels: Vec<(String, String)>,
    /// Whether lines with different structured metadata are different lines.
    pub metadata: bool,
    /// How many of the lines that differ are kept with their text.
    pub shown_lines: usize,
}

/// The two sides, in the order of all pairs here.
pub const SIDES: [&str; 2] = ["left", "right"];

/// Reads both sides and compares them.
pub fn compare(sides: [&dyn Ask; 2], settings: &Settings) -> Result<Comparison, String> {
    let window = i64::try_from(settings.window.as_nanos()).map_err(|_| "the window is too long".to_string())?;
    // A line near an end of the range may match a line beyond it.
    let (from, to) = (settings.range.start.saturating_sub(window), settings.range.end.saturating_add(window));
    let mut streams = Streams::new(settings);
    let mut matcher = Matcher::new(settings.range.clone(), window, settings.shown_lines);
    let mut pages = [0, 1].map(|side| Pages::new(sides[side], &settings.queries[side], from..to, settings.limit));
    let mut waiting: [VecDeque<(i64, Item)>; 2] = Default::default();
    loop {
        for ((items, pages), side) in waiting.iter_mut().zip(&mut pages).zip(SIDES) {
            if items.is_empty() {
                let page = pages.next_page().map_err(|why| format!("{side}: {why}"))?;
                for entry in page.unwrap_or_default() {
                    items.push_back((entry.at, item(&mut streams, entry, settings)?));
                }
            }
        }
        let next = waiting.iter().filter_map(|items| items.front().map(|(at, _)| *at)).min();
        let Some(at) = next else { break };
        // No page ends between two entries of the same nanosecond.
        let group = waiting.each_mut().map(|items| {
            let count = items.iter().take_while(|(time, _)| *time == at).count();
            items.drain(..count).map(|(_, item)| item).collect()
        });
        matcher.feed(at, group)?;
    }
    Ok(report::comparison(settings.range.clone(), streams.into_labels(), matcher.finish()))
}

fn item(streams: &mut Streams, entry: Entry, settings: &Settings) -> Result<Item, String> {
    let stream = streams.number(&entry.labels)?;
    let mut hash = xxhash_rust::xxh3::xxh3_128(entry.line.as_bytes());
    if settings.metadata {
        let metadata = format!("{:?}", entry.metadata);
        hash ^= xxhash_rust::xxh3::xxh3_128_with_seed(metadata.as_bytes(), 1);
    }
    let text = (settings.shown_lines > 0).then(|| report::excerpt(&entry.line));
    Ok(Item { stream, hash, text })
}

#[cfg(test)]
mod tests;
