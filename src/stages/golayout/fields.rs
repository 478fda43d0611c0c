//! The parts of a time, and the time that they make.

use jiff::civil::Date;

use super::Stamp;
use super::zone::{Zone, Zones};

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
    pub fn date(&self) -> Option<Date> {
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
    pub fn civil_seconds(&self, date: Date) -> i64 {
        let hour = match self.afternoon {
            Some(true) if self.hour < 12 => self.hour + 12,
            Some(false) if self.hour == 12 => 0,
            _ => self.hour,
        };
        let days = date.duration_since(Date::constant(1970, 1, 1)).as_hours() / 24;
        days * 86_400 + hour * 3_600 + self.minute * 60 + self.second
    }

    pub fn stamp(&self, civil: i64, zones: &Zones) -> Stamp {
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
