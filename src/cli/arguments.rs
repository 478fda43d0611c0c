//! Parses the arguments of a command: its own flags, the agent's flags, and the rest, in any order.

use std::collections::BTreeMap;

use super::flags::{Error, Flags};
use super::table::{self, Kind};

/// A flag of a command.
#[derive(Debug)]
pub(super) struct OwnFlag {
    pub name: &'static str,
    /// A word for its value. Empty: it takes none.
    pub value: &'static str,
    pub help: &'static str,
}

#[derive(Debug)]
pub(super) struct Arguments {
    own: BTreeMap<&'static str, String>,
    /// The agent's flags, such as `-config.file`.
    pub agent: Flags,
    /// What is not a flag.
    pub rest: Vec<String>,
}

impl Arguments {
    pub fn parse(own_flags: &'static [OwnFlag], args: impl IntoIterator<Item = String>) -> Result<Self, Error> {
        let mut args = args.into_iter();
        let (mut own, mut agent, mut rest) = (BTreeMap::new(), Vec::new(), Vec::new());
        while let Some(arg) = args.next() {
            let Some(body) = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-')).filter(|_| arg != "-") else {
                rest.push(arg);
                continue;
            };
            if body.is_empty() {
                rest.extend(args.by_ref());
                break;
            }
            let (name, value) = body.split_once('=').map_or((body, None), |(name, value)| (name, Some(value)));
            let Some(flag) = own_flags.iter().find(|flag| flag.name == name) else {
                let takes_next =
                    value.is_none() && table::all().any(|flag| flag.name == name && flag.kind != Kind::Bool);
                agent.push(arg);
                if takes_next {
                    agent.extend(args.next());
                }
                continue;
            };
            let value = match (value, flag.value) {
                (Some(value), _) => value.to_string(),
                (None, "") => "true".to_string(),
                (None, _) => args.next().ok_or_else(|| Error::missing_value(name))?,
            };
            own.insert(flag.name, value);
        }
        Ok(Self { own, agent: Flags::parse(agent)?, rest })
    }

    /// The value of a flag of the command. None: it was not given.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.own.get(name).map(String::as_str)
    }

    pub fn on(&self, name: &str) -> bool {
        self.text(name).is_some_and(|value| value != "false")
    }

    /// Whether the agent's flag names a config file.
    pub fn has_config(&self) -> bool {
        !self.agent.text("config.file").trim().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &[OwnFlag] =
        &[OwnFlag { name: "line", value: "TEXT", help: "" }, OwnFlag { name: "strict", value: "", help: "" }];

    fn parse(args: &[&str]) -> Result<Arguments, Error> {
        Arguments::parse(OWN, args.iter().map(|arg| arg.to_string()))
    }

    #[test]
    fn flags_may_be_anywhere() {
        for args in [
            &["a=b,c=d", "-line", "-x y", "-config.file=f", "--strict", "-config.expand-env", "z"][..],
            &["-strict", "-config.file", "f", "-config.expand-env=true", "a=b,c=d", "-line=-x y", "--", "z"],
        ] {
            let arguments = parse(args).expect("arguments");
            assert_eq!(arguments.text("line"), Some("-x y"), "{args:?}");
            assert!(arguments.on("strict") && arguments.agent.on("config.expand-env") && arguments.has_config());
            assert_eq!(arguments.agent.text("config.file"), "f");
            assert_eq!(arguments.rest, ["a=b,c=d", "z"], "{args:?}");
        }
    }

    #[test]
    fn mistakes() {
        for (args, want) in [
            (&["-line"][..], "flag needs an argument: -line"),
            (&["-config.file"], "flag needs an argument: -config.file"),
            (&["-confg.file=x"], "flag provided but not defined: -confg.file, did you mean -config.file?"),
        ] {
            assert_eq!(parse(args).expect_err("a mistake").to_string(), want);
        }
    }
}
