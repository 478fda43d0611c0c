//! `fantail completion`: a script that lets the shell complete commands, flags and their values.

mod bash;
mod fish;
mod zsh;

use std::process::ExitCode;

use super::super::say;
use super::{Arguments, Command, Failed};

pub(super) const COMMAND: Command = Command {
    name: "completion",
    arguments: "bash | zsh | fish",
    summary: "print a script for the shell that completes commands, flags and values",
    details: "\
Prints a script that lets the shell complete the commands, the flags, their values and file names.

bash   source <(fantail completion bash), or into /usr/share/bash-completion/completions/fantail
zsh    source <(fantail completion zsh), or into a file _fantail in a directory of $fpath
fish   fantail completion fish | source, or into ~/.config/fish/completions/fantail.fish",
    operands: &["bash", "zsh", "fish"],
    takes_files: false,
    agent_flags: false,
    flags: &[],
    run,
};

fn run(arguments: &Arguments) -> Result<ExitCode, Failed> {
    let shells: Vec<&str> = arguments.rest.iter().map(String::as_str).collect();
    let script = match shells[..] {
        ["bash"] => bash::script(),
        ["zsh"] => zsh::script(),
        ["fish"] => fish::script(),
        _ => return Err(Failed::Usage("write the name of one shell: bash, zsh or fish".into())),
    };
    say(script.trim_end());
    Ok(ExitCode::SUCCESS)
}

/// Text in single quotes. `quote` is how the shell writes a single quote there.
fn quoted(text: &str, quote: &str) -> String {
    format!("'{}'", text.replace('\'', quote))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::COMMANDS;
    use super::super::syntax::{agent_flags, command_names, own_flags};
    use super::*;

    #[test]
    fn every_command_and_every_flag_is_in_each_script() {
        // The script of bash adds the dashes itself.
        for (shell, script, dash) in
            [("bash", bash::script(), ""), ("zsh", zsh::script(), "-"), ("fish", fish::script(), "")]
        {
            let words: HashSet<&str> = script.split([' ', '\n', '\'', '[', '=', '(', ')', '|', ':', ';']).collect();
            for (name, _) in command_names() {
                assert!(words.contains(name), "{shell}: {name}");
            }
            let own = COMMANDS.iter().flat_map(own_flags);
            for flag in agent_flags().into_iter().chain(own) {
                let name = format!("{dash}{}", flag.name);
                assert!(words.contains(name.as_str()), "{shell}: {name}");
            }
            for word in COMMANDS.iter().flat_map(|command| command.operands) {
                assert!(words.contains(word), "{shell}: {word}");
            }
        }
    }
}
