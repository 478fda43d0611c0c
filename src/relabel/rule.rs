//! A compiled rule.

use std::fmt;
use std::num::NonZeroU64;

use md5::{Digest, Md5};

use super::case;
use super::config::{Action, Config};
use crate::goregex::{Regex, Replacement};
use crate::model::{ConfigError, Labels};

#[derive(Clone, Debug)]
pub(super) enum Rule {
    Replace { source: Source, regex: Regex, target: Replacement, replacement: Replacement },
    Keep { source: Source, regex: Regex },
    Drop { source: Source, regex: Regex },
    KeepEqual { source: Source, target: String },
    DropEqual { source: Source, target: String },
    HashMod { source: Source, modulus: NonZeroU64, target: String },
    LabelMap { regex: Regex, replacement: Replacement },
    LabelDrop { regex: Regex },
    LabelKeep { regex: Regex },
    Lowercase { source: Source, target: String },
    Uppercase { source: Source, target: String },
}

/// Labels whose values are joined to one text.
#[derive(Clone, Debug)]
pub(super) struct Source {
    labels: Vec<String>,
    separator: String,
}

pub(super) const SEPARATOR: &str = ";";
pub(super) const REGEX: &str = "(.*)";
pub(super) const REPLACEMENT: &str = "$1";

impl Rule {
    pub(super) fn compile(config: &Config) -> Result<Self, ConfigError> {
        let action = config.action;
        let invalid = |key, problem: String| Err(ConfigError::new(key, problem));

        // Checked even if the action does not use it, as in Promtail.
        let regex = match Regex::anchored(config.regex.as_deref().unwrap_or(REGEX)) {
            Ok(regex) => regex,
            Err(e) => return invalid("regex", e.to_string()),
        };
        let labels = config.source_labels.clone().unwrap_or_default();
        if labels.iter().any(String::is_empty) {
            return invalid("source_labels", "a label has no name, remove it from the list".to_string());
        }
        if let Some((key, allowed)) = superfluous(config) {
            return invalid(key, format!("action {action} takes {allowed} and nothing else, remove this key"));
        }
        let source = Source { labels, separator: config.separator.clone().unwrap_or_else(|| SEPARATOR.to_string()) };
        let replacement = Replacement::new(config.replacement.as_deref().unwrap_or(REPLACEMENT));
        let target = || match &config.target_label {
            Some(target) if !target.is_empty() => Ok(target.clone()),
            _ => Err(ConfigError::new("target_label", format!("action {action} needs the name of a label"))),
        };

        Ok(match action {
            Action::Replace => Self::Replace { source, regex, target: Replacement::new(&target()?), replacement },
            Action::Keep => Self::Keep { source, regex },
            Action::Drop => Self::Drop { source, regex },
            Action::KeepEqual => Self::KeepEqual { source, target: target()? },
            Action::DropEqual => Self::DropEqual { source, target: target()? },
            Action::HashMod => match config.modulus.and_then(NonZeroU64::new) {
                Some(modulus) => Self::HashMod { source, modulus, target: target()? },
                None => return invalid("modulus", format!("action {action} needs a number greater than 0")),
            },
            Action::LabelMap if replacement.is_literal() == Some("") => {
                return invalid("replacement", format!("action {action} needs a label name, for instance $1"));
            }
            Action::LabelMap => Self::LabelMap { regex, replacement },
            Action::LabelDrop => Self::LabelDrop { regex },
            Action::LabelKeep => Self::LabelKeep { regex },
            Action::Lowercase => Self::Lowercase { source, target: target()? },
            Action::Uppercase => Self::Uppercase { source, target: target()? },
        })
    }

    /// The labels that are read by name, without those that `labelmap` finds by a pattern.
    pub(super) fn names_read(&self) -> Vec<&String> {
        match self {
            Self::Replace { source, .. }
            | Self::Keep { source, .. }
            | Self::Drop { source, .. }
            | Self::HashMod { source, .. }
            | Self::Lowercase { source, .. }
            | Self::Uppercase { source, .. } => source.labels.iter().collect(),
            Self::KeepEqual { source, target } | Self::DropEqual { source, target } => {
                source.labels.iter().chain([target]).collect()
            }
            Self::LabelMap { .. } | Self::LabelDrop { .. } | Self::LabelKeep { .. } => Vec::new(),
        }
    }

    /// Applies the rule. Returns false if the target is dropped.
    pub(super) fn apply(&self, labels: &mut Labels) -> bool {
        match self {
            Self::Replace { source, regex, target, replacement } => {
                let text = source.join(labels);
                if let Some(captures) = regex.captures(&text) {
                    let (mut name, mut value) = (String::new(), String::new());
                    target.expand(regex, &captures, &mut name);
                    replacement.expand(regex, &captures, &mut value);
                    set(labels, name, value);
                }
            }
            Self::Keep { source, regex } => return regex.is_match(&source.join(labels)),
            Self::Drop { source, regex } => return !regex.is_match(&source.join(labels)),
            Self::KeepEqual { source, target } => return source.join(labels) == value(labels, target),
            Self::DropEqual { source, target } => return source.join(labels) != value(labels, target),
            Self::HashMod { source, modulus, target } => {
                let hash = u128::from_be_bytes(Md5::digest(source.join(labels)).into());
                // The last 8 bytes of the hash, big-endian.
                set(labels, target.clone(), (hash as u64 % *modulus).to_string());
            }
            Self::LabelMap { regex, replacement } => {
                // Copied labels are not matched again. If two names become equal, the later one wins.
                for (name, value) in labels.clone() {
                    if let Some(captures) = regex.captures(&name) {
                        let mut new = String::new();
                        replacement.expand(regex, &captures, &mut new);
                        set(labels, new, value);
                    }
                }
            }
            Self::LabelDrop { regex } => labels.retain(|name, _| !regex.is_match(name)),
            Self::LabelKeep { regex } => labels.retain(|name, _| regex.is_match(name)),
            Self::Lowercase { source, target } => set(labels, target.clone(), case::lower(&source.join(labels))),
            Self::Uppercase { source, target } => set(labels, target.clone(), case::upper(&source.join(labels))),
        }
        true
    }
}

impl Source {
    fn join(&self, labels: &Labels) -> String {
        let mut text = String::new();
        for (i, label) in self.labels.iter().enumerate() {
            if i > 0 {
                text.push_str(&self.separator);
            }
            text.push_str(value(labels, label));
        }
        text
    }
}

fn value<'l>(labels: &'l Labels, name: &str) -> &'l str {
    labels.get(name).map_or("", String::as_str)
}

/// Sets a label. An empty value removes it. Does nothing if the name is empty.
///
/// All other names are allowed, as in Prometheus. Loki accepts fewer names, which only matters for labels that are
/// sent.
fn set(labels: &mut Labels, name: String, value: String) {
    if value.is_empty() {
        labels.remove(&name);
    } else if !name.is_empty() {
        labels.insert(name, value);
    }
}

/// A key that the action does not allow, and a list of those it allows. None: there is no such key. A default value
/// that is written is allowed, unless Prometheus checks whether the key was written.
fn superfluous(config: &Config) -> Option<(&'static str, &'static str)> {
    let source_labels = ("source_labels", config.source_labels.is_some());
    let separator = ("separator", config.separator.as_deref().is_some_and(|s| s != SEPARATOR));
    let regex = ("regex", config.regex.is_some());
    let modulus = ("modulus", config.modulus.unwrap_or_default() != 0);
    let target_label = ("target_label", config.target_label.as_deref().is_some_and(|t| !t.is_empty()));
    let replacement = ("replacement", config.replacement.as_deref().is_some_and(|r| r != REPLACEMENT));

    let (forbidden, allowed): (&[(&str, bool)], _) = match config.action {
        Action::KeepEqual | Action::DropEqual => {
            (&[regex, modulus, separator, replacement], "source_labels and target_label")
        }
        Action::LabelDrop | Action::LabelKeep => {
            (&[source_labels, target_label, modulus, separator, replacement], "regex")
        }
        Action::Lowercase | Action::Uppercase => (&[replacement], "source_labels, separator and target_label"),
        _ => (&[], ""),
    };
    forbidden.iter().find(|(_, written)| *written).map(|(key, _)| (*key, allowed))
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replace { source, regex, target, replacement } => {
                write!(f, "set {target} to \"{replacement}\" if {source} matches \"{regex}\"")
            }
            Self::Keep { source, regex } => write!(f, "keep if {source} matches \"{regex}\""),
            Self::Drop { source, regex } => write!(f, "drop if {source} matches \"{regex}\""),
            Self::KeepEqual { source, target } => write!(f, "keep if {source} equals {target}"),
            Self::DropEqual { source, target } => write!(f, "drop if {source} equals {target}"),
            Self::HashMod { source, modulus, target } => {
                write!(f, "set {target} to the hash of {source} mod {modulus}")
            }
            Self::LabelMap { regex, replacement } => {
                write!(f, "copy labels whose name matches \"{regex}\" to \"{replacement}\"")
            }
            Self::LabelDrop { regex } => write!(f, "remove labels whose name matches \"{regex}\""),
            Self::LabelKeep { regex } => write!(f, "remove labels unless their name matches \"{regex}\""),
            Self::Lowercase { source, target } => write!(f, "set {target} to {source} in lower case"),
            Self::Uppercase { source, target } => write!(f, "set {target} to {source} in upper case"),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}]", self.labels.join(", "))
    }
}
