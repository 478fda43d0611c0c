//! The template functions by name.

mod case;
mod chance;
mod dates;
mod decimal;
mod dicts;
mod encodings;
mod hashes;
mod json;
mod lists;
mod numbers;
mod paths;
mod printing;
mod regexes;
mod strings;
mod urls;
mod values;

use std::collections::BTreeSet;
use std::sync::Arc;

use gotmpl::{FuncMap, TemplateError, Value};

use super::call::{Call, Outcome, cost, text, weigh};
use super::version::{self, Version};
use super::world::World;
use super::{methods, show};

/// Inserted where a template calls a method of a time, and where it prints a value that Go prints differently.
pub(super) const METHOD: &str = "\u{b7}method";
pub(super) const SHOW: &str = "\u{b7}show";

/// Inserted in loops and templates, to count iterations.
pub(super) const TURN: &str = "\u{b7}turn";

/// Inserted where a function needs to know the Go type of a value.
pub(super) const TYPED: &str = "\u{b7}typed";

/// Functions that return the types of their arguments, or depend on them.
pub(super) const TELL_TYPES: [&str; 8] =
    ["duration", "durationRound", "kindIs", "kindOf", "printf", "typeIs", "typeIsLike", "typeOf"];

/// The Go type of a function's result, if the engine does not have that type.
pub(super) fn type_made_by(name: &str) -> Option<&'static str> {
    Some(match name {
        "add" | "add1" | "biggest" | "div" | "int64" | "max" | "min" | "mod" | "mul" | "sub" | "toDecimal" => "int64",
        "keys" | "mustRegexFindAll" | "mustRegexSplit" | "regexFindAll" | "regexSplit" | "sortAlpha" | "splitList"
        | "toStrings" => "[]string",
        "until" | "untilStep" => "[]int",
        "chunk" | "mustChunk" => "[][]interface {}",
        "split" | "splitn" => "map[string]string",
        _ => return None,
    })
}

/// Functions whose results the engine prints differently from Go: times and fractions.
pub(super) const SHOWN: [&str; 21] = [
    "add1f",
    "addf",
    "ceil",
    "dateModify",
    "date_modify",
    "divf",
    "float64",
    "floor",
    "fromJson",
    "maxf",
    "minf",
    "mulf",
    "mustDateModify",
    "mustFromJson",
    "mustToDate",
    "must_date_modify",
    "now",
    "round",
    "semver",
    "subf",
    "toDate",
];

/// A function and the number of its arguments.
struct Function {
    name: &'static str,
    least: usize,
    most: usize,
    run: fn(&Call<'_>) -> Outcome,
}

const fn function(name: &'static str, arguments: usize, run: fn(&Call<'_>) -> Outcome) -> Function {
    Function { name, least: arguments, most: arguments, run }
}

/// A function with at least `least` arguments.
const fn variadic(name: &'static str, least: usize, run: fn(&Call<'_>) -> Outcome) -> Function {
    Function { name, least, most: usize::MAX, run }
}

const INSERTED: &[Function] = &[
    variadic(METHOD, 2, methods::method),
    function(SHOW, 1, shown),
    function(TURN, 0, |c| c.world.turn().and(text(""))),
    function(TYPED, 2, |c| Ok(show::typed(c.text(0)?, c.any(1)))),
];

const VERSIONS: &[Function] = &[
    function("semver", 1, |c| Ok(Version::parse(c.text(0)?)?.value())),
    function("semverCompare", 2, |c| Ok(Value::Bool(version::satisfies(c.text(0)?, c.text(1)?)?))),
];

fn all() -> impl Iterator<Item = &'static Function> {
    [
        strings::FUNCTIONS,
        case::FUNCTIONS,
        numbers::FUNCTIONS,
        values::FUNCTIONS,
        lists::FUNCTIONS,
        dicts::FUNCTIONS,
        json::FUNCTIONS,
        dates::FUNCTIONS,
        regexes::FUNCTIONS,
        encodings::FUNCTIONS,
        hashes::FUNCTIONS,
        paths::FUNCTIONS,
        printing::FUNCTIONS,
        urls::FUNCTIONS,
        chance::FUNCTIONS,
        VERSIONS,
        INSERTED,
    ]
    .into_iter()
    .flatten()
}

/// Whether the result of a function may depend on the time.
pub(super) fn is_of_now(name: &str) -> bool {
    dates::OF_NOW.contains(&name)
}

/// Functions of the engine. Its `slice` works on text, but sprig's, for lists, takes precedence.
const BUILT_IN: [&str; 12] = ["and", "call", "eq", "ge", "gt", "index", "le", "len", "lt", "ne", "not", "or"];

/// sprig functions that are rejected, because they reach beyond the entry or create keys and passwords, with the
/// reason.
const REFUSED: [(&str, &[&str]); 3] = [
    (
        "it reads the environment: put `${NAME}` into the config and start with -config.expand-env",
        &["env", "expandenv"],
    ),
    ("a log line must not cause network traffic", &["getHostByName"]),
    (
        "templates make no keys, certificates or passwords",
        &[
            "bcrypt",
            "buildCustomCert",
            "decryptAES",
            "derivePassword",
            "encryptAES",
            "genCA",
            "genCAWithKey",
            "genPrivateKey",
            "genSelfSignedCert",
            "genSelfSignedCertWithKey",
            "genSignedCert",
            "genSignedCertWithKey",
            "htpasswd",
        ],
    ),
];

/// Checks that a template may use the function.
pub(super) fn exists(name: &str) -> Result<(), String> {
    if BUILT_IN.contains(&name) || all().any(|function| function.name == name) {
        return Ok(());
    }
    if let Some((why, _)) = REFUSED.iter().find(|(_, names)| names.contains(&name)) {
        return Err(format!("function `{name}` is refused: {why}"));
    }
    let hint = all().map(|f| f.name).find(|known| known.eq_ignore_ascii_case(name));
    Err(match hint {
        Some(known) => format!("function `{name}` is not defined: did you mean `{known}`"),
        None => format!("function `{name}` is not defined"),
    })
}

/// The functions with these names, ready to be called.
pub(super) fn named(names: &BTreeSet<String>, world: &Arc<World>) -> FuncMap {
    let used = all().filter(|function| names.contains(function.name));
    let ready = used.map(|function| {
        let world = world.clone();
        let run = move |args: &[Value]| function.run(&world, args).map_err(TemplateError::Exec);
        (function.name.to_string(), Arc::new(run) as gotmpl::ValueFunc)
    });
    ready.collect()
}

impl Function {
    fn run(&self, world: &World, args: &[Value]) -> Outcome {
        if !(self.least..=self.most).contains(&args.len()) {
            let more = if self.most > self.least { " or more" } else { "" };
            return Err(format!("{} takes {}{more} arguments, not {}", self.name, self.least, args.len()));
        }
        let outcome = || {
            let weight = args.iter().map(weigh).sum::<Result<usize, String>>()?;
            world.spend(1 + weight)?;
            let made = (self.run)(&Call { world, args })?;
            if let Value::String(text) = &made {
                world.saw(text);
            }
            world.spend(cost(&made))?;
            Ok(made)
        };
        outcome().map_err(|message: String| format!("{}: {message}", self.name))
    }
}

/// Converts times, fractions, and values that may contain them, to text.
fn shown(call: &Call<'_>) -> Outcome {
    match call.any(0) {
        value @ (Value::Float(_) | Value::List(_) | Value::Map(_)) => text(show::show(value)),
        plain => Ok(plain.clone()),
    }
}
