//! The script for bash. It needs no other package, such as bash-completion.

use std::fmt::Write;

use super::super::syntax::{FlagSyntax, Value, agent_flags, command_names, own_flags};
use super::super::{COMMANDS, Command};

/// Bash divides `-flag=value` into three words: the flag, `=` and the value.
const START: &str = r#"# bash completion for fantail
_fantail() {
    local cur=${COMP_WORDS[COMP_CWORD]} flag=${COMP_WORDS[COMP_CWORD-1]} command= assigned= dash=- flags= operands= files=
    if [[ $cur == "=" ]]; then
        cur= assigned=1
    elif [[ $flag == "=" ]]; then
        flag=${COMP_WORDS[COMP_CWORD-2]} assigned=1
    fi
    [[ $flag == -* ]] || flag=
    flag=${flag#-} flag=${flag#-}
    (( COMP_CWORD > 1 )) && command=${COMP_WORDS[1]}
    COMPREPLY=()
"#;

const END: &str = r#"    if [[ $cur == -* ]]; then
        [[ $cur == --* ]] && dash=--
        COMPREPLY=($(compgen -P "$dash" -W "$flags" -- "${cur#"$dash"}"))
        return
    fi
    [[ $operands ]] && COMPREPLY=($(compgen -W "$operands" -- "$cur"))
    if [[ $files ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -f -- "$cur")
    fi
}
complete -F _fantail fantail
"#;

pub(super) fn script() -> String {
    let mut script = String::from(START);
    let agent = agent_flags();
    // Values first: what follows a flag that needs a value is never another flag.
    script.push_str("    case \"$command/$flag\" in\n");
    for command in COMMANDS {
        values(&mut script, &own_flags(command), &format!("{}/", command.name));
    }
    script.push_str("    esac\n    case \"$flag\" in\n");
    values(&mut script, &agent, "");
    script.push_str("    esac\n    case \"$command\" in\n");
    for command in COMMANDS {
        words(&mut script, command, &agent);
    }
    let commands: Vec<&str> = command_names().iter().map(|(name, _)| *name).collect();
    let commands = commands.join(" ");
    let _ = write!(
        script,
        "        help) operands='{commands}';;\n        *)\n            flags='{}'\n            \
         (( COMP_CWORD == 1 )) && operands='{commands}';;\n    esac\n",
        names(&agent)
    );
    script.push_str(END);
    script
}

/// Cases for the flags with values. `prefix` stands before each name.
fn values(script: &mut String, flags: &[FlagSyntax], prefix: &str) {
    let which = |wanted: fn(Value) -> bool| {
        let names = flags.iter().filter(|flag| wanted(flag.value)).map(|flag| format!("{prefix}{}", flag.name));
        names.collect::<Vec<_>>().join("|")
    };
    let switches = which(Value::is_switch);
    let files = which(|value| value == Value::File);
    let others = which(|value| matches!(value, Value::Any(_)));
    if !switches.is_empty() {
        let _ = writeln!(
            script,
            "        {switches})\n            \
             [[ $assigned ]] && {{ COMPREPLY=($(compgen -W 'true false' -- \"$cur\")); return; }};;"
        );
    }
    if !files.is_empty() {
        let _ = writeln!(
            script,
            "        {files})\n            compopt -o filenames 2>/dev/null\n            \
             mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n            return;;"
        );
    }
    for flag in flags {
        let Value::OneOf(values) = flag.value else { continue };
        let (name, values) = (flag.name, values.join(" "));
        let _ = writeln!(
            script,
            "        {prefix}{name})\n            COMPREPLY=($(compgen -W '{values}' -- \"$cur\"))\n            return;;"
        );
    }
    if !others.is_empty() {
        let _ = writeln!(script, "        {others})\n            return;;");
    }
}

/// The flags and operands of a command.
fn words(script: &mut String, command: &Command, agent: &[FlagSyntax]) {
    let own = names(&own_flags(command));
    let agent = if command.agent_flags { names(agent) } else { String::new() };
    let _ = writeln!(script, "        {})\n            flags='{}'", command.name, format!("{own} {agent}").trim());
    if !command.operands.is_empty() {
        let _ = writeln!(script, "            (( COMP_CWORD == 2 )) && operands='{}'", command.operands.join(" "));
    }
    if command.takes_files {
        script.push_str("            files=1\n");
    }
    script.push_str("            ;;\n");
}

/// Without dashes: one or two are added to what is completed.
fn names(flags: &[FlagSyntax]) -> String {
    flags.iter().map(|flag| flag.name).collect::<Vec<_>>().join(" ")
}
