//! The syntax of the command line, for the completions and the man page: commands, flags, and the values of flags.

use super::super::help::value_name;
use super::super::table::{self, Effect, Kind};
use super::{COMMANDS, Command, OwnFlag};

pub(super) struct FlagSyntax {
    pub name: &'static str,
    pub value: Value,
    pub default: &'static str,
    pub help: String,
}

/// The values that a flag takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// None, or `=true` or `=false`.
    Switch,
    File,
    OneOf(&'static [&'static str]),
    /// Anything. The text names its type.
    Any(&'static str),
}

impl Value {
    /// A word for the value. Empty: none is needed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Switch => "",
            Self::File => "FILE",
            Self::OneOf(_) => "NAME",
            Self::Any(name) => name,
        }
    }

    pub fn is_switch(self) -> bool {
        self == Self::Switch
    }
}

/// The agent's flags.
pub(super) fn agent_flags() -> Vec<FlagSyntax> {
    table::all().map(agent_flag).collect()
}

pub(super) fn agent_flag(flag: &table::Flag) -> FlagSyntax {
    let value = match flag.kind {
        Kind::Bool => Value::Switch,
        Kind::OneOf(values) => Value::OneOf(values),
        Kind::Text if is_file(flag.name) => Value::File,
        kind => Value::Any(value_name(kind)),
    };
    let help = match (flag.help, flag.effect) {
        ("", Effect::Ignored(why)) => format!("ignored: {why}"),
        ("", Effect::Sets(key)) => format!("sets {key} of the config"),
        (help, _) => help.to_string(),
    };
    FlagSyntax { name: flag.name, value, default: flag.default, help }
}

fn is_file(name: &str) -> bool {
    name.ends_with(".file") || name.ends_with("-path")
}

/// The flags that only this command has.
pub(super) fn own_flags(command: &Command) -> Vec<FlagSyntax> {
    let own = |flag: &OwnFlag| {
        let value = match flag.value {
            "" => Value::Switch,
            "FILE" => Value::File,
            name => Value::Any(name),
        };
        FlagSyntax { name: flag.name, value, default: "", help: flag.help.to_string() }
    };
    command.flags.iter().map(own).collect()
}

/// The names and summaries of all commands, and of `help`.
pub(super) fn command_names() -> Vec<(&'static str, &'static str)> {
    let mut names: Vec<_> = COMMANDS.iter().map(|command| (command.name, command.summary)).collect();
    names.push(("help", "explain a command"));
    names
}
