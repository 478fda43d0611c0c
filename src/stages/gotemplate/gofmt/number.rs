//! Formats numbers as Go's `fmt` does.

use super::{Printer, quoting};

pub(super) fn is_integer_verb(verb: char) -> bool {
    matches!(verb, 'v' | 'd' | 'b' | 'o' | 'O' | 'x' | 'X' | 'c' | 'q' | 'U')
}

pub(super) fn is_float_verb(verb: char) -> bool {
    matches!(verb, 'v' | 'b' | 'g' | 'G' | 'x' | 'X' | 'f' | 'F' | 'e' | 'E')
}

impl Printer {
    /// Writes an integer. `size` is its absolute value.
    pub(super) fn integer(&mut self, size: u64, negative: bool, verb: char) {
        // As 64 bits: this is how Go prints a negative character.
        let bits = if negative { size.wrapping_neg() } else { size };
        let character = u32::try_from(bits).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER);
        let digits = match verb {
            'c' => return self.pad(character.encode_utf8(&mut [0; 4])),
            'q' => {
                let quoted = quoting::character(character, self.flags.plus);
                return self.pad(&quoted);
            }
            'U' => return self.code_point(bits),
            'b' => format!("{size:b}"),
            'o' | 'O' => format!("{size:o}"),
            'x' => format!("{size:x}"),
            'X' => format!("{size:X}"),
            _ => size.to_string(),
        };
        let flags = self.flags;
        let signed = negative || flags.plus || flags.space;
        let least = match (flags.precision, flags.width) {
            // Zero with precision 0 has no digits.
            (Some(0), width) if size == 0 => return self.repeat(" ", width.unwrap_or(0)),
            (Some(precision), _) => precision,
            (None, Some(width)) if flags.zero && !flags.minus => width.saturating_sub(usize::from(signed)),
            (None, _) => 0,
        };
        let sign = match (negative, flags.plus, flags.space) {
            (true, ..) => "-",
            (_, true, _) => "+",
            (.., true) => " ",
            _ => "",
        };
        let mut text = format!("{digits:0>least$}");
        match verb {
            'b' if flags.sharp => text.insert_str(0, "0b"),
            'o' | 'O' if flags.sharp && !text.starts_with('0') => text.insert(0, '0'),
            'x' if flags.sharp => text.insert_str(0, "0x"),
            'X' if flags.sharp => text.insert_str(0, "0X"),
            _ => {}
        }
        text.insert_str(0, if verb == 'O' { "0o" } else { "" });
        text.insert_str(0, sign);
        self.pad_with_blanks(&text);
    }

    /// `U+00E9`, and with `#` also the character.
    fn code_point(&mut self, bits: u64) {
        let least = self.flags.precision.unwrap_or(0).max(4);
        let mut text = format!("U+{bits:0>least$X}");
        let character = u32::try_from(bits).ok().and_then(char::from_u32);
        if let Some(c) = character.filter(|c| self.flags.sharp && quoting::is_print(*c)) {
            text.push_str(&format!(" '{c}'"));
        }
        self.pad_with_blanks(&text);
    }

    pub(super) fn float(&mut self, value: f64, verb: char) {
        let (form, default) = match verb {
            'v' => ('g', None),
            'F' => ('f', Some(6)),
            'f' | 'e' | 'E' => (verb, Some(6)),
            other => (other, None),
        };
        let precision = self.flags.precision.or(default);
        let flags = self.flags;
        let negative = value.is_sign_negative() && !value.is_nan();
        let sign = match (negative, flags.plus, flags.space) {
            (true, ..) => "-",
            (_, true, _) => "+",
            (.., true) => " ",
            _ => "",
        };
        if !value.is_finite() {
            // An infinite number always has a sign.
            let text = match sign {
                _ if value.is_nan() => format!("{sign}NaN"),
                "" => "+Inf".to_string(),
                sign => format!("{sign}Inf"),
            };
            return self.pad_with_blanks(&text);
        }
        let mut digits = format_float(value.abs(), form, precision);
        if flags.sharp && form != 'b' {
            digits = with_point(digits, form, precision);
        }
        let missing = flags.width.unwrap_or(0).saturating_sub(sign.len() + digits.len());
        if flags.zero && !flags.minus && !sign.is_empty() && missing > 0 {
            self.put(sign);
            self.repeat("0", missing);
            return self.put(&digits);
        }
        self.pad(&format!("{sign}{digits}"));
    }
}

/// The flag `#`: always a decimal point, and in some forms zeros up to the precision.
fn with_point(number: String, form: char, precision: Option<usize>) -> String {
    let mut missing = match form {
        'g' | 'G' | 'x' => precision.map_or(6, |p| p as i64),
        _ => 0,
    };
    let exponent = if matches!(form, 'x' | 'X') { ['p', 'P'] } else { ['e', 'E'] };
    let (digits, tail) = number.split_at(number.find(exponent).unwrap_or(number.len()));
    let significant = digits.trim_start_matches(['0', '.']).bytes().filter(|b| *b != b'.').count();
    // The `x` of hexadecimal numbers counts as the start of the digits.
    let significant = if digits.starts_with("0x") || digits.starts_with("0X") {
        digits.bytes().skip(1).filter(|b| *b != b'.').count()
    } else {
        significant
    };
    missing -= significant as i64;
    let mut text = digits.to_string();
    if !digits.contains('.') {
        missing -= i64::from(digits == "0");
        text.push('.');
    }
    text.extend(std::iter::repeat_n('0', usize::try_from(missing).unwrap_or(0)));
    text + tail
}

/// `strconv.FormatFloat` for a finite number that is not negative. Precision None: as few digits as needed to
/// distinguish it.
fn format_float(value: f64, form: char, precision: Option<usize>) -> String {
    match form {
        'e' | 'E' => exponential(value, precision, form),
        'f' => precision.map_or_else(|| value.to_string(), |precision| format!("{value:.precision$}")),
        'b' => {
            let (mantissa, exponent) = parts(value);
            format!("{mantissa}p{:+}", exponent - 52)
        }
        'x' | 'X' => hexadecimal(value, precision, form),
        _ => {
            let scientific = match precision {
                Some(precision) => format!("{value:.*e}", precision.max(1) - 1),
                None => format!("{value:e}"),
            };
            let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
            let exponent: i64 = exponent.parse().unwrap_or(0);
            let mantissa = if mantissa.contains('.') { mantissa.trim_end_matches('0') } else { mantissa };
            let count = mantissa.bytes().filter(u8::is_ascii_digit).count();
            let digits = if value == 0.0 { 0 } else { count as i64 };
            let mut limit = precision.map_or(6, |p| p.max(1) as i64);
            if precision.is_some() && limit > digits && digits > exponent {
                limit = digits;
            }
            // Zero has no digits, and its decimal point is before them.
            if value != 0.0 && (exponent < -4 || exponent >= limit) {
                let kept = count - 1;
                return exponential(value, Some(kept), if form == 'G' { 'E' } else { 'e' });
            }
            let behind = usize::try_from(digits - 1 - exponent).unwrap_or(0);
            match precision {
                Some(_) if value != 0.0 => {
                    let rounded: f64 = scientific.parse().unwrap_or(value);
                    format!("{rounded:.behind$}")
                }
                _ => value.to_string(),
            }
        }
    }
}

/// Writes at least two digits of the exponent.
fn exponential(value: f64, precision: Option<usize>, form: char) -> String {
    let text = match precision {
        Some(precision) => format!("{value:.precision$e}"),
        None => format!("{value:e}"),
    };
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}{form}{sign}{digits:0>2}")
}

/// The 53-bit mantissa, and the exponent of its highest bit.
fn parts(value: f64) -> (u64, i64) {
    let bits = value.to_bits();
    let (field, fraction) = (bits >> 52 & 0x7ff, bits & ((1 << 52) - 1));
    match field {
        0 => (fraction, -1022),
        field => (fraction | 1 << 52, field as i64 - 1023),
    }
}

/// Writes `0x1.8p+01`.
fn hexadecimal(value: f64, precision: Option<usize>, form: char) -> String {
    let (mantissa, mut exponent) = parts(value);
    let mut mantissa = mantissa << 8;
    match mantissa {
        0 => exponent = 0,
        _ => {
            let shift = mantissa.leading_zeros() - 3;
            (mantissa, exponent) = (mantissa << shift, exponent - i64::from(shift));
        }
    }
    if let Some(precision) = precision.filter(|p| *p < 15) {
        let shift = precision * 4;
        let extra = (mantissa << shift) & ((1 << 60) - 1);
        mantissa >>= 60 - shift;
        mantissa += u64::from(extra | (mantissa & 1) > 1 << 59);
        mantissa <<= 60 - shift;
        if mantissa & (1 << 61) != 0 {
            (mantissa, exponent) = (mantissa >> 1, exponent + 1);
        }
    }
    let mut text = format!("0{form}{}", mantissa >> 60 & 1);
    let mut fraction = format!("{:015x}", mantissa & ((1 << 60) - 1));
    if form == 'X' {
        fraction.make_ascii_uppercase();
    }
    let fraction = match precision {
        None => fraction.trim_end_matches('0').to_string(),
        Some(precision) => format!("{fraction:0<precision$}")[..precision].to_string(),
    };
    if !fraction.is_empty() {
        text.push('.');
        text.push_str(&fraction);
    }
    let (p, sign) = (if form == 'X' { 'P' } else { 'p' }, if exponent < 0 { '-' } else { '+' });
    format!("{text}{p}{sign}{:02}", exponent.unsigned_abs())
}
