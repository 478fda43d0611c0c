//! Reads the parts of a layout from the start of a text.

use super::fields::Fields;
use super::part::{Digits, Offset, Pad, Part};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// The unread part of a text. All parts that can be read are ASCII.
pub(super) struct Reader<'t> {
    text: &'t str,
    rest: &'t [u8],
}

impl<'t> Reader<'t> {
    pub fn new(text: &'t str) -> Self {
        Self { text, rest: text.as_bytes() }
    }

    pub fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// Reads one part. `next` is the next part that is not literal text.
    pub fn part(&mut self, part: &Part, next: Option<&Part>, fields: &mut Fields<'t>) -> Option<()> {
        match part {
            Part::Text(literal) => self.literal(literal)?,
            Part::Year { long: true } => fields.year = self.digits(4)?,
            Part::Year { long: false } => {
                let year = self.digits(2)?;
                fields.year = if year >= 69 { 1900 + year } else { 2000 + year };
            }
            Part::MonthName { long } => fields.month = Some(self.name(&MONTHS, *long)? + 1),
            Part::Month { zero } => {
                fields.month = Some(self.number(2, *zero).filter(|m| (1..=12).contains(m))?);
            }
            Part::Weekday { long } => _ = self.name(&DAYS, *long)?,
            Part::Day(pad) => {
                if *pad == Pad::Space {
                    self.skip(b' ');
                }
                fields.day = Some(self.number(2, *pad == Pad::Zero)?);
            }
            Part::YearDay { zero } => {
                if !zero {
                    self.skip(b' ');
                    self.skip(b' ');
                }
                fields.year_day = Some(self.number(3, *zero)?);
            }
            Part::Hour24 => fields.hour = self.number(2, false).filter(|h| *h < 24)?,
            Part::Hour12 { zero } => fields.hour = self.number(2, *zero).filter(|h| *h <= 12)?,
            Part::Minute { zero } => fields.minute = self.number(2, *zero).filter(|m| *m < 60)?,
            Part::Second { zero } => {
                fields.second = self.number(2, *zero).filter(|s| *s < 60)?;
                if !matches!(next, Some(Part::Fraction { .. })) {
                    self.any_fraction(fields);
                }
            }
            Part::Meridiem { upper } => {
                let word = self.take(2)?;
                fields.afternoon = Some(match (word, upper) {
                    (b"PM", true) | (b"pm", false) => true,
                    (b"AM", true) | (b"am", false) => false,
                    _ => return None,
                });
            }
            Part::ZoneName => {
                if self.rest.starts_with(b"UTC") {
                    self.take(3)?;
                    fields.utc = true;
                } else {
                    let from = self.text.len() - self.rest.len();
                    let len = zone_name(self.rest)?;
                    fields.zone = Some(self.text.get(from..from + len)?);
                    self.take(len)?;
                }
            }
            Part::Offset(offset) => match offset.z && self.rest.starts_with(b"Z") {
                true => {
                    self.take(1)?;
                    fields.utc = true;
                }
                false => fields.offset = Some(self.offset(*offset)?),
            },
            Part::Fraction { trim: true, .. } => self.any_fraction(fields),
            Part::Fraction { digits, .. } => {
                let text = self.take(1 + digits)?;
                fields.nanos = nanos(text)?;
            }
        }
        Some(())
    }

    fn take(&mut self, len: usize) -> Option<&'t [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    fn skip(&mut self, byte: u8) {
        self.rest = self.rest.strip_prefix(&[byte]).unwrap_or(self.rest);
    }

    /// Reads literal text. Any number of spaces matches one, and no space matches at the end of the text.
    fn literal(&mut self, literal: &str) -> Option<()> {
        let mut wanted = literal.as_bytes();
        while let Some((first, rest)) = wanted.split_first() {
            if *first == b' ' {
                if !self.rest.is_empty() && self.rest[0] != b' ' {
                    return None;
                }
                wanted = blanks(wanted);
                self.rest = blanks(self.rest);
                continue;
            }
            self.rest = self.rest.strip_prefix(&[*first])?;
            wanted = rest;
        }
        Some(())
    }

    fn digits(&mut self, count: usize) -> Option<i64> {
        let digits = self.take(count)?;
        digits.iter().all(u8::is_ascii_digit).then(|| value(digits))
    }

    /// Reads up to `most` digits, or exactly as many.
    fn number(&mut self, most: usize, exactly: bool) -> Option<i64> {
        let count = self.rest.iter().take(most).take_while(|d| d.is_ascii_digit()).count();
        if count == 0 || (exactly && count < most) {
            return None;
        }
        self.digits(count)
    }

    fn name(&mut self, names: &[&str], long: bool) -> Option<i64> {
        let (at, len) = names.iter().enumerate().find_map(|(at, name)| {
            let name = if long { name } else { &name[..3] };
            let text = self.rest.get(..name.len())?;
            text.eq_ignore_ascii_case(name.as_bytes()).then_some((at, name.len()))
        })?;
        self.take(len)?;
        Some(at as i64)
    }

    fn any_fraction(&mut self, fields: &mut Fields<'_>) {
        if matches!(self.rest, [b'.' | b',', digit, ..] if digit.is_ascii_digit()) {
            let digits = self.rest[1..].iter().take_while(|d| d.is_ascii_digit()).count();
            fields.nanos = self.take(1 + digits).and_then(nanos).unwrap_or(0);
        }
    }

    fn offset(&mut self, form: Offset) -> Option<i32> {
        let sign = match self.take(1)? {
            b"+" => 1,
            b"-" => -1,
            _ => return None,
        };
        let count = match form.digits {
            Digits::Hours => 1,
            Digits::Minutes => 2,
            Digits::Seconds => 3,
        };
        let mut seconds = 0;
        // Some texts do use 24 hours, and 60 minutes or seconds.
        for (i, (most, unit)) in [(24, 3_600), (60, 60), (60, 1)].into_iter().take(count).enumerate() {
            if form.colon && i > 0 && self.take(1)? != b":" {
                return None;
            }
            seconds += unit * self.digits(2).filter(|n| *n <= most)?;
        }
        Some(sign * seconds as i32)
    }
}

fn blanks(text: &[u8]) -> &[u8] {
    &text[text.iter().take_while(|b| **b == b' ').count()..]
}

fn value(digits: &[u8]) -> i64 {
    digits.iter().fold(0, |n, d| n * 10 + i64::from(d - b'0'))
}

/// `.123` as nanoseconds. Digits after the ninth are ignored.
fn nanos(text: &[u8]) -> Option<u32> {
    let (separator, digits) = text.split_first()?;
    let digits = &digits[..digits.len().min(9)];
    let is_fraction = matches!(separator, b'.' | b',') && digits.iter().all(u8::is_ascii_digit);
    let scale = 10_i64.pow(9 - digits.len() as u32);
    is_fraction.then(|| (value(digits) * scale) as u32)
}

/// The length of a zone name at the start: `CEST`, `GMT+3`, `+03`. None: there is no zone name.
fn zone_name(text: &[u8]) -> Option<usize> {
    let signed = |text: &[u8]| {
        let digits = text.get(1..)?.iter().take_while(|d| d.is_ascii_digit()).count();
        let fits = matches!(text[0], b'+' | b'-') && (1..=9).contains(&digits) && value(&text[1..=digits]) <= 23;
        fits.then_some(1 + digits)
    };
    if text.starts_with(b"ChST") || text.starts_with(b"MeST") {
        return Some(4);
    }
    if let Some(rest) = text.strip_prefix(b"GMT") {
        return Some(3 + signed(rest).unwrap_or(0));
    }
    if text.len() >= 3 && matches!(text[0], b'+' | b'-') {
        return signed(text);
    }
    let upper = text.iter().take(6).take_while(|b| b.is_ascii_uppercase()).count();
    match upper {
        3 => Some(3),
        4 if text[3] == b'T' || text.starts_with(b"WITA") => Some(4),
        5 if text[4] == b'T' => Some(5),
        _ => None,
    }
}

pub(super) fn month_name(month: i8) -> &'static str {
    MONTHS[month as usize - 1]
}

pub(super) fn day_name(from_sunday: i8) -> &'static str {
    DAYS[from_sunday as usize]
}
