//! The expressions of a `json` stage: plain paths are read without building the object, others on the whole object.

use std::sync::Arc;

use jmespath::ast::Ast;
use jmespath::{Context, Rcvar, Variable};

use super::found::{Found, value};
use super::functions::RUNTIME;
use super::paths::Paths;

pub(super) enum Expressions {
    Paths(Paths),
    Any(Vec<(Ast, String)>),
}

/// The parser recurses into brackets and prefixes, the interpreter into each step of a chain. Real expressions are far
/// below these limits.
const DEEPEST: usize = 200;
const STEPS: usize = 500;

impl Expressions {
    /// Parses the expressions. An error has the index of the invalid expression and the reason.
    pub fn new(texts: &[&str]) -> Result<Self, (usize, String)> {
        let mut parsed = Vec::new();
        for (i, text) in texts.iter().enumerate() {
            parsed.push((parse(text).map_err(|message| (i, message))?, text.to_string()));
        }
        let paths: Option<Vec<Vec<&str>>> = parsed.iter().map(|(ast, _)| path(ast)).collect();
        Ok(match paths {
            Some(paths) => Self::Paths(Paths::new(&paths)),
            None => Self::Any(parsed),
        })
    }

    /// Puts a value for each expression into `found`. Returns false if the text is not a JSON object; `found` is then
    /// undefined.
    pub fn read<'t>(&self, json: &'t str, found: &mut Vec<Found<'t>>) -> bool {
        found.clear();
        let expressions = match self {
            Self::Paths(paths) => return paths.read(json, found),
            Self::Any(expressions) => expressions,
        };
        let Some(tree) = Variable::from_json(json).ok().filter(|t| t.is_object() || t.is_null()) else {
            return false;
        };
        let tree: Rcvar = Arc::new(tree);
        found.extend(expressions.iter().map(|(ast, text)| {
            let found = jmespath::interpret(&tree, ast, &mut Context::new(text, &RUNTIME)).ok()?;
            Some(value(&found))
        }));
        true
    }
}

/// The keys of an expression that is a plain path. None: it is not.
fn path(ast: &Ast) -> Option<Vec<&str>> {
    match ast {
        Ast::Field { name, .. } => Some(vec![name]),
        Ast::Subexpr { lhs, rhs, .. } => {
            let mut keys = path(lhs)?;
            keys.extend(path(rhs)?);
            Some(keys)
        }
        _ => None,
    }
}

fn parse(text: &str) -> Result<Ast, String> {
    let (mut depth, mut steps) = (0_usize, 0_usize);
    for byte in text.bytes() {
        steps += usize::from(matches!(byte, b'.' | b'|' | b'[' | b'&' | b'*'));
        match byte {
            b'(' | b'[' | b'{' | b'!' | b'&' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEEPEST {
            return Err(format!("a JMESPath expression must not be nested deeper than {DEEPEST}"));
        }
        if steps > STEPS {
            return Err(format!("a JMESPath expression must not have more than {STEPS} steps"));
        }
    }
    // The message, without the drawing of the expression.
    jmespath::parse(text).map_err(|e| format!("invalid JMESPath expression `{text}`: {}{}", e.reason, advice(text)))
}

/// What to write instead of frequent mistakes. Empty: it is none of them.
fn advice(text: &str) -> String {
    if let Some(path) = text.strip_prefix('.') {
        return match jmespath::parse(path) {
            Ok(_) => format!("; there is no dot at the beginning, as there is in jq: write `{path}`"),
            Err(_) => "; there is no dot at the beginning, as there is in jq".into(),
        };
    }
    // A path with names that are not identifiers.
    let is_name = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "_-@$ ".contains(c));
    let quoted = |name: &str| match jmespath::parse(name) {
        Ok(_) => name.to_string(),
        Err(_) => format!("\"{name}\""),
    };
    if text.split('.').all(is_name) {
        let path = text.split('.').map(quoted).collect::<Vec<_>>().join(".");
        return format!("; quote a name with other characters than letters, digits and _: '{path}'");
    }
    String::new()
}
