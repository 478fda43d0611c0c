//! The `relabel_configs` section of the config.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::model::units;

/// One rule. None: the key was left out. Null is an empty text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(default, deserialize_with = "names", skip_serializing_if = "Option::is_none")]
    pub source_labels: Option<Vec<String>>,
    /// Separates the values of the source labels. Default `;`.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    pub separator: Option<String>,
    /// Must match the whole text. Default `(.*)`.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modulus: Option<u64>,
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    pub target_label: Option<String>,
    /// A template with the groups of `regex`. Default `$1`.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    pub replacement: Option<String>,
    #[serde(default)]
    pub action: Action,
}

/// The action of a rule. Read in any case, printed in lower case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    #[default]
    Replace,
    Keep,
    Drop,
    KeepEqual,
    DropEqual,
    HashMod,
    LabelMap,
    LabelDrop,
    LabelKeep,
    Lowercase,
    Uppercase,
}

impl Action {
    const ALL: [Self; 11] = [
        Self::Replace,
        Self::Keep,
        Self::Drop,
        Self::KeepEqual,
        Self::DropEqual,
        Self::HashMod,
        Self::LabelMap,
        Self::LabelDrop,
        Self::LabelKeep,
        Self::Lowercase,
        Self::Uppercase,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Replace => "replace",
            Self::Keep => "keep",
            Self::Drop => "drop",
            Self::KeepEqual => "keepequal",
            Self::DropEqual => "dropequal",
            Self::HashMod => "hashmod",
            Self::LabelMap => "labelmap",
            Self::LabelDrop => "labeldrop",
            Self::LabelKeep => "labelkeep",
            Self::Lowercase => "lowercase",
            Self::Uppercase => "uppercase",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Action {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = units::string(deserializer)?;
        Self::ALL.into_iter().find(|action| action.as_str().eq_ignore_ascii_case(&name)).ok_or_else(|| {
            let known = Self::ALL.map(Self::as_str).join(", ");
            de::Error::custom(format_args!("unknown relabel action {name:?}, expected one of {known}"))
        })
    }
}

impl Serialize for Action {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Reads a text. `Option` alone would read `regex: null` as a missing key.
fn written<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    units::string(deserializer).map(Some)
}

fn names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    /// A label may be named `123` or `true` without quotes.
    #[derive(Deserialize)]
    struct Name(#[serde(deserialize_with = "units::string")] String);

    let names = Option::<Vec<Name>>::deserialize(deserializer)?;
    Ok(names.map(|names| names.into_iter().map(|Name(name)| name).collect()))
}
