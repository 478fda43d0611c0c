//! `fantail check`: all mistakes of a config, and what is probably wrong in it.

use std::process::ExitCode;

use super::super::{complain, environment, say};
use super::{Arguments, Command, Failed, OwnFlag};
use crate::config::{self, Request};
use crate::model::counted;

pub(super) const COMMAND: Command = Command {
    name: "check",
    arguments: "[FILE] [-strict] [-config.file FILE] [-config.expand-env]",
    summary: "find all mistakes of a config, and what is probably wrong in it",
    details: "\
Prints all mistakes of a config file with line, key and what to write, and warnings about what is allowed and
probably wrong: a __path__ that matches no file now, a variable that is not replaced, a time layout of another language,
a label with many values, a file that two jobs read, positions that do not outlive a reboot, and others.

Run it where the agent will run: it looks for the files that the config names. It starts nothing and asks no server.
The exit code is 1 if there is a mistake; with -strict also if there is a warning.",
    operands: &[],
    takes_files: true,
    agent_flags: true,
    flags: &[OwnFlag { name: "strict", value: "", help: "warnings are errors" }],
    run,
};

fn run(arguments: &Arguments) -> Result<ExitCode, Failed> {
    let request = arguments.agent.request();
    let files = match (arguments.rest.as_slice(), arguments.has_config()) {
        ([file], false) => file.clone(),
        ([], true) => request.files.clone(),
        ([], false) => return Err(Failed::Usage("which file? write its name, or -config.file".into())),
        _ => return Err(Failed::Usage("write one file name".into())),
    };
    let findings = config::lint(&Request { files, ..request }, &environment);
    let flags = arguments.agent.warnings();
    let warnings: Vec<&String> = flags.iter().chain(&findings.warnings).collect();
    findings.mistakes.iter().for_each(|mistake| complain(format_args!("error: {mistake}")));
    warnings.iter().for_each(|warning| complain(format_args!("warning: {warning}")));
    findings.advice.iter().for_each(complain);
    let (mistakes, count) = (findings.mistakes.len(), warnings.len());
    if mistakes == 0 && count == 0 {
        say("no mistakes and no warnings");
    } else {
        say(format_args!("{}, {}", counted(mistakes, "error"), counted(count, "warning")));
    }
    let fails = mistakes > 0 || arguments.on("strict") && count > 0;
    Ok(if fails { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
