//! Stages change lines into entries: what `pipeline_stages` of a Promtail config says.
//!
//! A new stage is one file, `stages/<name>.rs` (its YAML in `//!`, its options, the stage, its table of tests), and a row
//! in [`TABLE`].
//!
//! A stage is lent an entry and says what became of it: [`Flow::Pass`] gives it on, [`Flow::Discard`] ends it with a reason
//! that is counted, [`Flow::Held`] proves that the stage has it (with its acknowledgement) until it releases it. So none
//! can be forgotten, and none is moved about in memory from stage to stage.

mod container;
mod cri;
mod decolorize;
mod docker;
mod drop;
mod eventlogmessage;
mod extracted;
mod geoip;
mod gojson;
mod golayout;
mod gotemplate;
#[cfg(test)]
mod hostile;
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
mod time;
mod timestamp;
mod work;

use std::fmt;
use std::time::Instant;

use serde_yaml::{Mapping, Value as Yaml};

pub use extracted::{Extracted, Key, Value};
pub use metrics::CustomMetrics;
pub use pipeline::Pipeline;
pub use table::{Row, TABLE};
pub use work::{Kept, Work};

use options::Options;
use reads::Reads;

use crate::metrics::Dropped;
use crate::model::{Clock, ConfigError, KeyPath, Reason};

/// What became of an entry in a stage.
#[derive(Debug)]
pub enum Flow {
    Pass,
    Discard(Reason),
    /// The stage has it, and releases it later.
    Held(Kept),
}

/// One stage at work, for all logs of a job.
pub trait Stage: Send {
    /// Works on one entry. Entries that were held and are complete now go to `released`; they go on before this one.
    fn process(&mut self, work: &mut Work<'_>, released: &mut Vec<Work<'static>>) -> Flow;

    /// Gives back what is held and due, in order.
    fn release(&mut self, _due: Due, _released: &mut Vec<Work<'static>>) {}

    /// When something that is held comes due.
    fn next_due(&self) -> Option<Instant> {
        None
    }

    /// Until when it should not be given more, because it holds lines back.
    fn busy_until(&self) -> Option<Instant> {
        None
    }
}

/// What is to be released.
#[derive(Clone, Copy, Debug)]
pub enum Due {
    /// What has waited long enough.
    At(Instant),
    /// All that this log has left here: nothing more will come of it.
    Log(u64),
    /// Nothing of this log: there is more of it that cannot be read now, and what waits for that begins its wait anew.
    Unread(u64, Instant),
}

/// The stages of a job, checked and ready to be started, once per client.
pub struct Program {
    recipes: Vec<Recipe>,
    warnings: Vec<ConfigError>,
    /// Which extracted values some stage may look at.
    reads: Reads,
    /// Some stage may write when a line was read into what comes out.
    shows_read_time: bool,
    /// Some stage may make labels with names that Loki cannot parse, and that are changed in the end.
    mends_names: bool,
}

/// Makes a stage; everything that can be wrong with it was wrong before.
type Recipe = Box<dyn Fn(&Surroundings) -> Box<dyn Stage> + Send + Sync>;

/// What a stage may know of the world around it.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Which extracted values some stage may look at.
    reads: Reads,
    /// The door for what is discarded after it was held.
    pub dropped: Dropped,
    /// Where users count; none if the same lines are counted in another pipeline.
    pub custom: Option<CustomMetrics>,
    pub clock: Clock,
}

/// Checks `pipeline_stages` and makes it ready to run. The path of an error begins in that list: `[1].regex.expression`.
pub fn compile(stages: &[Yaml]) -> Result<Program, ConfigError> {
    Program::compile(stages, &KeyPath::default())
}

impl Program {
    /// `path` is where the list stands: empty, or that of a stage's option.
    fn compile(stages: &[Yaml], path: &KeyPath) -> Result<Self, ConfigError> {
        let mut program = Self::nothing();
        for (i, item) in stages.iter().enumerate() {
            let path = path.then(i);
            if item.as_mapping().is_some_and(Mapping::is_empty) {
                program.warnings.push(ConfigError::at(path, "an empty stage does nothing"));
                program.recipes.push(Box::new(|_| Box::new(Nothing)));
                continue;
            }
            let (name, value) = only_key(item).map_err(|problem| ConfigError::at(path.clone(), problem))?;
            let stage = table::find(name).map_err(|problem| ConfigError::at(path.clone(), problem))?;
            let mut options = Options::new(value, path.then(name));
            program.recipes.push((stage.compile)(&mut options)?);
            program.reads.add(options.what_it_reads());
            program.shows_read_time |= options.may_show_read_time();
            program.mends_names |= options.may_mend_names();
            program.warnings.extend(options.finish()?);
        }
        Ok(program)
    }

    /// What runs for a pod when its job names no stages: the container runtime's own format is taken off.
    pub fn container_format() -> Self {
        Self { recipes: vec![Box::new(container::start)], ..Self::nothing() }
    }

    fn is_empty(&self) -> bool {
        self.recipes.is_empty()
    }

    /// Lines become entries as they are.
    pub fn nothing() -> Self {
        Self {
            recipes: Vec::new(),
            warnings: Vec::new(),
            reads: Reads::nothing(),
            shows_read_time: false,
            mends_names: false,
        }
    }

    /// Options that are written in the config and mean nothing. Their paths begin in the list of stages.
    pub fn warnings(&self) -> &[ConfigError] {
        &self.warnings
    }

    /// `custom` is for what users count; none if the lines are counted elsewhere.
    pub fn start(&self, dropped: Dropped, custom: Option<CustomMetrics>, clock: Clock) -> Pipeline {
        Pipeline::new(self, dropped, custom, clock)
    }
}

/// What an empty mapping is as a stage.
struct Nothing;

impl Stage for Nothing {
    fn process(&mut self, _: &mut Work<'_>, _: &mut Vec<Work<'static>>) -> Flow {
        Flow::Pass
    }
}

/// A stage is written as a mapping with its name alone.
fn only_key(item: &Yaml) -> Result<(&str, &Yaml), String> {
    let map = match item {
        Yaml::Mapping(map) if map.len() == 1 => map,
        Yaml::Mapping(map) => {
            return Err(format!("a pipeline stage must have exactly one key, this one has {}", map.len()));
        }
        Yaml::String(name) => return Err(format!("a pipeline stage is a mapping: write `{name}: {{}}`")),
        _ => return Err("a pipeline stage is a mapping with one key, the stage's name".into()),
    };
    let (key, value) = map.iter().next().expect("it has one key");
    Ok((key.as_str().ok_or("a stage's name is a string")?, value))
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Program({} stages)", self.recipes.len())
    }
}
