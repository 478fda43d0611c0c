//! `fantail version`: the same as `fantail -version`.

use std::process::ExitCode;

use super::super::say_version;
use super::{Arguments, Command, Failed};

pub(super) const COMMAND: Command = Command {
    name: "version",
    arguments: "",
    summary: "print the version",
    details: "\
Prints the version of fantail, the version of Promtail whose config it reads, and the platform that it was built for.",
    operands: &[],
    takes_files: false,
    agent_flags: false,
    flags: &[],
    run,
};

fn run(arguments: &Arguments) -> Result<ExitCode, Failed> {
    if let Some(extra) = arguments.rest.first() {
        return Err(Failed::Usage(format!("{extra:?} has no meaning here")));
    }
    say_version();
    Ok(ExitCode::SUCCESS)
}
