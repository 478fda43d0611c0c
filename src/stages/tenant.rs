//! `tenant`: sets the tenant of an entry, instead of the client's `tenant_id`.
//!
//! ```yaml
//! - tenant:
//!     source: customer     # an extracted value
//! ```
//!
//! or `label: namespace` (a label, which is kept), or `value: team-a` (a fixed value). Exactly one of the three is
//! required.
//!
//! If the value is missing or empty, nothing changes. Each tenant has its own pushes, so a slow tenant does not delay
//! the others.

use std::sync::Arc;

use super::labelling::{label, set_tenant};
use super::options::Options;
use super::reads::Reads;
use super::{ConfigError, Flow, Recipe, Stage, Work};
use crate::model::MAX_TENANT;

pub(super) fn compile(options: &mut Options<'_>) -> Result<Recipe, ConfigError> {
    let given = |key| Ok(options.text(key)?.filter(|t| !t.is_empty()).map(Arc::from));
    let from = match (given("source")?, given("label")?, given("value")?) {
        (Some(source), None, None) => From::Source(source),
        (None, Some(label), None) => From::Label(label),
        (None, None, Some(value)) if value.len() > MAX_TENANT => {
            let problem = format!("Loki takes a tenant of at most {MAX_TENANT} bytes, and this has {}", value.len());
            return Err(options.field("value")?.expect("it was just there").fail(problem));
        }
        (None, None, Some(value)) => From::Value(value),
        _ => return Err(options.fail("exactly one of `source`, `label` and `value` is required".into())),
    };
    options.reads(match &from {
        From::Source(source) => Reads::these([&**source]),
        From::Label(_) | From::Value(_) => Reads::nothing(),
    });
    Ok(Box::new(move |_| Box::new(Tenant { from: from.clone() })))
}

#[derive(Clone, Debug)]
enum From {
    Source(Arc<str>),
    Label(Arc<str>),
    Value(Arc<str>),
}

#[derive(Debug)]
struct Tenant {
    from: From,
}

impl Stage for Tenant {
    fn process(&mut self, work: &mut Work<'_>, _: &mut Vec<Work<'static>>) -> Flow {
        match &self.from {
            From::Value(tenant) => work.entry.tenant = Some(tenant.clone()),
            From::Source(source) => {
                if let Some(tenant) = work.extracted.text(source).filter(|t| !t.is_empty()) {
                    set_tenant(&mut work.entry, &tenant);
                }
            }
            From::Label(name) => {
                let tenant = label(&work.entry, name).filter(|t| !t.is_empty());
                if let Some(tenant) = tenant.map(str::to_string) {
                    set_tenant(&mut work.entry, &tenant);
                }
            }
        }
        Flow::Pass
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{refused, table};

    #[test]
    fn the_last_that_finds_something_counts() {
        let yaml = "[tenant: {value: first}, json: {expressions: {t: a.b}}, tenant: {source: t}]";
        table(
            yaml,
            &[
                (r#"{"a":{"b":"acme"}}"#, r#"{app="x"} {"a":{"b":"acme"}} @acme"#),
                (r#"{"a":{"b":7}}"#, r#"{app="x"} {"a":{"b":7}} @7"#),
                (r#"{"a":{"b":""}}"#, r#"{app="x"} {"a":{"b":""}} @first"#),
                (r#"{"a":null}"#, r#"{app="x"} {"a":null} @first"#),
                ("none", r#"{app="x"} none @first"#),
            ],
        );
    }

    #[test]
    fn a_label_stays() {
        table("tenant: {label: app}", &[("l", r#"{app="x"} l @x"#)]);
        table("tenant: {label: nothing}", &[("l", r#"{app="x"} l"#)]);
    }

    #[test]
    fn one_of_three() {
        let one = "exactly one of";
        refused(&[
            ("tenant: {}", "[0].tenant", one),
            ("tenant: {source: a, value: b}", "[0].tenant", one),
            ("tenant: {label: ''}", "[0].tenant", one),
            (
                &format!("tenant: {{value: {}}}", "t".repeat(151)),
                "[0].tenant.value",
                "at most 150 bytes, and this has 151",
            ),
            ("tenant: {value: 1}", "[0].tenant.value", "expected a string, found a number"),
        ]);
    }
}
