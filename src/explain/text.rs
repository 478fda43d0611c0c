//! An explanation as text.

use std::fmt::Write;

use crate::model::{
    Change, ExplainedEntry, ExplainedFile, ExplainedTarget, Explanation, Labels, LineTrace, Outcome, RuleStep,
    StageStep, terminal,
};

/// How to mark what is good and what is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    Plain,
    /// ANSI colours, for a terminal.
    Colours,
}

impl Paint {
    fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    fn bad(self, text: &str) -> String {
        self.with("31", text)
    }

    fn strong(self, text: &str) -> String {
        self.with("1", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        match self {
            Self::Plain => text.to_string(),
            Self::Colours => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        }
    }
}

/// The explanation for a person, without a newline at its end.
pub fn text(explanation: &Explanation, paint: Paint) -> String {
    let mut out = String::new();
    for note in &explanation.notes {
        let _ = writeln!(out, "{}\n", paint.bad(&shown(note)));
    }
    for target in &explanation.targets {
        write_target(&mut out, target, paint);
        out.push('\n');
    }
    if explanation.more_targets > 0 {
        let _ =
            writeln!(out, "{} more targets are not shown: ask for a pod, a file or labels\n", explanation.more_targets);
    }
    for client in &explanation.clients {
        let state = if client.state == "ok" { paint.good("ok") } else { paint.bad(&shown(&client.state)) };
        let _ = writeln!(out, "client {} ({}): {state}", shown(&client.name), shown(&client.url));
        if let Some(error) = &client.last_error {
            let _ = writeln!(out, "  last error: {}", shown(error));
        }
    }
    out.trim_end().to_string()
}

fn write_target(out: &mut String, target: &ExplainedTarget, paint: Paint) {
    let head = format!("job {}, target from {}", target.job, target.source);
    let _ = writeln!(out, "{}", paint.strong(&shown(&head)));
    let _ = writeln!(out, "  discovered labels");
    write_labels(out, &target.discovered);
    for rule in &target.rules {
        write_rule(out, rule, paint);
    }
    if let Some(why) = &target.dropped {
        let _ = writeln!(out, "  {} {}", paint.bad("not read:"), shown(why));
        return;
    }
    let _ = writeln!(out, "  {}", paint.good("kept, with the labels"));
    write_labels(out, &target.labels);
    if let Some(path) = &target.path {
        let from = if target.is_default_path { " (the pod defaults, because there is no __path__)" } else { "" };
        let _ = writeln!(out, "  path {}{from}", shown(path));
    }
    if let Some(exclude) = &target.exclude {
        let _ = writeln!(out, "  without {}", shown(exclude));
    }
    if let Some(why) = &target.nothing {
        let _ = writeln!(out, "  {} {}", paint.bad("no file is read:"), shown(why));
    }
    target.files.iter().for_each(|file| write_file(out, file, paint));
    if target.more_files > 0 {
        let _ = writeln!(out, "  and {} more files", target.more_files);
    }
    if let Some(file) = &target.lines_of {
        let _ = writeln!(out, "  last lines of {}", shown(file));
    }
    target.lines.iter().for_each(|line| write_line(out, line, paint));
}

fn write_labels(out: &mut String, labels: &Labels) {
    let width = labels.keys().map(|name| name.chars().count()).max().unwrap_or_default();
    for (name, value) in labels {
        let _ = writeln!(out, "    {:width$} = {}", shown(name), shown(value));
    }
    if labels.is_empty() {
        out.push_str("    (none)\n");
    }
}

fn write_rule(out: &mut String, rule: &RuleStep, paint: Paint) {
    let verdict = match (rule.drops, rule.changes.is_empty()) {
        (true, _) => paint.bad("drops the target"),
        (false, true) => "changes nothing".into(),
        (false, false) => String::new(),
    };
    let _ = writeln!(out, "  {}{}{verdict}", shown(&rule.rule), if verdict.is_empty() { "" } else { "  -> " });
    if rule.drops || rule.changes.is_empty() {
        for (name, value) in &rule.read {
            let value = if value.is_empty() { "(missing or empty)".into() } else { shown(value) };
            let _ = writeln!(out, "    read {} = {value}", shown(name));
        }
    }
    rule.changes.iter().for_each(|change| write_change(out, 4, change));
}

fn write_change(out: &mut String, indent: usize, change: &Change) {
    let what = shown(&change.what);
    let _ = match (&change.before, &change.after) {
        (Some(before), Some(after)) => {
            writeln!(out, "{:indent$}{what}: {} -> {}", "", shown(before), shown(after))
        }
        (None, Some(after)) => writeln!(out, "{:indent$}{what} = {}", "", shown(after)),
        (Some(before), None) => writeln!(out, "{:indent$}{what} removed (was {})", "", shown(before)),
        (None, None) => Ok(()),
    };
}

fn write_file(out: &mut String, file: &ExplainedFile, paint: Paint) {
    let _ = write!(out, "  file {}", shown(&file.path));
    if let Some(size) = file.size {
        let _ = write!(out, ", {size} bytes");
    }
    match (file.position, file.behind) {
        (Some(position), Some(behind)) => {
            let _ = write!(out, ", acknowledged up to {position}, {behind} bytes behind");
        }
        _ if file.problem.is_none() => out.push_str(", no position yet"),
        _ => {}
    }
    if let Some(client) = &file.client {
        let _ = write!(out, ", client {}", shown(client));
    }
    out.push('\n');
    if let Some(problem) = &file.problem {
        let _ = writeln!(out, "    {} {}", paint.bad("not read:"), shown(problem));
    }
    for (reason, lines) in &file.discarded {
        let _ = writeln!(out, "    {} lines {} {}", lines, paint.bad("dropped:"), shown(reason));
    }
}

fn write_line(out: &mut String, line: &LineTrace, paint: Paint) {
    let _ = writeln!(out, "  line {}", shown(&line.line));
    line.steps.iter().for_each(|step| write_step(out, step, paint));
    let drops = line.steps.iter().any(|step| matches!(step.outcome, Outcome::Dropped(_)));
    if line.entries.is_empty() && !drops {
        out.push_str("    no entry yet: a stage waits for more lines\n");
    }
    line.entries.iter().for_each(|entry| write_entry(out, entry, paint));
}

fn write_step(out: &mut String, step: &StageStep, paint: Paint) {
    let indent = 4 + 2 * step.depth;
    let outcome = match &step.outcome {
        Outcome::Passed if step.changes.is_empty() => "  -> changes nothing".into(),
        Outcome::Passed => String::new(),
        Outcome::Held => "  -> waits for more lines".into(),
        Outcome::Dropped(reason) => format!("  -> {}", paint.bad(&format!("drops the line, reason {}", shown(reason)))),
    };
    let _ = writeln!(out, "{:indent$}{}{outcome}", "", shown(&step.stage));
    for why in &step.failures {
        let _ = writeln!(out, "{:indent$}  {}", "", paint.bad(&shown(why)));
    }
    step.changes.iter().for_each(|change| write_change(out, indent + 2, change));
}

fn write_entry(out: &mut String, entry: &ExplainedEntry, paint: Paint) {
    let _ = writeln!(out, "    {}", paint.good("entry"));
    let pairs = |labels: &Labels| {
        labels.iter().map(|(name, value)| format!("{}={value:?}", shown(name))).collect::<Vec<_>>().join(", ")
    };
    let _ = writeln!(out, "      time     {}", entry.timestamp);
    let _ = writeln!(out, "      labels   {{{}}}", pairs(&entry.labels));
    if !entry.metadata.is_empty() {
        let _ = writeln!(out, "      metadata {}", pairs(&entry.metadata));
    }
    if let Some(tenant) = &entry.tenant {
        let _ = writeln!(out, "      tenant   {}", shown(tenant));
    }
    let _ = writeln!(out, "      line     {}", shown(&entry.line));
    for warning in &entry.warnings {
        let _ = writeln!(out, "      {} {}", paint.bad("warning:"), shown(warning));
    }
}

fn shown(text: &str) -> String {
    terminal::one_line(text).into_owned()
}
