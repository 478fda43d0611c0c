//! Numbers. Arguments are read generously: a text that is no number is 0.

use gotmpl::Value;

use super::super::call::{Call, MAX_LIST, Outcome, list, text};
use super::super::show::show;
use super::decimal::Decimal;
use super::{Function, function, variadic};

pub(super) const FUNCTIONS: &[Function] = &[
    function("atoi", 1, |c| Ok(Value::Int(c.text(0)?.parse().unwrap_or(0)))),
    function("int", 1, |c| Ok(Value::Int(int_of(c.any(0))))),
    function("int64", 1, |c| Ok(Value::Int(int_of(c.any(0))))),
    function("float64", 1, |c| Ok(Value::Float(float_of(c.any(0))))),
    function("toDecimal", 1, |c| Ok(Value::Int(i64::from_str_radix(&show(c.any(0)), 8).unwrap_or(0)))),
    function("add1", 1, |c| Ok(Value::Int(int_of(c.any(0)).wrapping_add(1)))),
    variadic("add", 0, |c| Ok(Value::Int(c.rest(0).iter().map(int_of).fold(0, i64::wrapping_add)))),
    function("sub", 2, |c| Ok(Value::Int(int_of(c.any(0)).wrapping_sub(int_of(c.any(1)))))),
    variadic("mul", 1, |c| Ok(Value::Int(c.rest(0).iter().map(int_of).fold(1, i64::wrapping_mul)))),
    function("div", 2, |c| divide(c, i64::wrapping_div)),
    function("mod", 2, |c| divide(c, i64::wrapping_rem)),
    variadic("max", 1, |c| Ok(Value::Int(c.rest(0).iter().map(int_of).max().unwrap_or(0)))),
    variadic("biggest", 1, |c| Ok(Value::Int(c.rest(0).iter().map(int_of).max().unwrap_or(0)))),
    variadic("min", 1, |c| Ok(Value::Int(c.rest(0).iter().map(int_of).min().unwrap_or(0)))),
    variadic("maxf", 1, |c| Ok(Value::Float(c.rest(0).iter().map(float_of).fold(f64::NEG_INFINITY, greater)))),
    variadic("minf", 1, |c| Ok(Value::Float(-c.rest(0).iter().map(|v| -float_of(v)).fold(f64::NEG_INFINITY, greater)))),
    function("floor", 1, |c| Ok(Value::Float(float_of(c.any(0)).floor()))),
    function("ceil", 1, |c| Ok(Value::Float(float_of(c.any(0)).ceil()))),
    variadic("round", 2, round),
    function("add1f", 1, |c| decimals(float_of(c.any(0)), &[Value::Int(1)], Decimal::add)),
    variadic("addf", 0, |c| decimals(0.0, c.rest(0), Decimal::add)),
    variadic("subf", 1, |c| decimals(float_of(c.any(0)), c.rest(1), Decimal::sub)),
    variadic("mulf", 1, |c| decimals(float_of(c.any(0)), c.rest(1), Decimal::mul)),
    variadic("divf", 1, |c| decimals(float_of(c.any(0)), c.rest(1), Decimal::div)),
    function("until", 1, |c| until(c.int(0)?)),
    function("untilStep", 3, |c| ints(steps(c.int(0)?, c.int(1)?, c.int(2)?)?)),
    variadic("seq", 0, seq),
];

pub(super) fn int_of(value: &Value) -> i64 {
    match value {
        Value::Int(n) => *n,
        Value::Uint(n) => *n as i64,
        Value::Float(n) => *n as i64,
        Value::Bool(b) => i64::from(*b),
        Value::String(text) => parse_int(text).unwrap_or(0),
        _ => 0,
    }
}

pub(super) fn float_of(value: &Value) -> f64 {
    match value {
        Value::Int(n) => *n as f64,
        Value::Uint(n) => *n as f64,
        Value::Float(n) => *n,
        Value::Bool(b) => f64::from(*b),
        Value::String(text) => text.parse().unwrap_or(0.0),
        _ => 0.0,
    }
}

/// As Go reads a literal: `0x1f`, `0b1`, `017`, `1_000`; also `12.0`, but not `12.5`.
fn parse_int(text: &str) -> Option<i64> {
    let whole = match text.split_once('.') {
        Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|b| b == b'0') => whole,
        Some(_) => return None,
        None => text,
    };
    let (sign, digits) = match whole.strip_prefix(['+', '-']) {
        Some(digits) => (&whole[..1], digits),
        None => ("", whole),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = if let Some(hex) = lower.strip_prefix("0x") {
        (16, hex)
    } else if let Some(binary) = lower.strip_prefix("0b") {
        (2, binary)
    } else if let Some(octal) = lower.strip_prefix("0o") {
        (8, octal)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, &lower[1..])
    } else {
        (10, &*lower)
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    i64::from_str_radix(&format!("{sign}{}", digits.replace('_', "")), radix).ok()
}

fn divide(call: &Call<'_>, by: fn(i64, i64) -> i64) -> Outcome {
    match int_of(call.any(1)) {
        0 => Err("division by zero".into()),
        divisor => Ok(Value::Int(by(int_of(call.any(0)), divisor))),
    }
}

fn greater(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

fn round(call: &Call<'_>) -> Outcome {
    let (value, places) = (float_of(call.any(0)), call.int(1)?);
    let up_from = if call.args.len() > 2 { call.float(2)? } else { 0.5 };
    let power = 10_f64.powf(places as f64);
    let digit = power * value;
    let rounded = if digit.fract() >= up_from { digit.ceil() } else { digit.floor() };
    Ok(Value::Float(rounded / power))
}

/// Exactly, as long as the digits last.
fn decimals(first: f64, rest: &[Value], with: fn(Decimal, Decimal) -> Option<Decimal>) -> Outcome {
    let mut sum = Decimal::new(first).ok_or("not a finite number")?;
    for value in rest {
        let operand = Decimal::new(float_of(value)).ok_or("not a finite number")?;
        sum = with(sum, operand).ok_or("the result has too many digits, or is a division by zero")?;
    }
    Ok(Value::Float(sum.to_float()))
}

fn until(count: i64) -> Outcome {
    ints(steps(0, count, if count < 0 { -1 } else { 1 })?)
}

fn ints(numbers: Vec<i64>) -> Outcome {
    list(numbers.into_iter().map(Value::Int).collect())
}

fn steps(start: i64, stop: i64, step: i64) -> Result<Vec<i64>, String> {
    let (way, pace) = match step {
        0 => return Ok(Vec::new()),
        1.. => (i128::from(stop) - i128::from(start), i128::from(step)),
        _ => (i128::from(start) - i128::from(stop), -i128::from(step)),
    };
    let count = if way > 0 { (way + pace - 1) / pace } else { 0 };
    if count > MAX_LIST as i128 {
        return Err(format!("a list of {count} numbers is too long"));
    }
    Ok((0..count as i64).map(|i| start + i * step).collect())
}

fn seq(call: &Call<'_>) -> Outcome {
    let args = (0..call.args.len()).map(|i| call.int(i)).collect::<Result<Vec<_>, _>>()?;
    let numbers = match *args {
        [end] => {
            let step = if end < 1 { -1 } else { 1 };
            steps(1, end.saturating_add(step), step)?
        }
        [start, end] => {
            let step = if end < start { -1 } else { 1 };
            steps(start, end.saturating_add(step), step)?
        }
        [start, step, end] if end < start && step > 0 => Vec::new(),
        [start, step, end] => steps(start, end.saturating_add(if end < start { -1 } else { 1 }), step)?,
        _ => Vec::new(),
    };
    text(numbers.iter().map(i64::to_string).collect::<Vec<_>>().join(" "))
}
