//! `static_labels`: sets labels with fixed values.
//!
//! ```yaml
//! - static_labels:
//!     cluster: eu-1
//!     team: platform
//! ```
//!
//! A name that is not valid in Loki is corrected after the last stage (`my-team` becomes `my_team`), with a warning.
//! The stage replaces a label that already exists. An empty value does nothing. These labels are not extracted values.
//! The name `__tenant_id__` sets the tenant.

use std::sync::Arc;

use super::labelling::{Changing, TENANT, set_tenant};
use super::options::Options;
use super::{ConfigError, Flow, Recipe, Stage, Work};
use crate::model::{LabelSet, loki_label_name};

pub(super) fn compile(options: &mut Options<'_>) -> Result<Recipe, ConfigError> {
    let whole = options.whole();
    let mut labels: Vec<(Box<str>, Box<str>)> = Vec::new();
    let mut tenant: Option<Box<str>> = None;
    for (name, value) in whole.pairs()? {
        match (name, value) {
            (_, None) => {}
            (TENANT, Some(value)) => tenant = Some(value.into()),
            ("", Some(_)) => return Err(whole.fail("a label has no name".into())),
            (_, Some(value)) => {
                let taken = loki_label_name(name);
                if *taken != *name {
                    options
                        .warn(format!("Loki cannot parse the label name `{name}`: the label is renamed to `{taken}`"));
                    options.mends_names();
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
    use super::super::testing::{parse, refused, table, warnings};

    #[test]
    fn labels_are_added_and_replaced() {
        let yaml = "[static_labels: {a: 'q\"', app: y, keep: '', no: null, __tenant_id__: t}, output: {source: app}]";
        // Extracted values do not change.
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
        let warning = "pipeline_stages[0].static_labels: Loki cannot parse the label name `my-label`: the label is renamed to `my_label`";
        assert_eq!(warnings(&program), [warning]);
        table("static_labels: {my-label: a, b: c}", &[("l", r#"{app="x", b="c", my_label="a"} l"#)]);
        table("[static_labels: {my-label: a, b.c: d}, labeldrop: [my-label]]", &[("l", r#"{app="x", b_c="d"} l"#)]);
        table("[static_labels: {my-label: a}, labelallow: [my-label]]", &[("l", r#"{my_label="a"} l"#)]);
        table(
            "[match: {selector: '{app=\"x\"}', stages: [{static_labels: {my-label: a}}]}]",
            &[("l", r#"{app="x", my_label="a"} l"#)],
        );
        refused(&[("static_labels: {'': a}", "[0].static_labels", "no name")]);
    }
}
