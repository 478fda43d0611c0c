//! Parses numbers as Go's `strconv` does. Promtail uses it for all numbers: in the config, in options, in lines and in
//! templates.
//!
//! Go accepts forms that Rust rejects (`0x1p-2`, `1_000`) and rejects some that Rust accepts (`+nan`, `1e999`).

/// Why a text could not be parsed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NoNumber<T> {
    Syntax,
    /// The number is outside the range of the type. Holds the nearest value in range.
    Range(T),
}

/// `strconv.ParseFloat` with 64 bits: a decimal, a hexadecimal with exponent (`0x1p-2`), `inf`, `infinity` or `nan`.
/// Underscores are allowed between digits.
pub fn parse_float(text: &str) -> Result<f64, NoNumber<f64>> {
    let (negative, body) = sign(text);
    let signed = |value: f64| if negative { -value } else { value };
    if body.eq_ignore_ascii_case("inf") || body.eq_ignore_ascii_case("infinity") {
        return Ok(signed(f64::INFINITY));
    }
    // `nan` is the only form that must not have a sign.
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

/// `strconv.ParseInt` with 64 bits, in base 8, 10 or 0. Base 0 takes the base from the prefix (`0x`, `0o`, `0b`, `0`)
/// and allows underscores.
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

/// `strconv.ParseUint` with 64 bits. Like [`parse_int`], without a sign.
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

/// `time.ParseDuration`. Returns nanoseconds.
pub fn parse_duration(text: &str) -> Result<i64, NoNumber<i64>> {
    /// One more than `i64::MAX`: the magnitude of `i64::MIN`.
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
            // Fraction digits that do not fit are ignored, as in Go.
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

/// A YAML 1.1 integer as yaml.v2 reads it without quotes: `0x1F`, `010` (octal), `1_000`. None: the text is no integer.
pub fn parse_yaml_int(text: &str) -> Option<i128> {
    let (negative, digits) = sign(text);
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let size = i128::from(parse_uint(&digits.replace('_', ""), 0).ok()?);
    Some(if negative { -size } else { size })
}

/// A YAML 1.1 number: an integer, a decimal (`09` is a decimal), `.inf` or `.nan`. None: the text is no number.
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

/// `strconv.ParseBool`. None: a syntax error.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

impl<T> NoNumber<T> {
    /// The value that Go returns together with the error, for callers that ignore the error.
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

/// Whether each underscore stands between two digits, or between a base prefix and a digit.
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

/// Parses a decimal without a sign. The result is infinite if the number is too large.
fn decimal(text: &str) -> Option<f64> {
    // Rust would also accept a second sign and words such as `inf`.
    let plain = |b: u8| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-');
    let starts = text.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    if starts && text.bytes().all(plain) { text.parse().ok() } else { None }
}

/// Parses the part after `0x` of a hexadecimal float. The exponent is required and has base 2. Infinite if too large.
fn hexadecimal(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once(['p', 'P'])?;
    let (negative, digits) = sign(exponent);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // All exponents with more than 9 digits are out of range, like this value.
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
        // The lowest bit records whether any non-zero digit was dropped, which decides ties.
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

/// `bits` (its highest bit is set) times 2^`exponent`, rounded to the nearest value, ties to even.
fn rounded(bits: u64, exponent: i64) -> f64 {
    // The exponent of the highest bit. 52 more bits fit below it, fewer for subnormal numbers.
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
    // A carry goes into the exponent field, which the format allows.
    let field = if highest >= -1022 { (highest + 1022) as u64 } else { 0 };
    f64::from_bits((field << 52) + mantissa)
}

#[cfg(test)]
mod tests;
