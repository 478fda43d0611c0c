//! `fantail compare` with two tenants of a real Loki.

use std::process::{Command, Output};
use std::time::SystemTime;

use serde_json::{Value, json};

use crate::loki::{Loki, Tenant, nanoseconds};

/// Entries per request. More share a nanosecond.
const LIMIT: usize = 50;

/// Stream, time and line.
type Sent = (&'static str, i64, String);

/// Lines of two streams. Some times have more lines than a page, of one stream and of both, and with a common beginning.
fn lines(start: i64) -> Vec<Sent> {
    let mut lines = Vec::new();
    for i in 0..300i64 {
        lines.push((if i % 2 == 0 { "a" } else { "b" }, start + i * 1_000_000, format!("line {i}")));
        lines.push(("a", start + 77, format!("a burst with \"quotes\", a ` and é: {i}")));
        lines.push(("b", start + 78, format!("{i} is different at its beginning{}", " and long".repeat(150))));
        lines.push((if i < 150 { "a" } else { "b" }, start + 79, format!("{} {i}", "x".repeat(1500))));
    }
    lines
}

fn push(tenant: &Tenant, agent: &str, lines: &[Sent]) {
    for stream in ["a", "b"] {
        let values: Vec<_> = lines
            .iter()
            .filter(|(of, ..)| *of == stream)
            .map(|(_, at, line)| json!([at.to_string(), line, {"trace": agent}]))
            .collect();
        let labels = json!({"job": "compare", "stream": stream, "agent": agent});
        let pushed = tenant.push(&json!({"streams": [{"stream": labels, "values": values}]}));
        assert!(pushed.is_success(), "{pushed:?}");
    }
}

fn compare(loki: &Loki, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fantail"));
    command.arg("compare").arg(format!("-left.url=http://{}", loki.address()));
    command.args(["-left.tenant=compare-1", "-to=0", "-limit", &LIMIT.to_string()]);
    command.args(args).output().expect("it runs")
}

#[test]
fn compare_finds_each_missing_and_each_doubled_line() {
    let loki = Loki::shared();
    let start = nanoseconds(SystemTime::now()) - 60_000_000_000;
    let all = lines(start);
    push(&loki.tenant("compare-1"), "promtail", &all);
    push(&loki.tenant("compare-2"), "fantail", &all);
    let both = ["-right.tenant=compare-2", "-query={job=\"compare\"}", "-ignore-label=agent", "-json"];
    let equal = compare(loki, &both);
    let text = String::from_utf8_lossy(&equal.stdout);
    assert_eq!(equal.status.code(), Some(0), "{text} {}", String::from_utf8_lossy(&equal.stderr));
    let found: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((&found["total"]["left"], &found["total"]["right"]), (&json!(1200), &json!(1200)));

    // On the right, some lines are missing, also of the bursts, and two are doubled.
    let missing = |(_, _, line): &Sent| ["line 10", "line 33"].contains(&line.as_str()) || line.ends_with(" 7");
    let mut right: Vec<Sent> = all.iter().filter(|sent| !missing(sent)).cloned().collect();
    let lost = all.len() - right.len();
    assert_eq!(lost, 5);
    let again = [("a", start + 80, "line 4".to_string()), ("b", start + 3_000_500, "line 3".to_string())];
    right.extend(again);
    push(&loki.tenant("compare-3"), "fantail", &right);
    let third = ["-right.tenant=compare-3", "-query={job=\"compare\"}", "-ignore-label=agent"];
    let different = compare(loki, &[&third[..], &["-json"]].concat());
    let text = String::from_utf8_lossy(&different.stdout);
    assert_eq!(different.status.code(), Some(1), "{text} {}", String::from_utf8_lossy(&different.stderr));
    let total = serde_json::from_str::<Value>(&text).expect("JSON")["total"].clone();
    let expected = json!({"left": 1200, "right": right.len(), "missing_left": 0, "missing_right": lost,
        "doubled_left": 0, "doubled_right": 2});
    assert_eq!(total, expected);
    assert!(!text.contains("burst"), "{text}");
    let shown = compare(loki, &[&third[..], &["-show-lines=3"]].concat());
    let text = String::from_utf8_lossy(&shown.stdout);
    assert_eq!(text.matches(" on the left {").count() + text.matches(" on the right {").count(), 3, "{text}");
    // Nothing is not equal to nothing.
    let none = compare(loki, &["-right.tenant=compare-2", "-query={job=\"other\"}"]);
    assert_eq!(none.status.code(), Some(2), "{none:?}");
    let wrong = compare(loki, &["-query=sum(rate({job=\"compare\"}[1m]))"]);
    assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");
}
