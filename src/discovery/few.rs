//! Lists in answers of servers that cannot take more memory than they are worth: a short text such as `[{},{},…]` can
//! stand for gigabytes.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// The most items.
const MOST: usize = 10_000;

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
}
