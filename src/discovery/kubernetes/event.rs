//! Parses a line of a watch.

use std::fmt;

use kube::core::Status;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::slim::{Object, ObjectSeed};
use crate::relabel::Reads;

#[derive(Debug)]
pub(super) enum Event<O> {
    Set(O),
    Deleted(O),
    /// There were no changes up to this version.
    Bookmark(String),
    Error(Box<Status>),
}

/// Parses a line. Only labels and annotations that rules read are kept.
pub(super) fn parse<O: Object>(line: &[u8], reads: &Reads) -> Result<Event<O>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Kind {
        #[serde(rename = "type")]
        kind: String,
    }
    #[derive(Deserialize)]
    struct Of<T> {
        object: T,
    }
    let object = || {
        let mut deserializer = serde_json::Deserializer::from_slice(line);
        OfEvent(ObjectSeed::<O>::new(reads)).deserialize(&mut deserializer)
    };
    // The type usually comes first, but this is not guaranteed.
    let Kind { kind } = match serde_json::from_slice(line) {
        Ok(kind) => kind,
        // A proxy in front of the server may send a bare status.
        Err(error) => {
            let status = serde_json::from_slice::<Status>(line).ok().filter(|status| status.code > 0);
            return status.map(|status| Event::Error(Box::new(status))).ok_or(error);
        }
    };
    match kind.as_str() {
        "ADDED" | "MODIFIED" => object().map(Event::Set),
        "DELETED" => object().map(Event::Deleted),
        "BOOKMARK" => object().map(|mut of| Event::Bookmark(std::mem::take(&mut of.metadata_mut().resource_version))),
        "ERROR" => serde_json::from_slice::<Of<Status>>(line).map(|of| Event::Error(Box::new(of.object))),
        other => Err(serde::de::Error::custom(format_args!("unknown type of event {other:?}"))),
    }
}

/// Finds the value of the key `object`.
struct OfEvent<S>(S);

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for OfEvent<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, S: DeserializeSeed<'de>> Visitor<'de> for OfEvent<S> {
    type Value = S::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event of a watch")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<S::Value, A::Error> {
        let (mut seed, mut value) = (Some(self.0), None);
        while let Some(key) = map.next_key::<String>()? {
            match seed.take_if(|_| key == "object") {
                Some(seed) => value = Some(map.next_value_seed(seed)?),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        value.ok_or_else(|| serde::de::Error::missing_field("object"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::slim::Pod;
    use super::*;

    #[test]
    fn events_in_either_order_of_their_keys() {
        let parse = |line: &str| parse::<Pod>(line.as_bytes(), &Reads::default());
        let pod = r#"{"metadata":{"name":"a","resourceVersion":"7"}}"#;
        for line in
            [format!(r#"{{"type":"ADDED","object":{pod}}}"#), format!(r#"{{"object":{pod},"type":"MODIFIED"}}"#)]
        {
            assert!(matches!(parse(&line), Ok(Event::Set(pod)) if pod.metadata.name == "a"), "{line}");
        }
        let line = format!(r#"{{"type":"DELETED","object":{pod}}}"#);
        assert!(matches!(parse(&line), Ok(Event::Deleted(_))));
        let line = format!(r#"{{"type":"BOOKMARK","object":{pod}}}"#);
        assert!(matches!(parse(&line), Ok(Event::Bookmark(version)) if version == "7"));
        let status = r#"{"kind":"Status","code":410,"reason":"Expired","message":"too old"}"#;
        for line in [format!(r#"{{"type":"ERROR","object":{status}}}"#), status.to_string()] {
            assert!(matches!(parse(&line), Ok(Event::Error(status)) if status.code == 410), "{line}");
        }
        for wrong in
            ["", "{}", "1", r#"{"type":"ADDED"}"#, r#"{"type":"X","object":{}}"#, r#"{"type":"ADDED","object":1}"#]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
