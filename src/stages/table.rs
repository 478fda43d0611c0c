//! The table of all stages. Used to compile pipelines, to report unknown names, by tests, and for `docs/stages.md`.

use super::options::Options;
use super::{ConfigError, Recipe};
use crate::model::nearest;

/// A stage.
#[derive(Debug)]
pub struct Row {
    /// Its name in the config.
    pub name: &'static str,
    /// Its documentation is in `src/stages/<file>.rs`. Two names of one stage share a file.
    pub file: &'static str,
    /// Reads the options and returns the stage's recipe, or a config error.
    pub(super) compile: fn(&mut Options<'_>) -> Result<Recipe, ConfigError>,
}

/// Sorted by name.
pub static TABLE: &[Row] = &[
    Row { name: "cri", file: "cri", compile: super::cri::compile },
    Row { name: "decolorize", file: "decolorize", compile: super::decolorize::compile },
    Row { name: "docker", file: "docker", compile: super::docker::compile },
    Row { name: "drop", file: "drop", compile: super::drop::compile },
    Row { name: "eventlogmessage", file: "eventlogmessage", compile: super::eventlogmessage::compile },
    Row { name: "geoip", file: "geoip", compile: super::geoip::compile },
    Row { name: "json", file: "json", compile: super::json::compile },
    Row { name: "labelallow", file: "labelallow", compile: super::labelallow::compile },
    Row { name: "labeldrop", file: "labeldrop", compile: super::labeldrop::compile },
    Row { name: "labels", file: "labels", compile: super::labels::compile },
    Row { name: "limit", file: "limit", compile: super::limit::compile },
    Row { name: "logfmt", file: "logfmt", compile: super::logfmt::compile },
    Row { name: "match", file: "match", compile: super::r#match::compile },
    Row { name: "metrics", file: "metrics", compile: super::metrics::compile },
    Row { name: "multiline", file: "multiline", compile: super::multiline::compile },
    Row { name: "non_indexed_labels", file: "structured_metadata", compile: super::structured_metadata::compile },
    Row { name: "output", file: "output", compile: super::output::compile },
    Row { name: "pack", file: "pack", compile: super::pack::compile },
    Row { name: "regex", file: "regex", compile: super::regex::compile },
    Row { name: "replace", file: "replace", compile: super::replace::compile },
    Row { name: "sampling", file: "sampling", compile: super::sampling::compile },
    Row { name: "static_labels", file: "static_labels", compile: super::static_labels::compile },
    Row { name: "structured_metadata", file: "structured_metadata", compile: super::structured_metadata::compile },
    Row { name: "template", file: "template", compile: super::template::compile },
    Row { name: "tenant", file: "tenant", compile: super::tenant::compile },
    Row { name: "timestamp", file: "timestamp", compile: super::timestamp::compile },
];

/// The stage with this name, or an error message with suggestions.
pub(super) fn find(name: &str) -> Result<&'static Row, String> {
    TABLE.iter().find(|row| row.name == name).ok_or_else(|| unknown(name))
}

fn unknown(name: &str) -> String {
    let names = TABLE.iter().map(|row| row.name);
    let hint = match nearest(name, names.clone()) {
        Some(right) if right.eq_ignore_ascii_case(name) => format!("stage names are lower case: `{right}`"),
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("supported are: {}", names.collect::<Vec<_>>().join(", ")),
    };
    format!("unknown stage type `{name}`; {hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_found() {
        assert!(TABLE.is_sorted_by(|a, b| a.name < b.name), "each name once, in order");
        for row in TABLE {
            assert_eq!(find(row.name).map(|found| found.file), Ok(row.file));
        }
    }

    #[test]
    fn what_is_said_of_an_unknown_name() {
        for (name, hint) in [
            ("jsn", "did you mean `json`?"),
            ("static-label", "did you mean `static_labels`?"),
            ("structuredmetadata", "did you mean `structured_metadata`?"),
            ("LogFmt", "stage names are lower case: `logfmt`"),
            ("xml", "supported are: cri, decolorize, "),
        ] {
            let said = find(name).expect_err(name);
            assert!(said.starts_with(&format!("unknown stage type `{name}`; {hint}")), "{said}");
        }
    }
}
