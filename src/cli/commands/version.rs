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

fn run(_: &Arguments) -> Result<ExitCode, Failed> {
    say_version();
    Ok(ExitCode::SUCCESS)
}
