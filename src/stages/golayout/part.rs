//! The parts of a layout.

/// A part of a layout: literal text, or a placeholder for a part of the time.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part {
    Text(String),
    /// `2006`, or `06`.
    Year {
        long: bool,
    },
    MonthName {
        long: bool,
    },
    /// `01`, or `1`.
    Month {
        zero: bool,
    },
    Weekday {
        long: bool,
    },
    Day(Pad),
    YearDay {
        zero: bool,
    },
    Hour24,
    /// `03`, or `3`.
    Hour12 {
        zero: bool,
    },
    Minute {
        zero: bool,
    },
    Second {
        zero: bool,
    },
    /// `PM`, or `pm`.
    Meridiem {
        upper: bool,
    },
    ZoneName,
    Offset(Offset),
    /// `.000`: always this many digits. `.999`: without trailing zeros.
    Fraction {
        digits: usize,
        trim: bool,
        separator: char,
    },
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Pad {
    None,
    Space,
    Zero,
}

/// The format of a numeric zone offset.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Offset {
    /// `Z` stands for UTC.
    pub z: bool,
    pub colon: bool,
    pub digits: Digits,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Digits {
    Hours,
    Minutes,
    Seconds,
}

pub(super) fn split(layout: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut rest = layout;
    while let Some(first) = rest.chars().next() {
        // `_2006` is a literal underscore and a year.
        let found = if rest.starts_with("_2006") { None } else { part(rest) };
        match found {
            Some((part, len)) => {
                if !text.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut text)));
                }
                parts.push(part);
                rest = &rest[len..];
            }
            None => {
                text.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    if !text.is_empty() {
        parts.push(Part::Text(text));
    }
    parts
}

/// The part at the start of a layout, and its length. If two match, the first in the list is used.
fn part(layout: &str) -> Option<(Part, usize)> {
    let offset = |z, colon, digits| Part::Offset(Offset { z, colon, digits });
    let table = [
        ("January", Part::MonthName { long: true }),
        ("Jan", Part::MonthName { long: false }),
        ("Monday", Part::Weekday { long: true }),
        ("Mon", Part::Weekday { long: false }),
        ("MST", Part::ZoneName),
        ("01", Part::Month { zero: true }),
        ("02", Part::Day(Pad::Zero)),
        ("03", Part::Hour12 { zero: true }),
        ("04", Part::Minute { zero: true }),
        ("05", Part::Second { zero: true }),
        ("06", Part::Year { long: false }),
        ("002", Part::YearDay { zero: true }),
        ("15", Part::Hour24),
        ("1", Part::Month { zero: false }),
        ("2006", Part::Year { long: true }),
        ("2", Part::Day(Pad::None)),
        ("_2", Part::Day(Pad::Space)),
        ("__2", Part::YearDay { zero: false }),
        ("3", Part::Hour12 { zero: false }),
        ("4", Part::Minute { zero: false }),
        ("5", Part::Second { zero: false }),
        ("PM", Part::Meridiem { upper: true }),
        ("pm", Part::Meridiem { upper: false }),
        ("-070000", offset(false, false, Digits::Seconds)),
        ("-07:00:00", offset(false, true, Digits::Seconds)),
        ("-0700", offset(false, false, Digits::Minutes)),
        ("-07:00", offset(false, true, Digits::Minutes)),
        ("-07", offset(false, false, Digits::Hours)),
        ("Z070000", offset(true, false, Digits::Seconds)),
        ("Z07:00:00", offset(true, true, Digits::Seconds)),
        ("Z0700", offset(true, false, Digits::Minutes)),
        ("Z07:00", offset(true, true, Digits::Minutes)),
        ("Z07", offset(true, false, Digits::Hours)),
    ];
    for (text, part) in table {
        let Some(rest) = layout.strip_prefix(text) else {
            continue;
        };
        // `Janet` does not contain a month.
        if matches!(text, "Jan" | "Mon") && rest.starts_with(|c: char| c.is_ascii_lowercase()) {
            continue;
        }
        return Some((part, text.len()));
    }
    fraction(layout)
}

/// `.000` or `,999`: one digit repeated, not followed by another digit.
fn fraction(layout: &str) -> Option<(Part, usize)> {
    let separator = layout.chars().next().filter(|c| matches!(c, '.' | ','))?;
    let digits = &layout[1..];
    let digit = digits.chars().next().filter(|c| matches!(c, '0' | '9'))?;
    let rest = digits.trim_start_matches(digit);
    if rest.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let count = digits.len() - rest.len();
    Some((Part::Fraction { digits: count, trim: digit == '9', separator }, 1 + count))
}
