//! A config error and the key that it belongs to.

use std::fmt;

use super::{KeyPath, Step};

/// A problem with a value in the config. Warnings have the same form.
///
/// The check of a block knows only the path inside that block. Each caller adds its own step with
/// [`ConfigError::within`], until the path begins at the root of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    pub path: KeyPath,
    /// The text without the path. It never contains a secret.
    pub problem: String,
}

impl ConfigError {
    /// A problem at a key of the block that is being checked.
    pub fn new(key: &str, problem: impl Into<String>) -> Self {
        Self::at(KeyPath::key(key), problem)
    }

    /// A problem of the whole block.
    pub fn here(problem: impl Into<String>) -> Self {
        Self::at(KeyPath::default(), problem)
    }

    pub fn at(path: KeyPath, problem: impl Into<String>) -> Self {
        Self { path, problem: problem.into() }
    }

    /// The same problem, with `step` (a key or a list index) put in front of its path.
    pub fn within(self, step: impl Into<Step>) -> Self {
        Self { path: self.path.within(step), ..self }
    }
}

/// Writes path and problem: `clients[0].url: is required`.
impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.steps().is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.problem)
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_caller_adds_its_step() {
        let url = ConfigError::new("url", "is required");
        assert_eq!(url.to_string(), "url: is required");
        assert_eq!(url.within(0).within("clients").to_string(), "clients[0].url: is required");
        let block = ConfigError::here("at most one may be set");
        assert_eq!(block.to_string(), "at most one may be set");
        assert_eq!(block.within("oauth2").to_string(), "oauth2: at most one may be set");
    }

    /// A key in a user's config may look like a path.
    #[test]
    fn a_key_is_one_step_whatever_is_in_it() {
        let header = ConfigError::new("x.y[0]: z", "is not valid").within("headers");
        assert_eq!(header.path.steps(), [Step::from("headers"), Step::from("x.y[0]: z")]);
    }
}
