//! `-inspect`: prints what each stage changes, as Promtail does. It also shows the stages inside `match`, and entries that a
//! stage drops, holds or releases.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use super::observe::{Name, Observer, Snapshot, Step};
use crate::model::{Labels, Outcome, terminal};

/// Where the changes are printed.
#[derive(Clone)]
pub struct Inspector {
    out: Arc<Mutex<dyn std::io::Write + Send>>,
    is_terminal: bool,
    colours: bool,
}

impl Inspector {
    /// Prints to standard error, with colours if that is a terminal and `NO_COLOR` is not set.
    pub fn of_stderr() -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let is_terminal = std::io::stderr().is_terminal();
        Self { out: Arc::new(Mutex::new(std::io::stderr())), is_terminal, colours: is_terminal && !plain }
    }

    #[cfg(test)]
    pub fn of_test(out: Arc<Mutex<dyn std::io::Write + Send>>, colours: bool) -> Self {
        Self { out, is_terminal: colours, colours }
    }

    /// What could change a terminal is escaped there.
    fn shown<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if self.is_terminal { terminal::lines(text) } else { Cow::Borrowed(text) }
    }

    fn paint(&self, colour: u8, text: &str) -> String {
        if self.colours { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.into() }
    }

    /// In one write, so that the output of two jobs is not mixed. A closed pipe is ignored.
    fn print(&self, text: &str) {
        let _ = self.out.lock().unwrap_or_else(PoisonError::into_inner).write_all(text.as_bytes());
    }
}

impl std::fmt::Debug for Inspector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Inspector")
    }
}

const RED: u8 = 31;
const GREEN: u8 = 32;
const YELLOW: u8 = 33;

impl Inspector {
    fn text(&self, stage: &str, before: &Fields, after: &Fields, outcome: Option<&str>) -> String {
        let mut text = format!("{}\n", self.paint(YELLOW, &format!("[inspect: {stage} stage]:")));
        let unchanged = text.len();
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        for name in names {
            let (old, new) = (before.get(name), after.get(name));
            if old == new {
                continue;
            }
            let _ = writeln!(text, "{{stages.Entry}}.{name}:");
            for (value, sign, colour) in [(old, "-", RED), (new, "+", GREEN)] {
                if let Some(value) = value {
                    let _ = writeln!(text, "{}", self.paint(colour, &format!("\t{sign}: {}", self.shown(value))));
                }
            }
        }
        if let Some(outcome) = outcome {
            let _ = writeln!(text, "{}", self.paint(RED, &self.shown(outcome)));
        } else if text.len() == unchanged {
            text.push_str("none\n");
        }
        text
    }
}

impl Observer for Inspector {
    fn begins(&self, _: &Name) {}

    fn ends(&self, stage: &Name, step: Step) {
        let Some(stage) = &stage.kind else { return };
        let outcome = match step.outcome {
            Outcome::Passed => None,
            Outcome::Dropped(reason) => Some(format!("dropped: {reason}")),
            Outcome::Held => Some("held, until the stage releases it".to_string()),
        };
        let failed = step.failures.iter().map(|why| format!("failed: {why}"));
        let said: Vec<String> = failed.chain(outcome).collect();
        let said = (!said.is_empty()).then(|| said.join("\n"));
        self.print(&self.text(stage, &fields(&step.before), &fields(&step.after), said.as_deref()));
    }

    fn releases(&self, stage: &Name, entry: Snapshot) {
        let Some(stage) = &stage.kind else { return };
        self.print(&self.text(stage, &Fields::new(), &fields(&entry), None));
    }
}

/// The parts of an entry that are shown, by their names in Promtail's output.
type Fields = BTreeMap<String, String>;

fn fields(entry: &Snapshot) -> Fields {
    let time = Timestamp::from_nanosecond(entry.timestamp.into()).unwrap_or_default();
    let mut fields = Fields::from([
        ("Entry.Entry.Line".to_string(), entry.line.clone()),
        ("Entry.Entry.Timestamp".to_string(), time.to_string()),
    ]);
    let mut add = |kind: &str, pairs: &Labels| {
        fields.extend(pairs.iter().map(|(name, value)| (format!("{kind}[{name:?}]"), value.clone())));
    };
    add("Entry.Labels", &entry.labels);
    add("Entry.Entry.StructuredMetadata", &entry.metadata);
    add("Extracted", &entry.extracted);
    if let Some(tenant) = &entry.tenant {
        fields.insert("Entry.Labels[\"__tenant_id__\"]".into(), tenant.clone());
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::testing::{self, inspected};

    fn output(stages: &str, lines: &[&str], colours: bool) -> String {
        let out = Arc::new(Mutex::new(Vec::new()));
        inspected(stages, lines, Inspector::of_test(out.clone(), colours));
        let bytes = out.lock().expect("not poisoned").clone();
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn lines_do_not_change_the_terminal_that_shows_them() {
        let stages = "[{regex: {expression: '^(?P<a>.*)$'}}]";
        let line = "\u{1b}[2J\u{202e}x";
        let said = output(stages, &[line], true);
        assert!(said.contains("\t+: \\u{1b}[2J\\u{202e}x") && !said.contains(line), "{said}");
        assert!(output(stages, &[line], false).contains(line), "a file has the line as it is");
    }

    #[test]
    fn each_stage_says_what_it_changes() {
        let stages = "[{json: {expressions: {level: , msg: }}}, {labels: {level: }}, {output: {source: msg}}, {tenant: {value: a}}, \
                      {labeldrop: [other]}]";
        let said = output(stages, &[r#"{"level": "info", "msg": "a line"}"#], false);
        assert_eq!(
            said,
            "[inspect: json stage]:\n\
             {stages.Entry}.Extracted[\"level\"]:\n\t+: info\n\
             {stages.Entry}.Extracted[\"msg\"]:\n\t+: a line\n\
             [inspect: labels stage]:\n\
             {stages.Entry}.Entry.Labels[\"level\"]:\n\t+: info\n\
             [inspect: output stage]:\n\
             {stages.Entry}.Entry.Entry.Line:\n\t-: {\"level\": \"info\", \"msg\": \"a line\"}\n\t+: a line\n\
             [inspect: tenant stage]:\n\
             {stages.Entry}.Entry.Labels[\"__tenant_id__\"]:\n\t+: a\n\
             [inspect: labeldrop stage]:\n\
             none\n"
        );
    }

    #[test]
    fn dropped_and_held_entries_and_the_stages_of_match() {
        let stages = "[{match: {selector: '{app=\"a\"}', stages: [{drop: {expression: bad}}]}}, {multiline: {firstline: '^\\S'}}]";
        let said = output(stages, &["bad", "one", " more", "two"], false);
        for part in [
            "[inspect: drop stage]:\ndropped: drop_stage\n[inspect: match stage]:\ndropped: drop_stage\n",
            "[inspect: multiline stage]:\nheld, until the stage releases it\n",
            "{stages.Entry}.Entry.Entry.Line:\n\t+: one\n more\n",
        ] {
            assert!(said.contains(part), "{said}");
        }
    }

    #[test]
    fn what_is_removed_is_red_and_what_is_added_is_green() {
        let said = output("[{replace: {expression: '(a)', replace: b}}]", &["a"], true);
        assert!(said.contains("\x1b[31m\t-: a\x1b[0m\n\x1b[32m\t+: b\x1b[0m\n"), "{said:?}");
    }

    /// The result is the same with and without inspection.
    #[test]
    fn inspection_changes_nothing() {
        let stages = "[{regex: {expression: '(?P<n>\\d+)'}}, {labels: {n: }}, {drop: {source: n, value: '2'}}]";
        let lines = ["1", "2", "x"];
        let seen = inspected(stages, &lines, Inspector::of_test(Arc::new(Mutex::new(Vec::new())), false));
        assert_eq!(seen, testing::outcomes(stages, &lines));
        assert_eq!(seen.len(), 2);
    }
}
