//! Promtail's positions file: a map of paths to offsets, which are strings.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde::Deserialize;
use xxhash_rust::xxh3::xxh3_64;

use super::safe;
use crate::model::{bounded, nesting};

#[derive(Debug, Default)]
pub(super) struct File {
    pub positions: BTreeMap<String, String>,
    pub hash: u64,
}

/// The largest positions file in bytes: enough for several hundred thousand logs.
const LARGEST: u64 = 64 << 20;

/// The most bytes of memory for the YAML parser, for a file that is written in another way than ours and Promtail's.
const PARSER: usize = 64 << 20;

/// Opens a regular file only: reading a pipe or a device could block or never end.
pub(super) fn open_regular(path: &Path) -> io::Result<fs::File> {
    let meta = fs::metadata(path)?;
    if meta.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory"));
    }
    if !meta.is_file() {
        return Err(io::Error::other("it is not a regular file: name another file"));
    }
    fs::File::open(path)
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    bounded::read(open_regular(path)?, LARGEST).map_err(|e| match e.kind() {
        io::ErrorKind::FileTooLarge => io::Error::new(e.kind(), format!("{e}: no positions file is so large")),
        _ => e,
    })
}

fn text_of(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text"))
}

/// Why there are no positions. It says what is wrong with the file, and not to remove it: it may be the file of something else.
#[derive(Debug)]
pub(super) enum Unread {
    /// It cannot be read.
    Failed(String),
    /// It is read, but it is no positions file.
    Content(String),
}

impl Unread {
    pub fn text(&self) -> &str {
        let (Self::Failed(text) | Self::Content(text)) = self;
        text
    }
}

/// A missing or empty file has no positions.
pub(super) fn read(path: &Path) -> Result<File, Unread> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Shape {
        #[serde(default)]
        positions: Option<BTreeMap<String, Offset>>,
    }
    // serde_yaml passes a scalar to a string verbatim, quoted or not.
    type Offset = String;

    let text = match read_file(path).and_then(text_of) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(File::default()),
        Err(e) if e.kind() == io::ErrorKind::IsADirectory => {
            let file = path.join("positions.yaml");
            return Err(Unread::Failed(format!("{e}: name a file in it, such as {}", file.display())));
        }
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            return Err(Unread::Failed(format!("{e}: let the user of the agent read and write it")));
        }
        // It is too large, or not UTF-8.
        Err(e) if matches!(e.kind(), io::ErrorKind::FileTooLarge | io::ErrorKind::InvalidData) => {
            return Err(Unread::Content(e.to_string()));
        }
        Err(e) => return Err(Unread::Failed(e.to_string())),
    };
    let hash = xxh3_64(text.as_bytes());
    if text.trim().is_empty() {
        return Ok(File { positions: BTreeMap::new(), hash });
    }
    if let Some(positions) = by_line(&text) {
        return Ok(File { positions, hash });
    }
    if nesting::too_deep(&text).is_some() {
        return Err(Unread::Content("it is not a positions file: it is nested too deep".into()));
    }
    if bounded::yaml_memory(&text) > PARSER {
        let why = "it is not a positions file: it has too many lines or values, and not one position in each line";
        return Err(Unread::Content(why.into()));
    }
    // The parser's message may quote the text, and the file may be another one, with secrets.
    let shape: Shape = serde_yaml::from_str(&text).map_err(|e| {
        let place =
            e.location().map(|at| format!(", at line {} column {}", at.line(), at.column())).unwrap_or_default();
        Unread::Content(format!("it is not a positions file, which has only `positions`{place}"))
    })?;
    Ok(File { positions: shape.positions.unwrap_or_default(), hash })
}

/// Reads a file with one position in each line, as fantail writes it and Promtail does with usual names. The YAML parser takes
/// many times the file in memory. None: it is written in another way.
fn by_line(text: &str) -> Option<BTreeMap<String, String>> {
    let mut lines = text.lines();
    if lines.next() != Some("positions:") {
        return None;
    }
    let mut positions = BTreeMap::new();
    for line in lines {
        let entry = line.strip_prefix("  ")?;
        let (key, value) = if entry.starts_with('"') {
            let mut json = serde_json::Deserializer::from_str(entry).into_iter::<String>();
            let key = json.next()?.ok()?;
            (key, entry[json.byte_offset()..].strip_prefix(": ")?)
        } else {
            let (key, value) = entry.split_once(": ").filter(|(key, _)| is_plain(key))?;
            (key.to_string(), value)
        };
        // All values that fantail and Promtail write are in quotes.
        positions.insert(key, serde_json::from_str(value).ok()?);
    }
    Some(positions)
}

/// The content of the file.
pub(super) fn text(positions: &BTreeMap<String, String>) -> String {
    let mut text = String::from(if positions.is_empty() { "positions: {}\n" } else { "positions:\n" });
    for (key, value) in positions {
        text.push_str("  ");
        text.push_str(&plain_or_quoted(key));
        text.push_str(": ");
        text.push_str(&quoted(value));
        text.push('\n');
    }
    text
}

pub(super) fn hash(text: &str) -> u64 {
    xxh3_64(text.as_bytes())
}

/// Writes the file if its content changed.
pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    let is_as_long = fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() == text.len() as u64);
    if is_as_long && fs::read(path).is_ok_and(|now| now == text.as_bytes()) {
        return Ok(());
    }
    safe::replace(path, text.as_bytes()).map(|_| ())
}

/// Whether YAML takes it as a text without quotes.
fn is_plain(key: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/_.-".contains(c);
    key.starts_with(|c: char| c == '/' || c.is_ascii_alphabetic()) && key.chars().all(plain)
}

fn plain_or_quoted(key: &str) -> String {
    if is_plain(key) { key.to_string() } else { quoted(key) }
}

/// Quotes a string. JSON strings are double-quoted YAML strings, except for some characters, which YAML does not take as they are,
/// or takes for line breaks. The names of files have any characters.
fn quoted(text: &str) -> String {
    let json = serde_json::to_string(text).expect("a string is JSON");
    let is_special =
        |c: char| matches!(c, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}');
    if !json.contains(is_special) {
        return json;
    }
    let mut quoted = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        match is_special(c) {
            true => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => quoted.push(c),
        }
    }
    quoted
}
