//! `static_labels`: labels with fixed values.
//!
//! ```yaml
//! - static_labels:
//!     cluster: eu-1
//!     team: platform
//! ```
//!
//! A label that is there already is replaced; an empty value does nothing. The labels are not extracted values. The
//! name `__tenant_id__` sets the tenant.

use std::sync::Arc;

use super::labelling::{Changing, TENANT, set_tenant};
use super::options::Options;
use super::{Error, Flow, Recipe, Stage, Work};
use crate::model::{LabelSet, is_valid_label_name};

pub(super) fn compile(options: &mut Options<'_>) -> Result<Recipe, Error> {
    let whole = options.whole();
    let mut labels: Vec<(Box<str>, Box<str>)> = Vec::new();
    let mut tenant: Option<Box<str>> = None;
    for (name, value) in whole.pairs()? {
        match (name, value) {
            (_, None) => {}
            (TENANT, Some(value)) => tenant = Some(value.into()),
            (_, Some(value)) => {
                if !is_valid_label_name(name) {
                    options
                        .warn(format!("Loki refuses what has a label `{name}`; use letters, digits and underscores"));
                }
                labels.push((name.into(), value.into()));
            }
        }
    }
    options.needs_nothing_extracted();
    let (labels, tenant): (Arc<[_]>, Option<Arc<str>>) = (labels.into(), tenant.map(Arc::from));
    Ok(Box::new(move |_| {
        Box::new(StaticLabels { labels: labels.clone(), tenant: tenant.clone(), sets: Changing::default() })
    }))
}

#[derive(Debug)]
struct StaticLabels {
    labels: Arc<[(Box<str>, Box<str>)]>,
    tenant: Option<Arc<str>>,
    sets: Changing,
}

impl Stage for StaticLabels {
    fn process(&mut self, work: &mut Work<'_>, _: &mut Vec<Work<'static>>) -> Flow {
        let with = |old: &LabelSet| {
            let more = self.labels.iter().map(|(name, value)| (&**name, &**value));
            LabelSet::new(old.iter().chain(more))
        };
        work.entry.labels = self.sets.apply(&work.entry.labels, with);
        if let Some(tenant) = &self.tenant {
            set_tenant(&mut work.entry, tenant);
        }
        Flow::Pass
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{parse, refused, table};

    #[test]
    fn labels_are_added_and_replaced() {
        let yaml = "[static_labels: {a: 'q\"', app: y, keep: '', no: null, __tenant_id__: t}, output: {source: app}]";
        // What is extracted stays as it was.
        table(yaml, &[("l", r#"{a="q\"", app="y"} x @t"#), ("m", r#"{a="q\"", app="y"} x @t"#)]);
        table("static_labels: {}", &[("l", r#"{app="x"} l"#)]);
    }

    #[test]
    fn values_are_strings() {
        refused(&[
            (
                "static_labels: {port: 8080}",
                "[0].static_labels.port",
                "expected a string, found a number: write it in quotes",
            ),
            ("static_labels: {on: true}", "[0].static_labels.on", "expected a string, found a boolean"),
            ("static_labels: [a]", "[0].static_labels", "expected a mapping, found a list"),
        ]);
    }

    #[test]
    fn a_name_that_loki_refuses_is_warned_of() {
        let program = parse("static_labels: {my-label: a, b: c}").expect("a stage");
        let warning = "pipeline_stages[0].static_labels: Loki refuses what has a label `my-label`; use letters, digits and underscores";
        assert_eq!(program.warnings(), [warning]);
    }
}
