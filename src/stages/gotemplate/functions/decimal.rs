//! Decimal arithmetic: 0.1 + 0.2 is 0.3.

/// `digits` times 10^`exponent`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decimal {
    digits: i128,
    exponent: i32,
}

impl Decimal {
    /// Digits after the decimal point that a division keeps.
    const PRECISION: i32 = 16;

    /// The shortest decimal equal to this number. None if the number is not finite.
    pub fn new(number: f64) -> Option<Self> {
        let text = format!("{number:e}");
        let (mantissa, exponent) = text.split_once('e')?;
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = format!("{whole}{fraction}").parse().ok()?;
        Some(Self { digits, exponent: exponent.parse::<i32>().ok()? - fraction.len() as i32 })
    }

    pub fn to_float(self) -> f64 {
        format!("{}e{}", self.digits, self.exponent).parse().unwrap_or(f64::NAN)
    }

    pub fn add(self, other: Self) -> Option<Self> {
        let exponent = self.exponent.min(other.exponent);
        let digits = self.scaled(exponent)?.checked_add(other.scaled(exponent)?)?;
        Some(Self { digits, exponent })
    }

    pub fn sub(self, other: Self) -> Option<Self> {
        self.add(Self { digits: -other.digits, ..other })
    }

    pub fn mul(self, other: Self) -> Option<Self> {
        let digits = self.digits.checked_mul(other.digits)?;
        Some(Self { digits, exponent: self.exponent + other.exponent })
    }

    /// Divides, rounding half away from zero. None for a division by zero.
    pub fn div(self, other: Self) -> Option<Self> {
        let shift = self.exponent - other.exponent + Self::PRECISION;
        let (dividend, divisor) = match shift {
            0.. => (self.digits.checked_mul(power(shift)?)?, other.digits),
            _ => (self.digits, other.digits.checked_mul(power(-shift)?)?),
        };
        let (quotient, rest) = (dividend.checked_div(divisor)?, dividend.checked_rem(divisor)?);
        let half = rest.unsigned_abs() >= divisor.unsigned_abs().div_ceil(2);
        let away = if (dividend < 0) == (divisor < 0) { 1 } else { -1 };
        Some(Self { digits: quotient + if half && rest != 0 { away } else { 0 }, exponent: -Self::PRECISION })
    }

    fn scaled(self, exponent: i32) -> Option<i128> {
        if self.digits == 0 {
            return Some(0);
        }
        self.digits.checked_mul(power(self.exponent - exponent)?)
    }
}

fn power(exponent: i32) -> Option<i128> {
    10_i128.checked_pow(u32::try_from(exponent).ok()?)
}
