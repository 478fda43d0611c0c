//! `-help`: common flags first, flags without effect last.

use std::fmt::Write;

use super::table::{Flag, GROUPS, IGNORED, Kind};

/// The column of the help texts. Longer flags push their text to the right.
const COLUMN: usize = 46;
const WIDTH: usize = 120;

pub(crate) fn text() -> String {
    let mut out = String::from(
        "Usage: fantail -config.file=promtail.yaml [flags]\n       fantail COMMAND …    (fantail help lists the commands)\n\n\
         Tails log files and delivers every line to Loki once. Accepts Promtail's config and flags.\n\
         A flag overrides the config file. -x value, -x=value and --x=value are the same; a boolean is -x or -x=false.\n",
    );
    for group in GROUPS {
        let _ = write!(out, "\n{}:\n", group.title);
        for flag in group.flags {
            line(&mut out, flag);
        }
    }
    out.push_str("\nAccepted because Promtail has them (most have no effect):\n");
    let mut column = 0;
    for flag in IGNORED {
        let width = flag.name.len() + 2;
        if column + width > WIDTH {
            out.push('\n');
            column = 0;
        }
        let _ = write!(out, " -{}", flag.name);
        column += width;
    }
    out.push('\n');
    out
}

fn line(out: &mut String, flag: &Flag) {
    let name = format!("  -{} {}", flag.name, value_name(flag.kind));
    let _ = write!(out, "{name:COLUMN$} {}", flag.help);
    if !matches!(flag.default, "" | "false") {
        let _ = write!(out, " (default {})", flag.default);
    }
    out.push('\n');
}

/// The type of a flag's value. Empty: it needs none.
pub(crate) fn value_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Bool => "",
        Kind::Int => "int",
        Kind::Float => "number",
        Kind::Text => "text",
        Kind::Duration => "duration",
        Kind::Size => "size",
        Kind::Labels => "labels",
        Kind::OneOf(_) => "name",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_is_in_it_and_it_fits_a_screen() {
        let text = text();
        for flag in super::super::table::all() {
            assert!(text.contains(&format!("-{}", flag.name)), "{}", flag.name);
        }
        for line in text.lines() {
            assert!(line.len() <= WIDTH, "{line}");
        }
        assert!(text.find("-config.file").expect("there") < text.find("-server.grpc-listen-port").expect("there"));
    }
}
