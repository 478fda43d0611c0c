//! Reads the JSON form of a push, and that of Loki's first versions:
//!
//! ```json
//! {"streams": [{"stream": {"app": "x"}, "values": [["1700000000000000000", "a line", {"trace": "1"}]]}]}
//! {"streams": [{"labels": "{app=\"x\"}", "entries": [{"ts": "2026-01-02T03:04:05Z", "line": "a line"}]}]}
//! ```
//!
//! Entries are handed on while they are read, so that a list of a million short ones takes no memory.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{Malformed, PAIRS, Refused, Visit, malformed, selector};
use crate::model::{Labels, loki_label_name};

pub(super) fn walk(push: &[u8], visit: &mut impl Visit) -> Result<(), Refused> {
    let text = std::str::from_utf8(push).map_err(|_| malformed("not UTF-8 text"))?;
    let mut reading = Reading { visit, refused: None };
    let mut json = serde_json::Deserializer::from_str(text);
    let read = Push(&mut reading).deserialize(&mut json).and_then(|()| json.end());
    reading.outcome(read)
}

/// A visitor and its refusal, which serde's errors cannot carry.
struct Reading<'v, V> {
    visit: &'v mut V,
    refused: Option<Refused>,
}

impl<V: Visit> Reading<'_, V> {
    /// Keeps the refusal, and returns an error that stops serde.
    fn keep<E: de::Error>(&mut self, outcome: Result<(), Refused>) -> Result<(), E> {
        outcome.map_err(|refused| {
            self.refused = Some(refused);
            E::custom("refused")
        })
    }

    fn outcome(self, read: Result<(), serde_json::Error>) -> Result<(), Refused> {
        match (self.refused, read) {
            (Some(refused), _) => Err(refused),
            // Its text may quote what was sent.
            (None, Err(e)) => {
                Err(malformed(format!("not the JSON of a push, at line {} column {}", e.line(), e.column())))
            }
            (None, Ok(())) => Ok(()),
        }
    }
}

struct Push<'r, 'v, V>(&'r mut Reading<'v, V>);

impl<'de, V: Visit> DeserializeSeed<'de> for Push<'_, '_, V> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, V: Visit> Visitor<'de> for Push<'_, '_, V> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with streams")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            match &*key {
                "streams" => map.next_value_seed(Each { reading: &mut *self.0, each: stream })?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// A list, each item of which is handed to a function.
struct Each<'r, 'v, V> {
    reading: &'r mut Reading<'v, V>,
    each: fn(&mut Reading<'v, V>, &RawValue) -> Result<(), Refused>,
}

impl<'de, V: Visit> DeserializeSeed<'de> for Each<'_, '_, V> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, V: Visit> Visitor<'de> for Each<'_, '_, V> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(item) = items.next_element::<&'de RawValue>()? {
            let outcome = (self.each)(self.reading, item);
            self.reading.keep(outcome)?;
        }
        Ok(())
    }
}

/// The sender may write its parts in any order.
#[derive(serde::Deserialize)]
struct Stream<'p> {
    #[serde(borrow)]
    stream: Option<&'p RawValue>,
    #[serde(borrow)]
    values: Option<&'p RawValue>,
    #[serde(borrow)]
    labels: Option<Cow<'p, str>>,
    #[serde(borrow)]
    entries: Option<&'p RawValue>,
}

fn stream<V: Visit>(reading: &mut Reading<'_, V>, raw: &RawValue) -> Result<(), Refused> {
    let parts: Stream<'_> = read(raw, "a stream is not an object with stream and values")?;
    match (parts.stream, &parts.labels) {
        (Some(labels), _) => reading.visit.stream(labels.get(), object)?,
        (None, Some(labels)) => reading.visit.stream(labels, selector::parse)?,
        (None, None) => reading.visit.stream("{}", object)?,
    }
    if let Some(values) = parts.values {
        items(reading, values, value)?;
    }
    if let Some(entries) = parts.entries {
        items(reading, entries, entry)?;
    }
    Ok(())
}

fn items<'v, V: Visit>(
    reading: &mut Reading<'v, V>,
    list: &RawValue,
    each: fn(&mut Reading<'v, V>, &RawValue) -> Result<(), Refused>,
) -> Result<(), Refused> {
    let mut json = serde_json::Deserializer::from_str(list.get());
    let read = Each { reading: &mut *reading, each }.deserialize(&mut json);
    match (reading.refused.take(), read) {
        (Some(refused), _) => Err(refused),
        (None, Err(_)) => Err(malformed("the values of a stream are not a list")),
        (None, Ok(())) => Ok(()),
    }
}

/// `["time", "line"]`, or with an object of structured metadata.
#[derive(serde::Deserialize)]
struct Value<'p>(#[serde(borrow)] Time<'p>, #[serde(borrow)] Cow<'p, str>, #[serde(borrow, default)] Metadata<'p>);

fn value<V: Visit>(reading: &mut Reading<'_, V>, raw: &RawValue) -> Result<(), Refused> {
    let Value(time, line, metadata) = read(raw, "a value is not [\"nanoseconds\", \"line\"] with an object at most")?;
    let time = time.0.trim().parse().map_err(|_| malformed("the time of a value is not a number of nanoseconds"))?;
    reading.visit.entry(time, &line, &metadata.0)
}

#[derive(serde::Deserialize)]
struct Entry<'p> {
    #[serde(borrow, alias = "timestamp")]
    ts: Cow<'p, str>,
    #[serde(borrow)]
    line: Cow<'p, str>,
}

fn entry<V: Visit>(reading: &mut Reading<'_, V>, raw: &RawValue) -> Result<(), Refused> {
    let Entry { ts, line } = read(raw, "an entry is not an object with ts and line")?;
    let time: jiff::Timestamp = ts.parse().map_err(|_| malformed("the time of an entry is not RFC 3339"))?;
    let time = i64::try_from(time.as_nanosecond()).map_err(|_| malformed("the time of an entry is out of range"))?;
    reading.visit.entry(time, &line, &[])
}

/// A number, or a text with one.
struct Time<'p>(Cow<'p, str>);

impl<'de: 'p, 'p> Deserialize<'de> for Time<'p> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        match raw.starts_with('"') {
            true => serde_json::from_str::<String>(raw).map(|text| Self(Cow::Owned(text))).map_err(de::Error::custom),
            false => Ok(Self(Cow::Borrowed(raw))),
        }
    }
}

/// The pairs of an object in their order.
#[derive(Default)]
struct Metadata<'p>(Vec<(Cow<'p, str>, Cow<'p, str>)>);

impl<'de: 'p, 'p> Deserialize<'de> for Metadata<'p> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs<'p>(std::marker::PhantomData<&'p ()>);
        impl<'de: 'p, 'p> Visitor<'de> for Pairs<'p> {
            type Value = Metadata<'p>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metadata<'p>, A::Error> {
                let mut pairs = Vec::new();
                // One more says that there are too many.
                while pairs.len() <= PAIRS
                    && let Some(pair) = map.next_entry::<String, String>()?
                {
                    pairs.push((Cow::Owned(pair.0), Cow::Owned(pair.1)));
                }
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Metadata(pairs))
            }
        }
        deserializer.deserialize_map(Pairs(std::marker::PhantomData))
    }
}

/// Labels as a JSON object. Loki's own servers mend names here as well.
fn object(text: &str) -> Result<Labels, Malformed> {
    let labels: Labels = serde_json::from_str(text)
        .map_err(|_| Malformed("the labels of a stream are not an object of texts".into()))?;
    Ok(labels.into_iter().map(|(name, value)| (loki_label_name(&name).into_owned(), value)).collect())
}

fn read<'p, T: Deserialize<'p>>(raw: &'p RawValue, what: &str) -> Result<T, Refused> {
    serde_json::from_str(raw.get()).map_err(|_| malformed(what))
}

#[cfg(test)]
mod tests {
    use super::super::{Format, walk};
    use super::*;

    #[derive(Default)]
    struct Count(usize);

    impl Visit for Count {
        fn stream(&mut self, text: &str, parse: fn(&str) -> Result<Labels, Malformed>) -> Result<(), Refused> {
            parse(text)?;
            Ok(())
        }

        fn entry(&mut self, _: i64, line: &str, _: &[(Cow<'_, str>, Cow<'_, str>)]) -> Result<(), Refused> {
            self.0 += line.len();
            Ok(())
        }
    }

    const PUSH: &[u8] =
        br#"{"x": 1, "streams": [{"values": [["1", "one \u00e9", {"a": "b"}], [2, "two"]], "stream": {"app": "x"}}]}"#;

    proptest::proptest! {
        /// A push with a few changed bytes is read or refused. Neither form may be read beyond its end.
        #[test]
        fn broken_pushes_are_refused(
            changes in proptest::collection::vec((0..PUSH.len(), proptest::prelude::any::<u8>()), 0..4),
            noise in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..60),
        ) {
            let mut push = PUSH.to_vec();
            changes.iter().for_each(|(at, byte)| push[*at] = *byte);
            for (format, push) in [(Format::Json, &push), (Format::Json, &noise), (Format::Protobuf, &noise)] {
                let mut count = Count::default();
                let read = walk(format, push, &mut count);
                proptest::prop_assert!(count.0 <= 3 * push.len());
                proptest::prop_assert!(read.is_ok() || !matches!(read, Err(Refused::Busy | Refused::TooLarge)));
            }
        }
    }
}
