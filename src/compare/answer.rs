//! The answer of Loki to `query_range`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

pub(super) type LabelsOf = Arc<BTreeMap<String, String>>;

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub at: i64,
    /// The labels of the stream, without structured metadata.
    pub labels: LabelsOf,
    pub line: String,
    pub metadata: BTreeMap<String, String>,
}

/// The entries of an answer, in the order of time.
pub(super) fn entries(body: &[u8]) -> Result<Vec<Entry>, String> {
    let answer: Answer<'_> = serde_json::from_slice(body).map_err(|e| not_loki(&e))?;
    if answer.data.result_type != "streams" {
        let kind = answer.data.result_type;
        return Err(format!("the query returns a {kind}: write one that returns lines, such as {{job=\"pods\"}}"));
    }
    let streams: Vec<StreamOfAnswer> = serde_json::from_str(answer.data.result.get()).map_err(|e| not_loki(&e))?;
    let mut entries = Vec::new();
    for stream in streams {
        let labels = Arc::new(stream.stream);
        entries.extend(stream.values.into_iter().map(|value| Entry {
            at: value.at,
            labels: labels.clone(),
            line: value.line,
            metadata: value.metadata,
        }));
    }
    entries.sort_by_key(|entry| entry.at);
    Ok(entries)
}

/// Without the message of the parser, which may have the content of a line.
fn not_loki(error: &serde_json::Error) -> String {
    format!("the answer is not that of Loki (line {}, column {})", error.line(), error.column())
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    data: Data<'a>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(rename = "resultType")]
    result_type: String,
    /// Its form depends on the type.
    #[serde(borrow)]
    result: &'a RawValue,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StreamOfAnswer {
    stream: BTreeMap<String, String>,
    values: Vec<Value>,
}

/// `["<nanoseconds>", "<line>"]`, or with a third element for labels that are not the stream's.
struct Value {
    at: i64,
    line: String,
    metadata: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Extra {
    #[serde(rename = "structuredMetadata")]
    structured_metadata: BTreeMap<String, String>,
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements;
        impl<'de> Visitor<'de> for Elements {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time and a line")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
                let missing = |what: &str| <A::Error as serde::de::Error>::custom(format!("an entry has no {what}"));
                let at: String = elements.next_element()?.ok_or_else(|| missing("time"))?;
                let at = at.parse().map_err(|_| missing("time in nanoseconds"))?;
                let line = elements.next_element()?.ok_or_else(|| missing("line"))?;
                let extra: Extra = elements.next_element()?.unwrap_or_default();
                while elements.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Value { at, line, metadata: extra.structured_metadata })
            }
        }
        deserializer.deserialize_seq(Elements)
    }
}
