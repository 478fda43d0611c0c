//! `labeldrop`: removes labels.
//!
//! ```yaml
//! - labeldrop:
//!     - filename
//!     - pod
//! ```
//!
//! A name that is not valid in Loki also matches its corrected form: `my-team` removes `my_team`. The values of removed
//! labels stay extracted. A label that does not exist is ignored. An empty list is an error.

use std::sync::Arc;

use super::labelling::{Changing, TENANT};
use super::options::Options;
use super::{ConfigError, Flow, Recipe, Stage, Work};
use crate::model::{LabelSet, loki_label_name};

pub(super) fn compile(options: &mut Options<'_>) -> Result<Recipe, ConfigError> {
    let names = names(options)?;
    Ok(Box::new(move |_| {
        let tenant = names.iter().any(|n| **n == *TENANT);
        Box::new(LabelDrop { names: names.clone(), tenant, sets: Changing::default() })
    }))
}

/// A non-empty list of label names.
pub(super) fn names(options: &Options<'_>) -> Result<Arc<[Box<str>]>, ConfigError> {
    let whole = options.whole();
    let names = whole.list()?;
    if names.is_empty() {
        return Err(whole.fail("expected a list of label names, found nothing".into()));
    }
    options.needs_nothing_extracted();
    let both = |name: &str| [Box::from(name), loki_label_name(name).into()];
    Ok(names.into_iter().filter(|name| !name.is_empty()).flat_map(both).collect())
}

#[derive(Debug)]
struct LabelDrop {
    names: Arc<[Box<str>]>,
    tenant: bool,
    sets: Changing,
}

impl Stage for LabelDrop {
    fn process(&mut self, work: &mut Work<'_>, _: &mut Vec<Work<'static>>) -> Flow {
        let stays = |name: &str| !self.names.iter().any(|n| **n == *name);
        work.entry.labels =
            self.sets.apply(&work.entry.labels, |old| LabelSet::new(old.iter().filter(|(name, _)| stays(name))));
        if self.tenant {
            work.entry.tenant = None;
        }
        Flow::Pass
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{refused, table};

    #[test]
    fn labels_go_and_stay_extracted() {
        table(
            "[static_labels: {b: c}, labeldrop: [app, nothing], labels: {back: app}]",
            &[("l", r#"{b="c", back="x"} l"#), ("m", r#"{b="c", back="x"} m"#)],
        );
        table("[tenant: {value: t}, labeldrop: [a]]", &[("l", r#"{app="x"} l @t"#)]);
        table("[tenant: {value: t}, labeldrop: [__tenant_id__]]", &[("l", r#"{app="x"} l"#)]);
    }

    #[test]
    fn a_list_of_names() {
        refused(&[
            ("labeldrop: []", "[0].labeldrop", "found nothing"),
            ("labeldrop:", "[0].labeldrop", "found nothing"),
            ("labeldrop: app", "[0].labeldrop", "expected a list of strings, found a string"),
            ("labeldrop: [a, 1]", "[0].labeldrop[1]", "expected a string, found a number"),
        ]);
    }
}
