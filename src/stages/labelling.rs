//! How stages read and change the labels of an entry.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use crate::model::{Entry, LabelMap, LabelSet, MAX_LINE};

/// In Promtail, a label of this name holds the tenant of an entry. Here it is [`Entry::tenant`], and stages that use
/// the label use that.
pub(super) const TENANT: &str = "__tenant_id__";

/// The label with this name, or the tenant.
pub(super) fn label<'e>(entry: &'e Entry<'_>, name: &str) -> Option<&'e str> {
    if name == TENANT { entry.tenant.as_deref() } else { entry.labels.get(name) }
}

/// Sets the tenant. An empty tenant means the client's default.
pub(super) fn set_tenant(entry: &mut Entry<'_>, tenant: &str) {
    if entry.tenant.as_deref() != Some(tenant) {
        entry.tenant = (!tenant.is_empty()).then(|| Arc::from(tenant));
    }
}

/// The most label sets that a stage remembers, and their total size in bytes. Beyond that it forgets all of them.
const REMEMBERED: usize = 10_000;
const BYTES: usize = 16 * MAX_LINE;

/// A cache keyed by label sets.
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

    /// Adds a value for a label set that has none.
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

/// Sets labels to values that vary between lines. Each combination is built once and cached.
#[derive(Debug)]
pub(super) struct Setting {
    names: Vec<Box<str>>,
    known: LabelMap<HashMap<Vec<u8>, LabelSet>>,
    count: usize,
    bytes: usize,
    /// The lookup key made of the values of a line. Reused for its memory.
    key: Vec<u8>,
}

impl Setting {
    pub fn new<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        let names = names.into_iter().map(Box::from).collect();
        Self { names, known: LabelMap::default(), count: 0, bytes: 0, key: Vec::new() }
    }

    /// `value` returns the new value of the label with this index. None leaves the label unchanged.
    pub fn apply<'v>(&mut self, labels: &LabelSet, value: impl Fn(usize) -> Option<Cow<'v, str>>) -> LabelSet {
        self.key.clear();
        let mut changes = false;
        for i in 0..self.names.len() {
            match value(i) {
                // No length has this form.
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

/// A fixed change of label sets, cached.
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
