//! The tree of a document: scalars with their type and their text, nodes with their origin.

use std::collections::HashSet;
use std::fmt;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::model::nesting;
use crate::model::{KeyPath, Step};

#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub content: Content,
    /// A scalar's text as written.
    pub raw: String,
    pub origin: Origin,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text,
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub enum Origin {
    /// From the file, at this path.
    File(KeyPath),
    /// From this command-line flag.
    Flag(&'static str),
    #[default]
    Absent,
}

/// Why the text cannot be parsed.
pub(super) struct Malformed {
    pub message: String,
    /// Line and column, from 1.
    pub position: Option<(usize, usize)>,
}

impl Node {
    pub fn new(content: Content, origin: Origin) -> Self {
        Self { content, raw: String::new(), origin }
    }

    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        match &mut self.content {
            Content::Map(entries) => entries.iter_mut().find(|(name, _)| name == key).map(|(_, node)| node),
            _ => None,
        }
    }

    /// Removes the node at `path`. Returns false if there is none, or it is the root.
    pub fn remove(&mut self, path: &KeyPath) -> bool {
        let Some((last, way)) = path.steps().split_last() else { return false };
        let mut node = self;
        for step in way {
            let next = match (&mut node.content, step) {
                (Content::List(items), Step::Index(i)) => items.get_mut(*i),
                (Content::Map(entries), Step::Key(key)) => {
                    entries.iter_mut().find(|(name, _)| name == key).map(|(_, node)| node)
                }
                _ => None,
            };
            let Some(next) = next else { return false };
            node = next;
        }
        match (&mut node.content, last) {
            (Content::List(items), Step::Index(i)) if *i < items.len() => {
                items.remove(*i);
                true
            }
            (Content::Map(entries), Step::Key(key)) => {
                let before = entries.len();
                entries.retain(|(name, _)| name != key);
                entries.len() < before
            }
            _ => false,
        }
    }

    /// The node at `path`, or its nearest existing parent together with the missing steps.
    pub fn nearest<'p>(&self, path: &'p KeyPath) -> (&Node, &'p [Step]) {
        let (mut node, mut rest) = (self, path.steps());
        while let [step, further @ ..] = rest {
            let Some(next) = node.step(step) else { break };
            (node, rest) = (next, further);
        }
        (node, rest)
    }

    /// Stage options may be written in any case, and errors contain only their canonical name.
    fn step(&self, step: &Step) -> Option<&Node> {
        match (&self.content, step) {
            (Content::List(items), Step::Index(i)) => items.get(*i),
            (Content::Map(entries), Step::Key(key)) => {
                let exact = entries.iter().find(|(name, _)| name == key);
                exact.or_else(|| entries.iter().find(|(name, _)| name.eq_ignore_ascii_case(key))).map(|(_, node)| node)
            }
            _ => None,
        }
    }
}

/// Parses the first document of `text` in two passes: for types, and for the text of scalars.
pub(super) fn build(text: &str) -> Result<Node, Malformed> {
    let text = text.trim_start_matches('\u{feff}');
    // The parser's time is quadratic in the depth, and it would notice only then.
    if let Some(line) = nesting::too_deep(text) {
        let message = format!("brackets are nested deeper than {}", nesting::DEEPEST);
        return Err(Malformed { message, position: Some((line, 1)) });
    }
    let Some(first) = serde_yaml::Deserializer::from_str(text).next() else {
        return Ok(Node::new(Content::Null, Origin::Absent));
    };
    let mut root = match Typed(KeyPath::default()).deserialize(first) {
        // The text contains only comments.
        Err(e) if e.to_string() == "EOF while parsing a value" => Node::new(Content::Null, Origin::Absent),
        root => root.map_err(|e| malformed(e, text))?,
    };
    if root.content == Content::Null {
        return Ok(Node::new(Content::Null, Origin::Absent));
    }
    if let Some(again) = serde_yaml::Deserializer::from_str(text).next() {
        Written(&mut root).deserialize(again).map_err(|e| malformed(e, text))?;
    }
    Ok(root)
}

fn malformed(e: serde_yaml::Error, text: &str) -> Malformed {
    let position = e.location().map(|l| (l.line(), l.column()));
    let mut message = e.to_string();
    if let Some((line, column)) = position {
        message = message.replacen(&format!(" at line {line} column {column}"), "", 1);
        let at = text.lines().nth(line.saturating_sub(1)).and_then(|line| line.chars().nth(column.saturating_sub(1)));
        let advice = advice(&message, at);
        if !advice.is_empty() {
            // libyaml repeats the place for the context.
            message.truncate(message.find(", while").unwrap_or(message.len()));
        }
        message.push_str(advice);
    }
    Malformed { message, position }
}

/// What to write instead of what YAML does not take, if that is known. `at` is the character at the place of the error.
fn advice(message: &str, at: Option<char>) -> &'static str {
    let is = |part: &str| message.contains(part);
    if is("cannot start any token") && at == Some('\t') {
        " (YAML is indented by spaces, never by tabs)"
    } else if is("unknown escape character") {
        ": write the text in single quotes, in which \\ is an ordinary character"
    } else if is("cannot start any token") || is("alias") || is("anchor") || is("mapping values are not allowed") {
        ": if this is a text, such as a glob or a regex, write it in single quotes"
    } else {
        ""
    }
}

/// Builds the node at this path.
struct Typed(KeyPath);

impl Typed {
    fn node<E>(self, content: Content) -> Result<Node, E> {
        Ok(Node::new(content, Origin::File(self.0)))
    }
}

impl<'de> DeserializeSeed<'de> for Typed {
    type Value = Node;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Typed {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Node, E> {
        self.node(Content::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Node, E> {
        self.node(Content::Null)
    }

    fn visit_bool<E: de::Error>(self, v: bool) -> Result<Node, E> {
        self.node(Content::Bool(v))
    }

    fn visit_u64<E: de::Error>(self, v: u64) -> Result<Node, E> {
        self.node(Content::Unsigned(v))
    }

    fn visit_i64<E: de::Error>(self, v: i64) -> Result<Node, E> {
        self.node(Content::Signed(v))
    }

    fn visit_f64<E: de::Error>(self, v: f64) -> Result<Node, E> {
        self.node(Content::Float(v))
    }

    fn visit_str<E: de::Error>(self, v: &str) -> Result<Node, E> {
        Ok(Node { content: Content::Text, raw: v.to_string(), origin: Origin::File(self.0) })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(Typed(self.0.then(items.len())))? {
            items.push(item);
        }
        self.node(Content::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let (mut entries, mut seen) = (Vec::new(), HashSet::new());
        while let Some(key) = map.next_key_seed(Key(&seen))? {
            let value = map.next_value_seed(Typed(self.0.then(key.as_str())))?;
            if key != super::MERGE_KEY {
                seen.insert(key.clone());
            }
            entries.push((key, value));
        }
        self.node(Content::Map(entries))
    }

    fn visit_enum<A: de::EnumAccess<'de>>(self, _: A) -> Result<Node, A::Error> {
        Err(de::Error::custom("YAML tags such as !name are not supported"))
    }
}

/// A key that must not repeat in its mapping. The error is raised while the key is read, so that it has the key's
/// position.
struct Key<'a>(&'a HashSet<String>);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = String;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a plain key (put quotes around a value that contains {{ }})")
    }

    fn visit_str<E: de::Error>(self, v: &str) -> Result<String, E> {
        if self.0.contains(v) {
            return Err(E::custom(format_args!("the key {v:?} is already set above")));
        }
        Ok(v.to_string())
    }
}

/// Fills in the text of the scalars, in a second pass.
struct Written<'a>(&'a mut Node);

impl<'de> DeserializeSeed<'de> for Written<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.0.content {
            // The first pass already has the text of these.
            Content::Text => IgnoredAny::deserialize(deserializer).map(|_| ()),
            Content::List(_) | Content::Map(_) => deserializer.deserialize_any(self),
            _ => deserializer.deserialize_str(self),
        }
    }
}

impl<'de> Visitor<'de> for Written<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what was there before")
    }

    /// An empty document.
    fn visit_none<E: de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: de::Error>(self, v: &str) -> Result<(), E> {
        self.0.raw = v.to_string();
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        if let Content::List(items) = &mut self.0.content {
            for item in items {
                list.next_element_seed(Written(item))?;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        if let Content::Map(entries) = &mut self.0.content {
            for (_, value) in entries {
                map.next_key::<IgnoredAny>()?;
                map.next_value_seed(Written(value))?;
            }
        }
        Ok(())
    }
}
