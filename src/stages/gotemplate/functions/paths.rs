//! Paths with slashes.

use gotmpl::Value;

use super::super::call::{Outcome, text};
use super::{Function, function};

pub(super) const FUNCTIONS: &[Function] = &[
    function("base", 1, |c| base(c.text(0)?)),
    function("osBase", 1, |c| base(c.text(0)?)),
    function("dir", 1, |c| dir(c.text(0)?)),
    function("osDir", 1, |c| dir(c.text(0)?)),
    function("clean", 1, |c| text(clean(c.text(0)?))),
    function("osClean", 1, |c| text(clean(c.text(0)?))),
    function("ext", 1, |c| ext(c.text(0)?)),
    function("osExt", 1, |c| ext(c.text(0)?)),
    function("isAbs", 1, |c| Ok(Value::Bool(c.text(0)?.starts_with('/')))),
    function("osIsAbs", 1, |c| Ok(Value::Bool(c.text(0)?.starts_with('/')))),
];

fn base(path: &str) -> Outcome {
    let trimmed = path.trim_end_matches('/');
    text(match (path, trimmed) {
        ("", _) => ".",
        (_, "") => "/",
        (_, path) => path.rsplit('/').next().unwrap_or(path),
    })
}

fn dir(path: &str) -> Outcome {
    text(clean(path.rfind('/').map_or("", |slash| &path[..=slash])))
}

fn ext(path: &str) -> Outcome {
    let name = path.rsplit('/').next().unwrap_or(path);
    text(name.rfind('.').map_or("", |dot| &name[dot..]))
}

/// Removes `.`, `..` and empty components, as far as possible without the file system.
fn clean(path: &str) -> String {
    let absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/').filter(|part| !matches!(*part, "" | ".")) {
        match (part, parts.last()) {
            ("..", Some(last)) if *last != ".." => _ = parts.pop(),
            ("..", None) if absolute => {}
            _ => parts.push(part),
        }
    }
    match (absolute, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".into(),
        (false, false) => parts.join("/"),
    }
}
