//! The script for fish.

use std::fmt::Write;

use super::super::syntax::{FlagSyntax, Value, agent_flags, command_names, own_flags};
use super::super::{COMMANDS, Command};
use super::quoted;

const START: &str = r#"# fish completion for fantail
# Whether the command is one of the arguments. Without arguments: whether there is no command.
function __fantail_command
    set -l words (commandline -opc)
    set -l command $words[2]
    string match -q -- '-*' "$command"; and set command
    if test (count $argv) -eq 0
        test -z "$command"
    else
        contains -- "$command" $argv
    end
end
# Whether the next word is the first one after the command.
function __fantail_first
    test (count (commandline -opc)) -eq $argv[1]
end
complete -c fantail -f
"#;

pub(super) fn script() -> String {
    let mut script = String::from(START);
    for (name, summary) in command_names() {
        let _ = writeln!(script, "complete -c fantail -n '__fantail_first 1' -a {name} -d {}", quote(summary));
        let _ = writeln!(script, "complete -c fantail -n '__fantail_first 2; and __fantail_command help' -a {name}");
    }
    for command in COMMANDS {
        arguments(&mut script, command);
    }
    // The agent's flags: without a command, and for the commands that take them.
    let commands = COMMANDS.iter().filter(|command| command.agent_flags).map(|command| command.name);
    let commands: Vec<&str> = commands.collect();
    let condition = format!("__fantail_command; or __fantail_command {}", commands.join(" "));
    for flag in agent_flags() {
        argument(&mut script, &flag, &condition);
    }
    script
}

fn arguments(script: &mut String, command: &Command) {
    let condition = format!("__fantail_command {}", command.name);
    for flag in own_flags(command) {
        argument(script, &flag, &condition);
    }
    if !command.operands.is_empty() {
        let condition = quote(&format!("__fantail_first 2; and {condition}"));
        let _ = writeln!(script, "complete -c fantail -n {condition} -a {}", quote(&command.operands.join(" ")));
    }
    if command.takes_files {
        let _ = writeln!(script, "complete -c fantail -n {} -F", quote(&condition));
    }
}

fn argument(script: &mut String, flag: &FlagSyntax, condition: &str) {
    let _ = write!(script, "complete -c fantail -n {} -o {} -d {}", quote(condition), flag.name, quote(&flag.help));
    match flag.value {
        Value::Switch => {}
        Value::File => script.push_str(" -r -F"),
        Value::OneOf(values) => {
            let _ = write!(script, " -x -a {}", quote(&values.join(" ")));
        }
        Value::Any(_) => script.push_str(" -x"),
    }
    script.push('\n');
}

fn quote(text: &str) -> String {
    quoted(&text.replace('\\', "\\\\"), "\\'")
}
