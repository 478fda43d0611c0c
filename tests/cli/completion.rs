//! The completions in a real bash, and the manual page in real formatters.

use std::process::{Command, Stdio};

use super::said;

/// What bash offers for the last of these words.
fn offered(words: &[&str]) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("promtail config.yaml"), "").expect("a file");
    let script = format!(
        "source <({} completion bash)\nset -u\nCOMP_WORDS=(\"$@\") COMP_CWORD=$(($# - 1))\n_fantail\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        env!("CARGO_BIN_EXE_fantail")
    );
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", &script, "bash"]).arg("fantail").args(words).current_dir(folder.path());
    let output = bash.output().expect("bash starts");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().filter(|line| !line.is_empty()).map(String::from).collect()
}

#[test]
fn bash_completes_commands_flags_and_values() {
    // As bash divides the words: `=` is a word of its own.
    for (words, want) in [
        (&["exp"][..], &["explain"][..]),
        (&["-log.lev"], &["-log.level"]),
        (&["--log.lev"], &["--log.level"]),
        (&["-log.level", ""], &["debug", "info", "warn", "error"]),
        (&["-log.level", "=", "d"], &["debug"]),
        (&["-log.level", "="], &["debug", "info", "warn", "error"]),
        (&["-dry-run", "=", "t"], &["true"]),
        (&["-config.file", "=", "prom"], &["promtail config.yaml"]),
        (&["-config.file", "prom"], &["promtail config.yaml"]),
        (&["-client.timeout", ""], &[]),
        (&["check", "-stric"], &["-strict"]),
        (&["check", "prom"], &["promtail config.yaml"]),
        (&["test", "-junit", "prom"], &["promtail config.yaml"]),
        (&["explain", "-config.fi"], &["-config.file"]),
        (&["positions", "ex"], &["export"]),
        (&["positions", "reset", "ex"], &[]),
        (&["completion", ""], &["bash", "zsh", "fish"]),
        (&["completion", "-config"], &[]),
        (&["help", "posi"], &["positions"]),
        (&["-dry-run", "explain"], &[]),
    ] {
        assert_eq!(offered(words), want, "{words:?}");
    }
    let commands = offered(&[""]);
    assert!(commands.iter().any(|name| name == "help") && commands.iter().all(|name| !name.starts_with('-')));
}

#[test]
fn completion_needs_the_name_of_a_shell() {
    for args in ["completion", "completion tcsh", "completion bash zsh"] {
        let wrong = said(args, "");
        assert!(wrong.code == 2 && wrong.err.contains("bash, zsh or fish"), "{args}: {}", wrong.err);
    }
}

/// Runs a program of the system with this input: its success, its output and its messages. None: it is not installed.
fn fed(program: &str, args: &[&str], input: &str) -> Option<(bool, String, String)> {
    use std::io::Write;
    let mut command = Command::new(program);
    let command = command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().ok()?;
    // A program that reads only a part of its input is judged by its exit code.
    let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Some((output.status.success(), text(output.stdout), text(output.stderr)))
}

#[test]
fn the_scripts_are_understood_by_the_shells_that_are_installed() {
    for (shell, args) in [("bash", &["-n"][..]), ("zsh", &["-fn"]), ("fish", &["--no-config", "-n"])] {
        let script = said(&format!("completion {shell}"), "");
        assert_eq!(script.code, 0, "{}", script.err);
        let Some((ok, _, messages)) = fed(shell, args, &script.out) else {
            assert_ne!(shell, "bash", "bash is needed");
            continue;
        };
        assert!(ok && messages.is_empty(), "{shell}: {messages}");
    }
}

#[test]
fn the_manual_page_has_no_mistake_and_is_formatted() {
    let page = said("man", "");
    assert!(page.code == 0 && page.out.starts_with(".TH FANTAIL 1 "), "{}", page.err);
    if let Some((ok, text, _)) = fed("mandoc", &["-T", "lint", "-W", "error"], &page.out) {
        assert!(ok, "{text}");
    }
    for (program, args) in [("mandoc", &["-T", "ascii"][..]), ("groff", &["-man", "-Tascii", "-ww"])] {
        let Some((ok, text, messages)) = fed(program, args, &page.out) else { continue };
        assert!(ok && messages.is_empty(), "{program}: {messages}");
        // Without the overstriking of bold text.
        let mut plain = String::new();
        for c in text.chars() {
            match c {
                '\u{8}' => _ = plain.pop(),
                c => plain.push(c),
            }
        }
        for part in ["fantail - log agent", "-config.file", "-strict", "EXIT STATUS", "reset FILE"] {
            assert!(plain.contains(part), "{program} does not show {part:?}: {plain}");
        }
    }
    assert_eq!(said("man 1", "").code, 2);
}
