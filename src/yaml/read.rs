//! A serde `Deserializer` that reads a node into a config struct. Its errors contain the path.
//!
//! It is as lenient as yaml.v2, for which `promtail.yaml` files are written: a string field accepts any scalar as
//! written, null is an empty block, `1_000` and `010` are numbers, `yes` and `off` are booleans.
//!
//! Only this module decides about nulls. A struct never sees a null for a key that it knows, except inside
//! [`nulls_are_values`].

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{self, DeserializeSeed, IntoDeserializer, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, forward_to_deserialize_any};

use super::mistake::Mistake;
use super::tree::{Content, Node};
use crate::model::Step;
use crate::model::gonumber::{parse_yaml_float, parse_yaml_int};

pub(super) fn from_node<'de, T: Deserialize<'de>>(node: &'de Node) -> Result<T, Mistake> {
    T::deserialize(Read { node, nulls: Nulls::Absent })
}

/// The meaning of a null for a key that a struct knows.
#[derive(Clone, Copy, PartialEq)]
enum Nulls {
    /// The key counts as missing.
    Absent,
    /// The zero value of the field's type.
    Values,
}

/// For `#[serde(deserialize_with = "yaml::nulls_are_values")]`: in this block a null is the zero value of the field's
/// type, not its default, as in Promtail. For example, `regex:` is the empty expression. No effect in other formats.
pub fn nulls_are_values<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    struct Within<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Within<T> {
        type Value = T;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a block")
        }
        fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
            T::deserialize(deserializer)
        }
    }
    deserializer.deserialize_newtype_struct(NULLS_ARE_VALUES, Within(PhantomData))
}

/// The name that marks such a block for [`Read`].
const NULLS_ARE_VALUES: &str = "nulls are values";

#[derive(Clone, Copy)]
struct Read<'de> {
    node: &'de Node,
    nulls: Nulls,
}

/// Numbers, including YAML 1.1 forms that YAML 1.2 does not have.
macro_rules! numbers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
            match integer(self.node) {
                // Null is 0, as in Go.
                _ if self.node.content == Content::Null => visitor.visit_u64(0),
                Some(v) => match u64::try_from(v) {
                    Ok(v) => visitor.visit_u64(v),
                    Err(_) => visitor.visit_i64(i64::try_from(v).unwrap_or(i64::MIN)),
                },
                None => self.deserialize_any(visitor),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Read<'de> {
    type Error = Mistake;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match &self.node.content {
            Content::Null => visitor.visit_unit(),
            Content::Bool(v) => visitor.visit_bool(*v),
            Content::Unsigned(v) => visitor.visit_u64(*v),
            Content::Signed(v) => visitor.visit_i64(*v),
            Content::Float(v) => visitor.visit_f64(*v),
            Content::Text => visitor.visit_borrowed_str(&self.node.raw),
            Content::List(items) => visitor.visit_seq(self.items(items)),
            Content::Map(entries) => visitor.visit_map(self.entries(entries, &[])),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match &self.node.content {
            Content::List(_) | Content::Map(_) => self.deserialize_any(visitor),
            Content::Null => visitor.visit_borrowed_str(""),
            _ => visitor.visit_borrowed_str(&self.node.raw),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self.node.content {
            Content::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Mistake> {
        let nulls = if name == NULLS_ARE_VALUES { Nulls::Values } else { self.nulls };
        visitor.visit_newtype_struct(Self { nulls, ..self })
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        let word = match self.node.content {
            Content::Text => self.node.raw.as_str(),
            Content::Null => return visitor.visit_bool(false),
            _ => return self.deserialize_any(visitor),
        };
        match word {
            "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "True" | "TRUE" => visitor.visit_bool(true),
            "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "False" | "FALSE" => visitor.visit_bool(false),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self.node.content {
            Content::Null => visitor.visit_seq(self.items(&[])),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self.node.content {
            Content::Null => visitor.visit_map(self.entries(&[], &[])),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        match &self.node.content {
            // Serde could also read a struct from a list, field by field.
            Content::List(_) => Err(Mistake::unfit(Unexpected::Seq, &"a mapping")),
            Content::Map(entries) if self.nulls == Nulls::Absent => visitor.visit_map(self.entries(entries, known)),
            _ => self.deserialize_map(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        match &self.node.content {
            Content::Map(entries) => visitor.visit_enum(MapAccessDeserializer::new(self.entries(entries, &[]))),
            Content::List(_) => self.deserialize_any(visitor),
            _ => visitor.visit_enum(<&str as IntoDeserializer<'_, Mistake>>::into_deserializer(self.node.raw.as_str())),
        }
    }

    numbers! {
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match (&self.node.content, parse_yaml_float(&self.node.raw)) {
            (Content::Null, _) => visitor.visit_f64(0.0),
            (Content::Text, Some(v)) => visitor.visit_f64(v),
            _ => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        i128 u128 f32 char bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

/// A YAML 1.1 integer (`1_000`, `010`), or a number with its fraction cut off: `1e6`, `1.5`, `09`. None: not a number.
fn integer(node: &Node) -> Option<i128> {
    let number = match node.content {
        Content::Text => match parse_yaml_int(&node.raw) {
            Some(integer) => return Some(integer),
            None => parse_yaml_float(&node.raw)?,
        },
        Content::Float(number) => number,
        _ => return None,
    };
    (-9e18..9e18).contains(&number).then_some(number as i128)
}

impl<'de> Read<'de> {
    fn items(&self, items: &'de [Node]) -> Items<'de> {
        Items { items, next: 0, nulls: self.nulls }
    }

    /// The entries, without the keys in `nullable` whose value is null.
    fn entries(&self, entries: &'de [(String, Node)], nullable: &'static [&'static str]) -> Entries<'de> {
        Entries { entries, next: 0, nullable, nulls: self.nulls }
    }
}

struct Items<'de> {
    items: &'de [Node],
    next: usize,
    nulls: Nulls,
}

impl<'de> de::SeqAccess<'de> for Items<'de> {
    type Error = Mistake;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Mistake> {
        let Some(item) = self.items.get(self.next) else { return Ok(None) };
        let step = Step::Index(self.next);
        self.next += 1;
        seed.deserialize(Read { node: item, nulls: self.nulls }).map(Some).map_err(|e| e.under(step))
    }
}

struct Entries<'de> {
    entries: &'de [(String, Node)],
    next: usize,
    /// Keys that are skipped if their value is null.
    nullable: &'static [&'static str],
    nulls: Nulls,
}

impl<'de> de::MapAccess<'de> for Entries<'de> {
    type Error = Mistake;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Mistake> {
        let absent =
            |(key, value): &(String, Node)| value.content == Content::Null && self.nullable.contains(&key.as_str());
        while self.entries.get(self.next).is_some_and(absent) {
            self.next += 1;
        }
        let Some((key, _)) = self.entries.get(self.next) else { return Ok(None) };
        let deserializer: StrDeserializer<'_, Mistake> = key.as_str().into_deserializer();
        seed.deserialize(deserializer).map(Some).map_err(|e| e.under(Step::Key(key.clone())))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Mistake> {
        let (key, value) = &self.entries[self.next];
        self.next += 1;
        seed.deserialize(Read { node: value, nulls: self.nulls }).map_err(|e| e.under(Step::Key(key.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_yaml_1_1() {
        #[derive(Debug, Deserialize)]
        struct Numbers {
            #[serde(default)]
            whole: u64,
            #[serde(default)]
            signed: i64,
            #[serde(default)]
            float: f64,
        }
        let read = |yaml: &str| {
            let node = super::super::tree::build(yaml).unwrap_or_else(|e| panic!("{yaml}: {}", e.message));
            from_node::<Numbers>(&node).map(|n| (n.whole, n.signed, n.float)).map_err(|e| e.to_string())
        };
        for (yaml, want) in [
            ("whole: 1_000", (1000, 0, 0.0)),
            ("whole: 010", (8, 0, 0.0)),
            ("whole: 0x1F", (31, 0, 0.0)),
            ("whole: 0b11", (3, 0, 0.0)),
            ("whole: 0o17", (15, 0, 0.0)),
            ("whole: 09", (9, 0, 0.0)),
            ("whole: 1e6", (1_000_000, 0, 0.0)),
            ("whole: 1.5", (1, 0, 0.0)),
            ("whole: 1_0.5", (10, 0, 0.0)),
            ("signed: -1_0", (0, -10, 0.0)),
            ("signed: -1.5", (0, -1, 0.0)),
            ("float: 1_000", (0, 0, 1000.0)),
            ("float: 010", (0, 0, 8.0)),
            ("float: 09", (0, 0, 9.0)),
            ("float: 1_0.5", (0, 0, 10.5)),
            ("float: .5", (0, 0, 0.5)),
            ("float: 7", (0, 0, 7.0)),
        ] {
            assert_eq!(read(yaml), Ok(want), "{yaml}");
        }
        for yaml in ["whole: many", "whole: -1", "whole: .inf", "whole: 1e30", "whole: 0x", "whole: ''", "float: abc"] {
            assert!(read(yaml).is_err(), "{yaml}");
        }
    }
}
