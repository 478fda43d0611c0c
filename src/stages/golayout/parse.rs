//! Parses a text with a layout.

use jiff::civil::{Date, DateTime};

use super::fields::Fields;
use super::part::Part;
use super::reader::Reader;
use super::zone::Zones;
use super::{Layout, Stamp};

impl Layout {
    /// None if the text does not match the layout, or is not a valid time.
    pub fn parse(&self, text: &str, zones: &Zones) -> Option<Stamp> {
        let fields = self.read(text)?;
        let civil = fields.civil_seconds(fields.date()?);
        Some(fields.stamp(civil, zones))
    }

    /// Like [`parse`](Self::parse), for a layout without a year. Uses the year that brings the time nearest to `now`,
    /// by months.
    pub fn parse_near(&self, text: &str, zones: &Zones, now: i64) -> Option<Stamp> {
        let fields = self.read(text)?;
        let date = fields.date()?;
        let today = civil(now.saturating_add(zones.local.at(now).0.into()))?.date();
        let year = match (date.month(), today.month()) {
            (12, 1) => today.year() - 1,
            (1, 12) => today.year() + 1,
            _ => today.year(),
        };
        // In most years, February 29 is March 1.
        let days = i64::from(date.day()) - 1;
        let first = Date::new(year, date.month(), 1).ok()?;
        let civil = fields.civil_seconds(first) + days * 86_400;
        Some(fields.stamp(civil, zones))
    }

    fn read<'t>(&self, text: &'t str) -> Option<Fields<'t>> {
        let mut fields = Fields::default();
        let mut rest = Reader::new(text);
        for (i, part) in self.parts.iter().enumerate() {
            let next = self.parts[i + 1..].iter().find(|part| !matches!(part, Part::Text(_)));
            rest.part(part, next, &mut fields)?;
        }
        rest.is_at_end().then_some(fields)
    }
}

/// The local date and time in UTC.
pub(super) fn civil(seconds: i64) -> Option<DateTime> {
    let timestamp = jiff::Timestamp::from_second(seconds).ok()?;
    Some(jiff::tz::Offset::UTC.to_datetime(timestamp))
}
