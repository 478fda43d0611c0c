//! Variables that `-config.expand-env` replaces by nothing. Their values may be secrets, so only the names are said.

use crate::yaml::{Error, Place};

/// A warning for each variable that the environment does not have, or has without a value, and that has no default.
pub(super) fn warnings(file: Option<&str>, text: &str, env: &dyn Fn(&str) -> Option<String>) -> Vec<Error> {
    let mut warnings = Vec::new();
    for (n, line) in text.lines().enumerate() {
        let code = line.split(" #").next().unwrap_or_default();
        if code.trim_start().starts_with('#') {
            continue;
        }
        for (column, name) in variables(code) {
            let message = match env(name) {
                _ if name.starts_with(|c: char| c.is_ascii_digit()) => {
                    format!(
                        "${{{name}}} is replaced by nothing, because it is no variable: write $${{{name}}} for a group of a regex"
                    )
                }
                None => format!("the variable {name} is not set: set it, or write a default: ${{{name}:-default}}"),
                Some(value) if value.is_empty() => {
                    format!("the variable {name} is empty: set it, or write a default: ${{{name}:-default}}")
                }
                Some(_) => continue,
            };
            let place = Place { file: file.map(String::from), position: Some((n + 1, column)), ..Place::default() };
            warnings.push(Error::new(place, message));
        }
    }
    warnings
}

/// The names in `${NAME}`, without those that have a default, each with its column, from 1. `$${NAME}` is a text.
fn variables(line: &str) -> impl Iterator<Item = (usize, &str)> {
    let starts = line.match_indices("${").filter(|(at, _)| {
        let dollars = line[..*at].bytes().rev().take_while(|byte| *byte == b'$').count();
        dollars % 2 == 0
    });
    starts.filter_map(|(at, _)| {
        let after = &line[at + 2..];
        let name = &after[..after.find('}')?];
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        is_name.then(|| (line[..at].chars().count() + 1, name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_becomes_nothing_is_said() {
        let env = |name: &str| match name {
            "SET" => Some("hunter2".to_string()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        let text =
            "a: ${SET}${NONE}\n# ${NONE}\nb: x # ${NONE}\nc: ${NONE:-d} $${NONE} ${EMPTY}\nd: \"${1}_$${2}_$1\"\n";
        let said: Vec<String> = warnings(Some("f"), text, &env).iter().map(Error::to_string).collect();
        assert_eq!(
            said,
            [
                "f:1:10: the variable NONE is not set: set it, or write a default: ${NONE:-default}",
                "f:4:24: the variable EMPTY is empty: set it, or write a default: ${EMPTY:-default}",
                "f:5:5: ${1} is replaced by nothing, because it is no variable: write $${1} for a group of a regex",
            ]
        );
    }
}
