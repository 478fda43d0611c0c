//! The config file, `promtail.yaml`. Consists of the configs of the modules.
//!
//! [`Config::load`] reads it. Flags override the file, and the file overrides defaults. [`check`] then builds
//! everything that needs no network, so that mistakes are found before the first task starts.

mod blocks;
mod check;
mod expand;
mod host;
mod job;
mod lint;
mod needs;
mod overlay;
mod restart;
mod scrape;
#[cfg(test)]
mod tests;
mod unsupported;
mod uses;
mod variables;

use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

use self::overlay::Applied;
use crate::model::{Labels, bounded};
use crate::yaml::{self, Place};
use crate::{push, server};

pub use blocks::{
    FileWatchConfig, GlobalConfig, LimitsConfig, OptionsConfig, PositionsConfig, TargetConfig, TracingConfig, WalConfig,
};
pub use check::{Warnings, check};
pub use host::{hostname, node_name};
pub use lint::{Findings, lint};
pub use needs::Needs;
pub use scrape::{Decompression, ScrapeConfig};
pub use unsupported::SkippedJob;
pub use uses::{Part, Verdict, mark, uses};

pub use crate::yaml::Error;

/// The whole file. [`Config::load`] moves the deprecated `client` block into `clients`.
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

/// The part of the command line that is about the config.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// File names separated by commas. The first one that exists is used. Empty: no file.
    pub files: String,
    pub expand_env: bool,
    pub settings: Vec<Setting>,
    /// Added to each client that does not set the same label itself.
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

/// A config and its text, so that errors can name the place in the file.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    document: yaml::Document,
    /// Warnings about variables that were replaced by nothing.
    unset: Vec<Error>,
    /// All others.
    warnings: Vec<Error>,
    dry_run: bool,
}

/// What is right of a config.
struct Partial {
    /// None: nothing of it can be read.
    loaded: Option<Loaded>,
    mistakes: Vec<Error>,
    /// The warnings if nothing of it can be read. Otherwise, they are in `loaded`.
    warnings: Vec<Error>,
    advice: Option<String>,
    /// Neither the file nor a flag sets a client.
    no_client: bool,
}

impl Config {
    pub fn load(request: &Request, env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, Error> {
        let (text, unset) = Text::read(request, env)?;
        let mut document = text.parse().map_err(|e| with_unset(e, &unset))?;
        let Applied { warnings, skipped, mut mistakes, advice } = Self::apply(&mut document, request);
        let read = document.read::<Self>();
        if mistakes.is_empty() {
            let config = Self { skipped_jobs: skipped, ..read.map_err(|e| with_unset(e, &unset))? };
            return Ok(Loaded { config, document, unset, warnings, dry_run: request.dry_run });
        }
        match read {
            Ok(config) => {
                let unset = unset.clone();
                let rest = Loaded { config, document, unset, warnings, dry_run: request.dry_run };
                mistakes.extend(check::check_all(&rest).0);
            }
            Err(mistake) => mistakes.push(mistake),
        }
        Err(all_with_unset(mistakes, advice, &unset))
    }

    /// Loads what is right of a config, and all errors.
    fn load_what_is_right(request: &Request, env: &dyn Fn(&str) -> Option<String>) -> Partial {
        let nothing = |mistake, warnings| Partial {
            loaded: None,
            mistakes: vec![mistake],
            warnings,
            advice: None,
            no_client: false,
        };
        let (text, unset) = match Text::read(request, env) {
            Ok(read) => read,
            Err(error) => return nothing(error, Vec::new()),
        };
        let mut document = match text.parse() {
            Ok(document) => document,
            Err(error) => return nothing(error, unset),
        };
        let applied = Self::apply(&mut document, request);
        let Applied { warnings, skipped, mut mistakes, advice } = applied;
        let no_client = match document.root_mut().get_mut("clients").map(|clients| &clients.content) {
            Some(yaml::Content::List(clients)) => clients.is_empty(),
            Some(content) => *content == yaml::Content::Null,
            None => true,
        };
        let (config, errors) = document.read_what_is_right::<Self>();
        mistakes.extend(errors);
        let (loaded, warnings) = match config {
            Some(config) => {
                let config = Self { skipped_jobs: skipped, ..config };
                (Some(Loaded { config, document, unset, warnings, dry_run: request.dry_run }), Vec::new())
            }
            None => (None, unset.into_iter().chain(warnings).collect()),
        };
        Partial { loaded, mistakes, warnings, advice, no_client }
    }

    /// Changes the tree: flags, and what is not supported.
    fn apply(document: &mut yaml::Document, request: &Request) -> Applied {
        let mut applied = overlay::apply(document, request);
        if !request.expand_env {
            applied.warnings.splice(0..0, variables::unreplaced(document));
        }
        applied
    }

    /// The text of the file as a tree, as it is written.
    fn text(request: &Request, env: &dyn Fn(&str) -> Option<String>) -> Result<yaml::Document, Error> {
        Text::read(request, env)?.0.parse()
    }

    /// A hash of the config file's name and text. `None`: the file cannot be read now.
    pub fn fingerprint(request: &Request) -> Option<u64> {
        let mut hasher = std::hash::DefaultHasher::new();
        first_existing(request).ok()?.hash(&mut hasher);
        Some(hasher.finish())
    }

    /// The config with defaults and flags. Secrets are masked.
    pub fn to_masked_yaml(&self) -> String {
        let mut value = yaml::to_value(self);
        yaml::mask(&mut value);
        yaml::to_string(&value)
    }
}

/// The text of a config file, with its variables replaced if that is wanted.
struct Text {
    file: Option<String>,
    text: String,
    hint: Option<&'static str>,
}

impl Text {
    /// Returns also a warning for each variable that was replaced by nothing.
    fn read(request: &Request, env: &dyn Fn(&str) -> Option<String>) -> Result<(Self, Vec<Error>), Error> {
        let (file, text) = first_existing(request)?;
        if !request.expand_env {
            let hint = text.contains("${").then_some(EXPAND_HINT);
            return Ok((Self { file, text, hint }, Vec::new()));
        }
        let at = |line, column, message: String| {
            Error::new(Place { file: file.clone(), position: Some((line, column)), ..Place::default() }, message)
        };
        let (text, unset) = expand::expand(&text, env).map_err(|e| at(e.line, e.column, e.to_string()))?;
        let unset = unset.iter().map(|unset| at(unset.line, unset.column, unset.to_string())).collect();
        Ok((Self { file, text, hint: None }, unset))
    }

    fn parse(self) -> Result<yaml::Document, Error> {
        yaml::Document::parse(self.file, self.text, self.hint)
    }
}

/// The error, with the variables that were replaced by nothing: they are often its reason.
fn with_unset(error: Error, unset: &[Error]) -> Error {
    all_with_unset(vec![error], None, unset)
}

/// The same for all errors and an advice about them.
fn all_with_unset(mut mistakes: Vec<Error>, advice: Option<String>, unset: &[Error]) -> Error {
    if mistakes.len() == 1 && advice.is_none() && unset.is_empty() {
        return mistakes.remove(0);
    }
    let lines: Vec<String> = advice.into_iter().chain(unset.iter().map(Error::to_string)).collect();
    Error::all(mistakes, (!lines.is_empty()).then(|| lines.join("\n")))
}

const EXPAND_HINT: &str =
    "Use `-config.expand-env=true` flag if you want to expand environment variables in your config file";

/// The maximum size of a config file in bytes.
const LARGEST: u64 = 16 << 20;

/// The name and text of the first file that exists.
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
    let names: Vec<&str> = request.file_names().collect();
    Err(Error::plain(match names.as_slice() {
        [name] => format!("{name} does not exist"),
        names => format!("none of these config files exists: {}", names.join(", ")),
    }))
}
