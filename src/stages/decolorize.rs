//! `decolorize`: removes colours and other terminal escape sequences from the line.
//!
//! ```yaml
//! - decolorize: {}
//! ```
//!
//! `ESC[31mred ESC[0m` becomes `red `. The stage removes colours, cursor movements and titles. It has no options.

use memchr::memchr2_iter;

use super::options::Options;
use super::{ConfigError, Flow, Recipe, Stage, Work};
use crate::goregex::Regex;

/// An escape sequence, as in Promtail: ESC or CSI, then parameters and a final letter, or a title that ends with BEL.
const SEQUENCE: &str = concat!(
    r"[\x1b\x{9b}][\[\]()#;?]*",
    r"(?:(?:(?:[a-zA-Z\d]*(?:;[a-zA-Z\d]*)*)?\x07)",
    r"|(?:(?:\d{1,4}(?:;\d{0,4})*)?[\dA-PRZcf-ntqry=><~]))",
);

pub(super) fn compile(options: &mut Options<'_>) -> Result<Recipe, ConfigError> {
    options.has_no_options();
    options.needs_nothing_extracted();
    let sequence = Regex::new(SEQUENCE).expect("a constant");
    Ok(Box::new(move |_| Box::new(Decolorize { sequence: sequence.clone() })))
}

struct Decolorize {
    sequence: Regex,
}

impl Stage for Decolorize {
    fn process(&mut self, work: &mut Work<'_>, _: &mut Vec<Work<'static>>) -> Flow {
        // ESC, or the second byte of CSI. Most lines contain neither.
        if memchr2_iter(0x1b, 0x9b, work.entry.line.as_bytes()).next().is_some() {
            let plain = self.sequence.inner().replace_all(&work.entry.line, "").into_owned();
            work.entry.line = plain.into();
        }
        Flow::Pass
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::table;

    #[test]
    fn sequences_go() {
        for (line, plain) in [
            ("\u{1b}[1;31mred\u{1b}[0m and \u{1b}[mplain", "red and plain"),
            ("\u{1b}[38;5;208ma\u{1b}[38;2;1;2;3mb\u{1b}[39mc", "abc"),
            ("\u{1b}[2Ka\u{1b}[1A\u{1b}[?25lb\u{1b}[?25h", "ab"),
            ("\u{9b}31mred\u{9b}m", "red"),
            ("\u{1b}]0;title\u{7}text", "text"),
            ("[31m stays", "[31m stays"),
            ("caf\u{e9} \u{15b} 31m", "caf\u{e9} \u{15b} 31m"),
            ("\u{1b}", "\u{1b}"),
            ("", ""),
        ] {
            table("decolorize: {}", &[(line, &format!("{{app=\"x\"}} {plain}"))]);
        }
        table("decolorize:", &[("\u{1b}[0m", "{app=\"x\"} ")]);
    }

    #[test]
    fn what_stands_there_does_not_matter() {
        for yaml in ["decolorize:", "decolorize: true", "decolorize: []", "decolorize: {a: b}"] {
            table(yaml, &[("\u{1b}[31mred", "{app=\"x\"} red")]);
        }
    }

    #[test]
    fn a_huge_line_is_no_trouble() {
        let line = "\u{1b}[".repeat(1 << 19);
        table("decolorize: {}", &[(&line, &format!("{{app=\"x\"}} {line}"))]);
    }
}
