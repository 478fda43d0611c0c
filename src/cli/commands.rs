//! The commands: `fantail COMMAND …`. Without a command, the program is the agent, as Promtail is.

mod check;
mod compare;
mod completion;
mod demo;
mod explain;
mod health;
mod man;
mod migrate;
mod positions;
mod syntax;
mod test;
mod version;

use std::fmt::Write;
use std::process::ExitCode;

use super::arguments::{Arguments, OwnFlag};
use super::{complain, say};
use crate::model::nearest;

struct Command {
    name: &'static str,
    /// What follows the name.
    arguments: &'static str,
    summary: &'static str,
    details: &'static str,
    /// Words that may follow first, for the completions of shells.
    operands: &'static [&'static str],
    takes_files: bool,
    /// Whether the agent's flags, such as `-config.file`, have a meaning.
    agent_flags: bool,
    flags: &'static [OwnFlag],
    run: fn(&Arguments) -> Result<ExitCode, Failed>,
}

impl Command {
    /// An argument that the command does not read is a mistake: silently ignored, it would seem to have an effect.
    fn refuse_meaningless(&self, arguments: &Arguments) -> Result<(), Failed> {
        let word = arguments.rest.first().filter(|_| !self.takes_files && self.operands.is_empty());
        let flag = arguments.agent.first_given().filter(|_| !self.agent_flags);
        match (word, flag) {
            (Some(word), _) => Err(Failed::Usage(format!("{word:?} has no meaning here"))),
            (None, Some(flag)) => Err(Failed::Usage(format!("-{flag} has no meaning here"))),
            (None, None) => Ok(()),
        }
    }
}

/// Why a command failed.
enum Failed {
    /// A mistake in its arguments: exit code 2, with a hint how it is used.
    Usage(String),
    /// Exit code 1.
    Because(String),
}

const COMMANDS: &[Command] = &[
    check::COMMAND,
    demo::COMMAND,
    explain::COMMAND,
    test::COMMAND,
    migrate::COMMAND,
    compare::COMMAND,
    health::COMMAND,
    positions::COMMAND,
    completion::COMMAND,
    man::COMMAND,
    version::COMMAND,
];

/// Runs the command that these arguments name. None: they are the agent's.
pub(super) fn run(args: &[String]) -> Option<ExitCode> {
    let (name, args) = args.split_first().filter(|(name, _)| !name.starts_with('-'))?;
    if name == "help" {
        return Some(help(args.iter().map(String::as_str).find(|arg| !is_help(arg))));
    }
    let Some(command) = find(name) else {
        complain(unknown(name));
        return Some(ExitCode::from(2));
    };
    if args.iter().any(|arg| is_help(arg)) {
        return Some(help(Some(name)));
    }
    let outcome = Arguments::parse(command.flags, args.iter().cloned())
        .map_err(|e| Failed::Usage(e.to_string()))
        .and_then(|arguments| command.refuse_meaningless(&arguments).and_then(|()| (command.run)(&arguments)));
    Some(outcome.unwrap_or_else(|failed| match failed {
        Failed::Usage(why) => {
            complain(format_args!("fantail {name}: {why}\n{}", usage_of(command)));
            ExitCode::from(2)
        }
        Failed::Because(why) => {
            complain(format_args!("fantail {name}: {why}"));
            ExitCode::FAILURE
        }
    }))
}

fn is_help(arg: &str) -> bool {
    matches!(arg, "-h" | "-help" | "--help")
}

fn find(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name == name)
}

fn unknown(name: &str) -> String {
    let near = nearest(name, COMMANDS.iter().map(|command| command.name));
    let advice = match near {
        Some(near) => format!("did you mean `fantail {near}`?"),
        None => format!("to run the agent with this config file: fantail -config.file={name}"),
    };
    format!("fantail: {name:?} is not a command; {advice}\n\n{}", usage())
}

fn help(name: Option<&str>) -> ExitCode {
    match name {
        None => say(usage()),
        Some(name) => match find(name) {
            Some(command) => say(manual(command)),
            None => {
                complain(unknown(name));
                return ExitCode::from(2);
            }
        },
    }
    ExitCode::SUCCESS
}

/// How the program is used, in a few lines.
pub(super) fn usage() -> String {
    let mut text = String::from(
        "Usage:\n  fantail -config.file=promtail.yaml [flags]    run the agent (fantail -help lists the flags)\n  \
         fantail COMMAND [flags]                       run one of the commands below\n\nCommands:\n",
    );
    for command in COMMANDS {
        let _ = writeln!(text, "  {:10} {}", command.name, command.summary);
    }
    text.push_str("  help       explain a command: fantail help COMMAND");
    text
}

fn usage_of(command: &Command) -> String {
    format!("Usage: fantail {} {}", command.name, command.arguments).trim_end().to_string()
}

fn manual(command: &Command) -> String {
    let mut text = format!("{}\n\n{}\n", usage_of(command), command.details.trim_end());
    if !command.flags.is_empty() {
        text.push_str("\nFlags:\n");
    }
    for flag in command.flags {
        let name = format!("-{} {}", flag.name, flag.value);
        let _ = writeln!(text, "  {name:28} {}", flag.help);
    }
    if command.agent_flags {
        text.push_str("\nThe agent's flags, such as -config.file and -config.expand-env, have their usual meaning.");
    }
    text.trim_end().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_a_manual_that_fits_a_screen() {
        for command in COMMANDS {
            assert!(usage().contains(command.summary), "{}", command.name);
            let manual = manual(command);
            assert!(command.flags.iter().all(|flag| manual.contains(flag.help)), "{manual}");
            assert!(manual.lines().all(|line| line.len() <= 120), "{manual}");
        }
    }

    #[test]
    fn what_is_no_command_is_the_agents_or_a_mistake() {
        for (args, is_agents) in [(&[][..], true), (&["-dry-run", "true"], true), (&["promtail.yaml"], false)] {
            let args: Vec<String> = args.iter().map(|arg| arg.to_string()).collect();
            assert_eq!(run(&args).is_none(), is_agents, "{args:?}");
        }
        assert!(unknown("promtail.yaml").contains("fantail -config.file=promtail.yaml"));
        let help = |args: &[&str]| run(&args.iter().map(|arg| arg.to_string()).collect::<Vec<_>>());
        for args in [&["help", "-h"][..], &["help", "--help"], &["help", "-h", "check"]] {
            assert_eq!(help(args), Some(ExitCode::SUCCESS), "{args:?}");
        }
        assert!(unknown("helth").contains("did you mean `fantail health`?"));
    }

    #[test]
    fn what_a_command_does_not_read_is_refused() {
        for name in ["version", "man", "demo", "compare", "completion"] {
            let command = find(name).expect(name);
            let refused = |args: &[&str]| {
                let args = args.iter().map(|arg| arg.to_string());
                let arguments = Arguments::parse(command.flags, args).expect("they are flags and words");
                command.refuse_meaningless(&arguments).is_err()
            };
            assert!(refused(&["-config.file=promtail.yaml"]), "{name}");
            assert!(refused(&["-dry-run"]), "{name}");
            assert_eq!(refused(&["bash"]), name != "completion", "{name}");
            assert!(!refused(&[]), "{name}");
        }
    }
}
