//! `fantail compare`: the lines that two agents sent to Loki, per stream.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use super::super::{complain, say};
use super::{Arguments, Command, Failed, OwnFlag};
use crate::compare::{self, Access, Ask, Comparison, Loki, SIDES, Settings};
use crate::model::units::PromDuration;

pub(super) const COMMAND: Command = Command {
    name: "compare",
    arguments: "-query SELECTOR -left.url URL [-right.url URL] [-left.tenant NAME] [-right.tenant NAME] [flags]",
    summary: "compare what two agents sent to Loki: per stream, the lines that are missing or doubled",
    details: "\
Reads the lines of two sides from Loki, and prints the streams in which lines are missing or doubled. The sides are two
servers, two tenants of one server (-right.tenant), or two queries (-right.query), for instance while Promtail and
fantail run side by side. Streams are the same if their labels are: -ignore-label and -map adapt the labels.

missing   The side does not have the line at all.
doubled   Both sides have the line within -window, but this side more often. If a program writes the same line often,
          the other side may have lost one.

Times of a line may differ by -window, because agents without a timestamp stage send the time of reading. If both agents
send the time of the log, use -window 0s. No line is printed without -show-lines. The exit code is 0 if both sides are
equal, 1 if they differ, and 2 if they could not be compared.",
    operands: &[],
    takes_files: false,
    agent_flags: false,
    flags: &[
        own("query", "SELECTOR", "the lines of both sides, such as '{job=\"pods\"}'"),
        own("left.query", "SELECTOR", "the lines of the left side"),
        own("right.query", "SELECTOR", "the lines of the right side"),
        own("from", "TIME", "a time such as 2026-11-27T10:00:00Z, or how long ago (default 1h)"),
        own("to", "TIME", "in the same form (default 1m: what is younger may be on its way)"),
        own("window", "DURATION", "the longest time between a line and its match (default 10s)"),
        own("ignore-label", "NAMES", "labels that do not tell streams apart: name,name2"),
        own("map", "LABELS", "labels with another name on one side: old=new,old2=new2"),
        own("structured-metadata", "", "lines with different structured metadata are different"),
        own("show-lines", "NUMBER", "print the beginning of so many lines that differ (default 0)"),
        own("json", "", "print JSON"),
        own("limit", "NUMBER", "entries per request (default 5000, which is Loki's limit)"),
        own("timeout", "DURATION", "the longest wait for an answer (default 1m)"),
        own("left.url", "URL", "the Loki of the left side, such as http://loki:3100"),
        own("left.tenant", "NAME", "its tenant (X-Scope-OrgID)"),
        own("left.bearer-token-file", "FILE", "a token for it"),
        own("left.username", "NAME", "a user for it"),
        own("left.password-file", "FILE", "the password of this user"),
        own("left.ca-file", "FILE", "the CA of its certificate (PEM)"),
        own("left.insecure-skip-verify", "", "do not verify its certificate"),
        own("right.url", "URL", "the Loki of the right side (default: that of the left side)"),
        own("right.tenant", "NAME", "its tenant"),
        own("right.bearer-token-file", "FILE", "a token for it"),
        own("right.username", "NAME", "a user for it"),
        own("right.password-file", "FILE", "the password of this user"),
        own("right.ca-file", "FILE", "the CA of its certificate (PEM)"),
        own("right.insecure-skip-verify", "", "do not verify its certificate"),
    ],
    run,
};

const fn own(name: &'static str, value: &'static str, help: &'static str) -> OwnFlag {
    OwnFlag { name, value, help }
}

fn run(arguments: &Arguments) -> Result<ExitCode, Failed> {
    let settings = settings(arguments, SystemTime::now()).map_err(Failed::Usage)?;
    let accesses = [access(arguments, 0).map_err(Failed::Usage)?, access(arguments, 1).map_err(Failed::Usage)?];
    check_sides(&accesses, &settings).map_err(Failed::Usage)?;
    let comparison = match read(&accesses, &settings) {
        Ok(comparison) => comparison,
        Err(why) => {
            complain(format_args!("fantail compare: {why}"));
            return Ok(ExitCode::from(2));
        }
    };
    if arguments.on("json") {
        say(serde_json::to_string_pretty(&comparison).map_err(|e| Failed::Because(e.to_string()))?);
    } else {
        say(compare::text(&comparison));
    }
    Ok(if comparison.equal { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A side is always equal to itself. Servers that tell tenants apart by their credentials show each another one.
fn check_sides([left, right]: &[Access; 2], settings: &Settings) -> Result<(), String> {
    let who = |side: &Access| {
        [&side.url, &side.tenant, &side.username, &side.password_file, &side.bearer_token_file].map(String::clone)
    };
    match who(left) == who(right) && settings.queries[0] == settings.queries[1] {
        true => {
            Err("both sides are the same: set -right.url, -right.tenant or -right.query, or other credentials".into())
        }
        false => Ok(()),
    }
}

fn read(accesses: &[Access; 2], settings: &Settings) -> Result<Comparison, String> {
    let side = |side: usize| Loki::new(&accesses[side]).map_err(|why| format!("{}: {why}", SIDES[side]));
    let (left, right) = (side(0)?, side(1)?);
    let comparison = compare::compare([&left as &dyn Ask, &right], settings)?;
    // A wrong selector or tenant must not look like two equal sides.
    if comparison.streams.is_empty() {
        return Err("both sides have no lines in this range: check the query, the tenants, -from and -to".into());
    }
    Ok(comparison)
}

fn access(arguments: &Arguments, side: usize) -> Result<Access, String> {
    let text = |name: &str| arguments.text(&format!("{}.{name}", SIDES[side])).unwrap_or_default().to_string();
    let url = match (text("url"), arguments.text("left.url")) {
        (url, Some(left)) if url.is_empty() => left.to_string(),
        (url, _) if !url.is_empty() => url,
        _ => return Err("-left.url is needed".into()),
    };
    Ok(Access {
        url,
        tenant: text("tenant"),
        bearer_token_file: text("bearer-token-file"),
        username: text("username"),
        password_file: text("password-file"),
        ca_file: text("ca-file"),
        insecure_skip_verify: arguments.on(&format!("{}.insecure-skip-verify", SIDES[side])),
        timeout: duration(arguments, "timeout", "1m")?,
    })
}

fn settings(arguments: &Arguments, now: SystemTime) -> Result<Settings, String> {
    let query = |side: &str| {
        let query = arguments.text(&format!("{side}.query")).or(arguments.text("query")).unwrap_or_default();
        match query.trim() {
            "" => Err(format!("-query or -{side}.query is needed, such as -query '{{job=\"pods\"}}'")),
            query => Ok(query.to_string()),
        }
    };
    let range = time(arguments, "from", "1h", now)?..time(arguments, "to", "1m", now)?;
    if range.is_empty() {
        return Err("-from must be before -to".into());
    }
    let list = |name: &str| {
        let names = arguments.text(name).unwrap_or_default().split(',').map(str::trim);
        names.filter(|name| !name.is_empty()).map(String::from).collect::<Vec<_>>()
    };
    let renamed = list("map").into_iter().map(|pair| match pair.split_once('=') {
        Some((old, new)) if !old.is_empty() && !new.is_empty() => Ok((old.to_string(), new.to_string())),
        _ => Err(format!("-map {pair:?}: expected old=new")),
    });
    let mut ignored_labels = list("ignore-label");
    // Loki adds it when it divides a stream, and each agent's stream may be divided in another way.
    ignored_labels.push("__stream_shard__".into());
    Ok(Settings {
        queries: [query("left")?, query("right")?],
        range,
        window: duration(arguments, "window", "10s")?,
        limit: number(arguments, "limit", 5000, 2)?,
        ignored_labels,
        renamed_labels: renamed.collect::<Result<_, _>>()?,
        metadata: arguments.on("structured-metadata"),
        shown_lines: number(arguments, "show-lines", 0, 0)?,
    })
}

/// A time, or how long ago, as nanoseconds since 1970.
fn time(arguments: &Arguments, name: &str, default: &str, now: SystemTime) -> Result<i64, String> {
    let text = arguments.text(name).unwrap_or(default);
    let now = Timestamp::try_from(now).map_err(|e| format!("the clock of this host is wrong: {e}"))?;
    let time = match text.parse::<PromDuration>() {
        Ok(PromDuration(ago)) => now.checked_sub(ago).ok(),
        Err(_) => text.parse::<Timestamp>().ok(),
    };
    let nanoseconds = time.and_then(|time| i64::try_from(time.as_nanosecond()).ok());
    nanoseconds.ok_or_else(|| {
        format!("-{name} {text:?}: expected a time such as 2026-11-27T10:00:00Z, or a duration such as 30m or 2d")
    })
}

fn duration(arguments: &Arguments, name: &str, default: &str) -> Result<Duration, String> {
    let text = arguments.text(name).unwrap_or(default);
    text.parse().map(|PromDuration(duration)| duration).map_err(|why| format!("-{name}: {why}"))
}

fn number(arguments: &Arguments, name: &str, default: usize, least: usize) -> Result<usize, String> {
    let Some(text) = arguments.text(name) else { return Ok(default) };
    let number = text.parse().ok().filter(|number| (least..=1_000_000).contains(number));
    number.ok_or_else(|| format!("-{name} {text:?}: expected a number from {least} to 1000000"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Settings, String> {
        let arguments = Arguments::parse(COMMAND.flags, args.iter().map(|arg| arg.to_string()));
        let arguments = arguments.map_err(|e| e.to_string())?;
        let accesses = [access(&arguments, 0)?, access(&arguments, 1)?];
        let settings = settings(&arguments, SystemTime::UNIX_EPOCH + Duration::from_secs(7200))?;
        check_sides(&accesses, &settings).map(|()| settings)
    }

    #[test]
    fn sides_differ_in_anything_that_shows_other_lines() {
        for other in ["right.url=http://m", "right.tenant=b", "right.username=2", "right.query={c}", "left.tenant=a"] {
            let other = format!("-{other}");
            assert!(parsed(&["-left.url=http://l", "-query={a}", &other]).is_ok(), "{other}");
        }
        for same in ["-timeout=2m", "-right.url=http://l"] {
            let why = parsed(&["-left.url=http://l", "-query={a}", same]).expect_err(same);
            assert!(why.starts_with("both sides are the same"), "{why}");
        }
    }

    #[test]
    fn settings_have_defaults() {
        let parsed = parsed(&["-left.url=http://l", "-query={a=\"b\"}", "-right.query", "{c=\"d\"}", "-map=a=b,c=d"]);
        let settings = parsed.expect("settings");
        assert_eq!(settings.queries, ["{a=\"b\"}", "{c=\"d\"}"]);
        assert_eq!(settings.range, 3_600_000_000_000..7_140_000_000_000);
        assert_eq!((settings.window.as_secs(), settings.limit, settings.shown_lines), (10, 5000, 0));
        assert_eq!(settings.renamed_labels, [("a".into(), "b".into()), ("c".into(), "d".into())]);
    }

    #[test]
    fn mistakes() {
        for (args, want) in [
            (&["-query={}"][..], "-left.url is needed"),
            (&["-left.url=x"], "-query or -left.query is needed"),
            (&["-left.url=x", "-left.query={}"], "-query or -right.query is needed"),
            (&["-left.url=x", "-query={}", "-from=1m", "-to=1h"], "-from must be before -to"),
            (&["-left.url=x", "-query={}", "-from=yesterday"], "-from \"yesterday\": expected a time"),
            (&["-left.url=x", "-query={}", "-map=a"], "-map \"a\": expected old=new"),
            (&["-left.url=x", "-query={}", "-limit=1"], "-limit \"1\": expected a number from 2"),
            (&["-left.url=x", "-query={}", "-window=x"], "-window: invalid duration"),
        ] {
            let why = parsed(args).expect_err(want);
            assert!(why.starts_with(want), "{why}");
        }
    }
}
