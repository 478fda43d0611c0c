//! Labels: a map while relabelling changes them, a [`LabelSet`] afterwards.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3;

/// The labels of a target while discovery and relabelling work on them.
pub type Labels = BTreeMap<String, String>;

/// The labels that identify a stream: immutable, sorted by name, with a cached hash. A clone only increments a
/// reference count.
#[derive(Clone)]
pub struct LabelSet(Arc<Inner>);

/// Three allocations for any number of labels, because a node holds one set per log.
struct Inner {
    hash: u64,
    /// End offsets in `text` of each name and each value, alternately.
    ends: Box<[u32]>,
    text: Box<str>,
}

impl LabelSet {
    /// If two pairs have the same name, the later one wins.
    pub fn new<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut pairs: Vec<(N, V)> = pairs.into_iter().collect();
        // A stable sort keeps the later of two pairs with the same name last.
        pairs.sort_by(|(a, _), (b, _)| a.as_ref().cmp(b.as_ref()));
        let mut hash = Xxh3::new();
        let length = pairs.iter().map(|(n, v)| n.as_ref().len() + v.as_ref().len()).sum();
        let (mut text, mut ends) = (String::with_capacity(length), Vec::with_capacity(2 * pairs.len()));
        for (i, (name, value)) in pairs.iter().enumerate() {
            let (name, value) = (name.as_ref(), value.as_ref());
            let is_last = pairs.get(i + 1).is_none_or(|(next, _)| next.as_ref() != name);
            // Labels never reach 4 GiB: the inputs they come from are limited far below that.
            let Ok(end) = u32::try_from(text.len() + name.len() + value.len()) else {
                break;
            };
            if !is_last {
                continue;
            }
            for part in [name, value] {
                text.push_str(part);
                hash.update(part.as_bytes());
                hash.update(&[0xff]);
            }
            ends.extend([end - value.len() as u32, end]);
        }
        Self(Arc::new(Inner { hash: hash.digest(), ends: ends.into(), text: text.into() }))
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let (known, value) = self.pair(middle);
            match known.cmp(name) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Some(value),
            }
        }
        None
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        (0..self.len()).map(|i| self.pair(i))
    }

    fn pair(&self, index: usize) -> (&str, &str) {
        let Inner { ends, text, .. } = &*self.0;
        let begin = if index == 0 { 0 } else { ends[2 * index - 1] as usize };
        let (middle, end) = (ends[2 * index] as usize, ends[2 * index + 1] as usize);
        (&text[begin..middle], &text[middle..end])
    }

    pub fn len(&self) -> usize {
        self.0.ends.len() / 2
    }

    pub fn is_empty(&self) -> bool {
        self.0.ends.is_empty()
    }

    /// The bytes of all names and values.
    pub fn bytes(&self) -> usize {
        self.0.text.len()
    }

    /// Whether both are the same allocation: a cheap first check on the hot path.
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The same labels with `name` set to `value`.
    pub fn with(&self, name: &str, value: &str) -> Self {
        Self::new(self.iter().chain([(name, value)]))
    }

    /// The same labels without `name`.
    pub fn without(&self, name: &str) -> Self {
        Self::new(self.iter().filter(|(n, _)| *n != name))
    }

    /// A hash of names and values that is the same in every process and version.
    pub fn stable_hash(&self) -> u64 {
        self.0.hash
    }

    pub fn to_map(&self) -> Labels {
        self.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect()
    }
}

impl Default for LabelSet {
    fn default() -> Self {
        Self::new::<&str, &str>([])
    }
}

impl From<&Labels> for LabelSet {
    fn from(labels: &Labels) -> Self {
        Self::new(labels.iter().map(|(n, v)| (n.as_str(), v.as_str())))
    }
}

impl PartialEq for LabelSet {
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (&*self.0, &*other.0);
        self.same(other) || (a.hash == b.hash && a.ends == b.ends && a.text == b.text)
    }
}

impl Eq for LabelSet {}

impl Hash for LabelSet {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.hash);
    }
}

/// A map keyed by label sets. It uses their cached hash.
pub type LabelMap<V> = HashMap<LabelSet, V, BuildHasherDefault<KeptHash>>;

/// The hasher of a [`LabelMap`]. Returns the cached hash unchanged.
#[derive(Debug, Default)]
pub struct KeptHash(u64);

impl Hasher for KeptHash {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("only label sets are keys here, and they write one u64");
    }
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// Writes a selector as Loki and Prometheus do: `{a="b", c="d"}`.
impl fmt::Display for LabelSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::with_capacity(self.iter().map(|(n, v)| n.len() + v.len() + 5).sum::<usize>() + 2);
        out.push('{');
        for (i, (name, value)) in self.iter().enumerate() {
            if i > 0 {
                out.push_str(", ");
            }
            out.push_str(name);
            out.push('=');
            quote_go(&mut out, value);
        }
        out.push('}');
        f.write_str(&out)
    }
}

impl fmt::Debug for LabelSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whether the name matches `[a-zA-Z_][a-zA-Z0-9_]*`. Loki rejects a whole push that has any other label name.
pub fn is_valid_label_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    !bytes.is_empty() && !bytes[0].is_ascii_digit() && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_')
}

/// A valid label name for Loki: replaces all characters except letters, digits and `_` with `_`, and puts `_` before a
/// leading digit. Loki rejects a whole push for one invalid name.
pub fn loki_label_name(name: &str) -> Cow<'_, str> {
    if is_valid_label_name(name) {
        return Cow::Borrowed(name);
    }
    let fix = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
    let mut fixed: String = name.chars().map(fix).collect();
    if fixed.is_empty() || fixed.starts_with(|c: char| c.is_ascii_digit()) {
        fixed.insert(0, '_');
    }
    Cow::Owned(fixed)
}

/// Appends `value` in double quotes, with the escapes of a Go string literal. Loki reads this form.
pub fn quote_go(out: &mut String, value: &str) {
    use std::fmt::Write;
    out.push('"');
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\u{b}' => out.push_str("\\v"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => {
                let _ = write!(out, "\\x{:02x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_pair_wins_and_order_does_not_matter() {
        let a = LabelSet::new([("b", "1"), ("a", "2"), ("b", "3")]);
        let b = LabelSet::new([("a", "2"), ("b", "3")]);
        assert_eq!(a, b);
        assert_eq!(a.stable_hash(), b.stable_hash());
        assert_eq!(a.get("b"), Some("3"));
        assert_eq!(a.get("c"), None);
    }

    #[test]
    fn each_name_finds_its_value() {
        for count in 0..20 {
            let name = |n: usize| format!("{}{n}", ["b", "a", ""][n % 3]);
            let set = LabelSet::new((0..count).rev().map(|n| (name(n), "v".repeat(n))));
            assert_eq!((set.len(), set.is_empty()), (count, count == 0));
            (0..count).for_each(|n| assert_eq!(set.get(&name(n)), Some(&*"v".repeat(n)), "{n} of {count}"));
            assert_eq!((set.get("aa"), set.get("zz")), (None, None));
            assert!(set.iter().is_sorted(), "{set}");
            assert_eq!(LabelSet::new(set.iter()).stable_hash(), set.stable_hash());
        }
    }

    #[test]
    fn names_and_values_do_not_run_together_in_the_hash() {
        assert_ne!(LabelSet::new([("ab", "c")]).stable_hash(), LabelSet::new([("a", "bc")]).stable_hash());
    }

    #[test]
    fn names_as_loki_takes_them() {
        for (name, want) in [
            ("app", "app"),
            ("a-b", "a_b"),
            ("a.b/c d", "a_b_c_d"),
            ("1a", "_1a"),
            ("é", "_"),
            ("a:b", "a_b"),
            ("a\"b\n", "a_b_"),
            ("", "_"),
        ] {
            assert_eq!(loki_label_name(name), want, "{name:?}");
        }
    }

    #[test]
    fn printed_as_a_selector_with_go_escapes() {
        let set = LabelSet::new([("z", "q\"\\\n\u{1}é"), ("a", "")]);
        assert_eq!(set.to_string(), "{a=\"\", z=\"q\\\"\\\\\\n\\x01é\"}");
        assert_eq!(LabelSet::default().to_string(), "{}");
    }

    #[test]
    fn label_names_loki_takes() {
        for good in ["a", "_", "a1", "__x", "Ab_9"] {
            assert!(is_valid_label_name(good), "{good}");
        }
        for bad in ["", "1a", "a-b", "a.b", "é", "a b"] {
            assert!(!is_valid_label_name(bad), "{bad}");
        }
    }
}
