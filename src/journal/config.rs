//! The block `journal` of a job.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::folders::ROOTS;
use super::matches::Matches;
use crate::model::units::GoDuration;
use crate::model::{ConfigError, Labels};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Older entries are not read if the job has no cursor yet.
    pub max_age: GoDuration,
    /// The line is a JSON object with all fields of the entry, instead of its message.
    pub json: bool,
    /// Labels of all entries, before relabelling.
    pub labels: Labels,
    /// A folder of journal files. Empty: those of this machine in /var/log/journal and /run/log/journal.
    pub path: String,
    /// Selects the entries to read, by terms as for journalctl.
    pub matches: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_age: GoDuration(Duration::from_hours(7)),
            json: false,
            labels: Labels::new(),
            path: String::new(),
            matches: String::new(),
        }
    }
}

impl Config {
    /// The folders that it reads.
    pub fn folders(&self) -> Vec<PathBuf> {
        match self.path.as_str() {
            "" => ROOTS.map(PathBuf::from).to_vec(),
            path => vec![path.into()],
        }
    }

    pub fn validate(&self) -> Result<(), ConfigError> {
        if !self.path.is_empty() && !self.path.starts_with('/') {
            return Err(ConfigError::new("path", "must be an absolute path, such as /var/log/journal"));
        }
        Matches::parse(&self.matches).map(drop).map_err(|problem| ConfigError::new("matches", problem))
    }
}
