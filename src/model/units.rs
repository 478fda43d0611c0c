//! Units and scalars of a Promtail config, parsed as yaml.v2 and Promtail's custom types parse them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::gonumber::{NoNumber, parse_duration, parse_float, parse_yaml_int};

/// A Go duration: `1s`, `500ms`, `1h30m`. A unit is required, and there is no unit for days.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct GoDuration(pub Duration);

impl FromStr for GoDuration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match parse_duration(text) {
            Ok(nanos) => match u64::try_from(nanos) {
                Ok(nanos) => Ok(Self(Duration::from_nanos(nanos))),
                Err(_) => Err(format!("invalid duration {text:?}: must not be negative")),
            },
            Err(NoNumber::Range(_)) => Err(format!("invalid duration {text:?}: too long")),
            Err(NoNumber::Syntax) => {
                Err(format!("invalid duration {text:?}: expected a number with a unit such as 500ms, 10s, 5m or 1h30m"))
            }
        }
    }
}

/// Writes the duration as Go does: `1h0m0s`, `1.5s`, `250ms`.
impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        let fraction = |value: u128, unit: u128| {
            let text = format!("{}.{:0width$}", value / unit, value % unit, width = unit.ilog10() as usize);
            text.trim_end_matches('0').trim_end_matches('.').to_string()
        };
        match nanos {
            0 => f.write_str("0s"),
            1..1_000 => write!(f, "{nanos}ns"),
            1_000..1_000_000 => write!(f, "{}µs", fraction(nanos, 1_000)),
            1_000_000..1_000_000_000 => write!(f, "{}ms", fraction(nanos, 1_000_000)),
            _ => {
                let (minutes, rest) = (nanos / 60_000_000_000, nanos % 60_000_000_000);
                if minutes >= 60 {
                    write!(f, "{}h", minutes / 60)?;
                }
                if minutes > 0 {
                    write!(f, "{}m", minutes % 60)?;
                }
                write!(f, "{}s", fraction(rest, 1_000_000_000))
            }
        }
    }
}

/// A Prometheus duration, used by service discovery: `30s`, `5m`, `1d`, `2w`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PromDuration(pub Duration);

impl FromStr for PromDuration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = || format!("invalid duration {text:?}: expected for instance 30s, 5m, 1h or 1d");
        if text == "0" {
            return Ok(Self(Duration::ZERO));
        }
        let (mut rest, mut millis) = (text, 0u64);
        if rest.is_empty() {
            return Err(invalid());
        }
        while !rest.is_empty() {
            let number = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(invalid)?;
            let value: u64 = rest[..number].parse().map_err(|_| invalid())?;
            rest = &rest[number..];
            let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
            let scale = match &rest[..unit] {
                "ms" => 1,
                "s" => 1_000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                "w" => 7 * 86_400_000,
                "y" => 365 * 86_400_000,
                _ => return Err(invalid()),
            };
            millis = value.checked_mul(scale).and_then(|v| millis.checked_add(v)).ok_or_else(invalid)?;
            rest = &rest[unit..];
        }
        Ok(Self(Duration::from_millis(millis)))
    }
}

impl fmt::Display for PromDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        GoDuration(self.0).fmt(f)
    }
}

/// A size in bytes: `256kb`, `2M`, `1MiB`, `5b` or a number. Units are powers of 1024, as in Loki.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = || format!("invalid size {text:?}: expected a number of bytes or for instance 256kb, 2MB");
        let trimmed = text.trim();
        if text.is_empty() {
            return Ok(Self(0));
        }
        // Promtail's YAML parser reads unquoted `1_000` and `0x400` as numbers.
        if let Some(bytes) = parse_yaml_int(trimmed).filter(|_| !trimmed.bytes().all(|b| b.is_ascii_digit())) {
            return u64::try_from(bytes).map(Self).map_err(|_| invalid());
        }
        let split = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ',').unwrap_or(trimmed.len());
        let number = parse_float(&trimmed[..split].replace(',', "")).map_err(|_| invalid())?;
        let shift = match trimmed[split..].trim().to_ascii_lowercase().as_str() {
            "" | "b" | "byte" | "bytes" => 0,
            "k" | "kb" | "kib" | "ki" => 10,
            "m" | "mb" | "mib" | "mi" => 20,
            "g" | "gb" | "gib" | "gi" => 30,
            "t" | "tb" | "tib" | "ti" => 40,
            "p" | "pb" | "pib" | "pi" => 50,
            "e" | "eb" | "eib" | "ei" => 60,
            _ => return Err(invalid()),
        };
        let bytes = number * (1u64 << shift) as f64;
        if bytes >= i64::MAX as f64 {
            return Err(invalid());
        }
        Ok(Self(bytes as u64))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("0"),
            n if n % (1 << 30) == 0 => write!(f, "{}GB", n >> 30),
            n if n % (1 << 20) == 0 => write!(f, "{}MB", n >> 20),
            n if n % (1 << 10) == 0 => write!(f, "{}KB", n >> 10),
            n => write!(f, "{n}B"),
        }
    }
}

/// Implements serde with `FromStr` and `Display`. Accepts a bare number as its digits.
macro_rules! scalar {
    ($type:ty, $expecting:literal) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Scalar;
                impl Visitor<'_> for Scalar {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }
                    fn visit_str<E: de::Error>(self, v: &str) -> Result<$type, E> {
                        v.parse().map_err(E::custom)
                    }
                    fn visit_u64<E: de::Error>(self, v: u64) -> Result<$type, E> {
                        v.to_string().parse().map_err(E::custom)
                    }
                    fn visit_unit<E: de::Error>(self) -> Result<$type, E> {
                        Ok(<$type>::default())
                    }
                }
                deserializer.deserialize_any(Scalar)
            }
        }
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

scalar!(GoDuration, "a duration such as 500ms, 10s or 1h30m");
scalar!(PromDuration, "a duration such as 30s, 5m or 1d");
scalar!(ByteSize, "a number of bytes or a size such as 256kb or 2MB");

/// A value that must never appear in a log, on a page or in a dump.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The secret itself. Only for sending it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "" } else { "<secret>" })
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.0.is_empty() { "" } else { "<secret>" })
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        string(deserializer).map(Self)
    }
}

/// For `#[serde(deserialize_with = "units::string")]`: a scalar as it was written. Null and `~` become the empty
/// string.
pub fn string<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    struct Text;
    impl<'de> Visitor<'de> for Text {
        type Value = String;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }
        fn visit_str<E: de::Error>(self, v: &str) -> Result<String, E> {
            Ok(if v == "~" || v == "null" { String::new() } else { v.to_string() })
        }
        fn visit_unit<E: de::Error>(self) -> Result<String, E> {
            Ok(String::new())
        }
        fn visit_none<E: de::Error>(self) -> Result<String, E> {
            Ok(String::new())
        }
        fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<String, D::Error> {
            d.deserialize_str(Text)
        }
    }
    // With `deserialize_str`, serde_yaml passes scalars verbatim (`1.10`, `0123`, `yes`). `Option` would lose the null.
    deserializer.deserialize_str(Text)
}

/// For `#[serde(deserialize_with = "units::or_default")]`: a key without a value gets its default.
pub fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations() {
        for (text, millis) in
            [("1s", 1000), ("500ms", 500), ("1h30m", 5_400_000), ("1.5s", 1500), ("0", 0), ("0s", 0), ("+2m", 120_000)]
        {
            assert_eq!(text.parse(), Ok(GoDuration(Duration::from_millis(millis))), "{text}");
        }
        for bad in ["", "1", "1 second", "2d", "-1s", "s", "1s2", "1..5s", "abc"] {
            assert!(bad.parse::<GoDuration>().is_err(), "{bad}");
        }
    }

    #[test]
    fn go_durations_print_as_go_prints_them() {
        for (millis, text) in
            [(0, "0s"), (250, "250ms"), (1000, "1s"), (1500, "1.5s"), (300_000, "5m0s"), (5_400_000, "1h30m0s")]
        {
            assert_eq!(GoDuration(Duration::from_millis(millis)).to_string(), text);
        }
    }

    #[test]
    fn prometheus_durations() {
        assert_eq!("1d12h".parse(), Ok(PromDuration(Duration::from_secs(129_600))));
        assert!("1.5s".parse::<PromDuration>().is_err());
    }

    #[test]
    fn byte_sizes() {
        for (text, bytes) in [
            ("256kb", 262_144),
            ("2M", 2 << 20),
            ("5b", 5),
            ("1024", 1024),
            ("1.5KiB", 1536),
            ("0", 0),
            ("", 0),
            ("1_000", 1000),
            ("0x400", 1024),
            ("010", 10),
            ("1byte", 1),
            ("1PB", 1 << 50),
            ("2eb", 2 << 60),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for bad in [" ", "12 elephants", "kb", "-1", "8eb", "1_0k", "0x", "1e3"] {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad}");
        }
    }

    #[test]
    fn secrets_do_not_show() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?}"), "<secret>");
        assert_eq!(serde_yaml::to_string(&secret).expect("a string"), "<secret>\n");
    }
}
