//! `static_configs`: targets written in the config.
//!
//! ```yaml
//! static_configs:
//!   - targets: [localhost]
//!     labels: {job: varlogs, __path__: /var/log/*.log}
//! ```

use serde::{Deserialize, Serialize};

use crate::model::{Labels, loki_label_name, units};

/// Targets with labels in common; a file of `file_sd_configs` is a list of these as well.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StaticConfig {
    /// Addresses. For files they say nothing, so that none at all is `localhost`.
    #[serde(default, deserialize_with = "units::or_default")]
    pub targets: Vec<String>,
    #[serde(default, deserialize_with = "units::or_default")]
    pub labels: Labels,
}

impl StaticConfig {
    pub fn validate(&self) -> Result<(), String> {
        match self.labels.contains_key("") {
            true => Err("labels: \"\" is no label name".into()),
            false => Ok(()),
        }
    }

    /// Names that are changed before Loki hears of them, as those are that relabelling makes.
    pub fn warnings(&self) -> Vec<String> {
        let changed =
            self.labels.keys().map(|name| (name, loki_label_name(name))).filter(|(name, taken)| *name != taken);
        changed
            .map(|(name, taken)| {
                format!("labels: Loki cannot parse the label name {name:?}: the label is called {taken:?}")
            })
            .collect()
    }

    /// Each target's labels; one target, `localhost`, if none is named.
    pub fn targets(&self) -> Vec<Labels> {
        if self.targets.is_empty() { vec![self.target("localhost")] } else { self.named_targets() }
    }

    /// Each named target's labels.
    pub(super) fn named_targets(&self) -> Vec<Labels> {
        self.targets.iter().map(|address| self.target(address)).collect()
    }

    fn target(&self, address: &str) -> Labels {
        let mut labels = self.labels.clone();
        labels.insert("__address__".to_string(), address.to_string());
        labels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(yaml: &str) -> StaticConfig {
        serde_yaml::from_str(yaml).expect(yaml)
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
            assert_eq!(parse(yaml).targets(), std::slice::from_ref(&localhost), "{yaml}");
        }
        assert_eq!(parse("targets: [a]\nlabels:").targets(), [labels(&[("__address__", "a")])]);
    }

    #[test]
    fn each_target_has_its_own_address_and_all_labels() {
        let targets = parse("targets: [a, b]\nlabels: {env: prod, __address__: mine}").targets();
        assert_eq!(targets, ["a", "b"].map(|t| labels(&[("__address__", t), ("env", "prod")])));
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
        assert!(parse("labels: {'': c}").validate().is_err_and(|e| e.contains("\"\"")));
        let dashed = parse("labels: {a-b: c, é: d, ok: e}");
        assert_eq!(dashed.validate(), Ok(()));
        assert_eq!(
            dashed.warnings(),
            [("a-b", "a_b"), ("é", "_")].map(|(name, taken)| {
                format!("labels: Loki cannot parse the label name {name:?}: the label is called {taken:?}")
            })
        );
        assert_eq!(parse("labels: {__path__: c}").validate(), Ok(()));
    }
}
