//! `static_configs`: targets in the config.
//!
//! ```yaml
//! static_configs:
//!   - targets: [localhost]
//!     labels: {job: varlogs, __path__: /var/log/*.log}
//! ```

use serde::{Deserialize, Serialize};

use crate::model::{ConfigError, LabelSet, Labels, TargetLabels, loki_label_name, units};

/// Targets with common labels. A file of `file_sd_configs` is also a list of these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StaticConfig {
    // `yaml` needs neither attribute. They are for JSON: the tests of `file/parse.rs` compare with this.
    #[serde(default, deserialize_with = "units::or_default")]
    pub targets: Vec<String>,
    #[serde(default, deserialize_with = "units::or_default")]
    pub labels: Labels,
}

impl StaticConfig {
    pub fn validate(&self) -> Result<(), ConfigError> {
        match self.labels.contains_key("") {
            true => Err(ConfigError::new("labels", "\"\" is not a valid label name")),
            false => Ok(()),
        }
    }

    /// Warnings about label names that are changed because Loki cannot parse them. Relabelling changes such names too.
    pub fn warnings(&self) -> Vec<ConfigError> {
        let changed =
            self.labels.keys().map(|name| (name, loki_label_name(name))).filter(|(name, taken)| *name != taken);
        changed
            .map(|(name, taken)| {
                let problem = format!("Loki cannot parse the label name {name:?}: the label is renamed to {taken:?}");
                ConfigError::new("labels", problem)
            })
            .collect()
    }

    /// The labels of each target. If the config has no targets, there is one: `localhost`.
    pub fn targets(&self) -> Vec<TargetLabels> {
        if self.targets.is_empty() {
            Self::with(&self.labels, &["localhost".to_string()])
        } else {
            self.named_targets(&[])
        }
    }

    /// The labels of each configured target, with `more` added.
    pub(super) fn named_targets(&self, more: &[(&str, &str)]) -> Vec<TargetLabels> {
        let mut labels = self.labels.clone();
        labels.extend(more.iter().map(|(name, value)| (name.to_string(), value.to_string())));
        Self::with(&labels, &self.targets)
    }

    fn with(labels: &Labels, addresses: &[String]) -> Vec<TargetLabels> {
        let common = LabelSet::from(labels);
        let target = |address: &String| TargetLabels::new(common.clone(), LabelSet::new([("__address__", address)]));
        addresses.iter().map(target).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(yaml: &str) -> StaticConfig {
        serde_yaml::from_str(yaml).expect(yaml)
    }

    fn all(yaml: &str) -> Vec<Labels> {
        parse(yaml).targets().iter().map(TargetLabels::to_labels).collect()
    }

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect()
    }

    #[test]
    fn without_targets_there_is_one_at_localhost() {
        let localhost = labels(&[("__address__", "localhost"), ("__path__", "/x")]);
        for yaml in
            ["labels: {__path__: /x}", "targets:\nlabels: {__path__: /x}", "targets: []\nlabels: {__path__: /x}"]
        {
            assert_eq!(all(yaml), std::slice::from_ref(&localhost), "{yaml}");
        }
        assert_eq!(all("targets: [a]\nlabels:"), [labels(&[("__address__", "a")])]);
    }

    #[test]
    fn each_target_has_its_own_address_and_all_labels() {
        let yaml = "targets: [a, b]\nlabels: {env: prod, __address__: mine}";
        let targets = parse(yaml).targets();
        assert!(targets[0].share(&targets[1]), "labels are kept once");
        assert_eq!(all(yaml), ["a", "b"].map(|t| labels(&[("__address__", t), ("env", "prod")])));
    }

    #[test]
    fn values_are_taken_as_they_are_written() {
        let config = parse("targets: [8080]\nlabels: {version: 1.10, debug: true, none: }");
        assert_eq!(config.targets, ["8080"]);
        assert_eq!(config.labels, labels(&[("debug", "true"), ("none", ""), ("version", "1.10")]));
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(serde_yaml::from_str::<StaticConfig>("target: [a]").is_err_and(|e| e.to_string().contains("target")));
        assert!(parse("labels: {'': c}").validate().is_err_and(|e| e.problem.contains("\"\"")));
        let dashed = parse("labels: {a-b: c, é: d, ok: e}");
        assert_eq!(dashed.validate(), Ok(()));
        assert_eq!(
            dashed.warnings().iter().map(ToString::to_string).collect::<Vec<_>>(),
            [("a-b", "a_b"), ("é", "_")].map(|(name, taken)| {
                format!("labels: Loki cannot parse the label name {name:?}: the label is renamed to {taken:?}")
            })
        );
        assert_eq!(parse("labels: {__path__: c}").validate(), Ok(()));
    }
}
