//! Numbers. A text that is not a number counts as 0.

use gotmpl::Value;

use super::super::call::{Call, MAX_LIST, Outcome, list, text};
use super::super::show::show;
use super::decimal::Decimal;
use super::{Function, function, variadic};
use crate::model::gonumber::{parse_float, parse_int};

pub(super) const FUNCTIONS: &[Function] = &[
    function("atoi", 1, |c| Ok(Value::Int(parse_int(c.text(0)?, 10).unwrap_or_else(|e| e.value(0))))),
    function("int", 1, |c| Ok(Value::Int(int_of(c.any(0))))),
    function("int64", 1, |c| Ok(Value::Int(int_of(c.any(0))))),
    function("float64", 1, |c| Ok(Value::Float(float_of(c.any(0))))),
    function("toDecimal", 1, |c| Ok(Value::Int(parse_int(&show(c.any(0)), 8).unwrap_or(0)))),
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
        Value::Float(n) => whole(*n),
        Value::Bool(b) => i64::from(*b),
        Value::String(text) => parse_int(without_zeros(text), 0).unwrap_or(0),
        _ => 0,
    }
}

pub(super) fn float_of(value: &Value) -> f64 {
    match value {
        Value::Int(n) => *n as f64,
        Value::Uint(n) => *n as f64,
        Value::Float(n) => *n,
        Value::Bool(b) => f64::from(*b),
        Value::String(text) => parse_float(text).unwrap_or(0.0),
        _ => 0.0,
    }
}

/// `12.0` is a whole number too, `12.5` is not.
fn without_zeros(text: &str) -> &str {
    let whole = text.trim_end_matches('0').strip_suffix('.');
    whole.filter(|whole| whole.len() + 1 < text.len()).unwrap_or(text)
}

/// Converts as Go does on amd64: a value outside the range of `i64` becomes `i64::MIN`.
fn whole(number: f64) -> i64 {
    const BOUND: f64 = 9_223_372_036_854_775_808.0;
    if (-BOUND..BOUND).contains(&number) { number as i64 } else { i64::MIN }
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

/// Calculates in decimals, exactly as far as the digits suffice.
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

#[cfg(test)]
mod tests {
    use super::super::super::tests::check;

    /// Numbers in the forms of Go's literals, as text and in templates.
    #[test]
    fn forms_of_numbers() {
        check(&[
            (
                r#"{{ atoi "0x1F" }} {{ atoi "1_000" }} {{ atoi "+5" }} {{ atoi "-5" }} {{ atoi "99999999999999999999" }} {{ atoi "-99999999999999999999" }} {{ atoi "5.0" }} {{ atoi " 5" }} {{ atoi "017" }} {{ atoi "" }}"#,
                "0 0 5 -5 9223372036854775807 -9223372036854775808 0 0 17 0",
            ),
            (
                r#"{{ int "0x1F" }} {{ int64 "0X1f" }} {{ int "0b101" }} {{ int "0o17" }} {{ int "017" }} {{ int "0_7" }} {{ int "1_000" }} {{ int "1__0" }} {{ int "_1" }} {{ int "1_" }} {{ int "08" }} {{ int "-0x10" }} {{ int "+0x10" }}"#,
                "31 31 5 15 15 7 1000 0 0 0 0 -16 16",
            ),
            (
                r#"{{ int "12.0" }} {{ int "12.00" }} {{ int "12." }} {{ int ".0" }} {{ int "0.0" }} {{ int "1.0.0" }} {{ int "12.50" }} {{ int "100" }} {{ int "0x10.0" }} {{ int "1e3" }} {{ int "inf" }} {{ int " 5" }} {{ int "" }} {{ int "00" }}"#,
                "12 12 0 0 0 0 0 100 16 0 0 0 0 0",
            ),
            (
                r#"{{ int64 "9223372036854775807" }} {{ int64 "9223372036854775808" }} {{ int64 1e30 }} {{ int64 -1e30 }} {{ int64 (float64 "nan") }} {{ int64 (float64 "inf") }} {{ int 1.9 }} {{ int -1.9 }} {{ int nil }} {{ int true }} {{ int (list) }}"#,
                "9223372036854775807 0 -9223372036854775808 -9223372036854775808 -9223372036854775808 -9223372036854775808 1 -1 0 1 0",
            ),
            (
                r#"{{ float64 "0x1p-2" }} {{ float64 "0x1F" }} {{ float64 "1_000" }} {{ float64 "1_0.5" }} {{ float64 "inf" }} {{ float64 "-Infinity" }} {{ float64 "nan" }} {{ float64 "+nan" }} {{ float64 "1e400" }} {{ float64 "1e-400" }} {{ float64 "1." }} {{ float64 ".5" }} {{ float64 " 1" }} {{ float64 "0b1" }} {{ float64 "" }} {{ float64 true }} {{ float64 nil }}"#,
                "0.25 0 1000 10.5 +Inf -Inf NaN 0 0 0 1 0.5 0 0 0 1 0",
            ),
            (
                r#"{{ toDecimal "777" }} {{ toDecimal "8" }} {{ toDecimal "0777" }} {{ toDecimal "-17" }} {{ toDecimal "1_0" }} {{ toDecimal 777 }} {{ toDecimal "0o17" }} {{ toDecimal "" }} {{ toDecimal "1777777777777777777777" }}"#,
                "511 0 511 -15 0 511 0 0 0",
            ),
            (
                r#"{{ add "0x10" "010" "1_0" "0b1" }} {{ add 1.9 "2.0" }} {{ sub "0x10" "1" }} {{ mul "0x10" "2" }} {{ div "0x10" "0b10" }} {{ mod "0x11" "0x10" }} {{ max "0x10" 5 }} {{ min "0x10" 5 }} {{ add1 "0xf" }} {{ mul 9223372036854775807 2 }}"#,
                "35 3 15 32 8 1 16 5 16 -2",
            ),
            (
                r#"{{ addf "0x1p-2" "0.25" }} {{ mulf "1_0" "2" }} {{ divf "0x1p4" 3 }} {{ subf "1e1" "0x1p0" }} {{ maxf "0x1p4" 3 }} {{ minf "inf" 3 }} {{ floor "0x1.8p1" }} {{ ceil "1_0.2" }} {{ round "0x1.921fb54442d18p+1" 2 }} {{ add1f "0x1p0" }}"#,
                "0.5 20 5.333333333333333 9 16 3 3 11 3.14 2",
            ),
            (
                r#"{{ duration "95" }} {{ duration "0x10" }} {{ duration "1_0" }} {{ duration "-5" }} {{ duration "+5" }} {{ duration "99999999999999999999" }} {{ duration "1.5" }} {{ durationRound "1_0s" }} {{ durationRound "0x10h" }} {{ durationRound "-90m" }} {{ durationRound ".5h" }}"#,
                "1m35s 0s 0s -5s 5s -1s 0s 0s 0s 1h 30m",
            ),
            (
                r#"{{ seq 0x3 }} {{ until 0b11 }} {{ eq 0x10 16 }} {{ lt 1_0 11 }} {{ index (list "a" "b") 0x1 }} {{ slice (list 1 2 3) 0b1 }} {{ substr 0 0x2 "abc" }} {{ trunc 0b10 "abc" }} {{ repeat 0x2 "ab" }} {{ 0x1F }} {{ 1_000 }} {{ 0x1p-2 }} {{ 'a' }} {{ -0x10 }} {{ +5 }} {{ 1e2 }} {{ .5 }}"#,
                "1 2 3 [0 1 2] true true b [2 3] ab ab abab 31 1000 0.25 97 -16 5 100 0.5",
            ),
            (
                r#"{{ ternary 1 2 (gt (int "0x10") 15) }} {{ int64 "0x7fffffffffffffff" }} {{ int64 "0xffffffffffffffff" }}"#,
                "1 9223372036854775807 0",
            ),
            (
                r#"{{ dateModify "1_0s" (toDate "2006" "2024") }} {{ dateModify "0x1h" (toDate "2006" "2024") }} {{ dateModify "-1h" (toDate "2006" "2024") }} {{ dateModify ".5h" (toDate "2006" "2024") }} {{ dateModify "+1h" (toDate "2006" "2024") }}"#,
                "2024-01-01 00:00:00 +0000 UTC 2024-01-01 00:00:00 +0000 UTC 2023-12-31 23:00:00 +0000 UTC 2024-01-01 00:30:00 +0000 UTC 2024-01-01 01:00:00 +0000 UTC",
            ),
        ]);
    }
}
