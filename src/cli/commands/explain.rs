//! `fantail explain`: why a pod, a file or a set of labels is read or not, and what becomes of its lines.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::super::{environment, logging, say};
use super::health::server_url;
use super::{Arguments, Command, Failed, OwnFlag};
use crate::agent;
use crate::config::{self, Config};
use crate::explain::{self, Around, Files, Paint};
use crate::model::{About, Explanation, Question};
use crate::positions::{self, Listed, Positions};
use crate::server::{LogFormat, LogLevel};

/// How long discovery may take.
const WITHIN: Duration = Duration::from_secs(10);

pub(super) const COMMAND: Command = Command {
    name: "explain",
    arguments: "-config.file FILE | -server URL  [pod NAMESPACE/NAME | PATH | 'NAME=VALUE,…'] [-line TEXT]",
    summary: "why a pod or a file is read or not, and what becomes of a line",
    details: "\
Shows for each target: the labels that discovery found, what each relabel rule changed, the rule that dropped the
target, the path, the files with their positions and how far behind they are. Shows for a line what each stage changed,
the entry that would be pushed, or the stage and the reason that dropped it.

pod NAMESPACE/NAME   the targets of a pod, found with the kubeconfig or the service account
PATH                 the targets that read a file, and its last lines
'NAME=VALUE,…'       a target with these labels, as if discovery had found it: no API server is asked
nothing              all targets

With -config.file the answer is worked out from the config, the API server and the files. With -server the running agent
is asked. It shows no lines of files, but those of -line, and it also knows the state of its clients.",
    operands: &["pod"],
    takes_files: true,
    agent_flags: true,
    flags: &[
        OwnFlag {
            name: "line",
            value: "TEXT",
            help: "a line to run through the stages, instead of a file's last lines",
        },
        OwnFlag { name: "job", value: "NAME", help: "only targets of this job" },
        OwnFlag { name: "server", value: "URL", help: "ask the running agent, for instance http://127.0.0.1:9080" },
        OwnFlag { name: "json", value: "", help: "print JSON" },
    ],
    run,
};

fn run(arguments: &Arguments) -> Result<ExitCode, Failed> {
    let question = Question {
        about: explain::question(&arguments.rest).map_err(Failed::Usage)?,
        job: arguments.text("job").map(String::from),
        lines: arguments.text("line").map(String::from).into_iter().collect(),
    };
    let explanation = match arguments.text("server") {
        Some(_) => ask(&question, arguments)?,
        None if arguments.has_config() => work_out(&question, arguments)?,
        None => return Err(Failed::Usage("-config.file or -server is needed".into())),
    };
    if arguments.on("json") {
        say(serde_json::to_string_pretty(&explanation).map_err(|e| Failed::Because(e.to_string()))?);
    } else {
        let paint = if std::io::stdout().is_terminal() { Paint::Colours } else { Paint::Plain };
        say(explain::text(&explanation, paint));
    }
    Ok(ExitCode::SUCCESS)
}

/// Answers from the config, discovery and the files.
fn work_out(question: &Question, arguments: &Arguments) -> Result<Explanation, Failed> {
    logging::install(LogLevel::Warn, LogFormat::Logfmt);
    let because = |e: String| Failed::Because(e);
    // No client is needed to explain the rest.
    let request = config::Request { dry_run: true, ..arguments.agent.request() };
    let loaded = Config::load(&request, &environment);
    let loaded = loaded.map_err(|e| because(e.to_string()))?;
    config::check(&loaded).map_err(|e| because(e.to_string()))?;
    let config = loaded.config;
    let (hostname, node) = (config::hostname(&environment), config::node_name(&environment));
    let look = match &question.about {
        About::Labels(_) => agent::Look::default(),
        _ => agent::look(&config, question.job.as_deref(), &node, WITHIN).map_err(because)?,
    };
    let (positions, position_note) = saved(&config);
    let links: Vec<PathBuf> = config.target_config.link_roots.iter().map(PathBuf::from).collect();
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let around = Around {
        hostname: &hostname,
        node: &node,
        found: look.found,
        files: Files::Look { positions: &positions, links: &links },
        now: i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
    };
    let mut explanation = explain::explain(&config, question, &around).map_err(because)?;
    // First: if discovery was not complete, nothing else explains why there is no target.
    explanation.notes.splice(0..0, look.notes);
    explanation.notes.extend(position_note);
    Ok(explanation)
}

/// The saved positions, or why they cannot be read.
fn saved(config: &Config) -> (Vec<Listed>, Option<String>) {
    let settings = positions::Config {
        filename: PathBuf::from(&config.positions.filename),
        ignore_invalid_yaml: true,
        read_only: true,
        readers: Default::default(),
    };
    match Positions::open_to_edit(settings) {
        Ok(positions) => (positions.list(), None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    }
}

/// Asks the running agent.
fn ask(question: &Question, arguments: &Arguments) -> Result<Explanation, Failed> {
    let mut query = vec![("format", "json")];
    // `pod a/b` and `a/b` are the same question.
    query.extend(arguments.rest.last().map(|about| ("about", about.as_str())));
    query.extend(question.job.as_deref().map(|job| ("job", job)));
    query.extend(question.lines.iter().map(|line| ("line", line.as_str())));
    let url = format!("{}/explain", server_url(arguments)?);
    let answer = agent::ask(&url, &query, WITHIN).map_err(Failed::Because)?;
    if answer.status != 200 {
        return Err(Failed::Because(format!("the agent answers {}: {}", answer.status, answer.body.trim_end())));
    }
    serde_json::from_str(&answer.body).map_err(|e| Failed::Because(format!("the answer is not understood: {e}")))
}
