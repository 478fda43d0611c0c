//! What is wrong with a config, and what several of its blocks are checked for.

pub use crate::model::ConfigError as Error;

/// A `*_ref` names a secret in a secret manager, which no agent of this family ever had.
pub fn refuse_refs<'a>(refs: impl IntoIterator<Item = (&'a str, &'a String)>) -> Result<(), Error> {
    match refs.into_iter().find(|(_, value)| !value.is_empty()) {
        Some((key, _)) => {
            let file = key.replace("_ref", "_file");
            Err(Error::new(key, format!("there is no secret manager to ask; mount the secret and set {file}")))
        }
        None => Ok(()),
    }
}

/// A value is written into the config or kept in a file, not both.
pub fn exclusive(key: &str, inline: bool, file: &str) -> Result<(), Error> {
    if inline && !file.is_empty() {
        return Err(Error::new(key, format!("at most one of {key} & {key}_file may be set")));
    }
    Ok(())
}
