//! Parses times in RFC 3339, as container runtimes and syslog write them.

/// Parses RFC 3339 with any number of fractional digits, like Go's `RFC3339Nano`. Returns Unix nanoseconds. None:
/// invalid.
pub fn rfc3339(text: &str) -> Option<i64> {
    let b = text.as_bytes();
    let seconds = civil_seconds(b.get(..19)?)?;
    let (nanos, rest) = fraction(&b[19..])?;
    let offset = zone(rest)?;
    (seconds - offset).checked_mul(1_000_000_000)?.checked_add(nanos)
}

/// Like [`rfc3339`], with the last second cached: consecutive lines often have the same second.
#[derive(Debug, Default)]
pub struct Rfc3339 {
    second: [u8; 19],
    nanos: i64,
    known: bool,
}

impl Rfc3339 {
    pub fn parse(&mut self, text: &str) -> Option<i64> {
        let b = text.as_bytes();
        let (second, rest) = b.split_at_checked(19)?;
        if !self.known || second != self.second {
            self.nanos = civil_seconds(second)?.checked_mul(1_000_000_000)?;
            self.second.copy_from_slice(second);
            self.known = true;
        }
        let (nanos, zone_text) = fraction(rest)?;
        match zone_text {
            b"Z" => self.nanos.checked_add(nanos),
            other => self.nanos.checked_add(nanos)?.checked_sub(zone(other)? * 1_000_000_000),
        }
    }
}

/// `2026-11-22T17:56:39` as seconds since the Unix epoch.
fn civil_seconds(b: &[u8]) -> Option<i64> {
    let two = |at: usize| -> Option<i64> {
        let (tens, ones) = (b[at].wrapping_sub(b'0'), b[at + 1].wrapping_sub(b'0'));
        (tens < 10 && ones < 10).then(|| i64::from(tens * 10 + ones))
    };
    if b[4] != b'-' || b[7] != b'-' || b[10] != b'T' || b[13] != b':' || b[16] != b':' {
        return None;
    }
    let year = two(0)? * 100 + two(2)?;
    let (month, day) = (two(5)?, two(8)?);
    let (hour, minute, second) = (two(11)?, two(14)?, two(17)?);
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let last = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if day < 1 || day > last || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // Days since 1970, with years that begin in March, so that the leap day is the last of a year.
    let years = year - i64::from(month <= 2);
    let era = years.div_euclid(400);
    let year_of_era = years.rem_euclid(400);
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let days = era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468;
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// The nanoseconds of `.123…` or `,123…`, and the rest of the text.
fn fraction(b: &[u8]) -> Option<(i64, &[u8])> {
    if !matches!(b.first(), Some(b'.' | b',')) {
        return Some((0, b));
    }
    // Runtimes write nine digits.
    if let [_, eight @ .., _, after] = b.first_chunk::<11>().unwrap_or(&[0; 11])
        && let Some(first) = eight_digits(*eight)
        && b[9].is_ascii_digit()
        && !after.is_ascii_digit()
    {
        return Some((i64::from(first) * 10 + i64::from(b[9] - b'0'), &b[10..]));
    }
    // Many other programs write six.
    if let [_, six @ .., after] = *b.first_chunk::<8>().unwrap_or(&[0; 8])
        && let Some(micros) = six_digits(six)
        && !after.is_ascii_digit()
    {
        return Some((i64::from(micros) * 1_000, &b[7..]));
    }
    let digits = b[1..].iter().take_while(|d| d.is_ascii_digit()).count();
    if digits == 0 {
        return None;
    }
    let mut nanos = 0;
    for digit in &b[1..=digits.min(9)] {
        nanos = nanos * 10 + i64::from(digit - b'0');
    }
    for _ in digits..9 {
        nanos *= 10;
    }
    Some((nanos, &b[1 + digits..]))
}

/// The number that eight ASCII digits write, all at once. None: one of the bytes is no digit.
#[inline]
fn eight_digits(digits: [u8; 8]) -> Option<u32> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let text = u64::from_le_bytes(digits);
    // A digit has 3 in its upper half, also after 6 was added.
    let has_three = |bytes: u64| bytes & (ONES * 0xf0) == ONES * 0x30;
    if !has_three(text) || !has_three(text.wrapping_add(ONES * 6)) {
        return None;
    }
    // Neighbours are joined: to four numbers below 100, to two below 10,000, to one.
    let values = text - ONES * 0x30;
    let pairs = (values.wrapping_mul(10) + (values >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(100) + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    Some((fours.wrapping_mul(10_000) + (fours >> 32)) as u32)
}

/// The same for six.
#[inline]
fn six_digits(digits: [u8; 6]) -> Option<u32> {
    let mut eight = [b'0'; 8];
    eight[2..].copy_from_slice(&digits);
    eight_digits(eight)
}

/// `Z` or `+01:00` as seconds east of Greenwich.
fn zone(b: &[u8]) -> Option<i64> {
    let two = |at: usize| {
        b[at]
            .is_ascii_digit()
            .then(|| b[at + 1].is_ascii_digit())
            .filter(|x| *x)
            .map(|_| i64::from(b[at] - b'0') * 10 + i64::from(b[at + 1] - b'0'))
    };
    match b {
        b"Z" => Some(0),
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let (hours, minutes) = (two(1)?, two(4)?);
            if hours > 24 || minutes > 59 {
                return None;
            }
            Some((hours * 3_600 + minutes * 60) * if *sign == b'+' { 1 } else { -1 })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_digits_are_read_like_one_after_the_other() {
        for number in [0, 1, 9, 10, 12_345_678, 87_654_321, 90_000_009, 99_999_999] {
            let text = format!("{number:08}");
            assert_eq!(eight_digits(text.as_bytes().try_into().expect("eight")), Some(number), "{text}");
        }
        // Each other byte, at each place.
        for at in 0..8 {
            for byte in (0..=u8::MAX).filter(|byte| !byte.is_ascii_digit()) {
                let mut text = *b"12345678";
                text[at] = byte;
                assert_eq!(eight_digits(text), None, "{text:?}");
            }
        }
    }

    #[test]
    fn times_that_are_read() {
        for (text, nanos) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2024-03-05T08:15:30.123456789Z", 1_709_626_530_123_456_789),
            ("2024-03-05T08:15:30.5Z", 1_709_626_530_500_000_000),
            ("2024-03-05T08:15:30.12345678Z", 1_709_626_530_123_456_780),
            ("2024-03-05T08:15:30.1234567Z", 1_709_626_530_123_456_700),
            ("2024-03-05T08:15:30.123456Z", 1_709_626_530_123_456_000),
            ("2024-03-05T09:15:30.000001+01:00", 1_709_626_530_000_001_000),
            ("2024-03-05T08:15:30,999999Z", 1_709_626_530_999_999_000),
            ("2024-03-05T08:15:30.12345Z", 1_709_626_530_123_450_000),
            ("2024-03-05T08:15:30.000000001+00:00", 1_709_626_530_000_000_001),
            ("2024-03-05T08:15:30,5Z", 1_709_626_530_500_000_000),
            ("2024-03-05T09:15:30.5+01:00", 1_709_626_530_500_000_000),
            ("2024-03-05T03:45:30.5-04:30", 1_709_626_530_500_000_000),
            ("2024-02-29T23:59:59.999999999+00:00", 1_709_251_199_999_999_999),
            ("2024-03-05T08:15:30.1234567891234Z", 1_709_626_530_123_456_789),
            ("1969-12-31T23:59:59Z", -1_000_000_000),
        ] {
            assert_eq!(rfc3339(text), Some(nanos), "{text}");
            let mut memory = Rfc3339::default();
            assert_eq!((memory.parse(text), memory.parse(text)), (Some(nanos), Some(nanos)), "{text}");
        }
    }

    #[test]
    fn times_that_are_none() {
        for text in [
            "",
            "yesterday",
            "2024-03-05",
            "2024-03-05T08:15:30",
            "2024-03-05T08:15:30.Z",
            "2024-03-05T08:15:30.12345xZ",
            "2024-03-05T08:15:30.123456",
            "2024-03-05 08:15:30Z",
            "2024-13-05T08:15:30Z",
            "2023-02-29T08:15:30Z",
            "2024-03-05T24:15:30Z",
            "2024-03-05T08:15:30+1:00",
            "2024-03-05T08:15:30Zz",
            "9999-12-31T23:59:59Z",
            "2024-03-05T08:15:30.5",
            "２024-03-05T08:15:30Z",
        ] {
            assert_eq!(rfc3339(text), None, "{text}");
            assert_eq!(Rfc3339::default().parse(text), None, "{text}");
        }
    }
}
