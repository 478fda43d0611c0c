//! Divides the entries of one nanosecond in two, with filters of LogQL.

use std::collections::{BTreeMap, BTreeSet};

use super::answer::Entry;
use crate::model::quote_go;

/// Go's regular expressions repeat at most so often.
const FARTHEST: usize = 1000;

/// Two filters, each of which some of these entries pass. An entry passes exactly one of them. None: there are no such
/// filters.
pub(super) fn of(entries: &[Entry]) -> Option<[String; 2]> {
    let enough = entries.len() / 4;
    let mut best = by_label(entries);
    if best.as_ref().is_none_or(|(score, _)| *score < enough) {
        let lines: Vec<Vec<char>> = entries.iter().map(|entry| entry.line.chars().collect()).collect();
        let from_start = |line: &Vec<char>, at: usize| line.get(at).copied();
        let from_end = |line: &Vec<char>, at: usize| line.iter().nth_back(at).copied();
        let start = by_character(&lines, enough, from_start, |class, at| format!("^.{{{at}}}{class}"));
        let end = by_character(&lines, enough, from_end, |class, at| format!("{class}.{{{at}}}$"));
        best = [end, start, best].into_iter().flatten().max_by_key(|(score, _)| *score);
    }
    best.map(|(_, filters)| filters)
}

/// The size of the smaller part, and the filters.
type Split = (usize, [String; 2]);

fn by_label(entries: &[Entry]) -> Option<Split> {
    let all = |entry: &Entry| entry.labels.keys().chain(entry.metadata.keys()).cloned().collect::<Vec<_>>();
    let names: BTreeSet<String> = entries.iter().flat_map(all).collect();
    // Labels with such names are Loki's own.
    let splits = names.iter().filter(|name| !name.starts_with("__")).filter_map(|name| {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for entry in entries {
            let value = entry.labels.get(name).or_else(|| entry.metadata.get(name));
            *counts.entry(value.map_or("", String::as_str)).or_default() += 1;
        }
        let (value, count) = counts.into_iter().max_by_key(|(_, count)| (*count).min(entries.len() - count))?;
        let filter = |operator: &str| {
            let mut filter = format!(" | {name}{operator}");
            quote_go(&mut filter, value);
            filter
        };
        Some((count.min(entries.len() - count), [filter("="), filter("!=")]))
    });
    splits.filter(|(score, _)| *score > 0).max_by_key(|(score, _)| *score)
}

/// Divides by the character at a distance from the start or the end of the line: up to a character, or beyond it.
fn by_character(
    lines: &[Vec<char>],
    enough: usize,
    character: impl Fn(&Vec<char>, usize) -> Option<char>,
    pattern: impl Fn(&str, usize) -> String,
) -> Option<Split> {
    let longest = lines.iter().map(Vec::len).max().unwrap_or_default().min(FARTHEST);
    let mut best: Option<Split> = None;
    for at in 0..longest {
        // Lines that are too short are in the second part.
        let mut found: Vec<char> = lines.iter().filter_map(|line| character(line, at)).collect();
        found.sort_unstable();
        let up_to = |index: usize| found.get(index).map(|c| (found.partition_point(|other| other <= c), *c));
        // The character in the middle, and the one below it.
        let middle = up_to(lines.len().min(found.len()) / 2);
        let below = middle.and_then(|(_, c)| up_to(found.partition_point(|other| *other < c).checked_sub(1)?));
        let parts = [middle, below].into_iter().flatten().map(|(count, c)| (count.min(lines.len() - count), c));
        let Some((score, c)) = parts.max_by_key(|(score, _)| *score).filter(|(score, _)| *score > 0) else { continue };
        if best.as_ref().is_none_or(|(most, _)| score > *most) {
            let regex = format!("(?s){}", pattern(&format!("[\\x{{0}}-\\x{{{:X}}}]", u32::from(c)), at));
            best = Some((score, [format!(" |~ `{regex}`"), format!(" !~ `{regex}`")]));
        }
        if score >= enough {
            break;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn entries(lines: &[(&str, &str)]) -> Vec<Entry> {
        let entry = |(pod, line): &(&str, &str)| Entry {
            at: 1,
            labels: Arc::new([("pod".to_string(), pod.to_string())].into()),
            line: line.to_string(),
            metadata: BTreeMap::new(),
        };
        lines.iter().map(entry).collect()
    }

    #[test]
    fn entries_are_told_apart_by_labels_or_by_characters() {
        for (lines, want) in [
            (&[("a", "x"), ("b", "x")][..], Some(" | pod=\"b\"")),
            (&[("a\"", "x"), ("a\"", "x"), ("", "x")], Some(" | pod=\"a\\\"\"")),
            (&[("a", "10"), ("a", "11")], Some(" |~ `(?s)^.{1}[\\x{0}-\\x{30}]`")),
            (&[("a", "x"), ("a", "xé")], Some(" |~ `(?s)^.{1}[\\x{0}-\\x{E9}]`")),
            (&[("a", "x"), ("a", "x")], None),
            (&[], None),
        ] {
            let split = of(&entries(lines));
            assert_eq!(split.as_ref().map(|filters| filters[0].as_str()), want, "{lines:?}");
        }
        // Equal for the first thousand characters.
        let long = "é".repeat(1200);
        let [first, second] =
            of(&entries(&[("a", &format!("{long}1")), ("a", &format!("{long}2"))])).expect("a filter");
        assert_eq!(first, " |~ `(?s)[\\x{0}-\\x{31}].{0}$`");
        assert_eq!(second, " !~ `(?s)[\\x{0}-\\x{31}].{0}$`");
    }
}
