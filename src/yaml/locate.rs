//! Finds the position of a path in the text.
//!
//! serde_yaml gives positions only in errors. So this walks along the path and fails on purpose at its end.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::model::{KeyPath, Step};

/// Line and column, from 1, of `path` or its nearest parent in the text: the position of the key or the list item.
pub(super) fn position(text: &str, path: &KeyPath) -> Option<(usize, usize)> {
    let mut path = path.clone();
    while !path.steps().is_empty() {
        if let Some(found) = exact(text, path.steps()) {
            return Some(found);
        }
        path = path.parent()?;
    }
    None
}

fn exact(text: &str, steps: &[Step]) -> Option<(usize, usize)> {
    let document = serde_yaml::Deserializer::from_str(text.trim_start_matches('\u{feff}')).next()?;
    let here = Walk(steps).deserialize(document).err()?.location()?;
    Some((here.line(), here.column()))
}

/// Follows these steps. An error means that the end was reached.
struct Walk<'a>(&'a [Step]);

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// The walk ends at scalars: a visitor fails for methods that it does not have.
impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the end of the path")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Some((step, rest)) = self.0.split_first() else { return Err(arrived()) };
        for i in 0.. {
            let more = match step {
                Step::Index(index) if *index == i => list.next_element_seed(Walk(rest))?.is_some(),
                _ => list.next_element::<IgnoredAny>()?.is_some(),
            };
            if !more {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((step, rest)) = self.0.split_first() else { return Err(arrived()) };
        while let Some(wanted) = map.next_key_seed(Key { step, last: rest.is_empty() })? {
            match wanted {
                true => map.next_value_seed(Walk(rest))?,
                false => map.next_value::<IgnoredAny>().map(|_| ())?,
            }
        }
        Ok(())
    }
}

/// Compares a key with the step. If this is the last step, the end is reached.
struct Key<'a> {
    step: &'a Step,
    last: bool,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = bool;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: de::Error>(self, v: &str) -> Result<bool, E> {
        let wanted = matches!(self.step, Step::Key(key) if key == v);
        if wanted && self.last { Err(arrived()) } else { Ok(wanted) }
    }
}

fn arrived<E: de::Error>() -> E {
    E::custom("here")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_keys_items_and_the_nearest_parent() {
        let text =
            "# a comment\na:\n  b: [1, {c: 2}]\n  d:\n  - e: 1\n    f: |\n      text\n  - g\nh: &x {i: 1}\nj: *x\n";
        for (path, want) in [
            ("a", Some((2, 1))),
            ("a.b", Some((3, 3))),
            ("a.b[0]", Some((3, 7))),
            ("a.b[1].c", Some((3, 11))),
            ("a.d[0]", Some((5, 5))),
            ("a.d[0].f", Some((6, 5))),
            ("a.d[1]", Some((8, 5))),
            ("a.d[7].e", Some((4, 3))),
            ("a.b[1].zzz", Some((3, 10))),
            ("j", Some((10, 1))),
            ("j.i", Some((9, 8))),
            ("zzz", None),
            ("", None),
        ] {
            assert_eq!(position(text, &KeyPath::from(path)), want, "{path}");
        }
    }
}
