//! Writes HTML without injection: markup comes only from the source code, and all other text is escaped.

use std::fmt::{Display, Write};

use crate::model::terminal::is_command;

/// A page that is being written.
pub(super) struct Html(String);

impl Html {
    /// The page up to its content. Links are relative, so they work with any prefix and proxy.
    pub(super) fn page(title: &'static str) -> Self {
        let mut page = Self(String::with_capacity(16 << 10));
        page.markup("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n")
            .markup("<meta name=\"viewport\" content=\"width=device-width\">\n<title>fantail: ")
            .markup(title)
            .markup("</title>\n<style>\n")
            .markup(STYLE)
            .markup("</style>\n</head>\n<body>\n<nav><a href=\"./\"><b>fantail</b></a> ")
            .markup("<a href=\"targets\">targets</a> <a href=\"service-discovery\">service discovery</a> ")
            .markup("<a href=\"config\">config</a> <a href=\"metrics\">metrics</a> <a href=\"ready\">ready</a></nav>\n")
            .markup("<h1>")
            .markup(title)
            .markup("</h1>\n");
        page
    }

    pub(super) fn finish(mut self) -> String {
        self.markup("</body>\n</html>\n");
        self.0
    }

    /// Markup must be a constant.
    pub(super) fn markup(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Adds text, escaped for content and quoted attributes.
    pub(super) fn text(&mut self, text: impl Display) -> &mut Self {
        // Writing to a string cannot fail.
        let _ = write!(Escaped(&mut self.0), "{text}");
        self
    }

    /// `<tag>text</tag>`.
    pub(super) fn element(&mut self, tag: &'static str, text: impl Display) -> &mut Self {
        self.markup("<").markup(tag).markup(">").text(text).markup("</").markup(tag).markup(">")
    }

    /// `<td class="n">text</td>`: a right-aligned number.
    pub(super) fn number(&mut self, text: impl Display) -> &mut Self {
        self.markup("<td class=\"n\">").text(text).markup("</td>")
    }

    /// The search box of a page.
    pub(super) fn search_box(&mut self, asked: &str) -> &mut Self {
        self.markup("<form><input name=\"q\" placeholder=\"filter by text\" value=\"")
            .text(asked)
            .markup("\"> <button>filter</button></form>\n")
    }
}

struct Escaped<'s>(&'s mut String);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                '\n' | '\t' => self.0.push(c),
                c if is_command(c) => self.0.push(char::REPLACEMENT_CHARACTER),
                c => self.0.push(c),
            }
        }
        Ok(())
    }
}

const STYLE: &str = "\
:root { color-scheme: light dark; }
body { font: 14px/1.45 system-ui, sans-serif; margin: 1em 1.5em; max-width: 100em; }
nav a { margin-left: .8em; }
h1 { font-size: 1.3em; margin: .7em 0 .3em; }
h2 { font-size: 1.05em; margin: 1.3em 0 .3em; }
table { border-collapse: collapse; margin: .3em 0; }
th, td { text-align: left; vertical-align: top; padding: .15em .8em .15em 0; border-bottom: 1px solid #8884; }
th { font-weight: 600; }
td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
code, pre { font: 12.5px/1.45 ui-monospace, monospace; overflow-wrap: anywhere; }
pre { white-space: pre-wrap; }
.bad { color: #c22; font-weight: 600; }
.faint { opacity: .7; }
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_never_markup() {
        let mut page = Html(String::new());
        page.text("<script>alert('&\"')</script>\u{1b}[31m\nü\u{202e}");
        assert_eq!(page.0, "&lt;script&gt;alert(&#39;&amp;&quot;&#39;)&lt;/script&gt;\u{fffd}[31m\nü\u{fffd}");
    }

    #[test]
    fn a_filter_is_shown_again_inside_its_quotes() {
        let mut page = Html(String::new());
        page.search_box("\"><b>");
        assert!(page.0.contains("value=\"&quot;&gt;&lt;b&gt;\""), "{}", page.0);
    }
}
