//! Why a target is read or not, and what becomes of its lines, step by step. Made for commands and pages, never while
//! lines are delivered. Text and JSON are both made from it.

use serde::{Deserialize, Serialize};

use super::Labels;

/// The question: which targets to explain, and with which line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    pub about: About,
    /// Only targets of this job. None: all jobs.
    pub job: Option<String>,
    /// Lines to run through the stages.
    pub lines: Vec<String>,
}

/// Which targets are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum About {
    /// All discovered targets.
    #[default]
    All,
    Pod {
        namespace: String,
        name: String,
    },
    File(String),
    /// A target with these labels, as if discovery had found it.
    Labels(Labels),
}

/// The answer to a [`Question`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// What was found out about the question as a whole, such as that no target matches it.
    pub notes: Vec<String>,
    pub targets: Vec<ExplainedTarget>,
    /// Targets beyond those in `targets`.
    pub more_targets: usize,
    /// The clients of the running agent. Empty: no running agent was asked.
    pub clients: Vec<ExplainedClient>,
}

/// One target: from discovery to its files and lines.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExplainedTarget {
    pub job: String,
    /// Where discovery found it.
    pub source: String,
    pub discovered: Labels,
    pub rules: Vec<RuleStep>,
    /// Why the target is not read: the rule that dropped it, or what is missing. None: it is read.
    pub dropped: Option<String>,
    /// The labels of its entries, without `filename`.
    pub labels: Labels,
    pub path: Option<String>,
    pub exclude: Option<String>,
    /// The path comes from the pod defaults, not from a label.
    pub is_default_path: bool,
    pub files: Vec<ExplainedFile>,
    /// Files beyond those in `files`.
    pub more_files: usize,
    /// Why no file is read.
    pub nothing: Option<String>,
    /// The file whose lines were traced. None: the lines were given, or there are none.
    pub lines_of: Option<String>,
    pub lines: Vec<LineTrace>,
}

/// What a relabel rule did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RuleStep {
    /// The number and the text of the rule.
    pub rule: String,
    /// The labels that the rule read by name, with their values at that time. A missing label is empty.
    pub read: Labels,
    pub changes: Vec<Change>,
    /// The rule dropped the target. Later rules did not run.
    pub drops: bool,
}

/// A value that changed. None: it was not there, or is not there any more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// `label x`, `extracted x`, `metadata x`, `line`, `timestamp` or `tenant`.
    pub what: String,
    pub before: Option<String>,
    pub after: Option<String>,
}

/// A file of a target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExplainedFile {
    pub path: String,
    pub size: Option<u64>,
    /// The client whose position this is. None: Promtail's position, or none.
    pub client: Option<String>,
    /// The offset up to which Loki has acknowledged. None: there is no position.
    pub position: Option<u64>,
    /// Bytes that are not acknowledged.
    pub behind: Option<u64>,
    /// Lines that the running agent discarded: the reason and their number.
    pub discarded: Vec<(String, u64)>,
    /// Why it is not read.
    pub problem: Option<String>,
}

/// The way of one line through the stages.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LineTrace {
    pub line: String,
    pub steps: Vec<StageStep>,
    /// The entries that would be pushed after this line. Stages that join lines release entries later.
    pub entries: Vec<ExplainedEntry>,
}

/// What a stage did with an entry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StageStep {
    /// The path and name of the stage: `pipeline_stages[1].json`.
    pub stage: String,
    /// The stage is inside another one, such as `match`: how deep.
    pub depth: usize,
    pub changes: Vec<Change>,
    pub outcome: Outcome,
    /// Why the stage could not do its work. Empty: it could.
    #[serde(default)]
    pub failures: Vec<String>,
}

/// The outcome of an entry in a stage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    #[default]
    Passed,
    /// The stage keeps the entry until more lines come, or until time has passed.
    Held,
    /// The stage drops the entry for this reason.
    Dropped(String),
}

/// An entry that would be pushed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExplainedEntry {
    /// RFC 3339, with nanoseconds.
    pub timestamp: String,
    pub labels: Labels,
    pub line: String,
    pub metadata: Labels,
    pub tenant: Option<String>,
    /// Why Loki may refuse it.
    pub warnings: Vec<String>,
}

/// A client of the running agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExplainedClient {
    pub name: String,
    pub url: String,
    /// `ok`, or since when pushes fail and why.
    pub state: String,
    pub last_error: Option<String>,
}

impl Change {
    /// The differences of two sets of labels, each as `label x`.
    pub fn of_labels(before: &Labels, after: &Labels) -> Vec<Self> {
        Self::between("label ", before, after)
    }

    /// The differences of two maps. `kind` is put in front of each name.
    pub fn between(kind: &str, before: &Labels, after: &Labels) -> Vec<Self> {
        let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let change = |name: &String| Self {
            what: format!("{kind}{name}"),
            before: before.get(name).cloned(),
            after: after.get(name).cloned(),
        };
        names.into_iter().map(change).filter(|change| change.before != change.after).collect()
    }
}
