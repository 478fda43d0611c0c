//! Secrets in the config or in files. Files are read for each use, so a changed secret is used at once.

use std::fmt;

use crate::model::bounded;
use crate::model::units::Secret;

/// A secret in the config or in a file.
pub struct SecretReader {
    pub(super) key: &'static str,
    inline: Secret,
    file: String,
}

impl SecretReader {
    pub(super) fn new(key: &'static str, inline: Secret, file: &str) -> Self {
        Self { key, inline, file: file.to_string() }
    }

    pub(super) fn is_unset(&self) -> bool {
        self.inline.is_empty() && self.file.is_empty()
    }

    pub fn read(&self) -> Result<Secret, String> {
        if self.file.is_empty() {
            return Ok(self.inline.clone());
        }
        read_file(&self.file).map_err(|e| format!("{}_file: {e}", self.key))
    }
}

impl fmt::Debug for SecretReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.key)
    }
}

/// The maximum size of a secret file in bytes. Real secrets have some hundred bytes.
const LARGEST: u64 = 64 << 10;

/// Reads a secret from a file, without a newline at the end.
pub fn read_file(path: &str) -> Result<Secret, String> {
    let text = std::fs::File::open(path).and_then(|file| bounded::read_text(file, LARGEST));
    let text = text.map_err(|e| format!("cannot read {path}: {e}"))?;
    Ok(Secret::new(text.trim()))
}
