//! The line of an entry: its message, or all of its fields as JSON.

use std::collections::BTreeMap;

use crate::journal::Entry;
use crate::stages::quote_json;

/// The field with the message.
pub(super) const MESSAGE: &str = "MESSAGE";

/// Appends the line and a newline. Returns false and appends nothing if the entry has no message.
pub(super) fn write_line(entry: &Entry, json: bool, out: &mut Vec<u8>) -> bool {
    if json {
        out.extend_from_slice(object(entry).as_bytes());
    } else {
        let Some(message) = entry.get(MESSAGE) else {
            return false;
        };
        match std::str::from_utf8(message) {
            Ok(_) => out.extend_from_slice(message),
            Err(_) => out.extend_from_slice(String::from_utf8_lossy(message).as_bytes()),
        }
    }
    out.push(b'\n');
    true
}

/// As Promtail writes it: the fields by name, all of them text, and of a field with several values the last one.
fn object(entry: &Entry) -> String {
    let fields: BTreeMap<&[u8], &[u8]> = entry.fields().collect();
    let mut text = String::from("{");
    for (name, value) in fields {
        if text.len() > 1 {
            text.push(',');
        }
        quote_json(&mut text, &String::from_utf8_lossy(name));
        text.push(':');
        quote_json(&mut text, &String::from_utf8_lossy(value));
    }
    text.push('}');
    text
}
