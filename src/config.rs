//! A `promtail.yaml` as it is written, the sum of the rooms' own configs; and everything that can be wrong with it, found
//! before the first task starts.
//!
//! [`Config::load`] reads it: default < file < flag. [`check`] then builds what can be built without a network.

mod blocks;
mod check;
mod expand;
mod host;
mod needs;
mod overlay;
mod restart;
mod scrape;
#[cfg(test)]
mod tests;
mod unsupported;

use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

use crate::model::{Labels, bounded};
use crate::yaml::{self, Place};
use crate::{push, server};

pub use blocks::{
    FileWatchConfig, GlobalConfig, LimitsConfig, OptionsConfig, PositionsConfig, TargetConfig, TracingConfig, WalConfig,
};
pub use check::{Warnings, check};
pub use host::{hostname, node_name};
pub use needs::Needs;
pub use scrape::{Decompression, ScrapeConfig};
pub use unsupported::SkippedJob;

pub use crate::yaml::Error;

/// The whole file. The old `client` block is one of `clients` by the time it gets here.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub global: GlobalConfig,
    pub server: server::Config,
    pub clients: Vec<push::Config>,
    #[serde(deserialize_with = "yaml::nulls_are_values")]
    pub positions: PositionsConfig,
    pub scrape_configs: Vec<ScrapeConfig>,
    pub target_config: TargetConfig,
    #[serde(deserialize_with = "yaml::nulls_are_values")]
    pub limits_config: LimitsConfig,
    pub options: OptionsConfig,
    pub tracing: TracingConfig,
    pub wal: WalConfig,
    /// Jobs of the file that are not run, because `options.skip_unsupported_jobs` is set.
    #[serde(skip)]
    pub skipped_jobs: Vec<SkippedJob>,
}

/// What the command line says of the config.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Comma-separated; the first file that exists is it. Empty: no file.
    pub files: String,
    pub expand_env: bool,
    pub settings: Vec<Setting>,
    /// For every client that does not set the same label itself.
    pub external_labels: Labels,
    /// Nothing is sent, so no client is needed.
    pub dry_run: bool,
}

impl Request {
    pub fn file_names(&self) -> impl Iterator<Item = &str> {
        self.files.split(',').map(str::trim).filter(|name| !name.is_empty())
    }
}

/// A flag that sets a key of the config.
#[derive(Clone, Debug)]
pub struct Setting {
    pub flag: &'static str,
    pub key: &'static str,
    pub value: Scalar,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
}

/// A config with the text it was read from, which complaints point into.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    document: yaml::Document,
    warnings: Vec<Error>,
    dry_run: bool,
}

impl Config {
    pub fn load(request: &Request, env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, Error> {
        let (file, mut text) = first_existing(request)?;
        if request.expand_env {
            text = expand::expand(&text, env).map_err(|e| {
                let position = Some((e.line, e.column));
                Error::new(Place { file: file.clone(), position, ..Place::default() }, e.to_string())
            })?;
        }
        let hint = (!request.expand_env && text.contains("${")).then_some(EXPAND_HINT);
        let mut document = yaml::Document::parse(file, text, hint)?;
        let (warnings, skipped_jobs) = overlay::apply(&mut document, request)?;
        let config = Self { skipped_jobs, ..document.read()? };
        Ok(Loaded { config, document, warnings, dry_run: request.dry_run })
    }

    /// Another number means another text of the config file. `None`: it cannot be read now.
    pub fn fingerprint(request: &Request) -> Option<u64> {
        let mut hasher = std::hash::DefaultHasher::new();
        first_existing(request).ok()?.hash(&mut hasher);
        Some(hasher.finish())
    }

    /// The effective config, defaults and flags included, without a secret in it.
    pub fn to_masked_yaml(&self) -> String {
        let mut value = yaml::to_value(self);
        yaml::mask(&mut value);
        yaml::to_string(&value)
    }
}

const EXPAND_HINT: &str =
    "Use `-config.expand-env=true` flag if you want to expand environment variables in your config file";

/// How many bytes a config file may have.
const LARGEST: u64 = 16 << 20;

/// The first file of a comma-separated list that is there, and its text.
fn first_existing(request: &Request) -> Result<(Option<String>, String), Error> {
    let list = &request.files;
    if list.trim().is_empty() {
        return Ok((None, String::new()));
    }
    for name in request.file_names() {
        match std::fs::File::open(name).and_then(|file| bounded::read(file, LARGEST)) {
            Ok(bytes) => {
                let text = String::from_utf8(bytes).map_err(|e| {
                    let at = e.utf8_error().valid_up_to();
                    Error::plain(format!("{name}: not UTF-8 text, at byte {at}: save the file as UTF-8"))
                })?;
                return Ok((Some(name.to_string()), text));
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(Error::plain(format!("cannot read {name}: {e}"))),
        }
    }
    Err(Error::plain(format!("{list} does not exist, set config.file for custom config path")))
}
