//! Reads several paths from a JSON text in one pass, and skips the rest.

use std::borrow::Cow;
use std::fmt;

use jmespath::Variable;
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::found::{Found, value};
use crate::stages::Value;

/// The paths as a tree of keys.
pub(super) struct Paths {
    root: Node,
    count: usize,
}

#[derive(Default)]
struct Node {
    /// The indices of the paths that end here.
    ends: Vec<usize>,
    children: Vec<(String, Node)>,
}

impl Paths {
    pub fn new(paths: &[Vec<&str>]) -> Self {
        let mut root = Node::default();
        for (i, path) in paths.iter().enumerate() {
            let end = path.iter().fold(&mut root, |node, key| node.child(key));
            end.ends.push(i);
        }
        Self { root, count: paths.len() }
    }

    /// Puts the value of each path into `found`, null if missing. Returns false if the text is not a JSON object or
    /// null.
    pub fn read<'t>(&self, json: &'t str, found: &mut Vec<Found<'t>>) -> bool {
        found.resize(self.count, Some(Value::Null));
        let mut text = serde_json::Deserializer::from_str(json);
        let kind = Reader { node: &self.root, found }.deserialize(&mut text);
        kind.is_ok_and(|kind| kind != Kind::Other) && text.end().is_ok()
    }
}

impl Node {
    fn child(&mut self, key: &str) -> &mut Node {
        let at = self.children.iter().position(|(k, _)| k == key).unwrap_or_else(|| {
            self.children.push((key.to_string(), Node::default()));
            self.children.len() - 1
        });
        &mut self.children[at].1
    }

    fn end<'t>(&self, found: &mut [Found<'t>], value: Value<'t>) {
        if let Some((last, others)) = self.ends.split_last() {
            for i in others {
                found[*i] = Some(value.clone());
            }
            found[*last] = Some(value);
        }
    }

    fn forget(&self, found: &mut [Found<'_>]) {
        self.end(found, Value::Null);
        for (_, child) in &self.children {
            child.forget(found);
        }
    }

    /// The same from an object in memory.
    fn pick(&self, found: &mut [Found<'_>], tree: &Variable) {
        self.end(found, value(tree));
        for (key, child) in &self.children {
            child.pick(found, &tree.get_field(key));
        }
    }
}

/// The type of the value that was read.
#[derive(PartialEq)]
enum Kind {
    Null,
    Object,
    Other,
}

struct Reader<'r, 't> {
    node: &'r Node,
    found: &'r mut [Found<'t>],
}

impl<'t> DeserializeSeed<'t> for Reader<'_, 't> {
    type Value = Kind;

    fn deserialize<D: Deserializer<'t>>(self, deserializer: D) -> Result<Kind, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'t> Reader<'_, 't> {
    fn scalar<E>(self, value: Value<'t>) -> Result<Kind, E> {
        self.node.end(self.found, value);
        Ok(Kind::Other)
    }
}

impl<'t> Visitor<'t> for Reader<'_, 't> {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_borrowed_str<E>(self, v: &'t str) -> Result<Kind, E> {
        self.scalar(Value::Text(Cow::Borrowed(v)))
    }

    fn visit_str<E>(self, v: &str) -> Result<Kind, E> {
        self.scalar(Value::from(v.to_string()))
    }

    fn visit_bool<E>(self, v: bool) -> Result<Kind, E> {
        self.scalar(Value::Bool(v))
    }

    // Promtail holds all numbers as 64-bit floats.
    fn visit_i64<E>(self, v: i64) -> Result<Kind, E> {
        self.scalar(Value::Number(v as f64))
    }

    fn visit_u64<E>(self, v: u64) -> Result<Kind, E> {
        self.scalar(Value::Number(v as f64))
    }

    fn visit_f64<E>(self, v: f64) -> Result<Kind, E> {
        self.scalar(Value::Number(v))
    }

    fn visit_unit<E>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_seq<A: SeqAccess<'t>>(self, mut seq: A) -> Result<Kind, A::Error> {
        if self.node.ends.is_empty() {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
        } else {
            let list = Variable::deserialize(SeqAccessDeserializer::new(seq))?;
            self.node.end(self.found, value(&list));
        }
        Ok(Kind::Other)
    }

    fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Kind, A::Error> {
        if !self.node.ends.is_empty() {
            let object = Variable::deserialize(MapAccessDeserializer::new(map))?;
            self.node.pick(self.found, &object);
            return Ok(Kind::Object);
        }
        while let Some(wanted) = map.next_key_seed(KeyOf(self.node))? {
            match wanted {
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
                Some(child) => {
                    // If a key repeats, the last one is used, with everything in it.
                    child.forget(self.found);
                    map.next_value_seed(Reader { node: child, found: self.found })?;
                }
            }
        }
        Ok(Kind::Object)
    }
}

/// Reads a key as the index of its child, without copying the key.
struct KeyOf<'r>(&'r Node);

impl<'r, 't> DeserializeSeed<'t> for KeyOf<'r> {
    type Value = Option<&'r Node>;

    fn deserialize<D: Deserializer<'t>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'r> Visitor<'_> for KeyOf<'r> {
    type Value = Option<&'r Node>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, v: &str) -> Result<Self::Value, E> {
        Ok(self.0.children.iter().find(|(key, _)| key == v).map(|(_, child)| child))
    }
}
