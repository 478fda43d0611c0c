//! Lists in answers of servers that cannot take more memory than they are worth: a short text such as `[{},{},…]` can
//! stand for gigabytes.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// The most items.
const MOST: usize = 10_000;

/// The most pairs of a map: each becomes a label. Consul accepts 64.
const PAIRS: usize = 1_000;

/// A list that cannot be read if it has more than 10,000 items. Null is an empty list.
#[derive(Debug)]
pub(super) struct Few<T>(pub Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Few<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Items(PhantomData))
    }
}

struct Items<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Items<T> {
    type Value = Few<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_unit<E>(self) -> Result<Few<T>, E> {
        Ok(Few(Vec::new()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Few<T>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            if items.len() == MOST {
                return Err(A::Error::custom(format_args!("the list has more than {MOST} items")));
            }
            items.push(item);
        }
        Ok(Few(items))
    }
}

/// For `deserialize_with`: a map that cannot be read if it has more than 1,000 pairs. Null is an empty map.
pub(super) fn few_pairs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    deserializer.deserialize_any(Pairs)
}

struct Pairs;

impl<'de> Visitor<'de> for Pairs {
    type Value = BTreeMap<String, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of texts")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(BTreeMap::new())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = BTreeMap::new();
        while let Some((name, value)) = map.next_entry()? {
            pairs.insert(name, value);
            if pairs.len() > PAIRS {
                return Err(A::Error::custom(format_args!("the map has more than {PAIRS} pairs")));
            }
        }
        Ok(pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_up_to_its_limit() {
        let read = |text: &str| serde_json::from_str::<Few<u8>>(text).map(|few| few.0.len()).map_err(|e| e.to_string());
        let many = |count: usize| format!("[{}0]", "0,".repeat(count - 1));
        assert_eq!((read("null"), read("[]"), read("[1,2]")), (Ok(0), Ok(0), Ok(2)));
        assert_eq!(read(&many(MOST)), Ok(MOST));
        assert!(read(&many(MOST + 1)).is_err_and(|error| error.contains("more than 10000 items")));
        assert!(read("{}").is_err_and(|error| error.contains("expected a list")));
    }

    #[test]
    fn a_map_is_read_up_to_its_limit() {
        let read = |text: &str| few_pairs(&mut serde_json::Deserializer::from_str(text)).map(|pairs| pairs.len());
        let many = |count: usize| {
            let pairs: Vec<_> = (0..count).map(|n| format!("\"{n}\":\"\"")).collect();
            format!("{{{}}}", pairs.join(","))
        };
        assert_eq!([read("null"), read("{}"), read(&many(PAIRS))].map(|read| read.expect("few")), [0, 0, PAIRS]);
        assert!(read(&many(PAIRS + 1)).is_err_and(|error| error.to_string().contains("more than 1000 pairs")));
        assert!(read("[]").is_err() && read("{\"a\":1}").is_err());
    }
}
