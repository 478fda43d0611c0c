//! Each row of the table in `docs/loki.md` is a test.

use super::*;

const PAGE: &str = include_str!("../../../docs/loki.md");
const ONE: Asked = Asked { streams: 1, entries: 3, bytes: 300, attempt: 1, drop_rate_limited: false };
const SEVERAL: Asked = Asked { streams: 3, ..ONE };

struct Row<'p> {
    answer: Result<Answer, Failure>,
    several: &'p str,
    one: &'p str,
    said: &'p str,
}

#[test]
fn each_answer_does_what_the_page_says() {
    let rows = rows();
    assert!(rows.len() > 50, "{} rows: the page has another form", rows.len());
    for Row { answer, several, one, said } in rows {
        for (part, expected) in [(SEVERAL, several), (ONE, one)] {
            let (word, why) = word_of(&answer, part);
            assert_eq!(word, expected, "{answer:?}");
            assert!(why.contains(said), "{answer:?}: {why:?} does not say {said:?}");
        }
    }
}

/// The page explains each action of its table.
#[test]
fn each_word_is_explained() {
    for Row { several, one, .. } in rows() {
        for word in several.split(", ").chain(one.split(", ")) {
            let word = if word.starts_with("less") { "less N" } else { word };
            assert!(PAGE.contains(&format!("\n| {word} | ")), "{word:?} is not explained");
        }
    }
}

fn rows() -> Vec<Row<'static>> {
    let (_, table) = PAGE.split_once("| status | body | several | one | said |\n").expect("the table");
    table.lines().skip(1).take_while(|line| line.starts_with('|')).map(row).collect()
}

fn row(line: &'static str) -> Row<'static> {
    let cells: Vec<&str> =
        line.trim_matches('|').split(" |").map(str::trim).map(|c| c.trim_start_matches("| ")).collect();
    let [status, body, several, one, said] = cells[..] else { panic!("not five cells: {line}") };
    let body = body.trim_matches('`');
    let status = status.parse().expect(line);
    let answer = Answer { status, is_html: body.starts_with('<'), body: body.to_string(), ..Answer::default() };
    Row { answer: Ok(answer), several, one, said }
}

/// The page's names for a decision, and its message.
pub(super) fn word_of(answer: &Result<Answer, Failure>, part: Asked) -> (String, String) {
    match decide(answer, part) {
        Next::Done => ("delivered".into(), String::new()),
        Next::DoneBut { refused, why, .. } => (format!("less {refused}"), why.into()),
        Next::Halve { why } => ("halve".into(), why.into()),
        Next::TakeApart { why } => ("apart".into(), why.into()),
        Next::Again { scope, pace, why, .. } => {
            let scope = match scope {
                Scope::Way => "",
                Scope::Streams => ", by stream",
                Scope::Unknown => ", streams in doubt",
                Scope::Entries => ", entries in doubt",
            };
            (format!("{}{scope}", if pace == Pace::Slow { "retry slowly" } else { "retry" }), why.into())
        }
    }
}
