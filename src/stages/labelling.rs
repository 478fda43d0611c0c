//! Labels of an entry as stages see and change them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use crate::model::{Entry, LabelMap, LabelSet, MAX_LINE};

/// To Promtail the tenant of an entry is a label of this name; here it is [`Entry::tenant`], and stages that name the
/// label mean that.
pub(super) const TENANT: &str = "__tenant_id__";

/// The label of that name, or the tenant.
pub(super) fn label<'e>(entry: &'e Entry<'_>, name: &str) -> Option<&'e str> {
    if name == TENANT { entry.tenant.as_deref() } else { entry.labels.get(name) }
}

/// An empty tenant is none: the client's own takes its place.
pub(super) fn set_tenant(entry: &mut Entry<'_>, tenant: &str) {
    if entry.tenant.as_deref() != Some(tenant) {
        entry.tenant = (!tenant.is_empty()).then(|| Arc::from(tenant));
    }
}

/// How many label sets a stage remembers, and how long in all, before it forgets them all: a bound, not a promise.
const REMEMBERED: usize = 10_000;
const BYTES: usize = 16 * MAX_LINE;

/// What is remembered of label sets.
#[derive(Debug)]
pub(super) struct Known<V> {
    sets: LabelMap<V>,
    bytes: usize,
}

impl<V> Default for Known<V> {
    fn default() -> Self {
        Self { sets: LabelMap::default(), bytes: 0 }
    }
}

impl<V> Known<V> {
    pub fn get(&self, labels: &LabelSet) -> Option<&V> {
        self.sets.get(labels)
    }

    pub fn get_mut(&mut self, labels: &LabelSet) -> Option<&mut V> {
        self.sets.get_mut(labels)
    }

    /// Remembers something of a label set of which nothing was known.
    pub fn insert(&mut self, labels: &LabelSet, value: V) {
        if self.sets.len() >= REMEMBERED || self.bytes >= BYTES {
            *self = Self::default();
        }
        self.bytes += length(labels);
        self.sets.insert(labels.clone(), value);
    }
}

fn length(labels: &LabelSet) -> usize {
    labels.iter().map(|(name, value)| name.len() + value.len()).sum()
}

/// Sets some labels to values that vary from line to line. Each combination is made once, then found again.
#[derive(Debug)]
pub(super) struct Setting {
    names: Vec<Box<str>>,
    known: LabelMap<HashMap<Vec<u8>, LabelSet>>,
    count: usize,
    bytes: usize,
    /// What the values of one line are looked up by; kept for its memory.
    key: Vec<u8>,
}

impl Setting {
    pub fn new<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        let names = names.into_iter().map(Box::from).collect();
        Self { names, known: LabelMap::default(), count: 0, bytes: 0, key: Vec::new() }
    }

    /// `value` says what the label with that index becomes; none leaves it as it is.
    pub fn apply<'v>(&mut self, labels: &LabelSet, value: impl Fn(usize) -> Option<Cow<'v, str>>) -> LabelSet {
        self.key.clear();
        let mut changes = false;
        for i in 0..self.names.len() {
            match value(i) {
                // No length looks like this.
                None => self.key.extend([0xff; 8]),
                Some(v) => {
                    self.key.extend(v.len().to_le_bytes());
                    self.key.extend(v.as_bytes());
                    changes = true;
                }
            }
        }
        if !changes {
            return labels.clone();
        }
        if let Some(known) = self.known.get(labels).and_then(|sets| sets.get(&self.key)) {
            return known.clone();
        }
        let old = labels.iter().map(|(name, value)| (name.into(), value.into()));
        let new = self.names.iter().enumerate().filter_map(|(i, n)| Some((n.clone(), Box::from(&*value(i)?))));
        let all: Vec<(Box<str>, Box<str>)> = old.chain(new).collect();
        let made = Some(LabelSet::new(all)).filter(|made| made != labels).unwrap_or_else(|| labels.clone());
        if self.count >= REMEMBERED || self.bytes >= BYTES {
            self.known.clear();
            (self.count, self.bytes) = (0, 0);
        }
        self.known.entry(labels.clone()).or_default().insert(self.key.clone(), made.clone());
        self.count += 1;
        self.bytes += self.key.len() + length(&made);
        made
    }
}

/// What label sets become when the change depends on nothing else.
#[derive(Debug, Default)]
pub(super) struct Changing {
    known: Known<LabelSet>,
}

impl Changing {
    pub fn apply(&mut self, labels: &LabelSet, change: impl FnOnce(&LabelSet) -> LabelSet) -> LabelSet {
        if let Some(known) = self.known.get(labels) {
            return known.clone();
        }
        let made = Some(change(labels)).filter(|made| made != labels).unwrap_or_else(|| labels.clone());
        self.known.insert(labels, made.clone());
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_do_not_run_together() {
        let mut setting = Setting::new(["a", "b"]);
        let base = LabelSet::new([("a", "old")]);
        for (a, b, want) in [
            (Some("12"), Some("3"), "{a=\"12\", b=\"3\"}"),
            (Some("1"), Some("23"), "{a=\"1\", b=\"23\"}"),
            (Some(""), None, "{a=\"\"}"),
            (None, Some(""), "{a=\"old\", b=\"\"}"),
            (None, None, "{a=\"old\"}"),
            (Some("old"), None, "{a=\"old\"}"),
        ] {
            let value = |i: usize| [a, b][i].map(Cow::Borrowed);
            let first = setting.apply(&base, value);
            assert_eq!(first.to_string(), want);
            assert!(setting.apply(&base, value).same(&first), "made twice: {want}");
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut setting = Setting::new(["a"]);
        let base = LabelSet::default();
        for i in 0..=REMEMBERED {
            setting.apply(&base, |_| Some(i.to_string().into()));
        }
        assert_eq!(setting.count, 1);
        assert_eq!(setting.known.values().map(HashMap::len).sum::<usize>(), 1);
    }

    #[test]
    fn values_as_long_as_a_line_are_not_hoarded() {
        let (mut setting, mut changing) = (Setting::new(["a"]), Changing::default());
        let (mut most, long) = (0, "x".repeat(MAX_LINE));
        for i in 0..40 {
            let made = setting.apply(&LabelSet::default(), |_| Some(format!("{i}{long}").into()));
            assert_eq!(made.len(), 1);
            changing.apply(&made, |old| old.without("a"));
            let kept = setting.known.values().flat_map(HashMap::values).map(length).sum::<usize>();
            most = most.max(kept + changing.known.sets.keys().map(length).sum::<usize>());
        }
        assert!((BYTES..3 * BYTES).contains(&most), "{most} bytes");
    }
}
