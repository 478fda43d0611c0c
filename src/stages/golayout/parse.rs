//! Parses a text with a layout.

use jiff::civil::{Date, DateTime};

use super::part::Part;
use super::reader::Reader;
use super::zone::{Zone, Zones};
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

/// The parts of a time in a text.
#[derive(Debug, Default)]
pub(super) struct Fields<'t> {
    pub year: i64,
    pub month: Option<i64>,
    pub day: Option<i64>,
    pub year_day: Option<i64>,
    pub hour: i64,
    pub minute: i64,
    pub second: i64,
    pub nanos: u32,
    pub afternoon: Option<bool>,
    pub utc: bool,
    pub offset: Option<i32>,
    pub zone: Option<&'t str>,
}

impl Fields<'_> {
    fn date(&self) -> Option<Date> {
        let year = i16::try_from(self.year).ok()?;
        let Some(year_day) = self.year_day else {
            let (month, day) = (self.month.unwrap_or(1), self.day.unwrap_or(1));
            return Date::new(year, month as i8, i8::try_from(day).ok()?).ok();
        };
        let date = Date::new(year, 1, 1).ok()?.with().day_of_year(i16::try_from(year_day).ok()?).build().ok()?;
        let agrees = self.month.is_none_or(|m| m == i64::from(date.month()))
            && self.day.is_none_or(|d| d == i64::from(date.day()));
        agrees.then_some(date)
    }

    /// Seconds as if the time were in UTC.
    fn civil_seconds(&self, date: Date) -> i64 {
        let hour = match self.afternoon {
            Some(true) if self.hour < 12 => self.hour + 12,
            Some(false) if self.hour == 12 => 0,
            _ => self.hour,
        };
        let days = date.duration_since(Date::constant(1970, 1, 1)).as_hours() / 24;
        days * 86_400 + hour * 3_600 + self.minute * 60 + self.second
    }

    fn stamp(&self, civil: i64, zones: &Zones) -> Stamp {
        let at = |seconds, zone| Stamp { seconds, nanos: self.nanos, zone };
        if self.utc {
            return at(civil, Zone::Utc);
        }
        if let Some(offset) = self.offset {
            let seconds = civil - i64::from(offset);
            let (local, name) = zones.local.at(seconds);
            let is_local = local == offset && self.zone.is_none_or(|z| z == name);
            let fixed = || Zone::Fixed(self.zone.unwrap_or_default().into(), offset);
            return at(seconds, if is_local { zones.local.clone() } else { fixed() });
        }
        if let Some(name) = self.zone {
            if let Some(offset) = zones.local.abbreviation(name, civil) {
                return at(civil - i64::from(offset), zones.local.clone());
            }
            // Go's rule: the offset of `GMT+3` belongs to the zone, but the time is taken as UTC.
            let hours: i32 = name.strip_prefix("GMT").and_then(|h| h.parse().ok()).unwrap_or(0);
            return at(civil, Zone::Fixed(name.into(), hours * 3_600));
        }
        at(zones.default.moment(civil), zones.default.clone())
    }
}

/// The local date and time in UTC.
pub(super) fn civil(seconds: i64) -> Option<DateTime> {
    let timestamp = jiff::Timestamp::from_second(seconds).ok()?;
    Some(jiff::tz::Offset::UTC.to_datetime(timestamp))
}
