//! `fantail demo`: shows that each line arrives once, without config or servers.

use std::process::ExitCode;
use std::time::Duration;

use super::{Arguments, Command, Failed, OwnFlag};
use crate::demo::{self, Options};
use crate::model::units::GoDuration;

/// Each line that was written is remembered, so the memory grows with the time.
const LONGEST: Duration = Duration::from_secs(3600);

pub(super) const COMMAND: Command = Command {
    name: "demo",
    arguments: "[-duration 60s]",
    summary: "watch each line arrive once while you kill the agent; needs no config and no servers",
    details: "\
Writes the logs of four pods into a temporary directory, with rotation, and starts the agent, which sends the lines to
a receiver that counts them. The page whose address is printed shows each line arrive, and its button kills the agent
with SIGKILL; in a terminal, the key k does the same. The agent starts again after a second.

The demo ends after -duration, with Ctrl-C or with the key q. Then it prints how many lines were written, arrived, are
missing and are doubled, and removes its directory. The exit code is 0 if each line arrived once, otherwise 1.",
    operands: &[],
    takes_files: false,
    agent_flags: false,
    flags: &[OwnFlag {
        name: "duration",
        value: "DURATION",
        help: "how long the pods write, from 1s to 1h (default 60s)",
    }],
    run,
};

fn run(arguments: &Arguments) -> Result<ExitCode, Failed> {
    let text = arguments.text("duration").unwrap_or("60s");
    let GoDuration(duration) = text.parse().map_err(|e| Failed::Usage(format!("-duration {text:?}: {e}")))?;
    if !(Duration::from_secs(1)..=LONGEST).contains(&duration) {
        return Err(Failed::Usage(format!("-duration {text:?}: expected a duration from 1s to 1h, such as 90s")));
    }
    let is_good = demo::run(&Options { duration }).map_err(Failed::Because)?;
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
