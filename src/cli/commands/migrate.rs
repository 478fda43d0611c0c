//! `fantail migrate`: what a config of Promtail uses, and what fantail does with each part.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;

use super::super::{environment, say};
use super::{Arguments, Command, Failed, OwnFlag};
use crate::config::{self, Config, Findings, Part, Request, Setting, Verdict};
use crate::model::counted;
use crate::positions::{self, Positions};

pub(super) const COMMAND: Command = Command {
    name: "migrate",
    arguments: "[FILE] [-json] [-config.file FILE] [-config.expand-env]",
    summary: "what a promtail.yaml uses, and what fantail does with each part",
    details: "\
Prints each key and each stage of Promtail that a config uses, and what fantail does with it:

same      It works as in Promtail.
differs   It works, with the differences that are printed below it (docs/differences.md, docs/stages.md).
added     Promtail does not have it.
ignored   It is accepted without effect.
refused   The agent does not start with it. The text says what to use instead.
mistake   The config has a mistake there. It is printed below.

Then it prints the mistakes of the config, the positions that fantail will take over, and the steps there and back. It
changes nothing. Run it on the node, with the flags that Promtail has: it looks for the positions file. The exit code is
1 if anything is refused.",
    operands: &[],
    takes_files: true,
    agent_flags: true,
    flags: &[OwnFlag { name: "json", value: "", help: "print JSON" }],
    run,
};

#[derive(Serialize)]
struct Report {
    file: String,
    parts: Vec<Part>,
    /// Mistakes of the config. The agent does not start with them.
    mistakes: Vec<String>,
    /// What can be done about several of the mistakes at once.
    advice: Vec<String>,
    /// Neither the file nor a flag sets a client.
    no_client: bool,
    positions: Option<SavedPositions>,
}

/// The positions of the agent that ran before.
#[derive(Serialize)]
struct SavedPositions {
    file: PathBuf,
    exists: bool,
    /// The number of logs with a position.
    logs: usize,
    /// Logs with a position whose files do not exist now.
    gone: Vec<String>,
    /// Why the file cannot be read.
    error: Option<String>,
}

impl Report {
    fn is_refused(&self) -> bool {
        !self.mistakes.is_empty() || self.parts.iter().any(|part| part.verdict == Verdict::Refused)
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode, Failed> {
    let request = arguments.agent.request();
    let file = match (arguments.rest.as_slice(), arguments.has_config()) {
        ([file], false) => file.clone(),
        ([], true) => request.files.clone(),
        ([], false) => return Err(Failed::Usage("which file? write its name, or -config.file".into())),
        _ => return Err(Failed::Usage("write one file name".into())),
    };
    // The clients may be set by flags of the agent that are not given here.
    let request = Request { files: file.clone(), dry_run: true, ..request };
    let mut parts = config::uses(&request, &environment).map_err(|e| Failed::Because(e.to_string()))?;
    let Findings { mistakes, mistaken, advice, no_client, .. } = config::lint(&request, &environment);
    config::mark(&mut parts, &mistaken);
    // A job that is refused does not matter for the positions.
    let skip = Setting {
        flag: "config.skip-unsupported-jobs",
        key: "options.skip_unsupported_jobs",
        value: config::Scalar::Bool(true),
    };
    let settings = request.settings.iter().cloned().chain([skip]).collect();
    let loaded = Config::load(&Request { settings, ..request }, &environment);
    let positions = loaded.ok().map(|loaded| saved(&loaded.config));
    let report = Report { file, parts, mistakes, advice, no_client, positions };
    if arguments.on("json") {
        say(serde_json::to_string_pretty(&report).map_err(|e| Failed::Because(e.to_string()))?);
    } else {
        say(text(&report));
    }
    Ok(if report.is_refused() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The positions at the place that the config names, or else in the first file of `import_from` that exists.
fn saved(config: &Config) -> SavedPositions {
    let own = PathBuf::from(&config.positions.filename);
    let earlier = config.positions.import_from.iter().map(PathBuf::from);
    let file = std::iter::once(own.clone()).chain(earlier).find(|file| file.exists()).unwrap_or(own);
    let mut saved = SavedPositions { exists: file.exists(), file, logs: 0, gone: Vec::new(), error: None };
    if !saved.exists {
        return saved;
    }
    let settings = positions::Config {
        filename: saved.file.clone(),
        ignore_invalid_yaml: false,
        read_only: true,
        readers: Default::default(),
    };
    match Positions::open_to_edit(settings) {
        Ok(positions) => {
            let mut logs: Vec<String> = positions.list().into_iter().map(|listed| listed.log).collect();
            logs.sort();
            logs.dedup();
            saved.logs = logs.len();
            saved.gone = logs.into_iter().filter(|log| log.starts_with('/') && !Path::new(log).exists()).collect();
        }
        Err(error) => saved.error = Some(error.to_string()),
    }
    saved
}

fn text(report: &Report) -> String {
    let mut out = String::new();
    let count = |verdict| report.parts.iter().filter(|part| part.verdict == verdict).count();
    let _ = writeln!(
        out,
        "{}: {}: {} same, {} with differences, {} of fantail only, {} ignored, {} refused, {}\n",
        report.file,
        counted(report.parts.len(), "part"),
        count(Verdict::Same),
        count(Verdict::Differs),
        count(Verdict::Added),
        count(Verdict::Ignored),
        count(Verdict::Refused),
        counted(report.mistakes.len(), "mistake")
    );
    for part in &report.parts {
        let lines: Vec<String> = part.lines.iter().take(5).map(usize::to_string).collect();
        let more = if part.lines.len() > 5 { ", …" } else { "" };
        let lines = if lines.is_empty() { String::new() } else { format!("  (line {}{more})", lines.join(", ")) };
        let _ = writeln!(out, "{:8} {}{lines}", word(part.verdict), part.key);
        for note in &part.notes {
            let _ = writeln!(out, "             {note}");
        }
    }
    if !report.mistakes.is_empty() {
        out.push_str("\nThe agent does not start with this config:\n");
        report.mistakes.iter().for_each(|mistake| _ = writeln!(out, "  {mistake}"));
        report.advice.iter().for_each(|advice| _ = writeln!(out, "  {advice}"));
    }
    if report.no_client {
        out.push_str(if out.ends_with("\n\n") { "" } else { "\n" });
        let _ = writeln!(out, "No client is set, and the agent does not start without one: {SET_CLIENTS}.");
    }
    if let Some(saved) = &report.positions {
        let _ = writeln!(out, "\nPositions: {}", positions_in_words(saved));
    }
    out.push_str(&steps(report));
    out
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Same => "same",
        Verdict::Differs => "differs",
        Verdict::Added => "added",
        Verdict::Ignored => "ignored",
        Verdict::Refused => "refused",
        Verdict::Mistake => "mistake",
    }
}

fn positions_in_words(saved: &SavedPositions) -> String {
    let file = saved.file.display();
    if let Some(error) = &saved.error {
        return format!("{file} cannot be read ({error}). fantail does not start until it is repaired or removed.");
    }
    if !saved.exists {
        return format!(
            "there is no {file} on this host. If Promtail ran here, set positions.filename (or -positions.file) to its \
             positions file. Otherwise fantail reads all files from their start."
        );
    }
    let gone = match saved.gone.len() {
        0 => String::new(),
        gone => format!(" {gone} of them do not exist now."),
    };
    let logs = if saved.logs == 1 { "1 log".to_string() } else { format!("{} logs", saved.logs) };
    format!(
        "{file} has the positions of {logs}.{gone} fantail continues there, and neither skips nor repeats a line, if no \
         file is rotated between the stop of Promtail and the start of fantail. `fantail positions list \
         -positions.file={file}` shows them."
    )
}

const SET_CLIENTS: &str = "set clients, or give -client.url";

/// What to do, there and back.
fn steps(report: &Report) -> String {
    let file = &report.file;
    let change = match (report.mistakes.is_empty(), report.is_refused()) {
        (false, _) => Some("change the mistakes above"),
        (true, true) => Some("change what is refused"),
        (true, false) => None,
    };
    let todo: Vec<&str> = change.into_iter().chain(report.no_client.then_some(SET_CLIENTS)).collect();
    let first = if todo.is_empty() { "run".to_string() } else { format!("{}, and run", todo.join(", ")) };
    format!(
        "\nThere:\n  1. {first}: fantail check {file}\n  2. compare both agents side by side, if you like (docs/migration.md): \
         fantail compare\n  3. stop Promtail: only one agent may use the positions file\n  4. start: fantail \
         -config.file={file}, with the flags of Promtail\n\
         Back:\n  1. stop fantail, and wait until it has ended\n  2. remove the keys of fantail only (added), which Promtail \
         refuses\n  3. start Promtail: the positions file is in its format, and up to date"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_each_part_and_what_to_do() {
        let part = |key: &str, verdict, notes: &[&str], lines: &[usize]| Part {
            key: key.into(),
            verdict,
            notes: notes.iter().map(|note| note.to_string()).collect(),
            lines: lines.to_vec(),
        };
        let mut report = Report {
            file: "promtail.yaml".into(),
            parts: vec![
                part("clients[].url", Verdict::Same, &[], &[2, 3, 4, 5, 6, 7]),
                part("scrape_configs[].kafka", Verdict::Refused, &["run another agent"], &[9]),
            ],
            mistakes: vec!["promtail.yaml:9:3: no".into()],
            advice: vec!["do this".into()],
            no_client: false,
            positions: None,
        };
        let shown = text(&report);
        for part in [
            "promtail.yaml: 2 parts: 1 same, 0 with differences, 0 of fantail only, 0 ignored, 1 refused, 1 mistake\n",
            "same     clients[].url  (line 2, 3, 4, 5, 6, …)\n",
            "refused  scrape_configs[].kafka  (line 9)\n             run another agent\n",
            "does not start with this config:\n  promtail.yaml:9:3: no\n  do this\n",
            "1. change the mistakes above, and run: fantail check promtail.yaml\n",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        report.mistakes.clear();
        assert!(report.is_refused());
        report.parts.pop();
        let fine = text(&report);
        assert!(!report.is_refused() && !fine.contains("does not start") && fine.contains("1. run: fantail"), "{fine}");
        assert!(fine.starts_with("promtail.yaml: 1 part: 1 same,"), "{fine}");
        report.no_client = true;
        report.parts.clear();
        let empty = text(&report);
        for part in [
            "mistakes\n\nNo client is set",
            "1. set clients, or give -client.url, and run: fantail check promtail.yaml",
        ] {
            assert!(empty.contains(part), "{part}: {empty}");
        }
    }
}
