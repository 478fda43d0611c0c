//! Numbers as Go's `strconv` reads them, which is how Promtail reads every number: in a config, in an option, in a line
//! and in a template.
//!
//! Go takes forms that Rust refuses (`0x1p-2`, `1_000`), and refuses some that Rust takes (`+nan`, `1e999`).

/// Why a text is no number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NoNumber<T> {
    Syntax,
    /// It is one, beyond what the type holds: the nearest number that it holds.
    Range(T),
}

/// `strconv.ParseFloat` to 64 bits: a decimal or a hexadecimal (which needs its exponent: `0x1p-2`), `inf`, `infinity`,
/// `nan`. Underscores may stand between digits.
pub fn parse_float(text: &str) -> Result<f64, NoNumber<f64>> {
    let (negative, body) = sign(text);
    let signed = |value: f64| if negative { -value } else { value };
    if body.eq_ignore_ascii_case("inf") || body.eq_ignore_ascii_case("infinity") {
        return Ok(signed(f64::INFINITY));
    }
    // The only form that has no sign.
    if text.eq_ignore_ascii_case("nan") {
        return Ok(f64::NAN);
    }
    if body.contains('_') && !separates_digits(body) {
        return Err(NoNumber::Syntax);
    }
    let body = without_underscores(body);
    let value = match body.strip_prefix("0x").or_else(|| body.strip_prefix("0X")) {
        Some(hex) => signed(hexadecimal(hex).ok_or(NoNumber::Syntax)?),
        None => signed(decimal(&body).ok_or(NoNumber::Syntax)?),
    };
    if value.is_infinite() { Err(NoNumber::Range(value)) } else { Ok(value) }
}

/// `strconv.ParseInt` to 64 bits, in base 8 or 10, or in base 0: by its prefix (`0x`, `0o`, `0b`, `0`), and perhaps with
/// underscores.
pub fn parse_int(text: &str, base: u32) -> Result<i64, NoNumber<i64>> {
    let (negative, body) = sign(text);
    let limit = if negative { i64::MIN } else { i64::MAX };
    match parse_uint(body, base) {
        Ok(size) if negative => 0_i64.checked_sub_unsigned(size).ok_or(NoNumber::Range(limit)),
        Ok(size) => i64::try_from(size).map_err(|_| NoNumber::Range(limit)),
        Err(NoNumber::Syntax) => Err(NoNumber::Syntax),
        Err(NoNumber::Range(_)) => Err(NoNumber::Range(limit)),
    }
}

/// `strconv.ParseUint` to 64 bits, which is the same without a sign.
pub fn parse_uint(text: &str, base: u32) -> Result<u64, NoNumber<u64>> {
    let digits = if base == 0 && text.contains('_') {
        if !separates_digits(text) {
            return Err(NoNumber::Syntax);
        }
        without_underscores(text)
    } else {
        text.into()
    };
    let (radix, digits) = match digits.as_bytes() {
        _ if base != 0 => (base, &*digits),
        [b'0', b'x' | b'X', _, ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', _, ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', _, ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, &*digits),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return Err(NoNumber::Syntax);
    }
    u64::from_str_radix(digits, radix).map_err(|_| NoNumber::Range(u64::MAX))
}

/// `time.ParseDuration`: nanoseconds.
pub fn parse_duration(text: &str) -> Result<i64, NoNumber<i64>> {
    /// What an `i64` holds, and one more: the smallest negative one.
    const MOST: u64 = 1 << 63;
    let (negative, mut rest) = sign(text);
    let range = NoNumber::Range(if negative { i64::MIN } else { i64::MAX });
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(NoNumber::Syntax);
    }
    let digits = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let mut sum = 0_u64;
    while !rest.is_empty() {
        let (whole, behind) = rest.split_at(digits(rest));
        let (fraction, behind) = match behind.strip_prefix('.') {
            Some(behind) => behind.split_at(digits(behind)),
            None => ("", behind),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(NoNumber::Syntax);
        }
        let unit = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
        let nanos: u64 = match &behind[..unit] {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return Err(NoNumber::Syntax),
        };
        rest = &behind[unit..];
        let whole = whole
            .bytes()
            .try_fold(0_u64, |n, digit| n.checked_mul(10)?.checked_add(u64::from(digit - b'0')).filter(|n| *n <= MOST));
        let part = whole.and_then(|whole| {
            // Of a fraction as many digits count as fit.
            let (mut numerator, mut scale) = (0_u64, 1.0);
            for digit in fraction.bytes() {
                match numerator.checked_mul(10).and_then(|n| n.checked_add(u64::from(digit - b'0'))) {
                    Some(next) if next <= MOST => (numerator, scale) = (next, scale * 10.0),
                    _ => break,
                }
            }
            whole.checked_mul(nanos)?.checked_add((numerator as f64 * (nanos as f64 / scale)) as u64)
        });
        sum = part.and_then(|part| sum.checked_add(part)).filter(|sum| *sum <= MOST).ok_or(range)?;
    }
    match negative {
        true => 0_i64.checked_sub_unsigned(sum).ok_or(range),
        false => i64::try_from(sum).map_err(|_| range),
    }
}

/// An integer as YAML 1.1 has it, where Promtail's reader finds one without quotes: `0x1F`, `010` (octal), `1_000`.
pub fn parse_yaml_int(text: &str) -> Option<i128> {
    let (negative, digits) = sign(text);
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let size = i128::from(parse_uint(&digits.replace('_', ""), 0).ok()?);
    Some(if negative { -size } else { size })
}

/// A number as YAML 1.1 has it: an integer, a decimal (`09` is one), `.inf` or `.nan`.
pub fn parse_yaml_float(text: &str) -> Option<f64> {
    if let Some(integer) = parse_yaml_int(text) {
        return Some(integer as f64);
    }
    let (negative, body) = sign(text);
    let value = match body {
        ".inf" | ".Inf" | ".INF" => f64::INFINITY,
        ".nan" | ".NaN" | ".NAN" if body.len() == text.len() => f64::NAN,
        _ => decimal(&body.replace('_', "")).filter(|value| value.is_finite() && !body.starts_with('_'))?,
    };
    Some(if negative { -value } else { value })
}

/// `strconv.ParseBool`.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

impl<T> NoNumber<T> {
    /// The number that Go gives beside the error, for whoever does not look at errors.
    pub fn value(self, otherwise: T) -> T {
        match self {
            NoNumber::Syntax => otherwise,
            NoNumber::Range(nearest) => nearest,
        }
    }
}

fn sign(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(body) => (true, body),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

fn without_underscores(text: &str) -> std::borrow::Cow<'_, str> {
    if text.contains('_') { text.replace('_', "").into() } else { text.into() }
}

/// Whether each underscore stands between two digits, or between the prefix of a base and a digit.
fn separates_digits(body: &str) -> bool {
    let lower = |at: usize| body.as_bytes().get(at).map(u8::to_ascii_lowercase);
    let prefixed = lower(0) == Some(b'0') && matches!(lower(1), Some(b'x' | b'o' | b'b'));
    let hex = prefixed && lower(1) == Some(b'x');
    let mut before = if prefixed { b'0' } else { b'^' };
    for byte in body.bytes().skip(if prefixed { 2 } else { 0 }) {
        before = match byte {
            b'0'..=b'9' => b'0',
            b'a'..=b'f' | b'A'..=b'F' if hex => b'0',
            b'_' if before == b'0' => b'_',
            b'_' => return false,
            _ if before == b'_' => return false,
            _ => b'!',
        };
    }
    before != b'_'
}

/// A decimal without a sign; infinite if it is too large.
fn decimal(text: &str) -> Option<f64> {
    // Rust would take a second sign, and words.
    let plain = |b: u8| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-');
    let starts = text.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    if starts && text.bytes().all(plain) { text.parse().ok() } else { None }
}

/// What follows `0x` in a hexadecimal with its exponent, which is one of 2; infinite if it is too large.
fn hexadecimal(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once(['p', 'P'])?;
    let (negative, digits) = sign(exponent);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // A number of more digits is as much out of range as this one.
    let exponent: i64 =
        digits.trim_start_matches('0').get(..9).map_or_else(|| digits.parse().ok(), |_| Some(1 << 40))?;
    let mut exponent = if negative { -exponent } else { exponent };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let (mut bits, mut lost) = (0_u64, false);
    for (digit, behind_point) in whole.chars().map(|c| (c, false)).chain(fraction.chars().map(|c| (c, true))) {
        let digit = u64::from(digit.to_digit(16)?);
        // The last of 64 bits says whether anything was lost, which decides on ties.
        if bits >> 60 == 0 {
            bits = bits << 4 | digit;
            exponent -= if behind_point { 4 } else { 0 };
        } else {
            lost |= digit != 0;
            exponent += if behind_point { 0 } else { 4 };
        }
    }
    if bits == 0 {
        return Some(0.0);
    }
    let shift = bits.leading_zeros();
    Some(rounded(bits << shift | u64::from(lost), exponent - i64::from(shift)))
}

/// `bits`, the highest of which is set, times 2 to the power of `exponent`: to the nearest, and of two to the even one.
fn rounded(bits: u64, exponent: i64) -> f64 {
    // The exponent of the highest bit; 52 bits more fit behind it, fewer below the smallest normal number.
    let highest = exponent + 63;
    if highest > 1023 {
        return f64::INFINITY;
    }
    let kept = if highest >= -1022 { 53 } else { 53 - (-1022 - highest) };
    let Ok(kept @ 0..=53) = u32::try_from(kept) else { return 0.0 };
    let (top, rest) = match kept {
        0 => (0, u128::from(bits)),
        _ => (bits >> (64 - kept), u128::from(bits) & ((1 << (64 - kept)) - 1)),
    };
    let half = 1_u128 << (63 - kept);
    let up = rest > half || rest == half && top & 1 == 1;
    let mantissa = top + u64::from(up);
    // One that is carried goes on into the exponent, as the format is made for.
    let field = if highest >= -1022 { (highest + 1022) as u64 } else { 0 };
    f64::from_bits((field << 52) + mantissa)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Go 1.26 says.
    #[test]
    fn floats() {
        use NoNumber::{Range, Syntax};
        let inf = f64::INFINITY;
        for (text, want) in [
            ("1_000", Ok(1000.0)),
            ("1_0.5", Ok(10.5)),
            ("0x1F", Err(Syntax)),
            ("0x1p-2", Ok(0.25)),
            ("-0x1p-2", Ok(-0.25)),
            ("0x_1p4", Ok(16.0)),
            ("0X1.8P1", Ok(3.0)),
            ("0x1_0p0", Ok(16.0)),
            ("inf", Ok(inf)),
            ("+Inf", Ok(inf)),
            ("-infinity", Ok(-inf)),
            ("iNfInItY", Ok(inf)),
            ("infi", Err(Syntax)),
            ("+nan", Err(Syntax)),
            ("-nan", Err(Syntax)),
            ("1e400", Err(Range(inf))),
            ("-1e400", Err(Range(-inf))),
            ("1e", Err(Syntax)),
            ("1.", Ok(1.0)),
            (".", Err(Syntax)),
            ("", Err(Syntax)),
            ("+", Err(Syntax)),
            ("--1", Err(Syntax)),
            (".5", Ok(0.5)),
            ("+5", Ok(5.0)),
            ("0b11", Err(Syntax)),
            ("0o17", Err(Syntax)),
            ("017", Ok(17.0)),
            ("1__0", Err(Syntax)),
            ("_1", Err(Syntax)),
            ("1_", Err(Syntax)),
            ("1._5", Err(Syntax)),
            ("1_.5", Err(Syntax)),
            ("1e1_0", Ok(1e10)),
            ("0_1", Ok(1.0)),
            ("0_1.5", Ok(1.5)),
            ("0x", Err(Syntax)),
            ("0xp1", Err(Syntax)),
            ("0x.p1", Err(Syntax)),
            ("0x1.p1", Ok(2.0)),
            ("0x.8p1", Ok(1.0)),
            ("0x1p", Err(Syntax)),
            ("0x1p+", Err(Syntax)),
            ("0x1.8_0p1", Ok(3.0)),
            ("0x1p1_0", Ok(1024.0)),
            ("0x1p2000", Err(Range(inf))),
            ("0x1p99999999999999999999", Err(Range(inf))),
            ("0x1p0000000000000000000001", Ok(2.0)),
            ("0x1p-2000", Ok(0.0)),
            ("0x0p9999", Ok(0.0)),
            ("0x1.fffffffffffff8p0", Ok(2.0)),
            ("0x1.fffffffffffff7p1023", Ok(f64::MAX)),
            ("0x1.fffffffffffff8p1023", Err(Range(inf))),
            ("0x1p-1074", Ok(5e-324)),
            ("0x1p-1075", Ok(0.0)),
            ("0x1.8p-1075", Ok(5e-324)),
            ("0x1.8p-1074", Ok(1e-323)),
            ("0x1p-1022", Ok(f64::MIN_POSITIVE)),
            ("0x123456789abcdef01p0", Ok(20988295479420645000.0)),
            ("1e-400", Ok(0.0)),
            (" 1", Err(Syntax)),
            ("1 ", Err(Syntax)),
            ("1e99999999999", Err(Range(inf))),
            ("1f", Err(Syntax)),
            ("１", Err(Syntax)),
        ] {
            assert_eq!(parse_float(text), want, "{text:?}");
        }
        assert!(parse_float("NaN").is_ok_and(f64::is_nan));
        assert!(parse_float("-0x0p0").is_ok_and(|zero| zero == 0.0 && zero.is_sign_negative()));
    }

    /// What Go 1.26 says in base 0 and in base 10.
    #[test]
    fn integers() {
        use NoNumber::{Range, Syntax};
        for (text, zero, ten) in [
            ("1_000", Ok(1000), Err(Syntax)),
            ("0x1F", Ok(31), Err(Syntax)),
            ("0b11", Ok(3), Err(Syntax)),
            ("0o17", Ok(15), Err(Syntax)),
            ("017", Ok(15), Ok(17)),
            ("08", Err(Syntax), Ok(8)),
            ("0_8", Err(Syntax), Err(Syntax)),
            ("0_7", Ok(7), Err(Syntax)),
            ("0", Ok(0), Ok(0)),
            ("00", Ok(0), Ok(0)),
            ("-0x1", Ok(-1), Err(Syntax)),
            ("+0X1f", Ok(31), Err(Syntax)),
            ("0x_1", Ok(1), Err(Syntax)),
            ("0x", Err(Syntax), Err(Syntax)),
            ("0x-1", Err(Syntax), Err(Syntax)),
            ("1__0", Err(Syntax), Err(Syntax)),
            ("_1", Err(Syntax), Err(Syntax)),
            ("1_", Err(Syntax), Err(Syntax)),
            ("0_", Err(Syntax), Err(Syntax)),
            ("9223372036854775807", Ok(i64::MAX), Ok(i64::MAX)),
            ("9223372036854775808", Err(Range(i64::MAX)), Err(Range(i64::MAX))),
            ("-9223372036854775808", Ok(i64::MIN), Ok(i64::MIN)),
            ("-9223372036854775809", Err(Range(i64::MIN)), Err(Range(i64::MIN))),
            ("99999999999999999999", Err(Range(i64::MAX)), Err(Range(i64::MAX))),
            ("+5", Ok(5), Ok(5)),
            ("+-5", Err(Syntax), Err(Syntax)),
            ("", Err(Syntax), Err(Syntax)),
            ("+", Err(Syntax), Err(Syntax)),
            ("12.0", Err(Syntax), Err(Syntax)),
            ("１", Err(Syntax), Err(Syntax)),
        ] {
            assert_eq!(parse_int(text, 0), zero, "{text:?} in base 0");
            assert_eq!(parse_int(text, 10), ten, "{text:?} in base 10");
        }
        assert_eq!(parse_int("777", 8), Ok(511));
        assert_eq!(parse_int("8", 8), Err(Syntax));
        assert_eq!(parse_uint("+1", 0), Err(Syntax));
        assert_eq!(parse_uint("18446744073709551616", 10), Err(Range(u64::MAX)));
        for (text, int, float) in [
            ("0x1F", Some(31), Some(31.0)),
            ("010", Some(8), Some(8.0)),
            ("-1_000", Some(-1000), Some(-1000.0)),
            ("09", None, Some(9.0)),
            ("1_0.5", None, Some(10.5)),
            (".5", None, Some(0.5)),
            ("+.inf", None, Some(f64::INFINITY)),
            ("-.Inf", None, Some(-f64::INFINITY)),
            ("1e3", None, Some(1000.0)),
            ("18446744073709551615", Some(u64::MAX.into()), Some(u64::MAX as f64)),
            ("inf", None, None),
            ("1e999", None, None),
            ("many", None, None),
            ("", None, None),
            ("-", None, None),
            ("+-1", None, None),
            ("_1", None, None),
            ("0x", None, None),
            ("1 ", None, None),
        ] {
            assert_eq!((parse_yaml_int(text), parse_yaml_float(text)), (int, float), "{text:?}");
        }
        assert!(parse_yaml_float(".nan").is_some_and(f64::is_nan));
        assert_eq!((NoNumber::Range(7).value(0), NoNumber::Syntax.value(0)), (7, 0));
    }

    /// What Go 1.26 says.
    #[test]
    fn durations() {
        use NoNumber::{Range, Syntax};
        const S: i64 = 1_000_000_000;
        for (text, want) in [
            ("1.5s", Ok(S * 3 / 2)),
            ("-1.5s", Ok(-S * 3 / 2)),
            ("+2m", Ok(120 * S)),
            ("1h30m", Ok(5400 * S)),
            ("0", Ok(0)),
            ("-0", Ok(0)),
            ("+0", Ok(0)),
            (".5s", Ok(S / 2)),
            ("1.s", Ok(S)),
            ("1µs", Ok(1000)),
            ("1μs", Ok(1000)),
            ("1.9ns", Ok(1)),
            ("0.3333333333333333333333h", Ok(1_200_000_000_000)),
            ("1.0000000001s", Ok(S)),
            ("9223372036854775807ns", Ok(i64::MAX)),
            ("9223372036854775808ns", Err(Range(i64::MAX))),
            ("-9223372036854775808ns", Ok(i64::MIN)),
            ("3000000h", Err(Range(i64::MAX))),
            ("99999999999999999999s", Err(Range(i64::MAX))),
            ("", Err(Syntax)),
            ("-", Err(Syntax)),
            ("1", Err(Syntax)),
            (".s", Err(Syntax)),
            ("s", Err(Syntax)),
            ("1d", Err(Syntax)),
            ("1 s", Err(Syntax)),
            (" 1s", Err(Syntax)),
            ("1h-5m", Err(Syntax)),
            ("0x10s", Err(Syntax)),
            ("1_0s", Err(Syntax)),
            ("1e3s", Err(Syntax)),
            ("1.5.5s", Err(Syntax)),
        ] {
            assert_eq!(parse_duration(text), want, "{text:?}");
        }
    }
}
