//! The agent's own log on standard error: one line per event, in Go kit's logfmt or JSON.

use std::fmt;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use crate::model::terminal::is_command;
use crate::server::{LogFormat, LogLevel};

/// Sends the log to standard error. Returns a handle to change the level.
pub(crate) fn install(level: LogLevel, format: LogFormat) -> Level {
    let (subscriber, level) = subscriber(level, format, std::io::stderr);
    // A second call, in a test, has no effect.
    let _ = subscriber.try_init();
    level
}

/// The log level. Can be changed while the program runs.
pub(crate) struct Level(reload::Handle<Targets, Registry>);

impl Level {
    pub(crate) fn set(&self, level: LogLevel) {
        // Fails only if the log is already gone.
        let _ = self.0.reload(filter(level));
    }
}

fn subscriber<W>(level: LogLevel, format: LogFormat, writer: W) -> (impl Subscriber + Send + Sync + use<W>, Level)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(filter(level));
    let lines = tracing_subscriber::fmt::layer().event_format(Lines { format }).with_writer(writer);
    (tracing_subscriber::registry().with(filter).with(lines), Level(handle))
}

fn filter(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    };
    // Events of libraries are not logged: hyper's debug log contains headers, and kube logs each failed request, while
    // fantail logs the first failure and the recovery.
    Targets::new()
        .with_target("fantail", level)
        .with_target("kube_client", LevelFilter::OFF)
        .with_default(level.min(LevelFilter::WARN))
}

struct Lines {
    format: LogFormat,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = match *event.metadata().level() {
            tracing::Level::ERROR => "error",
            tracing::Level::WARN => "warn",
            tracing::Level::INFO => "info",
            tracing::Level::DEBUG | tracing::Level::TRACE => "debug",
        };
        let head = [("ts", time), ("level", level.to_string()), ("msg", fields.message)];
        let fields = head.into_iter().chain(fields.rest);
        match self.format {
            LogFormat::Logfmt => logfmt(&mut writer, fields),
            LogFormat::Json => json(&mut writer, fields),
        }
    }
}

fn logfmt(writer: &mut Writer<'_>, fields: impl Iterator<Item = (&'static str, String)>) -> fmt::Result {
    for (i, (name, value)) in fields.enumerate() {
        if i > 0 {
            writer.write_char(' ')?;
        }
        let quoted = value.is_empty() || value.chars().any(|c| matches!(c, ' ' | '"' | '=') || is_command(c));
        match quoted {
            true => write!(writer, "{name}={}", quote(&value))?,
            false => write!(writer, "{name}={value}")?,
        }
    }
    writer.write_char('\n')
}

fn json(writer: &mut Writer<'_>, fields: impl Iterator<Item = (&'static str, String)>) -> fmt::Result {
    for (i, (name, value)) in fields.enumerate() {
        writer.write_char(if i == 0 { '{' } else { ',' })?;
        write!(writer, "{}:{}", quote(name), quote(&value))?;
    }
    writer.write_str("}\n")
}

// Paths and answers of Loki may contain such characters.
fn quote(text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    if !json.contains(is_command) {
        return json;
    }
    // JSON only requires escapes below U+0020. All other characters here have four hexadecimal digits.
    json.chars().map(|c| if is_command(c) { format!("\\u{:04x}", u32::from(c)) } else { c.into() }).collect()
}

/// The message and the other fields of an event.
#[derive(Default)]
struct Fields {
    message: String,
    rest: Vec<(&'static str, String)>,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record(field, value.to_string());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.record(field, value.to_string());
    }
}

impl Fields {
    fn record(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.message = value,
            name => self.rest.push((name.strip_prefix("r#").unwrap_or(name), value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("not poisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(level: LogLevel, format: LogFormat, log: impl FnOnce()) -> String {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        tracing::subscriber::with_default(subscriber(level, format, move || writer.clone()).0, log);
        String::from_utf8(buffer.0.lock().expect("not poisoned").clone()).expect("UTF-8")
    }

    #[test]
    fn logfmt_lines() {
        let text = logged(LogLevel::Info, LogFormat::Logfmt, || {
            tracing::info!(path = %"/a b", bytes = 5, empty = "", "read \"it\"\nall");
            tracing::debug!("unseen");
        });
        let (time, rest) = text.strip_prefix("ts=").and_then(|t| t.split_once(' ')).expect("a time");
        assert!(time.ends_with('Z') && time.contains('T'), "{time}");
        assert_eq!(rest, "level=info msg=\"read \\\"it\\\"\\nall\" path=\"/a b\" bytes=5 empty=\"\"\n");
    }

    #[test]
    fn json_lines() {
        let text = logged(LogLevel::Debug, LogFormat::Json, || tracing::debug!(path = "/a\"b", bytes = 5, "read"));
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(
            (&value["level"], &value["msg"], &value["path"], &value["bytes"]),
            (&"debug".into(), &"read".into(), &"/a\"b".into(), &"5".into())
        );
    }

    #[test]
    fn nothing_that_others_wrote_moves_the_cursor() {
        let said =
            "\u{1b}[2J\u{1b}]0;x\u{7}\r\nts=1 level=info\u{9b}31m\u{85}\u{7f}\u{0}\u{202e}txt\u{2028}\u{2066}\t\u{8}é";
        for alone in said.chars().filter(|c| is_command(*c)) {
            let text = logged(LogLevel::Info, LogFormat::Logfmt, || tracing::info!(error = %format!("a{alone}b"), "x"));
            assert!(!text.trim_end_matches('\n').contains(alone), "{text:?}");
        }
        for format in [LogFormat::Logfmt, LogFormat::Json] {
            let text = logged(LogLevel::Info, format, || tracing::warn!(error = said, "{said}"));
            let line = text.strip_suffix('\n').expect("a line");
            assert!(!line.contains(is_command) && line.contains('é'), "{line:?}");
            if matches!(format, LogFormat::Json) {
                let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
                assert_eq!((&value["error"], &value["msg"]), (&said.into(), &said.into()));
            }
        }
    }

    #[test]
    fn the_level_changes_while_it_runs() {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let (subscriber, level) = subscriber(LogLevel::Warn, LogFormat::Logfmt, move || writer.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("first");
            level.set(LogLevel::Debug);
            tracing::debug!("second");
            level.set(LogLevel::Error);
            tracing::warn!("third");
        });
        let text = String::from_utf8(buffer.0.lock().expect("not poisoned").clone()).expect("UTF-8");
        assert!(text.contains("second") && !text.contains("first") && !text.contains("third"), "{text}");
    }

    #[test]
    fn libraries_are_heard_only_when_they_warn() {
        let text = logged(LogLevel::Debug, LogFormat::Logfmt, || {
            tracing::debug!(target: "hyper::proto", "chatter");
            tracing::warn!(target: "rustls", "trouble");
            tracing::error!(target: "kube_client::client", "one more failed request");
        });
        assert!(!text.contains("chatter") && text.contains("msg=trouble") && !text.contains("request"), "{text}");
        assert_eq!(logged(LogLevel::Error, LogFormat::Logfmt, || tracing::warn!(target: "rustls", "trouble")), "");
    }
}
