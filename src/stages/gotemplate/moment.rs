//! Times as template values. The engine has no times, so a time is a dictionary with a unique form.

use std::collections::BTreeMap;
use std::sync::Arc;

use gotmpl::Value;

use super::super::golayout::{Layout, RFC3339_NANO, Stamp, Zone};

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

/// January 1 of year 1: Go's zero time.
const ZERO_SECONDS: i64 = -62_135_596_800;

pub(super) fn zero() -> Stamp {
    Stamp { seconds: ZERO_SECONDS, nanos: 0, zone: Zone::Utc }
}

pub(super) fn is_zero(stamp: &Stamp) -> bool {
    stamp.seconds == ZERO_SECONDS && stamp.nanos == 0
}
