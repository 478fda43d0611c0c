//! Dates and durations.

use std::time::Duration;

use gotmpl::Value;

use super::super::super::golayout::{Layout, Place, Stamp, Zone, Zones};
use super::super::call::{Call, Outcome, expected, text};
use super::super::moment;
use super::super::show::{type_of, untyped};
use super::{Function, function};
use crate::model::gonumber::{parse_duration, parse_int};
use crate::model::units::GoDuration;

pub(super) const FUNCTIONS: &[Function] = &[
    function("now", 0, |c| Ok(moment::value(&now(c)))),
    function("date", 2, |c| format(c, c.text(0)?, 1, "Local")),
    function("dateInZone", 3, |c| format(c, c.text(0)?, 1, c.text(2)?)),
    function("date_in_zone", 3, |c| format(c, c.text(0)?, 1, c.text(2)?)),
    function("htmlDate", 1, |c| format(c, "2006-01-02", 0, "Local")),
    function("htmlDateInZone", 2, |c| format(c, "2006-01-02", 0, c.text(1)?)),
    function("toDate", 2, |c| Ok(moment::value(&parse(c)?.unwrap_or_else(moment::zero)))),
    function("mustToDate", 2, |c| Ok(moment::value(&parse(c)?.ok_or("the text is no such date")?))),
    function("dateModify", 2, |c| Ok(modified(c)?.unwrap_or_else(|| c.any(1).clone()))),
    function("date_modify", 2, |c| Ok(modified(c)?.unwrap_or_else(|| c.any(1).clone()))),
    function("mustDateModify", 2, |c| modified(c)?.ok_or("the text is no duration".into())),
    function("must_date_modify", 2, |c| modified(c)?.ok_or("the text is no duration".into())),
    function("unixEpoch", 1, |c| text(time(c, 0)?.seconds.to_string())),
    function("ago", 1, ago),
    function("duration", 1, duration),
    function("durationRound", 1, round),
];

/// Functions that may use the clock.
pub(super) const OF_NOW: &[&str] =
    &["now", "date", "dateInZone", "date_in_zone", "htmlDate", "htmlDateInZone", "ago", "durationRound"];

fn now(call: &Call<'_>) -> Stamp {
    Stamp::from_unix_nanos(call.world.now(), call.world.local.clone())
}

fn time(call: &Call<'_>, at: usize) -> Result<Stamp, String> {
    moment::of(call.any(at)).ok_or_else(|| expected("time.Time", call.any(at)))
}

/// A time, or seconds since the Unix epoch. Any other value means now.
fn time_or_now(call: &Call<'_>, at: usize) -> Stamp {
    match call.any(at) {
        Value::Int(seconds) => Stamp { seconds: *seconds, nanos: 0, zone: call.world.local.clone() },
        value => moment::of(value).unwrap_or_else(|| now(call)),
    }
}

/// Formats a time. An unknown zone means UTC.
fn format(call: &Call<'_>, layout: &str, at: usize, zone: &str) -> Outcome {
    let zone = match zone {
        "" | "UTC" => Zone::Utc,
        "Local" => call.world.local.clone(),
        name => Place::named(name).map_or(Zone::Utc, Zone::Place),
    };
    text(Layout::compile(layout).format(&time_or_now(call, at), &zone))
}

fn parse(call: &Call<'_>) -> Result<Option<Stamp>, String> {
    let zones = Zones::same(call.world.local.clone());
    Ok(Layout::compile(call.text(0)?).parse(call.text(1)?, &zones))
}

fn modified(call: &Call<'_>) -> Result<Option<Value>, String> {
    let stamp = time(call, 1)?;
    let Some(nanos) = nanos_of(call.text(0)?) else {
        return Ok(None);
    };
    let nanos = i128::from(stamp.nanos) + nanos;
    let seconds = stamp.seconds.saturating_add(nanos.div_euclid(NANOS) as i64);
    Ok(Some(moment::value(&Stamp { seconds, nanos: nanos.rem_euclid(NANOS) as u32, zone: stamp.zone })))
}

fn ago(call: &Call<'_>) -> Outcome {
    let nanos = between(&time_or_now(call, 0), &now(call));
    let half = if nanos < 0 { -NANOS / 2 } else { NANOS / 2 };
    text(show((nanos + half) / NANOS * NANOS))
}

fn duration(call: &Call<'_>) -> Outcome {
    // Only an `int64` counts. 95 in a template is an `int`.
    let seconds = match (call.any(0), untyped(call.any(0))) {
        (Value::String(text), _) => parse_int(text, 10).unwrap_or_else(|e| e.value(0)),
        (of, Value::Int(seconds)) if type_of(of) == "int64" => *seconds,
        _ => 0,
    };
    text(show(seconds.wrapping_mul(NANOS as i64).into()))
}

/// Rounds to the largest unit of which the duration has at least one.
fn round(call: &Call<'_>) -> Outcome {
    let nanos = match (call.any(0), untyped(call.any(0))) {
        (Value::String(text), _) => nanos_of(text).unwrap_or(0),
        (of, Value::Int(nanos)) if type_of(of) == "int64" => i128::from(*nanos),
        (_, value) => moment::of(value).map_or(0, |stamp| between(&stamp, &now(call))),
    };
    let units = [("y", 365 * 86_400), ("mo", 30 * 86_400), ("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
    let fits = units.iter().find(|(_, seconds)| nanos.abs() > seconds * NANOS);
    text(fits.map_or("0s".to_string(), |(unit, seconds)| format!("{}{unit}", nanos.abs() / (seconds * NANOS))))
}

const NANOS: i128 = 1_000_000_000;

fn between(earlier: &Stamp, later: &Stamp) -> i128 {
    let nanos = |stamp: &Stamp| i128::from(stamp.seconds) * NANOS + i128::from(stamp.nanos);
    nanos(later) - nanos(earlier)
}

/// Parses a Go duration, which may be negative. Returns nanoseconds.
fn nanos_of(text: &str) -> Option<i128> {
    parse_duration(text).map(i128::from).ok()
}

fn show(nanos: i128) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let duration = Duration::from_nanos(u64::try_from(nanos.unsigned_abs()).unwrap_or(u64::MAX));
    format!("{sign}{}", GoDuration(duration))
}
