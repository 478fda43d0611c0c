//! Parses the command line like Go's `flag` package: one dash or two, `-x v` or `-x=v`, booleans `-x` or `-x=false`.

use std::collections::BTreeMap;
use std::fmt;

use super::table::{self, Effect, Flag, Kind};
use crate::config::{Request, Scalar, Setting};
use crate::model::Labels;
use crate::model::gonumber::{parse_float, parse_int};
use crate::model::nearest;
use crate::model::units::{ByteSize, GoDuration};

/// The flags that were given. If one is given twice, the last value counts.
#[derive(Debug, Default)]
pub(crate) struct Flags {
    given: BTreeMap<&'static str, (&'static Flag, String)>,
    /// The first argument that is not a flag, and all after it.
    rest: Vec<String>,
}

/// A mistake on the command line.
#[derive(Debug)]
pub(crate) struct Error(String);

impl Error {
    pub(crate) fn missing_value(name: &str) -> Self {
        Self(format!("flag needs an argument: -{name}"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Flags {
    /// Parses `args`, without the program's name.
    pub(crate) fn parse(args: impl IntoIterator<Item = String>) -> Result<Self, Error> {
        let mut flags = Self::default();
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let Some(body) = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-')).filter(|_| arg != "-") else {
                flags.rest = std::iter::once(arg).chain(args).collect();
                break;
            };
            if body.is_empty() {
                flags.rest = args.collect();
                break;
            }
            if body.starts_with(['-', '=']) {
                return Err(Error(format!("bad flag syntax: {arg}")));
            }
            let (name, value) =
                body.split_once('=').map_or((body, None), |(name, value)| (name, Some(value.to_string())));
            let flag = find(name)?;
            let value = match (value, flag.kind) {
                (Some(value), _) => value,
                (None, Kind::Bool) => "true".to_string(),
                (None, _) => args.next().ok_or_else(|| Error::missing_value(name))?,
            };
            parse_value(flag, &value)?;
            flags.given.insert(flag.name, (flag, value));
        }
        Ok(flags)
    }

    /// The value of a boolean flag, or its default.
    pub(crate) fn on(&self, name: &str) -> bool {
        let default = || table::all().find(|flag| flag.name == name).map_or("", |flag| flag.default);
        let value = self.given.get(name).map_or_else(default, |(_, value)| value);
        boolean(value) == Some(true)
    }

    /// The value of a duration flag. `None`: 0, or not given.
    pub(crate) fn duration(&self, name: &str) -> Option<std::time::Duration> {
        let value: GoDuration = self.text(name).parse().ok()?;
        (!value.0.is_zero()).then_some(value.0)
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        self.given.get(name).map_or("", |(_, value)| value)
    }

    /// The name of a flag that was given. None: there is none.
    pub(crate) fn first_given(&self) -> Option<&'static str> {
        self.given.keys().next().copied()
    }

    /// The part of the config that the flags set.
    pub(crate) fn request(&self) -> Request {
        let setting = |(flag, value): &(&'static Flag, String)| match flag.effect {
            Effect::Sets(key) => Some(Setting { flag: flag.name, key, value: parse_value(flag, value).ok()? }),
            _ => None,
        };
        Request {
            files: self.text("config.file").to_string(),
            expand_env: self.on("config.expand-env"),
            settings: self.given.values().filter_map(setting).collect(),
            external_labels: labels(self.text("client.external-labels")).unwrap_or_default(),
            dry_run: self.on("dry-run"),
        }
    }

    /// Flags and arguments without effect.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let ignored = self.given.values().filter_map(|(flag, _)| match flag.effect {
            Effect::Ignored(why) => Some(format!("-{}: ignored: {why}", flag.name)),
            _ => None,
        });
        let rest = (!self.rest.is_empty()).then(|| {
            format!(
                "arguments without effect, because {:?} is not a flag: {:?}; write the value of a boolean flag after an equals sign",
                self.rest[0],
                self.rest.join(" ")
            )
        });
        let inspect = self.on("inspect").then(|| {
            "-inspect: prints the content of lines to standard error, and slows down the agent: use it with -dry-run or -stdin only"
                .to_string()
        });
        let inspect = inspect.filter(|_| !self.on("dry-run") && !self.on("stdin"));
        ignored.chain(inspect).chain(rest).collect()
    }
}

fn find(name: &str) -> Result<&'static Flag, Error> {
    let name = if name == "h" { "help" } else { name };
    table::all().find(|flag| flag.name == name).ok_or_else(|| {
        let near = nearest(name, table::all().map(|flag| flag.name));
        let near = near.map(|near| format!(", did you mean -{near}?")).unwrap_or_default();
        Error(format!("flag provided but not defined: -{name}{near}"))
    })
}

fn parse_value(flag: &Flag, value: &str) -> Result<Scalar, Error> {
    let text = || Scalar::Text(value.to_string());
    let parsed = match flag.kind {
        Kind::Bool => boolean(value).map(Scalar::Bool).ok_or("expected true or false".to_string()),
        Kind::Int => parse_int(value, 0).map(Scalar::Int).map_err(|_| "expected a whole number".to_string()),
        Kind::Float => parse_float(value).map(Scalar::Float).map_err(|_| "expected a number".to_string()),
        Kind::Text => Ok(text()),
        Kind::Duration => value.parse::<GoDuration>().map(|_| text()),
        Kind::Size => value.parse::<ByteSize>().map(|_| text()),
        Kind::Labels => labels(value).map(|_| text()),
        Kind::OneOf(values) => {
            values.contains(&value).then(text).ok_or_else(|| format!("expected one of {}", values.join(", ")))
        }
    };
    parsed.map_err(|e| Error(format!("invalid value {value:?} for flag -{}: {e}", flag.name)))
}

fn boolean(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

fn labels(text: &str) -> Result<Labels, String> {
    let pairs = text.split(',').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| match pair.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name.to_string(), value.to_string())),
            Some((name, _)) => Err(format!("{name:?} is not a label name")),
            None => Err(format!("{pair:?}: expected name=value")),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Flags, Error> {
        Flags::parse(line.split_whitespace().map(str::to_string))
    }

    #[test]
    fn mistakes() {
        for (line, want) in [
            ("-nonsense", "flag provided but not defined: -nonsense"),
            ("-config.fil=x", "flag provided but not defined: -config.fil, did you mean -config.file?"),
            (
                "--client.batchwait 1s",
                "flag provided but not defined: -client.batchwait, did you mean -client.batch-wait?",
            ),
            ("-config.file", "flag needs an argument: -config.file"),
            ("-dry-run=maybe", "invalid value \"maybe\" for flag -dry-run: expected true or false"),
            ("-client.max-retries=x", "invalid value \"x\" for flag -client.max-retries: expected a whole number"),
            ("-limit.readline-rate x", "invalid value \"x\" for flag -limit.readline-rate: expected a number"),
            (
                "-client.external-labels a",
                "invalid value \"a\" for flag -client.external-labels: \"a\": expected name=value",
            ),
            (
                "-client.external-labels =c",
                "invalid value \"=c\" for flag -client.external-labels: \"\" is not a label name",
            ),
            ("-log.level loud", "invalid value \"loud\" for flag -log.level: expected one of debug, info, warn, error"),
            ("---dry-run", "bad flag syntax: ---dry-run"),
            ("-=x", "bad flag syntax: -=x"),
            ("-client.max-retries=0x", "invalid value \"0x\" for flag -client.max-retries: expected a whole number"),
            ("-limit.readline-rate=0x1F", "invalid value \"0x1F\" for flag -limit.readline-rate: expected a number"),
        ] {
            assert_eq!(parse(line).expect_err(line).to_string(), want, "{line}");
        }
        // Go's number formats, and a label name that is changed later because Loki cannot parse it.
        for line in [
            "-client.max-retries=0x1F",
            "-client.max-retries=1_000",
            "-limit.readline-rate=0x1p-2",
            "-client.external-labels=a-b=c",
        ] {
            assert!(parse(line).is_ok(), "{line}");
        }
        for line in ["-client.timeout 10", "-client.timeout=2d", "-max-line-size=big", "-target.sync-period="] {
            let e = parse(line).expect_err(line).to_string();
            assert!(e.starts_with("invalid value") && e.contains("expected"), "{e}");
        }
    }

    #[test]
    fn booleans() {
        for (line, on) in [
            ("-dry-run", true),
            ("--dry-run", true),
            ("-dry-run=t", true),
            ("-dry-run=1", true),
            ("-dry-run=TRUE", true),
            ("-dry-run=f", false),
            ("--dry-run=0", false),
            ("-dry-run -dry-run=false", false),
            ("", false),
        ] {
            assert_eq!(parse(line).expect(line).on("dry-run"), on, "{line}");
        }
    }

    #[test]
    fn values() {
        for line in ["-config.file a=b", "--config.file a=b", "-config.file=a=b", "-config.file x -config.file a=b"] {
            assert_eq!(parse(line).expect(line).text("config.file"), "a=b", "{line}");
        }
        assert!(parse("-h").expect("help").on("help"));
    }

    #[test]
    fn flags_end_at_the_first_argument_that_is_none() {
        for (line, warned) in [
            ("-dry-run true -stdin", true),
            ("-dry-run -- -stdin", true),
            ("-dry-run - -stdin", true),
            ("-dry-run --", false),
        ] {
            let flags = parse(line).expect(line);
            assert!(flags.on("dry-run") && !flags.on("stdin"), "{line}");
            assert_eq!(!flags.warnings().is_empty(), warned, "{line}");
        }
    }

    #[test]
    fn what_the_config_is_asked_for() {
        let request = parse(
            "-config.file=a,b -config.expand-env -client.external-labels=a=b,c=d=e -stdin -client.max-retries -1 \
             -max-line-size=2M -limit.readline-rate 1.5 -server.grpc-listen-port=0",
        )
        .expect("flags")
        .request();
        assert_eq!((request.files.as_str(), request.expand_env, request.dry_run), ("a,b", true, false));
        let labels: Vec<_> = request.external_labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(labels, [("a", "b"), ("c", "d=e")]);
        let settings: Vec<_> = request.settings.into_iter().map(|s| (s.key, s.value)).collect();
        assert_eq!(
            settings,
            [
                ("client.backoff_config.max_retries", Scalar::Int(-1)),
                ("limits_config.readline_rate", Scalar::Float(1.5)),
                ("limits_config.max_line_size", Scalar::Text("2M".to_string())),
                ("target_config.stdin", Scalar::Bool(true)),
            ]
        );
    }

    #[test]
    fn what_does_nothing_is_said() {
        let flags =
            parse("-server.grpc-listen-port=0 -server.log-source-ips-full -tracing.enabled=false").expect("flags");
        assert_eq!(
            flags.warnings(),
            [
                "-server.grpc-listen-port: ignored: fantail has no gRPC listener",
                "-server.log-source-ips-full: ignored: fantail does not log requests",
            ]
        );
    }
}
