//! `docker`: parses the JSON format of Docker's json-file driver.
//!
//! ```yaml
//! - docker: {}
//! ```
//!
//! `{"log":"text\n","stream":"stdout","time":"2026-11-22T10:00:00.5Z"}` becomes `text\n`, with that time and the label
//! `stream="stdout"`. The newline stays, as in Promtail. The stage extracts `output`, `stream` and `timestamp`. It has
//! no options.
//!
//! If `log` is a number or a boolean, the line is its text. If it is an object or a list, the line is its JSON. If it
//! is missing or null, the line stays unchanged. `stream` and `time` are read in the same way.
//!
//! A line that is not a JSON object passes unchanged. If a time cannot be parsed, the line gets the last time of its
//! labels plus one nanosecond.
//!
//! Unlike Promtail: Docker splits lines longer than 16 KiB, and this stage joins the parts, separately for each stream
//! and also across a rotation. A part is a `log` of 16 KiB or more without a newline at its end. The joined line has the
//! time of its first part. It is at most 256 KiB long, because Loki accepts no longer line by default; what follows
//! becomes a line of its own. Parts are sent as they are if the rest does not come within five minutes, or cannot come
//! because the file is gone. Parts that wait when the agent stops are read again when it starts.

mod parts;
mod usual;

use std::borrow::Cow;
use std::fmt;
use std::sync::LazyLock;
use std::time::Instant;

use jmespath::Variable;
use memchr::memmem::Finder;
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use super::fudge::Fudge;
use super::gojson;
use super::json::without_lone_surrogates;
use super::labelling::Setting;
use super::options::Options;
use super::{ConfigError, Due, Flow, Recipe, Stage, Surroundings, Value, Work};
use crate::metrics::ContainerLines;
use crate::model::Rfc3339;
use parts::Parts;

pub(super) fn compile(options: &mut Options<'_>) -> Result<Recipe, ConfigError> {
    options.has_no_options();
    options.needs_nothing_extracted();
    Ok(Box::new(|around| Box::new(Docker::new(around))))
}

#[derive(Debug)]
pub(super) struct Docker {
    extract: bool,
    time: Rfc3339,
    fudge: Fudge,
    sets: Setting,
    parts: Parts,
    /// Only takes the JSON off: sets no label and removes the newline.
    unwraps: bool,
    /// Counts the lines. None: another pipeline counts them, or they are not those of containers of Docker's API.
    counts: Option<ContainerLines>,
}

impl Docker {
    pub fn new(around: &Surroundings) -> Self {
        Self {
            extract: !around.reads.is_nothing(),
            time: Rfc3339::default(),
            fudge: Fudge::default(),
            sets: Setting::new(["stream"]),
            parts: Parts::new(around.clock.clone()),
            unwraps: false,
            counts: None,
        }
    }

    /// No later stage uses the extracted values.
    pub fn plain(around: &Surroundings) -> Self {
        Self { extract: false, ..Self::new(around) }
    }
}

impl Stage for Docker {
    fn process(&mut self, work: &mut Work<'_>, released: &mut Vec<Work<'static>>) -> Flow {
        // The fields borrow from the line that they replace, so the line is kept until they are used.
        let line = std::mem::take(&mut work.entry.line);
        let mut fields = match &line {
            Cow::Borrowed(line) => Fields::read(line),
            Cow::Owned(line) => Fields::read(line).into_owned(),
        };
        // The text of most lines of containers is passed on without a copy.
        let is_whole_line = self.unwraps && fields.ends_line && self.parts.is_empty();
        if fields.ends_line && !is_whole_line {
            fields.log.iter_mut().for_each(|log| log.to_mut().push('\n'));
        }
        if self.extract {
            work.extracted.begin_again(&work.entry);
            for (name, value) in [("output", &fields.log), ("stream", &fields.stream), ("timestamp", &fields.time)] {
                let value = value.as_ref().map_or(Value::Null, |text| Value::Text(Cow::Owned(text.to_string())));
                work.extracted.set(name, value);
            }
        }
        let stream = fields.stream.as_deref();
        if !self.unwraps {
            work.entry.labels = self.sets.apply(&work.entry.labels, |_| stream.map(Cow::Borrowed));
        }
        let time = fields.time.as_deref().and_then(|time| self.time.parse(time));
        if let Some(counts) = &self.counts {
            counts.count(time.is_some() && fields.log.is_some());
        }
        work.entry.timestamp = self.fudge.settle(&work.entry.labels, time, work.entry.timestamp);
        let Some(log) = fields.log else {
            work.entry.line = line;
            return Flow::Pass;
        };
        work.entry.line = log;
        if is_whole_line {
            remove_return(&mut work.entry.line);
            return Flow::Pass;
        }
        let first = released.len();
        let flow = self.parts.take(work, stream.unwrap_or_default(), self.extract, released);
        if self.unwraps {
            remove_newline(&mut work.entry.line);
            released[first..].iter_mut().for_each(|work| remove_newline(&mut work.entry.line));
        }
        flow
    }

    fn release(&mut self, due: Due, released: &mut Vec<Work<'static>>) {
        self.parts.release(due, released);
    }

    fn next_due(&self) -> Option<Instant> {
        self.parts.next_due()
    }
}

/// For log files of containers found by Docker's API: the stages get the lines as the containers wrote them. The labels
/// of the streams are set before.
pub(super) fn unwrapping(around: &Surroundings) -> Box<dyn Stage> {
    let counts = around.custom.as_ref().map(|custom| custom.containers.clone());
    Box::new(Docker { unwraps: true, counts, ..Docker::plain(around) })
}

const STREAM: &[u8] = b"\"stream\":\"";

static FIND_STREAM: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(STREAM));

/// Whether a line of a log file of Docker was written to stderr.
pub fn is_stderr(line: &str) -> bool {
    // Within the text of the line, the quotes of such a field would be escaped.
    let at = FIND_STREAM.find(line.as_bytes());
    at.is_some_and(|at| line.as_bytes()[at + STREAM.len()..].starts_with(b"stderr\""))
}

/// Removes the newline at the end, as Promtail does.
fn remove_newline(line: &mut Cow<'_, str>) {
    if line.ends_with('\n') {
        remove_last(line);
        remove_return(line);
    }
}

fn remove_return(line: &mut Cow<'_, str>) {
    if line.ends_with('\r') {
        remove_last(line);
    }
}

/// Removes the last byte, which is a character.
fn remove_last(line: &mut Cow<'_, str>) {
    let length = line.len() - 1;
    match line {
        Cow::Borrowed(line) => *line = &line[..length],
        Cow::Owned(line) => line.truncate(length),
    }
}

#[derive(Debug, Default)]
struct Fields<'l> {
    log: Option<Cow<'l, str>>,
    /// A newline follows `log`.
    ends_line: bool,
    stream: Option<Cow<'l, str>>,
    time: Option<Cow<'l, str>>,
}

impl<'l> Fields<'l> {
    /// Returns no fields if the line is not a JSON object.
    fn read(line: &'l str) -> Self {
        usual::read(line).or_else(|| serde_json::from_str(line).ok()).unwrap_or_else(|| {
            let mended = without_lone_surrogates(line);
            let fields = mended.as_deref().and_then(|mended| serde_json::from_str::<Fields<'_>>(mended).ok());
            fields.map(Fields::into_owned).unwrap_or_default()
        })
    }

    fn into_owned<'o>(self) -> Fields<'o> {
        let own = |text: Option<Cow<'_, str>>| text.map(|t| Cow::Owned(t.into_owned()));
        Fields { log: own(self.log), ends_line: self.ends_line, stream: own(self.stream), time: own(self.time) }
    }
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Fields<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Fields::default();
                while let Some(Text(key)) = map.next_key::<Text<'de>>()? {
                    // If a key repeats, the last one is used.
                    let slot = match key.as_deref() {
                        Some("log") => &mut fields.log,
                        Some("stream") => &mut fields.stream,
                        Some("time") => &mut fields.time,
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                            continue;
                        }
                    };
                    *slot = map.next_value::<Text<'de>>()?.0;
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// A value as text. Lists and objects become JSON. None for null.
struct Text<'l>(Option<Cow<'l, str>>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Scalar;
        impl<'de> Visitor<'de> for Scalar {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Some(Cow::Borrowed(v))))
            }
            fn visit_str<E>(self, v: &str) -> Result<Text<'de>, E> {
                Ok(Text(Some(Cow::Owned(v.to_string()))))
            }
            fn visit_bool<E>(self, v: bool) -> Result<Text<'de>, E> {
                Ok(Text(Some(Cow::Owned(v.to_string()))))
            }
            // Promtail holds all numbers as floats.
            fn visit_i64<E>(self, v: i64) -> Result<Text<'de>, E> {
                Ok(float(v as f64))
            }
            fn visit_u64<E>(self, v: u64) -> Result<Text<'de>, E> {
                Ok(float(v as f64))
            }
            fn visit_f64<E>(self, v: f64) -> Result<Text<'de>, E> {
                Ok(float(v))
            }
            fn visit_unit<E>(self) -> Result<Text<'de>, E> {
                Ok(Text(None))
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, seq: A) -> Result<Text<'de>, A::Error> {
                Variable::deserialize(SeqAccessDeserializer::new(seq)).map(|list| json(&list))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Text<'de>, A::Error> {
                Variable::deserialize(MapAccessDeserializer::new(map)).map(|object| json(&object))
            }
        }
        deserializer.deserialize_any(Scalar)
    }
}

fn json<'l>(value: &Variable) -> Text<'l> {
    let mut text = String::new();
    gojson::write(&mut text, value);
    Text(Some(Cow::Owned(text)))
}

fn float<'l>(v: f64) -> Text<'l> {
    Text(Some(Cow::Owned(v.to_string())))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Bench, Seen, check};

    const T: i64 = 1_715_927_400_000_000_000;

    fn seen(ns: i64, stream: Option<&str>, text: &str) -> Seen {
        let labels = stream.map_or("{app=\"x\"}".to_string(), |s| format!("{{app=\"x\", stream={s:?}}}"));
        Seen { timestamp: if ns < 0 { Seen::READ } else { T + ns }, labels, line: text.into() }
    }

    #[test]
    fn what_is_in_the_json() {
        for (line, want) in [
            (
                r#"{"log":"GET /\n","stream":"stdout","time":"2024-05-17T06:30:00.000000001Z"}"#,
                seen(1, Some("stdout"), "GET /\n"),
            ),
            (
                r#"{"time":"2024-05-17T06:30:00Z","attrs":{"tag":["web"]},"stream":"stderr","log":"x"}"#,
                seen(0, Some("stderr"), "x"),
            ),
            (
                r#"{"log":"\u001b[31m\ud83d\ude80\t<&>\r\n","stream":"s","time":"2024-05-17T06:30:00Z"}"#,
                seen(0, Some("s"), "\u{1b}[31m🚀\t<&>\r\n"),
            ),
            (r#"{"log":"a","log":"b","stream":null}"#, seen(-1, None, "b")),
            (r#"{"log":7.50,"stream":true}"#, seen(-1, Some("true"), "7.5")),
            (r#"{"log":"bad time","stream":"stdout","time":"17/May/2024"}"#, seen(-1, Some("stdout"), "bad time")),
            (r#"{"log":5,"log":"a"}"#, seen(-1, None, "a")),
            (r#"{"log":false}"#, seen(-1, None, "false")),
            (r#"{"log":1e21}"#, seen(-1, None, "1000000000000000000000")),
            (r#"{"log":12345678901234567890}"#, seen(-1, None, "12345678901234567000")),
            (r#"{"log":-0}"#, seen(-1, None, "-0")),
            (r#"{"log":0.0000001}"#, seen(-1, None, "0.0000001")),
            (r#"{"log":""}"#, seen(-1, None, "")),
            (r#"{"log":{"a":1.0,"k":"<&>"}}"#, seen(-1, None, r#"{"a":1,"k":"\u003c\u0026\u003e"}"#)),
            (r#"{"log":[null,1.0,{"b":[true]}]}"#, seen(-1, None, r#"[null,1,{"b":[true]}]"#)),
            (r#"{"log":{}}"#, seen(-1, None, "{}")),
            (r#"{"log":[]}"#, seen(-1, None, "[]")),
            (r#"{"log":"x","stream":{"a":1}}"#, seen(-1, Some("{\"a\":1}"), "x")),
            (r#"{"log":"x","stream":["a"]}"#, seen(-1, Some("[\"a\"]"), "x")),
            (r#"{"log":"x","stream":5,"time":1715927416}"#, seen(-1, Some("5"), "x")),
            (r#"{"log":"x\ud800","stream":""}"#, seen(-1, Some(""), "x\u{fffd}")),
            // The line stays unchanged, but stream and time are used.
            (
                r#"{"log":null,"stream":"o","time":"2024-05-17T06:30:00Z"}"#,
                seen(0, Some("o"), r#"{"log":null,"stream":"o","time":"2024-05-17T06:30:00Z"}"#),
            ),
            (r#"{"LOG":"x","stream":"o"}"#, seen(-1, Some("o"), r#"{"LOG":"x","stream":"o"}"#)),
        ] {
            check("docker: {}", &[line.to_string()], &[want]);
        }
    }

    #[test]
    fn lines_of_containers_are_counted() {
        let mut bench = Bench::of_containers();
        for (line, outcome) in [
            (r#"{"log":"a\n","stream":"stdout","time":"2024-05-17T06:30:00Z"}"#, "{app=\"x\"} a"),
            (r#"{"log":"b\n","stream":"stdout","time":"yesterday"}"#, "{app=\"x\"} b"),
            ("not json", "{app=\"x\"} not json"),
        ] {
            assert_eq!(bench.outcome(line), outcome);
        }
        assert_eq!(bench.count("promtail_docker_target_entries_total", &[]), 3);
        assert_eq!(bench.count("promtail_docker_target_parsing_errors_total", &[]), 2);
        // The stage of a user counts nothing.
        let mut bench = Bench::of("docker: {}");
        bench.outcome("not json");
        assert_eq!(bench.count("promtail_docker_target_entries_total", &[]), 0);
    }

    #[test]
    fn what_is_no_object_passes_unchanged() {
        for line in ["not json", "{\"log\":\"cut", "[\"an\",\"array\"]", "", "7", "{\"log\":\"x\"} y", "{}"] {
            check("docker:", &[line.to_string()], &[seen(-1, None, line)]);
        }
    }

    #[test]
    fn a_missing_time_follows_the_last_of_its_stream() {
        check(
            "docker: {}",
            &[
                r#"{"log":"a","stream":"o","time":"2024-05-17T06:30:00Z"}"#.to_string(),
                r#"{"log":"b","stream":"o"}"#.to_string(),
            ],
            &[seen(0, Some("o"), "a"), seen(1, Some("o"), "b")],
        );
    }
}
