//! What is allowed in a rule, and does not do what it seems to.

use super::config::{Action, Config};
use super::rule::{REGEX, REPLACEMENT, SEPARATOR};
use crate::model::{ConfigError, loki_label_name};

impl Config {
    /// Keys that the action does not use, and a target that Loki cannot take. The rule was compiled, so what Prometheus
    /// refuses is not here.
    pub fn warnings(&self) -> Vec<ConfigError> {
        let (action, used) = (self.action, used(self.action));
        let unused = self.changed().into_iter().filter(|key| !used.contains(key));
        let mut warnings: Vec<ConfigError> =
            unused.map(|key| ConfigError::new(key, format!("has no effect with action {action}"))).collect();
        warnings.extend(self.renamed());
        warnings
    }

    /// The keys that were written with another value than the default.
    fn changed(&self) -> Vec<&'static str> {
        let differs = |value: &Option<String>, default: &str| value.as_deref().is_some_and(|value| value != default);
        let keys = [
            ("source_labels", self.source_labels.as_ref().is_some_and(|labels| !labels.is_empty())),
            ("separator", differs(&self.separator, SEPARATOR)),
            ("regex", differs(&self.regex, REGEX)),
            ("modulus", self.modulus.is_some_and(|modulus| modulus != 0)),
            ("target_label", differs(&self.target_label, "")),
            ("replacement", differs(&self.replacement, REPLACEMENT)),
        ];
        keys.into_iter().filter_map(|(key, changed)| changed.then_some(key)).collect()
    }

    /// A name with `$` depends on the target. One with `__` in front is not sent.
    fn renamed(&self) -> Option<ConfigError> {
        let target = self.target_label.as_deref().filter(|_| used(self.action).contains(&"target_label"))?;
        let sent = loki_label_name(target);
        let compares = matches!(self.action, Action::KeepEqual | Action::DropEqual);
        let is_fine = sent == target || target.contains('$') || target.starts_with("__") || compares;
        (!is_fine).then(|| {
            let problem = format!("Loki cannot parse the label name {target:?}: the label is sent as {sent:?}");
            ConfigError::new("target_label", problem)
        })
    }
}

fn used(action: Action) -> &'static [&'static str] {
    match action {
        Action::Replace => &["source_labels", "separator", "regex", "target_label", "replacement"],
        Action::Keep | Action::Drop => &["source_labels", "separator", "regex"],
        Action::KeepEqual | Action::DropEqual => &["source_labels", "target_label"],
        Action::HashMod => &["source_labels", "separator", "modulus", "target_label"],
        Action::LabelMap => &["regex", "replacement"],
        Action::LabelDrop | Action::LabelKeep => &["regex"],
        Action::Lowercase | Action::Uppercase => &["source_labels", "separator", "target_label"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_without_effect_and_names_that_change() {
        for (rule, want) in [
            ("{source_labels: [a], target_label: b, regex: (.+), replacement: x}", &[][..]),
            ("{action: keep, source_labels: [a], regex: b, separator: '-'}", &[]),
            ("{action: keep, source_labels: [a], target_label: b, replacement: c}", &["target_label", "replacement"]),
            ("{action: drop, source_labels: [a], replacement: $1, modulus: 0, target_label: ''}", &[]),
            ("{source_labels: [a], target_label: b, modulus: 4}", &["modulus"]),
            ("{action: hashmod, modulus: 4, target_label: b, regex: x}", &["regex"]),
            ("{action: labelmap, regex: (a), source_labels: [b], target_label: c}", &["source_labels", "target_label"]),
            ("{action: uppercase, source_labels: [a], target_label: b, modulus: 2}", &["modulus"]),
            ("{source_labels: [a], target_label: my-x}", &["target_label"]),
            ("{action: lowercase, source_labels: [a], target_label: my.x}", &["target_label"]),
            ("{source_labels: [a], target_label: 'x-$1'}", &[]),
            ("{source_labels: [a], target_label: __tmp-x}", &[]),
        ] {
            let config: Config = serde_yaml::from_str(rule).expect(rule);
            let paths: Vec<String> = config.warnings().iter().map(|warning| warning.path.to_string()).collect();
            assert_eq!(paths, want, "{rule}");
        }
    }
}
