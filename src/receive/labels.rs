//! The labels of received records: those of the sender, those of the config, and the rules of the job. Decisions
//! are cached, because most records have the same labels as earlier ones.

use std::sync::Arc;

use crate::model::{LabelSet, Labels, SeededMap, loki_label_name};
use crate::relabel::{Rules, Verdict};

/// Rules see the tenant under this name, and may change or remove it.
pub(super) const TENANT: &str = "__tenant_id__";

/// How much is remembered. Beyond it everything is forgotten, and decided anew when it comes again.
const ENTRIES: usize = 4_096;
const BYTES: usize = 1 << 20;

/// The decision of the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Keep {
        labels: LabelSet,
        tenant: Option<Arc<str>>,
    },
    /// A rule drops it.
    Drop,
}

#[derive(Debug)]
pub(super) struct Labeller {
    job: Arc<str>,
    /// Of the config. They override those of the sender.
    labels: Labels,
    rules: Rules,
    /// Indices of outcomes.
    known: SeededMap<Box<[u8]>, usize>,
    outcomes: Vec<Outcome>,
    /// Bytes of the keys of `known`.
    bytes: usize,
    /// The last outcome that is not remembered.
    other: Outcome,
}

impl Labeller {
    pub fn new(job: Arc<str>, labels: Labels, rules: Rules) -> Self {
        Self { job, labels, rules, known: SeededMap::default(), outcomes: Vec::new(), bytes: 0, other: Outcome::Drop }
    }

    /// The outcome for what has these labels. `key` stands for them; `make` is called if it was not seen before.
    pub fn decide<E>(&mut self, key: &[u8], make: impl FnOnce() -> Result<Labels, E>) -> Result<&Outcome, E> {
        if let Some(known) = self.known.get(key) {
            return Ok(&self.outcomes[*known]);
        }
        let mut labels = make()?;
        labels.extend(self.labels.iter().map(|(name, value)| (name.clone(), value.clone())));
        let outcome = self.apply(labels);
        if self.known.len() >= ENTRIES || self.bytes + key.len() > BYTES {
            self.known = SeededMap::default();
            self.outcomes = Vec::new();
            self.bytes = 0;
        }
        if key.len() > BYTES {
            self.other = outcome;
            return Ok(&self.other);
        }
        self.bytes += key.len();
        let index = self.outcomes.len();
        self.known.insert(key.into(), index);
        self.outcomes.push(outcome);
        Ok(&self.outcomes[index])
    }

    fn apply(&self, mut labels: Labels) -> Outcome {
        if matches!(self.rules.apply(&mut labels), Verdict::Drop { .. }) {
            return Outcome::Drop;
        }
        let tenant = labels.get(TENANT).map(|tenant| Arc::from(tenant.as_str()));
        labels.retain(|name, value| !name.starts_with("__") && !value.is_empty());
        if labels.is_empty() {
            // Loki may drop a stream without labels and answer that all is well.
            labels.insert("job".into(), self.job.to_string());
        }
        let labels = labels.iter().map(|(name, value)| (loki_label_name(name), value));
        Outcome::Keep { labels: LabelSet::new(labels), tenant }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labeller(rules: &str) -> Labeller {
        let rules: Vec<crate::relabel::Config> = serde_yaml::from_str(rules).expect(rules);
        let labels = Labels::from([("from".into(), "config".into()), ("__hidden".into(), "1".into())]);
        Labeller::new("job".into(), labels, Rules::compile(&rules).expect("rules"))
    }

    fn decide(labeller: &mut Labeller, pairs: &[(&str, &str)]) -> String {
        let labels: Labels = pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        match labeller.decide(format!("{pairs:?}").as_bytes(), || Ok::<_, ()>(labels)) {
            Ok(Outcome::Keep { labels, tenant }) => {
                format!("{labels}{}", tenant.as_ref().map(|t| format!("@{t}")).unwrap_or_default())
            }
            Ok(Outcome::Drop) => "drop".into(),
            Err(()) => "error".into(),
        }
    }

    #[test]
    fn the_config_wins_over_the_sender_and_rules_see_both() {
        let rules = "[{source_labels: [app], regex: noise, action: drop}, {source_labels: [__hidden], target_label: seen}, \
                     {source_labels: [move], target_label: __tenant_id__}, {regex: move, action: labeldrop}]";
        let mut labeller = labeller(rules);
        for (pairs, want) in [
            (&[("app", "a"), ("from", "sender")][..], r#"{app="a", from="config", seen="1"}"#),
            (&[("app", "noise")], "drop"),
            (&[("app", "a"), (TENANT, "t")], r#"{app="a", from="config", seen="1"}"#),
            (&[("move", "t")], r#"{from="config", seen="1"}@t"#),
            (&[("a-b", "1"), ("__x", "2")], r#"{a_b="1", from="config", seen="1"}"#),
        ] {
            // The second time it is remembered.
            assert_eq!(decide(&mut labeller, pairs), want);
            assert_eq!(decide(&mut labeller, pairs), want);
        }
    }

    #[test]
    fn something_without_labels_gets_the_name_of_its_job() {
        let mut labeller = labeller("[{regex: from, action: labeldrop}]");
        assert_eq!(decide(&mut labeller, &[("__a", "b")]), r#"{job="job"}"#);
        assert_eq!(decide(&mut labeller, &[(TENANT, "t")]), r#"{job="job"}@t"#);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut labeller = labeller("[]");
        for n in 0..3 * ENTRIES {
            decide(&mut labeller, &[("n", &n.to_string())]);
            assert!(labeller.known.len() <= ENTRIES);
        }
        let long = "x".repeat(BYTES / 3);
        for n in 0..9 {
            decide(&mut labeller, &[("n", &format!("{n}{long}"))]);
            assert!(
                labeller.bytes <= BYTES && labeller.known.keys().map(|key| key.len()).sum::<usize>() == labeller.bytes
            );
        }
    }
}
