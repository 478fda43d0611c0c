//! Lists of targets that other programs make, as a file or as the answer of a server: `[{targets, labels}]`.

mod parse;

use crate::model::{NO_TARGETS, TargetGroup};

/// The groups of a list in YAML or JSON. Each target also gets the label `origin`: its name, and where the list is from.
pub(super) fn groups(text: &str, is_json: bool, origin: (&str, &str)) -> Result<Vec<TargetGroup>, String> {
    let configs = parse::parse(text, is_json)?;
    let mut groups = Vec::new();
    for (i, config) in configs.unwrap_or_default().into_iter().enumerate() {
        config.validate().map_err(|e| format!("group {i}: {e}"))?;
        let mut targets = config.named_targets(&[origin]);
        // Without addresses there are no targets, as in Prometheus. This is shown, because it may be a mistake.
        if targets.is_empty() {
            let mut labels = config.labels;
            labels.extend([(NO_TARGETS, "true"), origin].map(|(name, value)| (name.to_string(), value.to_string())));
            targets.push(labels.into());
        }
        groups.push(TargetGroup::new(format!("{}:{i}", origin.1), targets));
    }
    Ok(groups)
}
