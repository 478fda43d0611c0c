//! Decides whether rules can be applied to a target whose labels are only partly known.

use std::collections::BTreeSet;

use super::Rules;
use super::rule::Rule;

impl Rules {
    /// The index of the first rule that keeps or drops by an unknown label, or by a label that earlier rules derived
    /// from one. Such a rule would treat an unknown label as missing, and so might keep a target that it should drop.
    /// None: there is no such rule.
    ///
    /// The result is conservative: a label that a rule may have derived from an unknown label counts as derived from
    /// it.
    pub fn first_unjudged(&self, is_unknown: impl Fn(&str) -> bool) -> Option<usize> {
        let mut made: BTreeSet<String> = BTreeSet::new();
        // Rules created labels whose names depend on values. Names from discovery are not among them.
        let mut any = false;
        let is_given = |name: &str| name.starts_with("__meta_");
        for (number, rule) in self.rules.iter().enumerate() {
            let is_made = |name: &String| made.contains(name) || any && !is_given(name);
            let touches = rule.names_read().iter().any(|name| is_unknown(name) || is_made(name));
            match rule {
                Rule::Keep { .. } | Rule::Drop { .. } | Rule::KeepEqual { .. } | Rule::DropEqual { .. } if touches => {
                    return Some(number);
                }
                Rule::Replace { target, .. } if touches => match target.is_literal() {
                    Some(name) => _ = made.insert(name.to_string()),
                    None => any = true,
                },
                // It may have copied labels that are missing here.
                Rule::LabelMap { .. } => any = true,
                Rule::HashMod { target, .. } | Rule::Lowercase { target, .. } | Rule::Uppercase { target, .. }
                    if touches =>
                {
                    made.insert(target.clone());
                }
                _ => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    #[test]
    fn a_rule_that_decides_by_what_is_not_known_decides_nothing() {
        for (yaml, unjudged) in [
            ("[]", None),
            ("[{source_labels: [ns], regex: test, action: keep}]", None),
            (
                "[{source_labels: [ns], regex: test, action: keep}, {source_labels: [u_app], regex: x, action: keep}]",
                Some(1),
            ),
            ("[{source_labels: [u_optout], regex: 'true', action: drop}]", Some(0)),
            ("[{source_labels: [ns, u_app], target_label: app}]", None),
            ("[{source_labels: [u_app], target_label: app}, {source_labels: [app], regex: '', action: drop}]", Some(1)),
            (
                "[{source_labels: [u_app], target_label: a}, {source_labels: [a], target_label: b, action: lowercase}, \
               {source_labels: [b], regex: x, action: drop}]",
                Some(2),
            ),
            ("[{source_labels: [u_app], target_label: '$1'}, {source_labels: [ns], regex: x, action: drop}]", Some(1)),
            ("[{regex: 'u_(.+)', action: labelmap}]", None),
            ("[{regex: 'u_(.+)', action: labelmap}, {source_labels: [app], regex: x, action: drop}]", Some(1)),
            ("[{regex: 'u_(.+)', action: labelmap}, {source_labels: [__meta_ns], regex: x, action: keep}]", None),
            (
                "[{regex: 'u_(.+)', replacement: '__tmp_$1', action: labelmap}, \
               {source_labels: [__tmp_a], regex: x, action: drop}]",
                Some(1),
            ),
            ("[{source_labels: [u_app], target_label: ns, action: dropequal}]", Some(0)),
            (
                "[{source_labels: [u_app], target_label: shard, modulus: 2, action: hashmod}, \
               {source_labels: [shard], regex: '0', action: keep}]",
                Some(1),
            ),
            ("[{regex: 'u_.*', action: labeldrop}]", None),
        ] {
            let configs: Vec<Config> = serde_yaml::from_str(yaml).expect(yaml);
            let rules = Rules::compile(&configs).expect(yaml);
            assert_eq!(rules.first_unjudged(|name| name.starts_with("u_")), unjudged, "{yaml}");
        }
    }
}
