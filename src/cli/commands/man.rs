//! `fantail man`: the manual page, in roff.

use std::fmt::Write;
use std::process::ExitCode;

use super::super::say;
use super::super::table::{GROUPS, IGNORED};
use super::syntax::{FlagSyntax, agent_flag, own_flags};
use super::{Arguments, COMMANDS, Command, Failed};

pub(super) const COMMAND: Command = Command {
    name: "man",
    arguments: "",
    summary: "print the manual page fantail(1)",
    details: "\
Prints the manual page for section 1, with all commands and flags. To read it: fantail man | man -l -
To install it: fantail man > /usr/share/man/man1/fantail.1",
    operands: &[],
    takes_files: false,
    agent_flags: false,
    flags: &[],
    run,
};

fn run(_: &Arguments) -> Result<ExitCode, Failed> {
    say(page().trim_end());
    Ok(ExitCode::SUCCESS)
}

const DESCRIPTION: &[&str] = &[
    "fantail is a log agent for Grafana Loki. It reads a promtail.yaml unchanged, tails the log files of a node, and delivers \
     every line once. It finds container logs through the Kubernetes API or Docker, reads systemd's journal and any files \
     that the config names, and receives syslog and the pushes of other agents.",
    "Without a command, the program is the agent. A flag overrides the config file. -x value, -x=value and --x=value are the \
     same; a boolean is -x or -x=false.",
];

/// Titles and their entries: a term and what it means.
const SECTIONS: &[(&str, &[(&str, &str)])] = &[
    (
        "EXIT STATUS",
        &[
            ("0", "The agent or the command has succeeded."),
            (
                "1",
                "The config has a mistake, or the agent or the command has failed. Each command describes its own reasons.",
            ),
            ("2", "The command line has a mistake, or -help was given without a command."),
        ],
    ),
    (
        "SIGNALS",
        &[
            (
                "SIGTERM, SIGINT",
                "The agent stops reading, waits for answers to its pushes, saves the positions and ends.",
            ),
            ("SIGHUP", "The agent loads the config again. A mistake in it changes nothing."),
        ],
    ),
    (
        "ENVIRONMENT",
        &[
            ("HOSTNAME", "The name that __host__ is compared with. Default: the host name of the kernel."),
            ("NODE_NAME", "The Kubernetes node whose pods the agent reads. Default: HOSTNAME."),
            (
                "KUBECONFIG",
                "A kubeconfig for kubernetes_sd_configs without kubeconfig_file and api_server, outside of a pod.",
            ),
            ("any variable", "With -config.expand-env, ${NAME} in the config file is replaced by its value."),
        ],
    ),
];

fn page() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut page = format!(
        ".TH FANTAIL 1 \"\" \"fantail {version}\" \"User Commands\"\n.SH NAME\nfantail \\- log agent for Grafana Loki that \
         reads promtail.yaml unchanged\n.SH SYNOPSIS\n.B fantail\n\\-config.file=FILE [flags]\n.br\n.B fantail\nCOMMAND \
         [flags]\n.SH DESCRIPTION\n"
    );
    let paragraphs: Vec<String> = DESCRIPTION.iter().map(|paragraph| text(paragraph)).collect();
    let _ = writeln!(page, "{}", paragraphs.join("\n.PP\n"));
    page.push_str(".SH COMMANDS\n");
    for command in COMMANDS {
        describe(&mut page, command);
    }
    page.push_str(".SH FLAGS\n");
    for group in GROUPS {
        let _ = writeln!(page, ".SS \"{}\"", text(group.title));
        group.flags.iter().for_each(|known| flag(&mut page, &agent_flag(known)));
    }
    page.push_str(".SS \"Accepted because Promtail has them\"\n");
    IGNORED.iter().for_each(|known| flag(&mut page, &agent_flag(known)));
    for (title, entries) in SECTIONS {
        let _ = writeln!(page, ".SH {title}");
        entries.iter().for_each(|(term, meaning)| entry(&mut page, &bold(term), meaning));
    }
    page
}

fn describe(page: &mut String, command: &Command) {
    let _ = writeln!(
        page,
        ".SS {}\n{} {}",
        text(command.name),
        bold(&format!("fantail {}", command.name)),
        text(command.arguments)
    );
    for paragraph in command.details.split("\n\n") {
        let columns = |line: &'static str| line.split_once("  ").filter(|(term, _)| !term.is_empty());
        if paragraph.lines().next().is_some_and(|first| columns(first).is_none()) {
            page.push_str(".PP\n");
        }
        for line in paragraph.lines() {
            // Two columns: a term and what it means.
            match columns(line) {
                Some((term, meaning)) => entry(page, &bold(term), meaning.trim_start()),
                None => _ = writeln!(page, "{}", text(line)),
            }
        }
    }
    own_flags(command).iter().for_each(|own| flag(page, own));
}

fn flag(page: &mut String, flag: &FlagSyntax) {
    let term = format!("{} {}", bold(&format!("-{}", flag.name)), italic(flag.value.name()));
    let default =
        if matches!(flag.default, "" | "false") { String::new() } else { format!(" (default {})", flag.default) };
    entry(page, term.trim_end(), &format!("{}{default}", flag.help));
}

fn entry(page: &mut String, term: &str, meaning: &str) {
    let _ = writeln!(page, ".TP\n{term}\n{}", text(meaning));
}

fn bold(words: &str) -> String {
    format!("\\fB{}\\fR", text(words))
}

fn italic(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!("\\fI{}\\fR", text(words)) }
}

/// Text without roff's special characters. A line that begins with a dot or a quote would be a request.
fn text(words: &str) -> String {
    let mut out = String::with_capacity(words.len() + 8);
    if words.starts_with('.') {
        out.push_str("\\&");
    }
    for c in words.chars() {
        match c {
            '\\' => out.push_str("\\e"),
            '-' => out.push_str("\\-"),
            '\'' => out.push_str("\\(aq"),
            '"' => out.push_str("\\(dq"),
            '`' => out.push_str("\\(ga"),
            '^' => out.push_str("\\(ha"),
            '~' => out.push_str("\\(ti"),
            '…' => out.push_str("..."),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::syntax::agent_flags;
    use super::*;

    #[test]
    fn every_command_and_every_flag_is_on_the_page() {
        let page = page();
        for command in COMMANDS {
            assert!(page.contains(&format!(".SS {}\n", text(command.name))), "{}", command.name);
        }
        for known in agent_flags().iter().chain(&COMMANDS.iter().flat_map(own_flags).collect::<Vec<_>>()) {
            assert!(page.contains(&format!(".TP\n{}", bold(&format!("-{}", known.name)))), "{}", known.name);
            assert!(!known.help.is_empty() && page.contains(&text(&known.help)), "{}", known.name);
        }
    }

    #[test]
    fn columns_are_entries_and_no_text_is_a_request() {
        let page = page();
        assert!(page.contains(".TP\n\\fBreset FILE\\fR\nforgets the positions"), "{page}");
        for line in page.lines().filter(|line| line.starts_with(['.', '\''])) {
            let request = line.split(' ').next().unwrap_or_default();
            assert!([".TH", ".SH", ".SS", ".B", ".br", ".PP", ".TP"].contains(&request), "{line}");
        }
        assert_eq!(text(".a -b 'c' \\d…"), "\\&.a \\-b \\(aqc\\(aq \\ed...");
    }
}
