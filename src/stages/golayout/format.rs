//! Formats a time with a layout.

use std::fmt::Write;

use jiff::civil::DateTime;

use super::parse::civil;
use super::part::{Digits, Offset, Pad, Part};
use super::reader::{day_name, month_name};
use super::zone::Zone;
use super::{Layout, Stamp};

impl Layout {
    /// Formats the time in `zone`. Years after 9999 have more digits.
    pub fn format(&self, stamp: &Stamp, zone: &Zone) -> String {
        let (offset, name) = zone.at(stamp.seconds);
        let at = civil(stamp.seconds.saturating_add(i64::from(offset))).unwrap_or(if stamp.seconds < 0 {
            DateTime::MIN
        } else {
            DateTime::MAX
        });
        let mut out = String::new();
        for part in &self.parts {
            // Writing to a string cannot fail.
            _ = write_part(&mut out, part, at, stamp.nanos, offset, &name);
        }
        out
    }
}

fn write_part(out: &mut String, part: &Part, at: DateTime, nanos: u32, offset: i32, zone: &str) -> std::fmt::Result {
    let number = |out: &mut String, n: i32, zero: bool| match zero {
        true => write!(out, "{n:02}"),
        false => write!(out, "{n}"),
    };
    let short = |name: &'static str, long: bool| if long { name } else { &name[..3] };
    let hour12 = match at.hour() % 12 {
        0 => 12,
        hour => hour,
    };
    match part {
        Part::Text(text) => out.write_str(text),
        Part::Year { long: true } if at.year() < 0 => write!(out, "-{:04}", -i32::from(at.year())),
        Part::Year { long: true } => write!(out, "{:04}", at.year()),
        Part::Year { long: false } => write!(out, "{:02}", at.year().unsigned_abs() % 100),
        Part::MonthName { long } => out.write_str(short(month_name(at.month()), *long)),
        Part::Month { zero } => number(out, at.month().into(), *zero),
        Part::Weekday { long } => out.write_str(short(day_name(at.weekday().to_sunday_zero_offset()), *long)),
        Part::Day(Pad::None) => write!(out, "{}", at.day()),
        Part::Day(Pad::Space) => write!(out, "{:2}", at.day()),
        Part::Day(Pad::Zero) => write!(out, "{:02}", at.day()),
        Part::YearDay { zero: true } => write!(out, "{:03}", at.day_of_year()),
        Part::YearDay { zero: false } => write!(out, "{:3}", at.day_of_year()),
        Part::Hour24 => write!(out, "{:02}", at.hour()),
        Part::Hour12 { zero } => number(out, hour12.into(), *zero),
        Part::Minute { zero } => number(out, at.minute().into(), *zero),
        Part::Second { zero } => number(out, at.second().into(), *zero),
        Part::Meridiem { upper } => out.write_str(match (at.hour() >= 12, upper) {
            (true, true) => "PM",
            (true, false) => "pm",
            (false, true) => "AM",
            (false, false) => "am",
        }),
        Part::ZoneName if zone.is_empty() => {
            write_offset(out, Offset { z: false, colon: false, digits: Digits::Minutes }, offset)
        }
        Part::ZoneName => out.write_str(zone),
        Part::Offset(form) => write_offset(out, *form, offset),
        Part::Fraction { digits, trim, separator } => {
            let mut text = format!("{separator}{nanos:09}");
            text.truncate(1 + digits);
            if *trim {
                text.truncate(text.trim_end_matches('0').trim_end_matches(*separator).len());
            }
            out.write_str(&text)
        }
    }
}

fn write_offset(out: &mut String, form: Offset, offset: i32) -> std::fmt::Result {
    if form.z && offset == 0 {
        return out.write_str("Z");
    }
    let (sign, seconds) = if offset <= -60 { ('-', -offset) } else { ('+', offset.abs()) };
    let colon = if form.colon { ":" } else { "" };
    write!(out, "{sign}{:02}", seconds / 3_600)?;
    if form.digits != Digits::Hours {
        write!(out, "{colon}{:02}", seconds / 60 % 60)?;
    }
    if form.digits == Digits::Seconds {
        write!(out, "{colon}{:02}", seconds % 60)?;
    }
    Ok(())
}
