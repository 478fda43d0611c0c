//! `timestamp`: sets the entry's time from an extracted value.
//!
//! ```yaml
//! - timestamp:
//!     source: time                        # required; the extracted value
//!     format: RFC3339                     # required; a name from the list below, or a layout
//!     fallback_formats: [UnixMs]          # tried in this order if `format` does not match
//!     location: Europe/Berlin             # time zone for a layout if the text has none; default UTC
//!     action_on_failure: fudge            # default; or skip
//! ```
//!
//! The names are `ANSIC`, `UnixDate`, `RubyDate`, `RFC822`, `RFC822Z`, `RFC850`, `RFC1123`, `RFC1123Z`, `RFC3339`,
//! `RFC3339Nano` and, for numbers, `Unix` (seconds, optionally with a fraction), `UnixMs`, `UnixUs` and `UnixNs`. Any
//! other text is a Go layout: the reference time `Mon Jan 2 15:04:05 MST 2006` in the format of the log. If a layout
//! has no year, the current year is used; around New Year, the nearest one. The time zone database is built in.
//!
//! If the value is missing or no format matches, `fudge` sets the time to the last time of the same labels plus one
//! nanosecond, which keeps the order. The first line of its labels keeps the time it had. `skip` always keeps the time.
//!
//! Unlike Promtail: a time before 1678 or after 2261, which Loki cannot store, counts as not matching.

use std::borrow::Cow;
use std::sync::Arc;

use prometheus::IntCounter;

use super::fudge::Fudge;
use super::golayout::{Layout, Place, Zone, Zones};
use super::options::Options;
use super::reads::Reads;
use super::{ConfigError, Flow, Recipe, Stage, Work};
use crate::model::gonumber::parse_int;
use crate::model::{Rfc3339, rfc3339};

pub(super) fn compile(options: &mut Options<'_>) -> Result<Recipe, ConfigError> {
    let (source, format) = (options.required("source"), options.required("format"));
    let fallback = match options.field("fallback_formats")? {
        Some(field) => options.keep(field.list()).unwrap_or_default(),
        None => Vec::new(),
    };
    let zones = match options.field("location")? {
        None => Zones::utc_by_default(),
        Some(field) => {
            let zones = field.text().and_then(|text| zones(text).map_err(|message| field.fail(message)));
            options.keep(zones).unwrap_or_else(Zones::utc_by_default)
        }
    };
    let fudge = match options.field("action_on_failure")? {
        None => true,
        Some(field) => match field.text()? {
            "fudge" | "" => true,
            "skip" => false,
            other => return Err(field.fail(format!("unknown action `{other}`: use fudge or skip"))),
        },
    };
    let source: Arc<str> = source?.into();
    options.reads(Reads::these([&*source]));
    let layouts: Vec<String> = std::iter::once(format?).chain(fallback).map(String::from).collect();
    let formats: Arc<[Format]> = layouts.iter().map(|layout| Format::of(layout)).collect();
    let layouts: Arc<[String]> = layouts.into();
    Ok(Box::new(move |around| {
        Box::new(Timestamp {
            source: source.clone(),
            formats: formats.clone(),
            layouts: layouts.clone(),
            unparsed: around.custom.as_ref().map(|custom| custom.unparsed_times.clone()),
            zones: zones.clone(),
            fudge: fudge.then(Fudge::default),
            rfc3339: Rfc3339::default(),
        })
    }))
}

fn zones(name: &str) -> Result<Zones, String> {
    match name {
        "" | "UTC" => Ok(Zones::utc()),
        "Local" => Ok(Zones::same(Zone::local())),
        name => match Place::named(name) {
            Some(place) => Ok(Zones::same(Zone::Place(place))),
            None => Err(format!("unknown time zone `{name}`: use a name of the IANA database, such as Europe/Berlin")),
        },
    }
}

#[derive(Debug)]
struct Timestamp {
    source: Arc<str>,
    formats: Arc<[Format]>,
    /// The formats as they were written.
    layouts: Arc<[String]>,
    /// Counts lines without a time that can be parsed. None: another pipeline counts the same lines.
    unparsed: Option<IntCounter>,
    zones: Zones,
    fudge: Option<Fudge>,
    rfc3339: Rfc3339,
}

impl Stage for Timestamp {
    fn process(&mut self, work: &mut Work<'_>, _: &mut Vec<Work<'static>>) -> Flow {
        let text = work.extracted.text(&self.source);
        let rfc3339 = &mut self.rfc3339;
        let mut parse = |format: &Format, text: &str| match format {
            Format::Rfc3339 => rfc3339.parse(text),
            format => format.parse(text, &self.zones, work.read),
        };
        let parsed = text.as_deref().and_then(|text| self.formats.iter().find_map(|format| parse(format, text)));
        if parsed.is_none() {
            if let Some(unparsed) = &self.unparsed {
                unparsed.inc();
            }
            // Copied only if somebody asks.
            let text = text.filter(|_| work.is_asked_why()).map(Cow::into_owned);
            work.fails(|| match text {
                None => format!("there is no extracted value {}", self.source),
                Some(text) => format!("{text:?} does not have the format {}", self.layouts.join(" or ")),
            });
        }
        let entry = &mut work.entry;
        entry.timestamp = match &mut self.fudge {
            Some(fudge) => fudge.settle(&entry.labels, parsed, entry.timestamp),
            None => parsed.unwrap_or(entry.timestamp),
        };
        Flow::Pass
    }
}

#[derive(Debug)]
enum Format {
    /// With or without a fraction.
    Rfc3339,
    Unix,
    /// Whole units of this many nanoseconds.
    Units(i64),
    /// A named layout, to which `location` does not apply.
    Named(Layout, Zones),
    Layout(Layout),
    WithoutYear(Layout),
}

impl Format {
    fn of(text: &str) -> Self {
        match text {
            "RFC3339" | "RFC3339Nano" => Format::Rfc3339,
            "Unix" => Format::Unix,
            "UnixMs" => Format::Units(1_000_000),
            "UnixUs" => Format::Units(1_000),
            "UnixNs" => Format::Units(1),
            name => match Layout::named(name) {
                Some(layout) => Format::Named(layout, Zones::utc_by_default()),
                // Every form of the year in a layout contains these two digits.
                None if name.contains("06") => Format::Layout(Layout::compile(name)),
                None => Format::WithoutYear(Layout::compile(name)),
            },
        }
    }

    /// `read` is the read time of the line.
    fn parse(&self, text: &str, zones: &Zones, read: i64) -> Option<i64> {
        match self {
            Format::Rfc3339 => rfc3339(text),
            Format::Unix => unix(text),
            Format::Units(nanos) => parse_int(text, 10).ok()?.checked_mul(*nanos),
            Format::Named(layout, zones) => layout.parse(text, zones)?.unix_nanos(),
            Format::Layout(layout) => layout.parse(text, zones)?.unix_nanos(),
            Format::WithoutYear(layout) => layout.parse_near(text, zones, read.div_euclid(1_000_000_000))?.unix_nanos(),
        }
    }
}

/// Parses `1700000000` or `1700000000.25`. The fraction always counts forwards, even before 1970.
///
/// The fraction is parsed as a separate number with an optional sign, and the sign counts as a digit: `123.-5` is 50
/// milliseconds before 123.
fn unix(text: &str) -> Option<i64> {
    let (seconds, nanos) = match text.split_once('.') {
        None => (text, 0),
        Some((seconds, fraction)) => {
            let digits = i32::try_from(fraction.len()).ok()?;
            let part = parse_int(fraction, 10).ok()? as f64 * 10_f64.powi(9_i32.checked_sub(digits)?);
            (seconds, part as i64)
        }
    };
    parse_int(seconds, 10).ok()?.checked_mul(1_000_000_000)?.checked_add(nanos)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Bench, Seen, check, refused};

    const T: i64 = 1_700_000_000_000_000_000;

    fn seen(timestamp: i64, line: &str) -> Seen {
        Seen { timestamp, labels: "{app=\"x\"}".into(), line: line.into() }
    }

    /// The time of a line that consists only of the time. None if the time is not set.
    fn time(options: &str, line: &str) -> Option<i64> {
        let yaml = format!(
            "[{{regex: {{expression: '^(?P<t>.*)$'}}}}, {{timestamp: {{source: t, action_on_failure: skip, {options}}}}}]"
        );
        let mut time = Seen::READ;
        let mut bench = Bench::of(&yaml);
        bench.run(line, &mut |entry| time = entry.timestamp);
        bench.end(&mut |_| {});
        Some(time).filter(|t| *t != Seen::READ)
    }

    #[test]
    fn what_is_refused() {
        refused(&[
            ("timestamp: {format: Unix}", "[0].timestamp", "`source` is required"),
            ("timestamp: {source: t}", "[0].timestamp", "`format` is required"),
            ("timestamp: {source: t, format: 2006}", "[0].timestamp.format", "expected a string"),
            ("timestamp: {source: t, format: Unix, location: Mars/Olympus}", "[0].timestamp.location", "Mars/Olympus"),
            (
                "timestamp: {source: t, format: Unix, action_on_failure: drop}",
                "[0].timestamp.action_on_failure",
                "drop",
            ),
            ("timestamp: {source: t, format: Unix, fallback_formats: x}", "[0].timestamp.fallback_formats", "a list"),
        ]);
    }

    #[test]
    fn numbers() {
        for (format, text, want) in [
            ("Unix", "1700000000", Some(T)),
            ("Unix", "1700000000.5", Some(T + 500_000_000)),
            ("Unix", "1700000000.000000001", Some(T + 1)),
            ("Unix", "1700000000.0000000019", Some(T + 1)),
            ("Unix", "-1.5", Some(-500_000_000)),
            ("Unix", "1700000000.", None),
            ("Unix", "123.-5", Some(122_950_000_000)),
            ("Unix", "123.+5", Some(123_050_000_000)),
            ("Unix", "-1.-5", Some(-1_050_000_000)),
            ("Unix", "0.-5", Some(-50_000_000)),
            ("Unix", "-0.5", Some(500_000_000)),
            ("Unix", "1.-", None),
            ("Unix", "1.+", None),
            ("Unix", "1.1-2", None),
            ("Unix", "1.0_1", None),
            ("Unix", "1_000", None),
            ("Unix", "0x10", None),
            ("Unix", "--5", None),
            ("Unix", "+5.5", Some(5_500_000_000)),
            ("Unix", "1700000000.12345678901234567890", None),
            ("Unix", "1700000000.123456789012345678", Some(T + 123_456_789)),
            ("Unix", "1700000000.-999999999999", Some(T - 99_999_999)),
            ("Unix", "1700000000.-0", Some(T)),
            ("Unix", "inf", None),
            ("UnixMs", "-5", Some(-5_000_000)),
            ("UnixMs", "+5", Some(5_000_000)),
            ("UnixMs", "1.-5", None),
            ("UnixMs", "1_000", None),
            ("UnixUs", "0x10", None),
            ("UnixNs", "1e3", None),
            ("Unix", "1.2.3", None),
            ("Unix", ".5", None),
            ("Unix", "1.7e9", None),
            ("Unix", " 1700000000", None),
            ("Unix", "99999999999", None),
            ("UnixMs", "1700000000000", Some(T)),
            ("UnixMs", "1700000000000.5", None),
            ("UnixMs", "1700000000000000000", None),
            ("UnixUs", "1700000000000001", Some(T + 1_000)),
            ("UnixNs", "1700000000000000001", Some(T + 1)),
            ("UnixNs", "-1", Some(-1)),
            ("UnixNs", "", None),
            // Names are case-sensitive.
            ("unix", "1700000000", None),
        ] {
            assert_eq!(time(&format!("format: {format}"), text), want, "{format} {text:?}");
        }
    }

    #[test]
    fn names_and_layouts() {
        for (format, text) in [
            ("ANSIC", "Tue Nov 14 22:13:20 2023"),
            ("UnixDate", "Tue Nov 14 22:13:20 UTC 2023"),
            ("RubyDate", "Tue Nov 14 23:13:20 +0100 2023"),
            ("RFC850", "Tuesday, 14-Nov-23 22:13:20 UTC"),
            ("RFC1123", "Tue, 14 Nov 2023 22:13:20 GMT"),
            ("RFC1123Z", "Tue, 14 Nov 2023 23:13:20 +0100"),
            ("RFC3339", "2023-11-14T22:13:20.000Z"),
            ("RFC3339Nano", "2023-11-14T23:13:20+01:00"),
            ("'2006-01-02 15:04:05,000'", "2023-11-14 22:13:20,000"),
            ("'2006-01-02 15:04:05', location: Europe/Berlin", "2023-11-14 23:13:20"),
            ("'2006-01-02 15:04:05', location: UTC", "2023-11-14 22:13:20"),
            ("'2006-01-02 15:04:05Z07:00', location: Europe/Berlin", "2023-11-14 22:13:20Z"),
            ("ANSIC, location: Europe/Berlin", "Tue Nov 14 22:13:20 2023"),
            ("RFC3339, fallback_formats: [Unix, ANSIC]", "Tue Nov 14 22:13:20 2023"),
        ] {
            assert_eq!(time(&format!("format: {format}"), text), Some(T), "{format} {text:?}");
        }
        let minute = T - 20_000_000_000;
        assert_eq!(time("format: RFC822", "14 Nov 23 22:13 UTC"), Some(minute));
        assert_eq!(time("format: RFC822Z", "14 Nov 23 23:13 +0100"), Some(minute));
        // In these tests lines are read in 1970.
        assert_eq!(time("format: 'Jan _2 15:04:05'", "Jan  2 00:00:01"), Some(86_401_000_000_000));
        assert_eq!(time("format: 'Jan _2 15:04:05'", "Dec 31 23:59:59"), Some(-1_000_000_000));
        for (format, text) in [
            ("RFC3339", "0001-01-01T00:00:00Z"),
            ("RFC3339", "2023-11-14 22:13:20Z"),
            ("'%Y-%m-%d'", "2023-11-14"),
            ("rfc3339", "2023-11-14T22:13:20Z"),
        ] {
            assert_eq!(time(&format!("format: {format}"), text), None, "{format} {text:?}");
        }
    }

    #[test]
    fn a_time_that_does_not_fit_follows_the_last_of_its_labels() {
        let lines = ["x", "1700000000", "x", "", "1600000000", "x"].map(String::from);
        let stages = |end: &str| {
            let yaml =
                format!("[{{regex: {{expression: '^(?P<t>.+)$'}}}}, {{timestamp: {{source: t, format: Unix{end}}}}}]");
            let mut bench = Bench::of(&yaml);
            let mut times = Vec::new();
            for line in &lines {
                bench.run(line, &mut |entry| times.push(entry.timestamp));
            }
            bench.end(&mut |_| {});
            times
        };
        let earlier = T - 100_000_000_000_000_000;
        assert_eq!(stages(""), [Seen::READ, T, T + 1, T + 2, earlier, earlier + 1]);
        assert_eq!(stages(", action_on_failure: skip"), [Seen::READ, T, Seen::READ, Seen::READ, earlier, Seen::READ]);
    }

    #[test]
    fn a_label_is_a_source_too_and_a_missing_one_changes_nothing() {
        check("timestamp: {source: app, format: Unix}", &["a".into()], &[seen(Seen::READ, "a")]);
        check("timestamp: {source: nope, format: Unix}", &["a".into()], &[seen(Seen::READ, "a")]);
    }
}
