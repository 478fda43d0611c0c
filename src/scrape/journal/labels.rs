//! The labels of an entry: the job's rules, applied to `__journal_<field>`. Entries with the same values of the fields
//! that the rules read have the same labels, so the rules run once for them.

use crate::journal::Entry;
use crate::model::{LabelSet, Labels, SeededMap, loki_label_name};
use crate::relabel::{Reads, Rules, Verdict};

/// The most label sets and names of fields that are kept.
const KEPT: usize = 4096;

/// The most bytes of values for which label sets are kept.
const KEPT_BYTES: usize = 1 << 20;

const PRIORITY: &[u8] = b"PRIORITY";

/// The names of the values of PRIORITY.
const KEYWORDS: [&str; 8] = ["emerg", "alert", "crit", "error", "warning", "notice", "info", "debug"];

#[derive(Debug)]
pub(super) struct Relabelling {
    rules: Rules,
    reads: Reads,
    constant: Labels,
    /// By field: its label, or None if no rule reads it.
    names: SeededMap<Vec<u8>, Option<String>>,
    /// By the values of the fields that are read.
    known: SeededMap<Vec<u8>, Option<LabelSet>>,
    /// Bytes of the keys of `known`.
    known_bytes: usize,
    /// Reused for each entry.
    key: Vec<u8>,
}

impl Relabelling {
    /// `constant` are labels that each entry has before the rules are applied.
    pub fn new(rules: Rules, constant: Labels) -> Self {
        let (names, known, known_bytes, key) = (SeededMap::default(), SeededMap::default(), 0, Vec::new());
        Self { reads: rules.reads(), rules, constant, names, known, known_bytes, key }
    }

    /// Whether rules read the field with this name.
    pub fn reads(&mut self, name: &[u8]) -> bool {
        self.names.get(name).map(Option::is_some).unwrap_or_else(|| {
            if self.names.len() >= KEPT {
                self.names.clear();
            }
            let label = label(name, &self.reads);
            let is_read = label.is_some();
            self.names.insert(name.to_vec(), label);
            is_read
        })
    }

    /// The labels of an entry. None: a rule drops it, or it has no label.
    pub fn labels(&mut self, entry: &Entry) -> Option<LabelSet> {
        self.key.clear();
        for (name, value) in entry.fields() {
            if self.reads(name) {
                self.key.extend_from_slice(name);
                self.key.push(b'=');
                self.key.extend_from_slice(&(value.len() as u64).to_le_bytes());
                self.key.extend_from_slice(value);
            }
        }
        if let Some(known) = self.known.get(&self.key) {
            return known.clone();
        }
        let labels = self.relabel(entry);
        if self.key.len() <= KEPT_BYTES / 16 {
            self.known_bytes += self.key.len();
            if self.known.len() >= KEPT || self.known_bytes > KEPT_BYTES {
                self.known.clear();
                self.known_bytes = self.key.len();
            }
            self.known.insert(self.key.clone(), labels.clone());
        }
        labels
    }

    fn relabel(&self, entry: &Entry) -> Option<LabelSet> {
        let mut labels = self.constant.clone();
        for (name, value) in entry.fields() {
            // Not from the cache of names, which may have been emptied since they were asked for.
            if let Some(label) = label(name, &self.reads) {
                labels.insert(label, String::from_utf8_lossy(value).into_owned());
            }
        }
        let priority = entry.get("PRIORITY").and_then(|value| std::str::from_utf8(value).ok()?.parse::<usize>().ok());
        if let Some(keyword) = priority.and_then(|priority| KEYWORDS.get(priority)) {
            labels.insert("__journal_priority_keyword".into(), (*keyword).into());
        }
        if let Verdict::Drop { .. } = self.rules.apply(&mut labels) {
            return None;
        }
        labels.retain(|name, value| !name.starts_with("__") && !value.is_empty());
        let named = labels.into_iter().map(|(name, value)| (loki_label_name(&name).into_owned(), value));
        let labels = LabelSet::new(named);
        (!labels.to_map().is_empty()).then_some(labels)
    }
}

fn label(field: &[u8], reads: &Reads) -> Option<String> {
    let label = format!("__journal_{}", String::from_utf8_lossy(field).to_lowercase());
    let is_read = reads.reads(&label) || field == PRIORITY && reads.reads("__journal_priority_keyword");
    is_read.then_some(label)
}
