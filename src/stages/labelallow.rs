//! `labelallow`: removes all labels except those in the list.
//!
//! ```yaml
//! - labelallow:
//!     - app
//!     - namespace
//! ```
//!
//! This also removes `filename` and the tenant (`__tenant_id__`) if they are not in the list. The values of removed
//! labels stay extracted. An empty list is an error.

use std::sync::Arc;

use super::labeldrop;
use super::labelling::{Changing, TENANT};
use super::options::Options;
use super::{ConfigError, Flow, Recipe, Stage, Work};
use crate::model::LabelSet;

pub(super) fn compile(options: &mut Options<'_>) -> Result<Recipe, ConfigError> {
    let names = labeldrop::names(options)?;
    Ok(Box::new(move |_| {
        let tenant = names.iter().any(|n| **n == *TENANT);
        Box::new(LabelAllow { names: names.clone(), tenant, sets: Changing::default() })
    }))
}

#[derive(Debug)]
struct LabelAllow {
    names: Arc<[Box<str>]>,
    tenant: bool,
    sets: Changing,
}

impl Stage for LabelAllow {
    fn process(&mut self, work: &mut Work<'_>, _: &mut Vec<Work<'static>>) -> Flow {
        let stays = |name: &str| self.names.iter().any(|n| **n == *name);
        work.entry.labels =
            self.sets.apply(&work.entry.labels, |old| LabelSet::new(old.iter().filter(|(name, _)| stays(name))));
        if !self.tenant {
            work.entry.tenant = None;
        }
        Flow::Pass
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{refused, table};

    #[test]
    fn only_these_stay() {
        table(
            "[static_labels: {b: c}, labelallow: [b, nothing], labels: {back: app}]",
            &[("l", r#"{b="c", back="x"} l"#)],
        );
        table("labelallow: [nothing]", &[("l", "{} l")]);
        table("[tenant: {value: t}, labelallow: [app]]", &[("l", r#"{app="x"} l"#)]);
        table("[tenant: {value: t}, labelallow: [__tenant_id__]]", &[("l", "{} l @t")]);
    }

    #[test]
    fn a_list_of_names() {
        refused(&[
            ("labelallow: []", "[0].labelallow", "found nothing"),
            ("labelallow: {a: }", "[0].labelallow", "a list"),
        ]);
    }
}
