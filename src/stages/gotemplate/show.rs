//! Values as Go shows them, names their types, and calls them empty.

use std::borrow::Cow;

use gotmpl::Value;

use super::moment;
use super::version::Version;

/// As `%v` prints it.
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
    match value {
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

/// As few digits as tell it from other numbers; an exponent from 1e+06 upwards, and below 0.0001.
fn float(n: f64) -> String {
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

/// As `%T` prints it.
pub(super) fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Nil => "<nil>",
        Value::Bool(_) => "bool",
        Value::Int(_) => "int",
        Value::Uint(_) => "uint",
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
    match value {
        Value::Nil => "invalid",
        Value::List(_) => "slice",
        Value::Map(_) if moment::of(value).is_some() => "struct",
        Value::Map(_) if Version::of(value).is_some() => "ptr",
        Value::Map(_) => "map",
        other => type_of(other),
    }
}

pub(super) fn is_empty(value: &Value) -> bool {
    !value.is_truthy()
}

/// Whether both are the same through and through.
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
