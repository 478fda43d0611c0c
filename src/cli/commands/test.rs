//! `fantail test`: runs unit tests of a config.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use super::super::{environment, say};
use super::{Arguments, Command, Failed, OwnFlag};
use crate::config::{self, Config, Request};
use crate::explain;

pub(super) const COMMAND: Command = Command {
    name: "test",
    arguments: "FILE… [-junit FILE]",
    summary: "run unit tests of a config: targets and lines in, entries or reasons out",
    details: "\
Runs the tests in each file. A test gives the labels of a target as discovery would find it, and lines. It says what
must come out: the labels and the path of the target, or the rule that drops it; and the entries, or the reasons for
which lines are dropped. docs/testing.md describes the format; examples/tests/pods.yaml is an example.

Nothing is read or sent: no file, no API server, no Loki. The exit code is 1 if a test fails.",
    operands: &[],
    takes_files: true,
    agent_flags: true,
    flags: &[OwnFlag { name: "junit", value: "FILE", help: "write the results in JUnit's XML format too" }],
    run,
};

/// The largest file of tests, in bytes.
const LARGEST: u64 = 16 << 20;

/// The results of one file: names of tests, and their differences.
struct Results {
    file: String,
    tests: Vec<(String, Vec<String>)>,
}

fn run(arguments: &Arguments) -> Result<ExitCode, Failed> {
    if arguments.rest.is_empty() {
        return Err(Failed::Usage("which tests? write the names of their files".into()));
    }
    let mut all = Vec::new();
    for file in &arguments.rest {
        let tests =
            run_file(file, &arguments.agent.request()).map_err(|why| Failed::Because(format!("{file}: {why}")))?;
        all.push(Results { file: file.clone(), tests });
    }
    let failures: usize = all.iter().map(report).sum();
    let tests: usize = all.iter().map(|results| results.tests.len()).sum();
    say(format_args!("{} passed, {failures} failed", tests - failures));
    if let Some(file) = arguments.text("junit") {
        fs::write(file, junit(&all)).map_err(|e| Failed::Because(format!("cannot write {file}: {e}")))?;
    }
    Ok(if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn run_file(file: &str, request: &Request) -> Result<Vec<(String, Vec<String>)>, String> {
    if fs::metadata(file).map_err(|e| e.to_string())?.len() > LARGEST {
        return Err(format!("the file has more than {LARGEST} bytes"));
    }
    let text = fs::read_to_string(file).map_err(|e| e.to_string())?;
    let cases = explain::cases(&text)?;
    let directory = Path::new(file).parent().unwrap_or(Path::new(""));
    let files = directory.join(&cases.config).display().to_string();
    // The clients of the config have no part in it.
    let request = Request { files, dry_run: true, ..request.clone() };
    let loaded = Config::load(&request, &environment).map_err(|e| e.to_string())?;
    config::check(&loaded).map_err(|e| e.to_string())?;
    cases.run(&loaded.config)
}

/// Prints the failed tests of a file. Returns their number.
fn report(results: &Results) -> usize {
    let failed: Vec<_> = results.tests.iter().filter(|(_, differences)| !differences.is_empty()).collect();
    for (name, differences) in &failed {
        say(format_args!("FAILED {}: {name}", results.file));
        for line in differences.iter().flat_map(|difference| difference.lines()) {
            say(format_args!("  {line}"));
        }
    }
    failed.len()
}

fn junit(all: &[Results]) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for results in all {
        let failures = results.tests.iter().filter(|(_, differences)| !differences.is_empty()).count();
        let (suite, tests) = (escape(&results.file), results.tests.len());
        let _ = writeln!(xml, "  <testsuite name=\"{suite}\" tests=\"{tests}\" failures=\"{failures}\">");
        for (name, differences) in &results.tests {
            let name = escape(name);
            if differences.is_empty() {
                let _ = writeln!(xml, "    <testcase classname=\"{suite}\" name=\"{name}\"/>");
            } else {
                let text = escape(&differences.join("\n"));
                let _ = writeln!(
                    xml,
                    "    <testcase classname=\"{suite}\" name=\"{name}\"><failure>{text}</failure></testcase>"
                );
            }
        }
        xml.push_str("  </testsuite>\n");
    }
    xml + "</testsuites>\n"
}

/// XML has no form for most control characters, so these are left out.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn junit_is_xml_whatever_the_names_are() {
        let tests = vec![("a <b> & \"c\"\u{1}".to_string(), vec!["x < y".to_string()]), ("d".to_string(), Vec::new())];
        let xml = junit(&[Results { file: "t.yaml".into(), tests }]);
        assert!(xml.contains("tests=\"2\" failures=\"1\""), "{xml}");
        assert!(xml.contains("name=\"a &lt;b&gt; &amp; &quot;c&quot;\"><failure>x &lt; y</failure>"), "{xml}");
    }
}
