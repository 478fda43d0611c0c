//! What is wrong with a YAML file, and where.

use std::fmt;

#[derive(Clone, Debug)]
pub struct Error {
    place: Place,
    message: Box<str>,
    hint: Option<&'static str>,
    unknown_key: Option<Box<str>>,
}

/// Where in a file something stands: as much of it as is known.
#[derive(Clone, Debug, Default)]
pub struct Place {
    pub file: Option<String>,
    /// Line and column, from 1.
    pub position: Option<(usize, usize)>,
    /// Key path, or the flag.
    pub path: String,
}

impl Error {
    pub fn new(place: Place, message: impl Into<String>) -> Self {
        Self { place, message: message.into().into(), hint: None, unknown_key: None }
    }

    /// Without a place.
    pub fn plain(message: impl Into<String>) -> Self {
        Self::new(Place::default(), message)
    }

    pub(super) fn with_hint(mut self, hint: Option<&'static str>) -> Self {
        self.hint = hint;
        self
    }

    pub(super) fn with_unknown_key(mut self, key: Option<&str>) -> Self {
        self.unknown_key = key.map(Into::into);
        self
    }

    /// Line and column, from 1, if they are known.
    pub fn position(&self) -> Option<(usize, usize)> {
        self.place.position
    }

    /// The key, if what is wrong is that nobody knows it.
    pub fn unknown_key(&self) -> Option<&str> {
        self.unknown_key.as_deref()
    }
}

impl std::error::Error for Error {}

/// `promtail.yaml:12:5: clients[0].batch_wait: unknown key, did you mean batchwait?`
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.place, self.message)?;
        self.hint.map_or(Ok(()), |hint| write!(f, ". {hint}"))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.position) {
            (Some(file), Some((line, column))) => write!(f, "{file}:{line}:{column}: ")?,
            (Some(file), None) => write!(f, "{file}: ")?,
            (None, Some((line, column))) => write!(f, "line {line}, column {column}: ")?,
            (None, None) => {}
        }
        match self.path.as_str() {
            "" => Ok(()),
            path => write!(f, "{path}: "),
        }
    }
}
