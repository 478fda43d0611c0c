//! Hides values of annotations: everyone who reaches the port sees an explanation of the running agent, and
//! `kubectl apply` saves whole manifests with secrets in an annotation.

use crate::model::{Change, Explanation, Labels};

/// Shown instead of an annotation's value.
const HIDDEN: &str = "(hidden: annotations may contain secrets)";

/// Hides the values of annotations. If a rule copies an annotation to a label, the label is shown.
pub fn hide(explanation: &mut Explanation) {
    for target in &mut explanation.targets {
        hide_in(&mut target.discovered);
        for rule in &mut target.rules {
            hide_in(&mut rule.read);
            rule.changes.iter_mut().filter(|change| is_annotation(&change.what)).for_each(hide_change);
        }
    }
}

fn hide_in(labels: &mut Labels) {
    let annotations = labels.iter_mut().filter(|(name, value)| is_annotation(name) && !value.is_empty());
    annotations.for_each(|(_, value)| *value = HIDDEN.into());
}

fn hide_change(change: &mut Change) {
    let hidden = |value: &Option<String>| value.as_ref().map(|_| HIDDEN.to_string());
    (change.before, change.after) = (hidden(&change.before), hidden(&change.after));
}

fn is_annotation(name: &str) -> bool {
    name.contains("__meta_kubernetes_") && name.contains("_annotation_")
}
