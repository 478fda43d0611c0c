//! An error in a YAML file, with its place.

use std::fmt;

#[derive(Clone, Debug)]
pub struct Error {
    place: Place,
    message: Box<str>,
    hint: Option<&'static str>,
    unknown_key: Option<Box<str>>,
}

/// A place in a file, as far as it is known.
#[derive(Clone, Debug, Default)]
pub struct Place {
    pub file: Option<String>,
    /// Line and column, from 1.
    pub position: Option<(usize, usize)>,
    /// The key path, or the name of the flag.
    pub path: String,
}

impl Error {
    pub fn new(place: Place, message: impl Into<String>) -> Self {
        Self { place, message: message.into().into(), hint: None, unknown_key: None }
    }

    /// An error without a place.
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

    /// Several errors, one on each line, then an advice, and the hint once. The place is that of the first.
    pub fn all(mut errors: Vec<Self>, advice: Option<String>) -> Self {
        let hint = take_hint(&mut errors);
        let mut errors = errors.into_iter();
        let mut first = errors.next().unwrap_or_else(|| Self::plain(""));
        let last = advice.into_iter().chain(hint.map(String::from));
        let more: String = errors.map(|error| error.to_string()).chain(last).map(|line| format!("\n{line}")).collect();
        first.message = (String::from(first.message) + &more).into();
        first
    }

    /// Line and column, from 1, if known.
    pub fn position(&self) -> Option<(usize, usize)> {
        self.place.position
    }

    /// The path of the key, if known.
    pub fn path(&self) -> &str {
        &self.place.path
    }

    /// The key, if the error is that the key is unknown.
    pub fn unknown_key(&self) -> Option<&str> {
        self.unknown_key.as_deref()
    }
}

/// Takes the hints away from the errors, so that one can be printed below all of them.
pub fn take_hint(errors: &mut [Error]) -> Option<&'static str> {
    errors.iter_mut().filter_map(|error| error.hint.take()).last()
}

impl std::error::Error for Error {}

/// Writes `promtail.yaml:12:5: clients[0].batch_wait: unknown key, did you mean batchwait?`
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.place, self.message)?;
        let stop = if self.message.ends_with(['.', '?', '!']) { "" } else { "." };
        self.hint.map_or(Ok(()), |hint| write!(f, "{stop} {hint}"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_has_one_stop_before_it_and_is_said_once() {
        let error = |message: &str| Error::plain(message).with_hint(Some("Use a flag"));
        for (message, want) in [("no", "no. Use a flag"), ("no.", "no. Use a flag"), ("a key?", "a key? Use a flag")] {
            assert_eq!(error(message).to_string(), want);
        }
        let all = Error::all(vec![error("one"), error("two?")], Some("help".into()));
        assert_eq!(all.to_string(), "one\ntwo?\nhelp\nUse a flag");
    }
}
