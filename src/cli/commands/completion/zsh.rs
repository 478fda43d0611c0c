//! The script for zsh: a file for `$fpath`, which can also be sourced.

use std::fmt::Write;

use super::super::syntax::{FlagSyntax, Value, agent_flags, command_names, own_flags};
use super::super::{COMMANDS, Command};
use super::quoted;

const END: &str = r#"
if [[ "${funcstack[1]}" == _fantail ]]; then
  _fantail "$@"
else
  compdef _fantail fantail
fi
"#;

pub(super) fn script() -> String {
    let mut script = String::from("#compdef fantail\n\n_fantail() {\n  local -a agent commands\n  agent=(\n");
    for flag in agent_flags() {
        let _ = writeln!(script, "    {}", argument(&flag));
    }
    script.push_str("  )\n  commands=(\n");
    for (name, summary) in command_names() {
        let _ = writeln!(script, "    {}", quote(&format!("{name}:{}", summary.replace(':', "\\:"))));
    }
    script.push_str("  )\n  if (( CURRENT > 2 )); then\n    case $words[2] in\n");
    for command in COMMANDS {
        arguments(&mut script, command);
    }
    script.push_str(
        "      help) _describe -t commands command commands; return;;\n    esac\n  \
         elif [[ $PREFIX != -* ]]; then\n    _describe -t commands command commands\n    return\n  fi\n  \
         _arguments $agent\n}\n",
    );
    script.push_str(END);
    script
}

fn arguments(script: &mut String, command: &Command) {
    let _ = write!(script, "      {})\n        shift words; (( CURRENT-- ))\n        _arguments", command.name);
    if command.agent_flags {
        script.push_str(" $agent");
    }
    for flag in own_flags(command) {
        let _ = write!(script, " \\\n          {}", argument(&flag));
    }
    if !command.operands.is_empty() {
        let words = format!("1:operand:({})", command.operands.join(" "));
        let _ = write!(script, " \\\n          {}", quote(&words));
    }
    if command.takes_files {
        script.push_str(" \\\n          '*:file:_files'");
    }
    script.push_str("\n        return;;\n");
}

/// A flag in the language of `_arguments`. `-name=` takes its value after `=` or as the next word.
fn argument(flag: &FlagSyntax) -> String {
    let help = escaped(&flag.help);
    let text = match flag.value {
        Value::Switch => format!("-{}[{help}]", flag.name),
        Value::File => format!("-{}=[{help}]:file:_files", flag.name),
        Value::OneOf(values) => format!("-{}=[{help}]:name:({})", flag.name, values.join(" ")),
        Value::Any(name) => format!("-{}=[{help}]:{}: ", flag.name, escaped(name)),
    };
    quote(&text)
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\\' | '[' | ']' | ':') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

fn quote(text: &str) -> String {
    quoted(text, "'\\''")
}
