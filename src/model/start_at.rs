//! Where reading of a file begins that existed before the first start.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::units::PromDuration;

/// In YAML: `beginning`, `end`, a duration such as `1h`, or a time such as `2026-11-27T10:00:00Z`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartAt {
    #[default]
    Beginning,
    End,
    /// Files that were last modified longer ago than this begin at their end.
    Ago(Duration),
    /// Files that were last modified before this time begin at their end.
    Time(Timestamp),
}

impl StartAt {
    /// Files that were last modified before the result begin at their end. None: no file does.
    pub fn not_before(self, now: SystemTime) -> Option<SystemTime> {
        match self {
            Self::Beginning => None,
            // Also files that seem to be modified in the future.
            Self::End => now.checked_add(Duration::from_secs(u32::MAX.into())),
            Self::Ago(ago) => now.checked_sub(ago),
            Self::Time(time) => Some(time.into()),
        }
    }
}

impl FromStr for StartAt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "beginning" => return Ok(Self::Beginning),
            "end" => return Ok(Self::End),
            _ => {}
        }
        if let Ok(PromDuration(ago)) = text.parse() {
            return Ok(Self::Ago(ago));
        }
        text.parse().map(Self::Time).map_err(|_| {
            format!(
                "{text:?}: expected beginning, end, a duration such as 1h or 7d, or a time such as 2026-11-27T10:00:00Z"
            )
        })
    }
}

impl fmt::Display for StartAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Beginning => f.write_str("beginning"),
            Self::End => f.write_str("end"),
            Self::Ago(ago) => PromDuration(*ago).fmt(f),
            Self::Time(time) => time.fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for StartAt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl Serialize for StartAt {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_the_files_that_begin_at_their_end() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let before = |text: &str| {
            let start: StartAt = text.parse().expect(text);
            assert_eq!(start.to_string().parse(), Ok(start), "{text}");
            start.not_before(now).map(|time| time.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs())
        };
        assert_eq!(before("beginning"), None);
        assert!(before("end").is_some_and(|time| time > 1_000_000 + 100 * 365 * 86_400));
        assert_eq!(before("1h"), Some(1_000_000 - 3_600));
        assert_eq!(before("7d"), Some(1_000_000 - 7 * 86_400));
        assert_eq!(before("1970-01-02T01:00:00+01:00"), Some(86_400));
        // Longer than there were files.
        assert_eq!(before("1970-01-01T00:00:00Z"), Some(0));
    }

    #[test]
    fn other_texts_are_refused_with_the_choice() {
        for text in ["", "now", "START", "-1h", "2026-11-27", "1h ago", "tail"] {
            let error = text.parse::<StartAt>().expect_err(text);
            assert!(error.contains("expected beginning, end, a duration"), "{error}");
        }
    }
}
