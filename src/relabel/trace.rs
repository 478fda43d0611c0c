//! Watches rules at work. The rules are those that run; nothing is computed twice.

use super::rule::Rule;
use super::{Rules, Verdict};
use crate::model::{Change, Labels, RuleStep};

/// Sees each rule before and after it runs. Its methods do nothing in the normal case, and are compiled away.
pub(super) trait Observer {
    fn before(&mut self, _rule: &Rule, _labels: &Labels) {}
    fn after(&mut self, _index: usize, _labels: &Labels, _keeps: bool) {}
}

impl Observer for () {}

impl Rules {
    /// Like [`apply`](Self::apply), with what each rule did.
    pub fn trace(&self, labels: &mut Labels) -> (Verdict, Vec<RuleStep>) {
        let mut tracer = Tracer { rules: self, before: Labels::new(), read: Labels::new(), steps: Vec::new() };
        let verdict = self.run(labels, &mut tracer);
        (verdict, tracer.steps)
    }
}

struct Tracer<'r> {
    rules: &'r Rules,
    before: Labels,
    read: Labels,
    steps: Vec<RuleStep>,
}

impl Observer for Tracer<'_> {
    fn before(&mut self, rule: &Rule, labels: &Labels) {
        self.before.clone_from(labels);
        let value = |name: &String| labels.get(name).cloned().unwrap_or_default();
        self.read = rule.names_read().into_iter().map(|name| (name.clone(), value(name))).collect();
    }

    fn after(&mut self, index: usize, labels: &Labels, keeps: bool) {
        self.steps.push(RuleStep {
            rule: self.rules.describe(index).to_string(),
            read: std::mem::take(&mut self.read),
            changes: Change::of_labels(&self.before, labels),
            drops: !keeps,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_what_happens() {
        let yaml = "
            - {source_labels: [a], target_label: b}
            - {action: labeldrop, regex: a}
            - {source_labels: [a, b], action: keep, regex: ';y'}
            - {source_labels: [b], target_label: c}";
        let configs: Vec<super::super::Config> = serde_yaml::from_str(yaml).expect(yaml);
        let rules = Rules::compile(&configs).expect(yaml);
        let labels = || Labels::from([("a".to_string(), "x".to_string()), ("e".to_string(), String::new())]);
        let (mut applied, mut traced) = (labels(), labels());
        let verdict = rules.apply(&mut applied);
        let (same, steps) = rules.trace(&mut traced);
        assert_eq!((verdict, &applied), (same, &traced));
        assert_eq!(verdict, Verdict::Drop { rule: 2 });
        let change = |what: &str, before: Option<&str>, after: Option<&str>| Change {
            what: what.into(),
            before: before.map(Into::into),
            after: after.map(Into::into),
        };
        let changes: Vec<_> = steps.iter().map(|step| step.changes.clone()).collect();
        assert_eq!(
            changes,
            [vec![change("label b", None, Some("x"))], vec![change("label a", Some("x"), None)], vec![]]
        );
        assert_eq!(steps[2].read, Labels::from([("a".into(), String::new()), ("b".into(), "x".into())]));
        assert!(steps[2].drops && steps[2].rule.starts_with("rule 2: keep if [a, b]"), "{}", steps[2].rule);
    }
}
