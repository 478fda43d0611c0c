//! Which labels the rules read, so that discovery does not have to keep the others.

use std::collections::BTreeSet;

use super::Rules;
use super::rule::Rule;
use crate::goregex::Regex;

/// The labels whose values can affect the result of the rules.
#[derive(Clone, Debug, Default)]
pub struct Reads {
    names: BTreeSet<String>,
    /// From `labelmap`, which reads all labels with a matching name.
    patterns: Vec<Regex>,
}

impl Reads {
    pub fn reads(&self, name: &str) -> bool {
        self.names.contains(name) || self.patterns.iter().any(|pattern| pattern.is_match(name))
    }

    /// Whether a rule writes out a name, or a pattern of names, with this beginning.
    pub fn mentions(&self, beginning: &str) -> bool {
        let is_named = self.names.range(beginning.to_string()..).next().is_some_and(|name| name.starts_with(beginning));
        is_named || self.patterns.iter().any(|pattern| pattern.as_str().contains(beginning))
    }
}

impl Rules {
    /// `labeldrop` and `labelkeep` only look at names and remove labels, so a label that is not there makes no
    /// difference to them.
    pub fn reads(&self) -> Reads {
        let mut reads = Reads::default();
        for rule in &self.rules {
            match rule {
                Rule::LabelMap { regex, .. } => reads.patterns.push(regex.clone()),
                rule => reads.names.extend(rule.names_read().into_iter().cloned()),
            }
        }
        reads
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;
    use crate::model::Labels;

    fn rules(yaml: &str) -> Rules {
        let configs: Vec<Config> = serde_yaml::from_str(yaml).expect(yaml);
        Rules::compile(&configs).expect(yaml)
    }

    #[test]
    fn source_labels_what_is_compared_with_and_what_a_labelmap_matches_are_read() {
        for (yaml, read, not) in [
            ("[]", "", "a b"),
            ("[{source_labels: [a, b], target_label: t}]", "a b", "t ab"),
            ("[{source_labels: [a], target_label: b, action: keepequal}]", "a b", "c"),
            ("[{source_labels: [a], target_label: b, action: dropequal}]", "a b", "c"),
            ("[{source_labels: [a], target_label: b, action: hashmod, modulus: 2}]", "a", "b"),
            ("[{source_labels: [a], target_label: b, action: uppercase}]", "a", "b"),
            ("[{source_labels: [a], regex: x, action: drop}, {source_labels: [b], action: keep}]", "a b", "x"),
            ("[{regex: 'x_(.+)', action: labelmap}]", "x_a x_b", "a ax_a x_"),
            ("[{regex: 'x_.*', action: labeldrop}, {regex: 'x_.*', action: labelkeep}]", "", "x_a"),
        ] {
            let reads = rules(yaml).reads();
            for name in read.split_whitespace() {
                assert!(reads.reads(name), "{yaml}: {name}");
            }
            for name in not.split_whitespace() {
                assert!(!reads.reads(name), "{yaml}: {name}");
            }
        }
    }

    /// The guarantee for discovery: without the unread labels the result is the same, except for those labels
    /// themselves.
    #[test]
    fn labels_that_are_not_read_make_no_difference() {
        let all: Labels = (0..12).map(|n| (format!("__meta_{n}"), format!("v{}", n % 3))).collect();
        for yaml in [
            "[{source_labels: [__meta_1, __meta_2], target_label: a}, {regex: '__meta_(1.*)', replacement: 'm_$1', action: labelmap}]",
            "[{source_labels: [__meta_3], regex: 'v(.)', target_label: '__meta_$1', replacement: new}, \
              {source_labels: [__meta_0], target_label: b}]",
            "[{regex: '__meta_.', action: labelkeep}, {regex: '__meta_(.+)', replacement: '$1', action: labelmap}]",
            "[{regex: '__meta_1.?', action: labeldrop}, {source_labels: [__meta_1], regex: '', action: keep}]",
            "[{source_labels: [__meta_1], target_label: __meta_4, action: dropequal}]",
            "[{source_labels: [__meta_1], target_label: __meta_2, action: keepequal}]",
            "[{regex: '__meta_(\\d)', replacement: '__meta_1$1', action: labelmap}, \
              {source_labels: [__meta_10, __meta_11], target_label: c}]",
            "[{source_labels: [__meta_5, none], target_label: __meta_6, action: uppercase}, \
              {source_labels: [__meta_6], target_label: d, modulus: 7, action: hashmod}]",
        ] {
            let rules = rules(yaml);
            let reads = rules.reads();
            let outcome = |mut labels: Labels| {
                let verdict = rules.apply(&mut labels);
                labels.retain(|name, _| !name.starts_with("__"));
                (verdict, labels)
            };
            let few: Labels = all.clone().into_iter().filter(|(name, _)| reads.reads(name)).collect();
            assert_eq!(outcome(few), outcome(all.clone()), "{yaml}");
            // If only the name is kept, the label has an empty value.
            let mut bare = all.clone();
            bare.iter_mut().filter(|(name, _)| !reads.reads(name)).for_each(|(_, value)| value.clear());
            assert_eq!(outcome(bare), outcome(all.clone()), "{yaml}");
        }
    }
}
