//! Reads what is right of a document, to report all its errors at once.

use serde::de::DeserializeOwned;

use super::{Document, Error, read};
use crate::model::KeyPath;

/// Errors of one document that are reported at most.
const MOST_ERRORS: usize = 100;

impl Document {
    /// Reads the document without the values that cannot be read, and the errors of these, at most 100. None: an error is not
    /// about a value that can be left out. Then the document has lost the values that were left out before.
    pub fn read_what_is_right<T: DeserializeOwned>(&mut self) -> (Option<T>, Vec<Error>) {
        let mut errors = Vec::new();
        while errors.len() < MOST_ERRORS {
            let mistake = match read::from_node(&self.root) {
                Ok(value) => return (Some(value), errors),
                Err(mistake) => mistake,
            };
            errors.push(self.mistake(&KeyPath::default(), &mistake));
            let (error, _) = mistake.within(&KeyPath::default());
            if !self.root.remove(&error.path) {
                break;
            }
        }
        (None, errors)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields, default)]
    struct Top {
        port: u16,
        items: Vec<Item>,
        labels: BTreeMap<String, String>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Item {
        name: String,
    }

    #[test]
    fn all_errors_have_the_place_where_they_were_written() {
        let text =
            "prot: 1\nport: many\nitems:\n- {nmae: a}\n- {name: b, x: 1}\n- {name: [c]}\nlabels: {a: [1], b: 2}\n";
        let mut document = Document::parse(Some("f".into()), text.into(), None).expect("YAML");
        let (top, errors) = document.read_what_is_right::<Top>();
        let top = top.expect("the rest");
        assert_eq!(top.items, [Item { name: "b".into() }]);
        assert_eq!(top.labels, BTreeMap::from([("b".into(), "2".into())]));
        let mut lines: Vec<_> = errors.iter().filter_map(|error| Some(error.position()?.0)).collect();
        lines.dedup();
        lines.sort_unstable();
        lines.dedup();
        assert_eq!(lines, [1, 2, 4, 5, 6, 7], "{errors:?}");
    }

    #[test]
    fn a_document_that_is_something_else_has_one_error() {
        let mut document = Document::parse(None, "[1, 2]".into(), None).expect("YAML");
        let (top, errors) = document.read_what_is_right::<Top>();
        assert_eq!((top, errors.len()), (None, 1));
    }
}
