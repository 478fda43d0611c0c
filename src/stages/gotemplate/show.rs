//! Printing, types and emptiness of values as in Go.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use gotmpl::Value;

use super::moment;
use super::version::Version;

/// Formats a value as `%v` does.
pub(super) fn show(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => Cow::Borrowed(text),
        value => {
            let mut out = String::new();
            write(&mut out, value);
            Cow::Owned(out)
        }
    }
}

fn write(out: &mut String, value: &Value) {
    match untyped(value) {
        Value::String(text) => out.push_str(text),
        Value::Float(n) => out.push_str(&float(*n)),
        Value::List(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                out.push_str(if i > 0 { " " } else { "" });
                write(out, item);
            }
            out.push(']');
        }
        Value::Map(fields) => match (moment::of(value), Version::of(value)) {
            (Some(stamp), _) => out.push_str(&moment::show(&stamp)),
            (None, Some(version)) => out.push_str(&version.to_string()),
            (None, None) => {
                out.push_str("map[");
                for (i, (name, field)) in fields.iter().enumerate() {
                    out.push_str(if i > 0 { " " } else { "" });
                    out.push_str(name);
                    out.push(':');
                    write(out, field);
                }
                out.push(']');
            }
        },
        // The engine prints these as Go does.
        value => out.push_str(&value.to_string()),
    }
}

/// As few digits as needed to distinguish the number. With an exponent from 1e+06, and below 0.0001.
pub(super) fn float(n: f64) -> String {
    if !n.is_finite() {
        return if n.is_nan() { "NaN".into() } else { format!("{n:+}").replace("inf", "Inf") };
    }
    let scientific = format!("{n:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse().unwrap_or(0) {
        -4..6 => n.to_string(),
        exponent => format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, i32::abs(exponent)),
    }
}

/// Go types that the engine does not have. Where the type matters, the value is wrapped with its type.
pub(super) const TYPES: [&str; 7] =
    ["int64", "[]string", "[]int", "[][]interface {}", "map[string]string", "time.Month", "time.Weekday"];

const TYPED: &str = "\u{0}typed";

/// Wraps the value with the type `of`, one of [`TYPES`].
pub(super) fn typed(of: &str, value: &Value) -> Value {
    let place = TYPES.iter().position(|known| *known == of).unwrap_or(0) as i64;
    let content = Value::List([Value::Int(place), value.clone()].into());
    Value::Map(Arc::new(BTreeMap::from([(TYPED.into(), content)])))
}

fn envelope(value: &Value) -> Option<(&'static str, &Value)> {
    match value {
        Value::Map(fields) => match fields.get(TYPED)? {
            Value::List(content) => match &**content {
                [Value::Int(place), value] => Some((TYPES.get(usize::try_from(*place).ok()?)?, value)),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

/// The value without its wrapper.
pub(super) fn untyped(value: &Value) -> &Value {
    envelope(value).map_or(value, |(_, value)| value)
}

/// The type as `%T` prints it.
pub(super) fn type_of(value: &Value) -> &'static str {
    if let Some((of, value)) = envelope(value) {
        // If the value does not fit the type, the analysis did not see how it was made.
        let fits = match value {
            Value::Int(_) => of == "int64",
            Value::List(_) => of.starts_with("[]"),
            Value::Map(_) => of.starts_with("map"),
            Value::String(name) => moment::number_of(of, name).is_some(),
            _ => false,
        };
        return if fits { of } else { type_of(value) };
    }
    match value {
        Value::Nil => "<nil>",
        Value::Bool(_) => "bool",
        Value::Int(_) => "int",
        Value::Uint(_) => "uint64",
        Value::Float(_) => "float64",
        Value::String(_) => "string",
        Value::List(_) => "[]interface {}",
        Value::Map(_) if moment::of(value).is_some() => "time.Time",
        Value::Map(_) if Version::of(value).is_some() => "*semver.Version",
        Value::Map(_) => "map[string]interface {}",
        Value::Function(_) => "func",
    }
}

pub(super) fn kind_of(value: &Value) -> &'static str {
    let of = type_of(value);
    match untyped(value) {
        Value::Nil => "invalid",
        // Months and weekdays.
        Value::String(_) if of != "string" => "int",
        Value::List(_) => "slice",
        Value::Map(_) if moment::of(value).is_some() => "struct",
        Value::Map(_) if Version::of(value).is_some() => "ptr",
        Value::Map(_) => "map",
        _ => of,
    }
}

pub(super) fn is_empty(value: &Value) -> bool {
    !untyped(value).is_truthy()
}

/// Deep equality.
pub(super) fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Nil, Value::Nil) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Int(a), Value::Int(b)) => a == b,
        (Value::Uint(a), Value::Uint(b)) => a == b,
        (Value::Float(a), Value::Float(b)) => a == b,
        (Value::String(a), Value::String(b)) => a == b,
        (Value::List(a), Value::List(b)) => a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| equal(a, b)),
        (Value::Map(a), Value::Map(b)) => {
            a.len() == b.len() && a.iter().zip(b.iter()).all(|((k, a), (l, b))| k == l && equal(a, b))
        }
        _ => false,
    }
}
