//! The block `spool` of a receiver.

use serde::{Deserialize, Serialize};

use crate::model::ConfigError;
use crate::model::units::ByteSize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The most bytes on disk.
    pub max_size: ByteSize,
}

impl Default for Config {
    fn default() -> Self {
        Self { max_size: ByteSize(1 << 30) }
    }
}

impl Config {
    pub fn validate(&self) -> Result<(), ConfigError> {
        match self.max_size.0 {
            ..0x100_0000 => Err(ConfigError::new("max_size", "must be at least 16MB")),
            _ => Ok(()),
        }
    }
}
