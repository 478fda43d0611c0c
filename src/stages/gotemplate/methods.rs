//! The methods of times and versions.

use gotmpl::Value;

use super::super::golayout::{Layout, Stamp, Zone};
use super::call::{Call, Outcome, expected, text, text_of};
use super::moment;
use super::show::type_of;
use super::version::Version;

/// The methods of a time.
pub(super) const OF_TIMES: [&str; 18] = [
    "Day",
    "Format",
    "Hour",
    "IsZero",
    "Local",
    "Minute",
    "Month",
    "Nanosecond",
    "Second",
    "String",
    "UTC",
    "Unix",
    "UnixMicro",
    "UnixMilli",
    "UnixNano",
    "Weekday",
    "Year",
    "YearDay",
];

/// The methods of a version that take another version.
pub(super) const OF_VERSIONS: [&str; 6] =
    ["Compare", "Equal", "GreaterThan", "GreaterThanEqual", "LessThan", "LessThanEqual"];

/// `·method NAME RECEIVER ARGS…`: a method of a time, or a field of a dictionary with the same name.
pub(super) fn method(call: &Call<'_>) -> Outcome {
    let (name, receiver) = (call.text(0)?, call.any(1));
    if let Some(version) = Version::of(receiver).filter(|_| OF_VERSIONS.contains(&name)) {
        return version_method(call, &version);
    }
    let Some(stamp) = moment::of(receiver) else {
        return match receiver {
            Value::Map(map) if call.args.len() == 2 => Ok(map.get(name).cloned().unwrap_or(Value::Nil)),
            Value::Nil => Ok(Value::Nil),
            other => Err(format!("can't evaluate field {name} in type {}", type_of(other))),
        };
    };
    let part = |layout: &str| Layout::compile(layout).format(&stamp, &stamp.zone);
    let number = |layout: &str| part(layout).trim().parse().map(Value::Int).map_err(|_| format!("{name} is no number"));
    let seconds = i128::from(stamp.seconds);
    let since = |unit: i128| Ok(Value::Int((seconds * unit + i128::from(stamp.nanos) * unit / 1_000_000_000) as i64));
    match name {
        "Format" => text(part(call.args.get(2).map_or(Err("Format needs a layout".into()), text_of)?)),
        _ if call.args.len() > 2 => Err(format!("{name} has no arguments")),
        "Unix" => since(1),
        "UnixMilli" => since(1_000),
        "UnixMicro" => since(1_000_000),
        "UnixNano" => since(1_000_000_000),
        "Year" => number("2006"),
        "Month" => text(part("January")),
        "Weekday" => text(part("Monday")),
        "Day" => number("2"),
        "YearDay" => number("__2"),
        "Hour" => number("15"),
        "Minute" => number("4"),
        "Second" => number("5"),
        "Nanosecond" => Ok(Value::Int(stamp.nanos.into())),
        "IsZero" => Ok(Value::Bool(moment::is_zero(&stamp))),
        "UTC" => Ok(moment::value(&Stamp { zone: Zone::Utc, ..stamp })),
        "Local" => Ok(moment::value(&Stamp { zone: call.world.local.clone(), ..stamp })),
        _ => text(moment::show(&stamp)),
    }
}

/// `·method NAME RECEIVER OTHER`
fn version_method(call: &Call<'_>, version: &Version) -> Outcome {
    let name = call.text(0)?;
    let other = match call.args.get(2) {
        Some(other) => Version::of(other).ok_or_else(|| expected("*semver.Version", other))?,
        None => return Err(format!("{name} needs a version")),
    };
    let order = version.cmp(&other);
    Ok(match name {
        "Compare" => Value::Int(order as i64),
        "Equal" => Value::Bool(order.is_eq()),
        "GreaterThan" => Value::Bool(order.is_gt()),
        "GreaterThanEqual" => Value::Bool(order.is_ge()),
        "LessThan" => Value::Bool(order.is_lt()),
        "LessThanEqual" => Value::Bool(order.is_le()),
        _ => return Err(format!("a version has no {name}")),
    })
}
