//! Go's time layouts: a layout is the reference time `Mon Jan 2 15:04:05 MST 2006` in the desired format.
//!
//! The `timestamp` stage parses with layouts, and the `date` function of templates formats with them. As in Go, a text
//! may have fractional seconds even if the layout has none, and names of weekdays are not checked.

mod fields;
mod format;
mod parse;
mod part;
mod reader;
mod zone;

pub(super) use zone::{Place, Zone, Zones};

use part::Part;

/// A parsed layout.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Layout {
    parts: Vec<Part>,
}

/// A point in time, and the zone to show it in.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stamp {
    /// Seconds since the Unix epoch.
    pub seconds: i64,
    pub nanos: u32,
    pub zone: Zone,
}

pub(super) const RFC3339: &str = "2006-01-02T15:04:05Z07:00";
pub(super) const RFC3339_NANO: &str = "2006-01-02T15:04:05.999999999Z07:00";

/// Layouts with names in Go and in Promtail's `format`.
const NAMED: [(&str, &str); 10] = [
    ("ANSIC", "Mon Jan _2 15:04:05 2006"),
    ("UnixDate", "Mon Jan _2 15:04:05 MST 2006"),
    ("RubyDate", "Mon Jan 02 15:04:05 -0700 2006"),
    ("RFC822", "02 Jan 06 15:04 MST"),
    ("RFC822Z", "02 Jan 06 15:04 -0700"),
    ("RFC850", "Monday, 02-Jan-06 15:04:05 MST"),
    ("RFC1123", "Mon, 02 Jan 2006 15:04:05 MST"),
    ("RFC1123Z", "Mon, 02 Jan 2006 15:04:05 -0700"),
    ("RFC3339", RFC3339),
    ("RFC3339Nano", RFC3339_NANO),
];

impl Layout {
    pub fn compile(layout: &str) -> Self {
        Self { parts: part::split(layout) }
    }

    pub fn named(name: &str) -> Option<Self> {
        NAMED.iter().find(|(n, _)| *n == name).map(|(_, layout)| Self::compile(layout))
    }
}

impl Stamp {
    pub fn from_unix_nanos(nanos: i64, zone: Zone) -> Self {
        let (seconds, nanos) = (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000));
        Self { seconds, nanos: nanos as u32, zone }
    }

    /// None for times outside the years 1677 to 2262.
    pub fn unix_nanos(&self) -> Option<i64> {
        let nanos = i128::from(self.seconds) * 1_000_000_000 + i128::from(self.nanos);
        i64::try_from(nanos).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str) -> Place {
        Place::named(name).expect(name)
    }

    /// Parses with or without a default zone. Returns the time in UTC.
    fn read(layout: &str, text: &str, zone: Option<&str>) -> Option<String> {
        let zones = match zone {
            Some(name) => Zones::same(Zone::Place(place(name))),
            None => Zones::utc(),
        };
        let stamp = Layout::compile(layout).parse(text, &zones)?;
        Some(Layout::compile(RFC3339_NANO).format(&stamp, &Zone::Utc))
    }

    #[test]
    fn texts_that_fit_their_layout() {
        let date_time = "2006-01-02 15:04:05";
        for (layout, text, want) in [
            (date_time, "2024-09-10 11:12:13", "2024-09-10T11:12:13Z"),
            (date_time, "2024-09-10 11:12:13,5", "2024-09-10T11:12:13.5Z"),
            (date_time, "2024-09-10 11:12:13.1234567891", "2024-09-10T11:12:13.123456789Z"),
            (date_time, "2024-09-10    11:12:13", "2024-09-10T11:12:13Z"),
            ("2006-01-02 15:04:05,000", "2024-09-10 11:12:13.456", "2024-09-10T11:12:13.456Z"),
            ("2006-01-02 15:04:05.999", "2024-09-10 11:12:13", "2024-09-10T11:12:13Z"),
            ("2006-01-02 15:04:05.999", "2024-09-10 11:12:13.98765", "2024-09-10T11:12:13.98765Z"),
            ("2006-1-2 3:4:5 PM", "2024-9-1 1:2:3 PM", "2024-09-01T13:02:03Z"),
            ("2006-1-2 3:4:5 pm", "2024-12-31 12:00:00 am", "2024-12-31T00:00:00Z"),
            ("06/01/02", "69/01/01", "1969-01-01T00:00:00Z"),
            ("06/01/02", "68/12/31", "2068-12-31T00:00:00Z"),
            ("2006-002 15:04", "2024-060 06:07", "2024-02-29T06:07:00Z"),
            ("2006-002", "2023-365", "2023-12-31T00:00:00Z"),
            ("2006 __2", "2024   7", "2024-01-07T00:00:00Z"),
            ("20060102150405", "20240910111213.25", "2024-09-10T11:12:13.25Z"),
            ("Mon Jan _2 15:04:05 2006", "sun JAN  7 08:09:10 2024", "2024-01-07T08:09:10Z"),
            ("January 2 2006", "september 3 2024", "2024-09-03T00:00:00Z"),
            ("02/Jan/2006:15:04:05 -0700", "05/Feb/2024:01:02:03 -0330", "2024-02-05T04:32:03Z"),
            ("2006-01-02T15:04:05Z0700", "2024-02-05T01:02:03+0100", "2024-02-05T00:02:03Z"),
            ("2006-01-02T15:04:05Z07", "2024-02-05T01:02:03Z", "2024-02-05T01:02:03Z"),
            ("2006-01-02T15:04:05-07", "2024-02-05T01:02:03-05", "2024-02-05T06:02:03Z"),
            ("2006-01-02T15:04:05-07:00:00", "2024-02-05T01:02:03+01:02:03", "2024-02-05T00:00:00Z"),
            ("2006-01-02T15:04:05Z070000", "2024-02-05T01:02:03+010203", "2024-02-05T00:00:00Z"),
            ("2006-01-02 MST", "2024-08-01 UTC", "2024-08-01T00:00:00Z"),
            ("2006-01-02 MST", "2024-08-01 CEST", "2024-08-01T00:00:00Z"),
            ("2006-01-02 MST", "2024-08-01 GMT+3", "2024-08-01T00:00:00Z"),
            ("2006-01-02 MST", "2024-08-01 -03", "2024-08-01T00:00:00Z"),
            ("_2006 Jan", "_2024 May", "2024-05-01T00:00:00Z"),
            ("2006-01-02", "0000-02-29", "0000-02-29T00:00:00Z"),
        ] {
            assert_eq!(read(layout, text, None).as_deref(), Some(want), "{text:?} by {layout:?}");
        }
    }

    #[test]
    fn texts_that_do_not() {
        for (layout, text) in [
            ("2006-01-02", ""),
            ("2006-01-02", "2024-1-02"),
            ("2006-01-02", "2024-13-02"),
            ("2006-01-02", "2023-02-29"),
            ("2006-01-02", "2024-01-02 "),
            ("2006-01-02", "24-01-02"),
            ("2006-01-02 15:04:05", "2024-01-02 24:00:00"),
            ("2006-01-02 15:04:05", "2024-01-02 23:59:60"),
            ("2006-01-02 15:04:05", "2024-01-02 23:59:59."),
            ("2006-01-02 15:04:05,000", "2024-01-02 23:59:59,4567"),
            ("2006-01-02 15:04:05.000", "2024-01-02 23:59:59"),
            ("2006-01-02 15:04:05.000", "2024-01-02 23:59:59.x12"),
            ("2006-1-2 3:4 PM", "2024-9-1 13:2 PM"),
            ("2006-1-2 3:4 PM", "2024-9-1 1:2 pm"),
            ("2006-002", "2023-366"),
            ("2006-01-02 MST", "2024-08-01 Zulu"),
            ("2006-01-02 MST", "2024-08-01 +25"),
            ("2006-01-02 -0700", "2024-08-01 +2500"),
            ("2006-01-02 -07:00", "2024-08-01 01:00"),
            ("2006-01-02 Mon", "2024-08-01 Xyz"),
            ("%Y-%m-%d", "2024-08-01"),
            ("2006-01-02", "２０２４-01-02"),
            ("Jan _2", "Jun 31"),
        ] {
            assert_eq!(read(layout, text, None), None, "{text:?} by {layout:?}");
        }
    }

    #[test]
    fn times_in_a_place() {
        let layout = "2006-01-02 15:04:05";
        for (zone, text, want) in [
            ("America/New_York", "2024-01-15 12:00:00", "2024-01-15T17:00:00Z"),
            ("America/New_York", "2024-07-15 12:00:00", "2024-07-15T16:00:00Z"),
            // Neither of these exists exactly once.
            ("America/New_York", "2024-03-10 02:30:00", "2024-03-10T06:30:00Z"),
            ("America/New_York", "2024-11-03 01:30:00", "2024-11-03T05:30:00Z"),
            ("Europe/Berlin", "2024-03-31 02:30:00", "2024-03-31T01:30:00Z"),
            ("Europe/Berlin", "2024-10-27 02:30:00", "2024-10-27T01:30:00Z"),
            ("Asia/Kolkata", "2024-03-31 02:30:00", "2024-03-30T21:00:00Z"),
        ] {
            assert_eq!(read(layout, text, Some(zone)).as_deref(), Some(want), "{text} in {zone}");
        }
    }

    #[test]
    fn a_zone_in_the_text_is_stronger_than_the_place() {
        let new_york = Some("America/New_York");
        for (layout, text, want) in [
            ("2006-01-02 15:04 -07:00", "2024-07-15 12:00 +09:00", "2024-07-15T03:00:00Z"),
            ("2006-01-02 15:04 MST", "2024-07-15 12:00 UTC", "2024-07-15T12:00:00Z"),
            ("2006-01-02 15:04 MST", "2024-07-15 12:00 EDT", "2024-07-15T16:00:00Z"),
            // The abbreviation of the other half of the year is still valid for that place.
            ("2006-01-02 15:04 MST", "2024-07-15 12:00 EST", "2024-07-15T17:00:00Z"),
            ("2006-01-02 15:04 MST", "2024-07-15 12:00 CEST", "2024-07-15T12:00:00Z"),
        ] {
            assert_eq!(read(layout, text, new_york).as_deref(), Some(want), "{text:?} by {layout:?}");
        }
    }

    #[test]
    fn a_layout_without_a_year_takes_the_nearest() {
        let layout = Layout::compile("Jan _2 15:04:05");
        let at = |text: &str| Layout::compile(RFC3339).parse(text, &Zones::utc()).expect(text).seconds;
        for (text, now, want) in [
            ("Jun  7 08:09:10", "2026-03-01T00:00:00Z", "2026-06-07T08:09:10Z"),
            ("Dec 31 23:59:59", "2026-01-01T00:00:05Z", "2025-12-31T23:59:59Z"),
            ("Jan  1 00:00:01", "2025-12-31T23:59:58Z", "2026-01-01T00:00:01Z"),
            ("Dec 31 23:59:59", "2026-02-01T00:00:00Z", "2026-12-31T23:59:59Z"),
            ("Feb 29 12:00:00", "2024-03-01T00:00:00Z", "2024-02-29T12:00:00Z"),
            // The year of the layout is a leap year, this one is not.
            ("Feb 29 12:00:00", "2026-03-01T00:00:00Z", "2026-03-01T12:00:00Z"),
        ] {
            let stamp = layout.parse_near(text, &Zones::utc(), at(now)).expect(text);
            assert_eq!(Layout::compile(RFC3339).format(&stamp, &Zone::Utc), want, "{text} at {now}");
        }
        assert_eq!(layout.parse_near("Jun 31 00:00:00", &Zones::utc(), 0), None);
    }

    #[test]
    fn a_layout_with_a_time_of_day_only_is_the_first_of_january() {
        let stamp = Layout::compile("15:04").parse_near("10:20", &Zones::utc(), 1_772_323_200).expect("fits");
        assert_eq!(Layout::compile(RFC3339).format(&stamp, &Zone::Utc), "2026-01-01T10:20:00Z");
    }

    #[test]
    fn formatting() {
        let stamp = Stamp::from_unix_nanos(1_720_096_245_060_000_000, Zone::Utc);
        let berlin = Zone::Place(place("Europe/Berlin"));
        let kolkata = Zone::Place(place("Asia/Kolkata"));
        let fixed = Zone::Fixed("".into(), -12_600);
        for (layout, zone, want) in [
            ("Monday, 02-Jan-06 15:04:05 MST", &berlin, "Thursday, 04-Jul-24 14:30:45 CEST"),
            ("Mon January _2 3:4:5pm", &Zone::Utc, "Thu July  4 12:30:45pm"),
            ("03PM 002 __2 1", &Zone::Utc, "12PM 186 186 7"),
            ("05.000 05,999999 05.9 05.00", &Zone::Utc, "45.060 45,06 45 45.06"),
            (RFC3339_NANO, &Zone::Utc, "2024-07-04T12:30:45.06Z"),
            (RFC3339_NANO, &kolkata, "2024-07-04T18:00:45.06+05:30"),
            ("-0700 -07:00 -07 -07:00:00 -070000 Z0700", &fixed, "-0330 -03:30 -03 -03:30:00 -033000 -0330"),
            ("MST", &fixed, "-0330"),
            ("Z07 Z070000 -0700", &Zone::Utc, "Z Z +0000"),
            ("Janet Monet literal", &Zone::Utc, "Janet Monet literal"),
            ("%Y", &Zone::Utc, "%Y"),
        ] {
            assert_eq!(Layout::compile(layout).format(&stamp, zone), want, "{layout}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_and_no_layout_makes_it_panic(
            layout in "(2006|06|1|Jan|_2|002|15|03|4|05|PM|MST|-0700|Z07:00|[.,]0{1,12}|[.,]9{1,12}|Mon|[ :.,-]|é)*",
            text in "[0-9 :.,+TZaMé-]*",
            seconds in proptest::num::i64::ANY,
        ) {
            let (layout, zones) = (Layout::compile(&layout), Zones::same(Zone::Place(place("Europe/Berlin"))));
            let stamp = Stamp { seconds, nanos: 1, zone: Zone::Utc };
            let written = layout.format(&stamp, &zones.local);
            for text in [&text, &written] {
                if let Some(stamp) = layout.parse(text, &zones) {
                    layout.format(&stamp, &stamp.zone);
                }
                layout.parse_near(text, &zones, seconds);
            }
        }
    }
}
