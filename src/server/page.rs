//! The page at `/`: one document, its style and its scripts, and the JSON that it reads.
//!
//! The files are in the binary, and the page loads nothing from elsewhere. What others write (labels, paths, errors, lines)
//! comes as JSON and is only ever set as text.

mod overview;
mod rows;

pub(super) use overview::Overview;
pub(super) use rows::{AskedForRows, Rows};

/// Scripts, styles and data only from this server. No inline script.
pub(super) const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                                 img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

pub(super) const HTML: &str = include_str!("page/index.html");

const SCRIPT: &str = "text/javascript; charset=utf-8";

const ASSETS: [(&str, &str, &str); 10] = [
    ("page.css", "text/css; charset=utf-8", include_str!("page/page.css")),
    ("page.js", SCRIPT, include_str!("page/page.js")),
    ("ask.js", SCRIPT, include_str!("page/ask.js")),
    ("dom.js", SCRIPT, include_str!("page/dom.js")),
    ("units.js", SCRIPT, include_str!("page/units.js")),
    ("overview.js", SCRIPT, include_str!("page/overview.js")),
    ("targets.js", SCRIPT, include_str!("page/targets.js")),
    ("explain.js", SCRIPT, include_str!("page/explain.js")),
    ("tail.js", SCRIPT, include_str!("page/tail.js")),
    ("config.js", SCRIPT, include_str!("page/config.js")),
];

/// The type and the text of a file of the page.
pub(super) fn asset(name: &str) -> Option<(&'static str, &'static str)> {
    ASSETS.iter().find(|(known, ..)| *known == name).map(|(_, kind, text)| (*kind, *text))
}

/// `text` with at most `limit` bytes. What others write may have any length.
fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_string();
    }
    format!("{}…", &text[..text.floor_char_boundary(limit)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_never_make_markup_of_text() {
        for (name, _, text) in ASSETS {
            for markup in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "DOMParser", "eval("] {
                assert!(!text.contains(markup), "{name} uses {markup}");
            }
        }
    }

    #[test]
    fn the_document_has_no_script_and_no_style_of_its_own_and_loads_nothing_from_elsewhere() {
        for inline in ["<style", "style=", "onclick", "onload", "javascript:", "//"] {
            assert!(!HTML.contains(inline), "{inline}");
        }
        for tag in HTML.split("<script").skip(1) {
            assert!(tag.contains("></script>"), "{tag}");
        }
        for file in HTML.split("page/").skip(1).map(|rest| rest.split('"').next().unwrap_or_default()) {
            assert!(asset(file).is_some(), "{file}");
        }
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(cut("äöü", 6), "äöü");
        assert_eq!(cut("äöü", 3), "ä…");
    }
}
