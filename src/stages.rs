//! Stages change lines into entries: what `pipeline_stages` of a Promtail config says.
//!
//! A new stage is one file, `stages/<name>.rs` (its YAML in `//!`, its options, the stage, its table of tests), and a line
//! in [`Name`]; the compiler asks for the rest.
//!
//! A stage takes an entry by value and says what became of it, so that none can be forgotten: [`Flow::Pass`] gives it
//! on, [`Flow::Discard`] ends it with a reason that is counted, [`Flow::Held`] keeps it (with its acknowledgement) until
//! the stage releases it.

mod container;
mod cri;
mod docker;
mod extracted;
mod golayout;
mod options;
#[cfg(test)]
mod testing;
mod time;

use std::fmt;
use std::time::Instant;

use serde_yaml::Value as Yaml;

pub use extracted::{Extracted, Value};

use crate::metrics::Dropped;
use crate::model::{Entry, Reason};

/// An entry on its way through the stages, with what they have extracted from it.
#[derive(Debug)]
pub struct Work<'c> {
    pub entry: Entry<'c>,
    pub extracted: Extracted<'c>,
}

/// What became of an entry in a stage.
#[derive(Debug)]
pub enum Flow<'c> {
    Pass(Work<'c>),
    Discard(Work<'c>, Reason),
    Held,
}

/// One stage at work, for all logs of a job.
pub trait Stage: Send {
    /// Works on one entry. Entries that were held and are complete now go to `released`; they go on before this one.
    fn process<'c>(&mut self, work: Work<'c>, released: &mut Vec<Work<'static>>) -> Flow<'c>;

    /// Gives back what is held and due, in order.
    fn release(&mut self, _due: Due, _released: &mut Vec<Work<'static>>) {}

    /// When something that is held comes due.
    fn next_due(&self) -> Option<Instant> {
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
}

/// The stages of a job, checked and ready to be started, once per client.
pub struct Program {
    recipes: Vec<Recipe>,
    warnings: Vec<String>,
}

/// Makes a stage; everything that can be wrong with it was wrong before.
type Recipe = Box<dyn Fn(&Surroundings) -> Box<dyn Stage> + Send + Sync>;

/// What a stage may know of the others.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings {
    /// Some other stage may look at what is extracted.
    pub extract: bool,
}

/// The stages there are.
#[derive(Clone, Copy, Debug)]
enum Name {
    Cri,
    Docker,
}

impl Name {
    const ALL: [(&'static str, Name); 2] = [("cri", Name::Cri), ("docker", Name::Docker)];

    fn compile(self, options: &mut options::Options<'_>) -> Result<Recipe, Error> {
        match self {
            Name::Cri => cri::compile(options),
            Name::Docker => docker::compile(options),
        }
    }
}

/// Stages of Promtail that this version refuses by name.
const NOT_YET: [&str; 24] = [
    "decolorize",
    "drop",
    "eventlogmessage",
    "geoip",
    "json",
    "labelallow",
    "labeldrop",
    "labels",
    "limit",
    "logfmt",
    "match",
    "metrics",
    "multiline",
    "non_indexed_labels",
    "output",
    "pack",
    "regex",
    "replace",
    "sampling",
    "static_labels",
    "structured_metadata",
    "template",
    "tenant",
    "timestamp",
];

/// What is wrong with a list of stages, and where: `path` is like `[1].regex.expression`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub path: String,
    pub message: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// Checks `pipeline_stages` and makes it ready to run.
pub fn compile(stages: &[Yaml]) -> Result<Program, Error> {
    let mut program = Program { recipes: Vec::new(), warnings: Vec::new() };
    for (i, item) in stages.iter().enumerate() {
        let fail = |message: String| Error { path: format!("[{i}]"), message };
        let Some(map) = item.as_mapping().filter(|m| m.len() == 1) else {
            return Err(fail(match item {
                Yaml::Mapping(map) => format!("a pipeline stage must have exactly one key, this one has {}", map.len()),
                Yaml::String(name) => format!("a pipeline stage is a mapping: write `{name}: {{}}`"),
                _ => "a pipeline stage is a mapping with one key, the stage's name".into(),
            }));
        };
        let (key, value) = map.iter().next().expect("it has one key");
        let name = key.as_str().ok_or_else(|| fail("a stage's name is a string".into()))?;
        let Some((_, stage)) = Name::ALL.iter().find(|(n, _)| *n == name) else {
            return Err(fail(unknown(name)));
        };
        let mut options = options::Options::new(value, format!("[{i}].{name}"))?;
        program.recipes.push(stage.compile(&mut options)?);
        program.warnings.extend(options.unknown_keys());
    }
    Ok(program)
}

fn unknown(name: &str) -> String {
    let known: Vec<&str> = Name::ALL.iter().map(|(n, _)| *n).collect();
    if NOT_YET.contains(&name) {
        return format!(
            "stage `{name}` is not supported by this version of fantail; supported are: {}",
            known.join(", ")
        );
    }
    let hint = match Name::ALL.iter().map(|(n, _)| *n).chain(NOT_YET).find(|n| n.eq_ignore_ascii_case(name)) {
        Some(right) => format!("stage names are lower case: `{right}`"),
        None => format!("supported are: {}", known.join(", ")),
    };
    format!("unknown stage type `{name}`; {hint}")
}

impl Program {
    /// What runs for a pod when its job names no stages: the container runtime's own format is taken off.
    pub fn container_format() -> Self {
        Self { recipes: vec![Box::new(container::start)], warnings: Vec::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.recipes.is_empty()
    }

    /// Options that are written in the config and mean nothing.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    pub fn start(&self, dropped: Dropped) -> Pipeline {
        let surroundings = Surroundings { extract: self.recipes.len() > 1 };
        Pipeline { stages: self.recipes.iter().map(|make| make(&surroundings)).collect(), dropped }
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Program({} stages)", self.recipes.len())
    }
}

/// The stages of a job at work for one client.
pub struct Pipeline {
    stages: Vec<Box<dyn Stage>>,
    dropped: Dropped,
}

impl Pipeline {
    /// Runs an entry through all stages; what comes out goes to `sink`.
    pub fn run<'c>(&mut self, entry: Entry<'c>, sink: &mut dyn FnMut(Entry<'_>)) {
        if self.stages.is_empty() {
            return sink(entry);
        }
        self.run_from(0, Work { entry, extracted: Extracted::default() }, sink);
    }

    /// Lets go what the stages hold and is due.
    pub fn release(&mut self, due: Due, sink: &mut dyn FnMut(Entry<'_>)) {
        let mut released = Vec::new();
        for i in 0..self.stages.len() {
            self.stages[i].release(due, &mut released);
            for work in released.drain(..) {
                self.run_from(i + 1, work, sink);
            }
        }
    }

    /// When something that is held comes due.
    pub fn next_due(&self) -> Option<Instant> {
        self.stages.iter().filter_map(|s| s.next_due()).min()
    }

    fn run_from<'c>(&mut self, first: usize, mut work: Work<'c>, sink: &mut dyn FnMut(Entry<'_>)) {
        // Empty, it costs nothing; a stage that never holds anything never fills it.
        let mut released = Vec::new();
        for i in first..self.stages.len() {
            let flow = self.stages[i].process(work, &mut released);
            for earlier in released.drain(..) {
                self.run_from(i + 1, earlier, sink);
            }
            match flow {
                Flow::Pass(on) => work = on,
                Flow::Discard(work, reason) => return self.dropped.discard(work.entry, &reason),
                Flow::Held => return,
            }
        }
        sink(work.entry);
    }
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pipeline({} stages)", self.stages.len())
    }
}

impl Work<'_> {
    pub fn into_owned(self) -> Work<'static> {
        Work { entry: self.entry.into_owned(), extracted: self.extracted.into_owned() }
    }
}
