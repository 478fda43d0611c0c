//! Stages turn lines into entries, as `pipeline_stages` of a Promtail config says.
//!
//! A stage is one file `stages/<name>.rs` and a row of [`TABLE`]. CONTRIBUTING.md lists the steps to add one.
//!
//! A stage borrows an entry and returns its outcome: [`Flow::Pass`] passes it on, [`Flow::Discard`] discards it with a
//! reason that is counted, and [`Flow::Held`] proves that the stage keeps the entry with its acknowledgement until the
//! stage releases the entry. So no entry can be forgotten, and entries are not moved in memory between stages.

mod container;
mod cri;
mod decolorize;
mod docker;
mod drop;
mod eventlogmessage;
mod extracted;
mod fudge;
mod geoip;
mod gojson;
mod golayout;
mod gotemplate;
#[cfg(test)]
mod hostile;
mod inspect;
mod json;
mod labelallow;
mod labeldrop;
mod labelling;
mod labels;
mod limit;
mod logfmt;
mod logql;
mod r#match;
mod metrics;
mod multiline;
mod observe;
mod options;
mod output;
mod pack;
mod pipeline;
mod reads;
mod recycle;
mod regex;
mod replace;
mod sampling;
mod static_labels;
mod structured_metadata;
mod table;
mod template;
mod tenant;
#[cfg(test)]
mod testing;
mod timestamp;
mod trace;
mod traced;
mod work;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use serde_yaml::{Mapping, Value as Yaml};

pub use docker::is_stderr;
pub use extracted::{Extracted, Key, Value};
pub use gojson::quote as quote_json;
pub use inspect::Inspector;
pub use limit::quota;
pub use metrics::CustomMetrics;
pub use pipeline::Pipeline;
pub use table::{Row, TABLE};
pub use traced::Traced;
pub use work::{Kept, Work};

use observe::Observer;
use options::Options;
use reads::Reads;

use crate::metrics::Dropped;
use crate::model::{Clock, ConfigError, KeyPath, Reason};

/// The outcome of an entry in a stage.
#[derive(Debug)]
pub enum Flow {
    Pass,
    Discard(Reason),
    /// The stage holds the entry and releases it later.
    Held(Kept),
}

/// A running stage, for all logs of a job.
pub trait Stage: Send {
    /// Processes one entry. Held entries that are complete now go to `released`; they continue before this one.
    fn process(&mut self, work: &mut Work<'_>, released: &mut Vec<Work<'static>>) -> Flow;

    /// Releases held entries that are due, in order.
    fn release(&mut self, _due: Due, _released: &mut Vec<Work<'static>>) {}

    /// Frees what is known of a quiet log only so that its next line is handled faster. What is held stays.
    fn forget(&mut self, _log: u64) {}

    /// When the next held entry is due. None: nothing is held.
    fn next_due(&self) -> Option<Instant> {
        None
    }

    /// Until when the stage should get no more entries, because it is delaying lines. None: now.
    fn busy_until(&self) -> Option<Instant> {
        None
    }
}

/// Which held entries to release.
#[derive(Clone, Copy, Debug)]
pub enum Due {
    /// Those whose deadline has passed at this time.
    At(Instant),
    /// All of this log, because no more lines will come.
    Log(u64),
    /// None of this log at this time: it has unread lines, so the deadline of its entries starts again.
    Unread(u64, Instant),
    /// Blocks of this log that may be complete: it is quiet, and the process ends. Parts of a line are kept, because their
    /// rest is known to be missing.
    Quiet(u64),
}

/// The stages of a job, checked and ready. Each client starts its own pipeline from it.
pub struct Program {
    recipes: Vec<(String, Recipe)>,
    /// The path and name of each stage.
    paths: Vec<KeyPath>,
    /// Shows what each stage changes. None: nothing is shown.
    inspector: Option<Inspector>,
    warnings: Vec<ConfigError>,
    /// The extracted values that any stage may use.
    reads: Reads,
    /// Some stage may write the read time of a line into its output.
    shows_read_time: bool,
    /// Some stage may create label names that are not valid in Loki and are corrected at the end.
    mends_names: bool,
}

/// Creates a stage. The options were checked before, so this cannot fail.
type Recipe = Box<dyn Fn(&Surroundings) -> Box<dyn Stage> + Send + Sync>;

/// Everything a stage may use besides the entry.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The extracted values that any stage may use.
    reads: Reads,
    /// Counts entries that are discarded after they were held.
    pub dropped: Dropped,
    /// The users' metrics. None: another pipeline counts the same lines.
    pub custom: Option<CustomMetrics>,
    pub clock: Clock,
    /// Gets what each stage does. None: nobody asks.
    observer: Option<Arc<dyn Observer>>,
}

/// Checks and compiles `pipeline_stages`. The path of an error begins in that list: `[1].regex.expression`.
/// An error has all mistakes, at least one.
pub fn compile(stages: &[Yaml]) -> Result<Program, Vec<ConfigError>> {
    Program::compile(stages, &KeyPath::default())
}

impl Program {
    /// `path` is the path of the list: empty, or that of a stage's option.
    fn compile(stages: &[Yaml], path: &KeyPath) -> Result<Self, Vec<ConfigError>> {
        let (mut program, mut mistakes) = (Self::nothing(), Vec::new());
        for (i, item) in stages.iter().enumerate() {
            let path = path.then(i);
            if item.as_mapping().is_some_and(Mapping::is_empty) {
                program.warnings.push(ConfigError::at(path.clone(), "an empty stage does nothing"));
                program.recipes.push(("empty".into(), Box::new(|_| Box::new(Nothing))));
                program.paths.push(path);
                continue;
            }
            let found = only_key(item).and_then(|(name, value)| Ok((name, value, table::find(name)?)));
            let (name, value, stage) = match found {
                Ok(found) => found,
                Err(problem) => {
                    mistakes.push(ConfigError::at(path, problem));
                    continue;
                }
            };
            let path = path.then(name);
            let mut options = Options::new(value, path.clone());
            let made = (stage.compile)(&mut options);
            let wrong = options.mistakes(made.as_ref().err().cloned());
            program.recipes.extend(made.ok().map(|recipe| (name.into(), recipe)));
            program.paths.push(path);
            program.reads.add(options.what_it_reads());
            program.shows_read_time |= options.may_show_read_time();
            program.mends_names |= options.may_mend_names();
            match options.finish() {
                Ok(warnings) => program.warnings.extend(warnings),
                Err(problem) if wrong.is_empty() => mistakes.push(problem),
                Err(_) => {}
            }
            mistakes.extend(wrong);
        }
        if mistakes.is_empty() { Ok(program) } else { Err(mistakes) }
    }

    /// The program for a pod whose job has no `pipeline_stages`: parses the container runtime's format.
    pub fn container_format() -> Self {
        let path = KeyPath::key("the pod defaults: the container runtime's format");
        let recipes: Vec<(String, Recipe)> = vec![("container".into(), Box::new(container::start))];
        Self { recipes, paths: vec![path], ..Self::nothing() }
    }

    fn is_empty(&self) -> bool {
        self.recipes.is_empty()
    }

    /// A program without stages.
    pub fn nothing() -> Self {
        Self {
            recipes: Vec::new(),
            paths: Vec::new(),
            inspector: None,
            warnings: Vec::new(),
            reads: Reads::nothing(),
            shows_read_time: false,
            mends_names: false,
        }
    }

    /// Shows what each stage changes, for the pipeline that counts the users' metrics.
    pub fn inspected_by(self, inspector: Option<Inspector>) -> Self {
        Self { inspector, ..self }
    }

    /// Options in the config that have no effect. Their paths begin in the list of stages.
    pub fn warnings(&self) -> &[ConfigError] {
        &self.warnings
    }

    /// Starts a pipeline. `custom` is None if another pipeline counts the same lines for the users' metrics.
    pub fn start(&self, dropped: Dropped, custom: Option<CustomMetrics>, clock: Clock) -> Pipeline {
        Pipeline::new(self, false, dropped, custom, clock)
    }

    /// Like [`start`](Self::start), for lines that are Docker's JSON. The stages get what is in it.
    pub fn start_unwrapping(&self, dropped: Dropped, custom: Option<CustomMetrics>, clock: Clock) -> Pipeline {
        Pipeline::new(self, true, dropped, custom, clock)
    }
}

/// The stage of an empty mapping.
struct Nothing;

impl Stage for Nothing {
    fn process(&mut self, _: &mut Work<'_>, _: &mut Vec<Work<'static>>) -> Flow {
        Flow::Pass
    }
}

/// The name and options of a stage, which is a mapping with one key.
fn only_key(item: &Yaml) -> Result<(&str, &Yaml), String> {
    let map = match item {
        Yaml::Mapping(map) if map.len() == 1 => map,
        Yaml::Mapping(map) => {
            let problem = format!("a pipeline stage must have exactly one key, this one has {}", map.len());
            return Err(problem + &misplaced(map));
        }
        Yaml::String(name) => return Err(format!("a pipeline stage is a mapping: write `{name}: {{}}`")),
        _ => return Err("a pipeline stage is a mapping with one key, the stage's name".into()),
    };
    let (key, value) = map.iter().next().expect("it has one key");
    Ok((key.as_str().ok_or("a stage's name is a string")?, value))
}

/// What to do with a mapping whose first key is a stage, and whose next one is not: its options are not indented.
fn misplaced(map: &Mapping) -> String {
    let names: Vec<&str> = map.keys().filter_map(Yaml::as_str).collect();
    match names.as_slice() {
        [stage, option, ..] if table::find(stage).is_ok() && table::find(option).is_err() => {
            format!("; if `{option}` is an option of `{stage}`: indent it by two more spaces")
        }
        [_, second, ..] => format!("; write `- {second}:` to begin another stage"),
        _ => String::new(),
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Program({} stages)", self.recipes.len())
    }
}
