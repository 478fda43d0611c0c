//! Times as template values. The engine has no times, so a time is a dictionary with a unique form.

use std::collections::BTreeMap;
use std::sync::Arc;

use gotmpl::Value;

use super::super::golayout::{Layout, RFC3339_NANO, Stamp, Zone};
use super::call::{Call, Outcome, text};
use super::version::{self, Version};

/// The methods of a time.
pub(super) const METHODS: [&str; 18] = [
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

const KEY: &str = "\u{0}time";

pub(super) fn value(stamp: &Stamp) -> Value {
    let (kind, name, offset) = match &stamp.zone {
        Zone::Utc => (0, "", 0),
        Zone::Place(_) => (1, "", 0),
        Zone::Fixed(name, offset) => (2, &**name, *offset),
    };
    let fields = [
        Value::Int(stamp.seconds),
        Value::Int(stamp.nanos.into()),
        Value::Int(kind),
        Value::String(name.into()),
        Value::Int(offset.into()),
    ];
    Value::Map(Arc::new(BTreeMap::from([(KEY.into(), Value::List(fields.into()))])))
}

pub(super) fn of(value: &Value) -> Option<Stamp> {
    let Value::Map(map) = value else {
        return None;
    };
    let Some(Value::List(fields)) = map.get(KEY) else {
        return None;
    };
    let [Value::Int(seconds), Value::Int(nanos), Value::Int(kind), Value::String(name), Value::Int(offset)] = &**fields
    else {
        return None;
    };
    let zone = match kind {
        0 => Zone::Utc,
        1 => Zone::local(),
        _ => Zone::Fixed(name.clone(), *offset as i32),
    };
    Some(Stamp { seconds: *seconds, nanos: *nanos as u32, zone })
}

/// The Go type of a method's result, if the engine does not have it.
pub(super) fn type_of_method(name: &str) -> Option<&'static str> {
    Some(match name {
        "Unix" | "UnixMicro" | "UnixMilli" | "UnixNano" => "int64",
        "Month" => "time.Month",
        "Weekday" => "time.Weekday",
        _ => return None,
    })
}

/// The number of a month or weekday in Go, by its type and name.
pub(super) fn number_of(of: &str, name: &str) -> Option<u64> {
    let names = match of {
        "time.Month" => "none January February March April May June July August September October November December",
        "time.Weekday" => "Sunday Monday Tuesday Wednesday Thursday Friday Saturday",
        _ => return None,
    };
    names.split(' ').zip(0..).find(|(known, _)| *known == name && name != "none").map(|(_, number)| number)
}

/// Formats a time as Go prints it.
pub(super) fn show(stamp: &Stamp) -> String {
    Layout::compile("2006-01-02 15:04:05.999999999 -0700 MST").format(stamp, &stamp.zone)
}

/// Formats a time as `%#v` does.
pub(super) fn go_source(stamp: &Stamp) -> String {
    let zone = match &stamp.zone {
        Zone::Utc => "time.UTC".to_string(),
        Zone::Place(_) => "time.Local".to_string(),
        Zone::Fixed(name, _) => format!("time.Location({name:?})"),
    };
    let date = Layout::compile("2006, time.January, 2, 15, 4, 5").format(stamp, &stamp.zone);
    format!("time.Date({}, {}, {zone})", date.replace(", 0", ", ").replace(", ,", ", 0,"), stamp.nanos)
}

/// Formats a time as Go does in JSON.
pub(super) fn json(stamp: &Stamp) -> String {
    Layout::compile(RFC3339_NANO).format(stamp, &stamp.zone)
}

/// `·method NAME RECEIVER ARGS…`: a method of a time, or a field of a dictionary with the same name.
pub(super) fn method(call: &Call<'_>) -> Outcome {
    let (name, receiver) = (call.text(0)?, call.any(1));
    if let Some(version) = Version::of(receiver).filter(|_| version::METHODS.contains(&name)) {
        return version::method(call, &version);
    }
    let Some(stamp) = of(receiver) else {
        return match receiver {
            Value::Map(map) if call.args.len() == 2 => Ok(map.get(name).cloned().unwrap_or(Value::Nil)),
            Value::Nil => Ok(Value::Nil),
            other => Err(format!("can't evaluate field {name} in type {}", super::show::type_of(other))),
        };
    };
    let part = |layout: &str| Layout::compile(layout).format(&stamp, &stamp.zone);
    let number = |layout: &str| part(layout).trim().parse().map(Value::Int).map_err(|_| format!("{name} is no number"));
    let seconds = i128::from(stamp.seconds);
    let since = |unit: i128| Ok(Value::Int((seconds * unit + i128::from(stamp.nanos) * unit / 1_000_000_000) as i64));
    match name {
        "Format" => text(part(call.args.get(2).map_or(Err("Format needs a layout".into()), super::call::text_of)?)),
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
        "IsZero" => Ok(Value::Bool(stamp.seconds == ZERO_SECONDS && stamp.nanos == 0)),
        "UTC" => Ok(value(&Stamp { zone: Zone::Utc, ..stamp })),
        "Local" => Ok(value(&Stamp { zone: call.world.local.clone(), ..stamp })),
        _ => text(show(&stamp)),
    }
}

/// January 1 of year 1: Go's zero time.
const ZERO_SECONDS: i64 = -62_135_596_800;

pub(super) fn zero() -> Stamp {
    Stamp { seconds: ZERO_SECONDS, nanos: 0, zone: Zone::Utc }
}
