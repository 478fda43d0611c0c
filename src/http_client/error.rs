//! Checks that several config blocks share.

pub use crate::model::ConfigError as Error;

/// Refuses `*_ref` keys, which name a secret in a secret manager. Neither Promtail nor fantail has one.
pub fn refuse_refs<'a>(refs: impl IntoIterator<Item = (&'a str, &'a String)>) -> Result<(), Error> {
    match refs.into_iter().find(|(_, value)| !value.is_empty()) {
        Some((key, _)) => {
            let file = key.replace("_ref", "_file");
            Err(Error::new(
                key,
                format!("secret managers are not supported: mount the secret as a file and set {file}"),
            ))
        }
        None => Ok(()),
    }
}

/// Refuses a value that is set both inline and as a file.
pub fn exclusive(key: &str, inline: bool, file: &str) -> Result<(), Error> {
    if inline && !file.is_empty() {
        return Err(Error::new(key, format!("at most one of {key} & {key}_file may be set")));
    }
    Ok(())
}
