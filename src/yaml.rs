//! Reads YAML as in `promtail.yaml`, strictly. All errors have a line and a key.
//!
//! A known key without a value (`url:`, `url: null`, `url: ~`) counts as missing and gets its default. Inside
//! [`nulls_are_values`] it is the zero value of its type instead, as in Go. In mappings with the user's own keys (labels,
//! headers), and in stages, null is always a value.
//!
//! The text is parsed once into a tree. `<<` merges and command-line flags are applied to the tree. So the result of
//! [`Document::read`] has the precedence *default < file < flag*, and readers do not know about flags. The position of
//! a node in the text is only computed for errors: see [`locate`].

mod error;
mod lenient;
mod locate;
mod merge;
mod mistake;
mod read;
mod secrets;
mod tree;

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use error::{Error, Place, take_hint};
use mistake::Mistake;
pub use read::nulls_are_values;
pub use secrets::mask;
pub use tree::{Content, Node, Origin};

use crate::model::KeyPath;

/// The key that merges another mapping into its own.
const MERGE_KEY: &str = "<<";

/// A YAML document and its text.
#[derive(Clone, Debug)]
pub struct Document {
    file: Option<String>,
    text: String,
    root: Node,
    hint: Option<&'static str>,
}

impl Document {
    /// Parses the first document of `text`. Without any document the result is empty.
    pub fn parse(file: Option<String>, text: String, hint: Option<&'static str>) -> Result<Self, Error> {
        let root = match tree::build(&text) {
            Ok(root) => root,
            Err(e) => {
                let place = Place { file, position: e.position, ..Place::default() };
                return Err(Error::new(place, e.message).with_hint(hint));
            }
        };
        let mut document = Self { file, text, root, hint };
        if let Err(e) = merge::apply(&mut document.root) {
            return Err(document.error(&e.path, e.problem));
        }
        Ok(document)
    }

    pub fn root_mut(&mut self) -> &mut Node {
        &mut self.root
    }

    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        read::from_node(&self.root).map_err(|mistake| self.mistake(&KeyPath::default(), &mistake))
    }

    /// Checks that the node at `path` can be read as a `T`.
    pub fn check<T: DeserializeOwned>(&self, path: &KeyPath) -> Result<(), Error> {
        self.read_at::<T>(path).map(drop)
    }

    /// Reads the node at `path`, which must be there.
    pub fn read_at<T: DeserializeOwned>(&self, path: &KeyPath) -> Result<T, Error> {
        let (node, _) = self.root.nearest(path);
        read::from_node(node).map_err(|mistake| self.mistake(path, &mistake))
    }

    fn mistake(&self, block: &KeyPath, mistake: &Mistake) -> Error {
        let (error, unknown_key) = mistake.within(block);
        self.error(&error.path, error.problem).with_unknown_key(unknown_key)
    }

    /// An error at `path`, or at its nearest parent that is in the text.
    pub fn error(&self, path: &KeyPath, message: impl fmt::Display) -> Error {
        self.note(path, message).with_hint(self.hint)
    }

    /// Like [`error`](Self::error), without the hint: for warnings.
    pub fn note(&self, path: &KeyPath, message: impl fmt::Display) -> Error {
        Error::new(self.place(path), message.to_string())
    }

    fn place(&self, path: &KeyPath) -> Place {
        let (node, rest) = self.root.nearest(path);
        let named = |base: &KeyPath| base.join(rest).to_string();
        match &node.origin {
            Origin::File(written) => Place {
                file: self.file.clone(),
                position: locate::position(&self.text, &written.join(rest)),
                path: named(written),
            },
            Origin::Flag(flag) => Place { file: None, position: None, path: named(&KeyPath::key(&format!("-{flag}"))) },
            Origin::Absent => Place { file: self.file.clone(), position: None, path: path.to_string() },
        }
    }
}

/// Reads a text that is one block. A second document is an error, because it would be ignored.
pub fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    let block = Document::parse(None, text.to_string(), None)?.read()?;
    match serde_yaml::Deserializer::from_str(text).nth(1) {
        Some(_) => Err(Error::plain("there is more than one YAML document: keep one")),
        None => Ok(block),
    }
}

/// A config block as plain values, for comparing and masking.
pub fn to_value(block: &impl Serialize) -> serde_yaml::Value {
    serde_yaml::to_value(block).expect("config blocks have plain keys and no byte strings")
}

pub fn to_string(value: &serde_yaml::Value) -> String {
    serde_yaml::to_string(value).expect("a value prints as YAML")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Top {
        items: Vec<Item>,
        labels: BTreeMap<String, String>,
        #[serde(rename = "x-base")]
        base: serde_yaml::Value,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Item {
        name: String,
        #[serde(default)]
        port: u16,
        #[serde(default)]
        on: bool,
        #[serde(default)]
        password: String,
        #[serde(default)]
        stages: Vec<serde_yaml::Value>,
    }

    fn read(text: &str) -> Result<Top, Error> {
        Document::parse(Some("f.yaml".into()), text.into(), None)?.read()
    }

    #[test]
    fn complaints_name_file_line_column_and_key() {
        for (text, want) in [
            ("items:\n  - name: a\n    prot: 1\n", "f.yaml:3:5: items[0].prot: unknown key, did you mean port?"),
            (
                "items:\n  - name: a\n    zzz: 1\n",
                "f.yaml:3:5: items[0].zzz: unknown key; known here: name, port, on, password, stages",
            ),
            ("items:\n  - port: 1\n", "f.yaml:2:5: items[0]: name is required"),
            (
                "items:\n  - name: a\n    port: many\n",
                "f.yaml:3:5: items[0].port: expected a number from 0 to 65535, got text \"many\"",
            ),
            (
                "items: [{name: a, port: 70000}]",
                "f.yaml:1:19: items[0].port: expected a number from 0 to 65535, got 70000",
            ),
            ("items: {name: a}", "f.yaml:1:1: items: expected a list, got a mapping"),
            (
                "items: [{name: a, on: perhaps}]",
                "f.yaml:1:19: items[0].on: expected true or false, got text \"perhaps\"",
            ),
            ("labels: {a: [1]}", "f.yaml:1:10: labels.a: expected text, got a list"),
            ("labels:\n  a: 1\n  b: 2\n  a: 3\n", "f.yaml:4:3: labels: the key \"a\" is already set above"),
            (
                "items:\n- name: a\n  stages:\n  - x: {l: 1, l: 2}\n",
                "f.yaml:4:15: items[0].stages[0].x: the key \"l\" is already set above",
            ),
            (
                "items:\n\t- name: a\n",
                "f.yaml:2:1: found character that cannot start any token (YAML is indented by spaces, never by tabs)",
            ),
            (
                "labels: {a: {{ .Value }}}",
                "f.yaml:1:14: labels.a: invalid type: map, expected a plain key (put quotes around a value that contains {{ }})",
            ),
            ("labels: !env A", "f.yaml:1:9: labels: YAML tags such as !name are not supported"),
            ("- a\n", "f.yaml: expected a mapping, got a list"),
        ] {
            assert_eq!(read(text).expect_err(text).to_string(), want, "{text}");
        }
    }

    #[test]
    fn a_secret_of_the_wrong_type_is_not_printed() {
        let e = read("items: [{name: a, port: 1, password: {hunter2: 1}}]").expect_err("a mapping");
        assert_eq!(e.to_string(), "f.yaml:1:28: items[0].password: expected text, got a mapping");
        #[derive(Debug, Deserialize)]
        struct Secrets {
            #[allow(dead_code)]
            token: u16,
        }
        let document = Document::parse(None, "token: hunter2".into(), None).expect("valid YAML");
        let e = document.read::<Secrets>().expect_err("not a number");
        assert_eq!(e.to_string(), "line 1, column 1: token: expected a number from 0 to 65535, got text (not shown)");
    }

    #[test]
    fn what_is_legal() {
        for (text, items) in [
            ("", 0),
            ("# nothing\n", 0),
            ("---\n", 0),
            ("items:\n", 0),
            ("items: ~\n", 0),
            ("items: [{name: a}]\n---\nitems: [{nonsense: ]", 1),
            ("items: [&i {name: a}, *i]", 2),
            ("\u{feff}items: [{name: a}]", 1),
        ] {
            assert_eq!(read(text).expect(text).items.len(), items, "{text}");
        }
    }

    #[test]
    fn scalars_stay_as_they_were_written() {
        let top = read(
            "labels: {a: 1.10, b: 0123, c: yes, d: null, e: '~', f: 1e3, 7: x}\nitems: [{name: 5, port: 0o17, on: off}, {name: a, port: 1_000, on: y}, {name: a, port: 010}]",
        )
        .expect("legal");
        let labels: Vec<_> = top.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(
            labels,
            [("7", "x"), ("a", "1.10"), ("b", "0123"), ("c", "yes"), ("d", ""), ("e", "~"), ("f", "1e3")]
        );
        assert!(top.items.iter().all(|item| item.password.is_empty()));
        let ports: Vec<_> = top.items.iter().map(|i| (i.port, i.on)).collect();
        assert_eq!(ports, [(15, false), (1000, true), (8, false)]);
    }

    #[test]
    fn stages_keep_their_types() {
        let top = read("items: [{name: a, stages: [{x: {n: 1, f: 1.5, t: '1', b: true, z: null}}]}]").expect("legal");
        let want: serde_yaml::Value =
            serde_yaml::from_str("{x: {n: 1, f: 1.5, t: '1', b: true, z: null}}").expect("YAML");
        assert_eq!(top.items[0].stages[0], want);
    }

    #[test]
    fn merges() {
        let top = read(
            "x-base: &b {port: 1, on: yes, name: base}\nitems:\n- {<<: *b, name: a}\n- name: b\n  <<: [{port: 2}, *b]\n",
        )
        .expect("legal");
        let items: Vec<_> = top.items.iter().map(|i| (i.name.as_str(), i.port, i.on)).collect();
        assert_eq!(items, [("a", 1, true), ("b", 2, true)]);
        assert!(top.base.is_mapping());
    }

    #[test]
    fn what_is_wrong_in_a_merged_block_is_found_where_it_is_written() {
        let e = read("x-base: &b\n  name: a\n  port: x\nitems:\n- <<: *b\n  on: true\n").expect_err("port");
        assert_eq!(e.to_string(), "f.yaml:3:3: items[0].<<.port: expected a number from 0 to 65535, got text \"x\"");
        let e = read("items:\n- <<: 5\n").expect_err("merge");
        assert_eq!(e.to_string(), "f.yaml:2:3: items[0].<<: `<<` merges a mapping, or a list of mappings");
    }

    #[test]
    fn bombs_are_refused() {
        let mut text = String::from("x-base:\n- &a0 [x,x,x,x,x,x,x,x,x]\n");
        for i in 1..12 {
            text += &format!("- &a{i} [{}]\n", vec![format!("*a{}", i - 1); 9].join(","));
        }
        assert!(read(&text).expect_err("a bomb").to_string().contains("repetition limit"));
        let deep = "[".repeat(100_000);
        assert!(read(&deep).expect_err("too deep").to_string().contains("nested deeper"));
        assert!(read("x-base: &a [*a]").is_err());
    }

    #[test]
    fn no_text_makes_it_panic() {
        let text = "x-base: &b {port: 1, name: 'n'}\nitems:\n- <<: *b\n  on: yes\n  stages:\n  - {a: !t [1.5, ~, \"x\"]}\nlabels: {a: >-\n  b}\n---\n";
        let junk = ["", "\t", ":", "- ", "{", "]", "*b", "&b ", "<<: ", "!", "\"", "\u{feff}", "|\n", "? "];
        for (at, _) in text.char_indices() {
            for junk in junk {
                let _ = read(&format!("{}{junk}{}", &text[..at], &text[at..]));
                let _ = read(&format!("{}{junk}", &text[..at]));
            }
        }
    }

    #[test]
    fn a_known_key_without_a_value_means_its_default() {
        #[derive(Debug, PartialEq, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        struct Block {
            size: u64,
            name: String,
            on: bool,
            perhaps: Option<bool>,
            list: Vec<Block>,
            labels: BTreeMap<String, String>,
            #[serde(deserialize_with = "nulls_are_values")]
            zeros: Zeros,
        }
        #[derive(Debug, PartialEq, Deserialize)]
        #[serde(default)]
        struct Zeros {
            size: u64,
            rate: f64,
            name: String,
            on: bool,
            inner: Vec<Block>,
        }
        impl Default for Block {
            fn default() -> Self {
                let zeros = Zeros::default();
                let (list, labels) = (Vec::new(), BTreeMap::new());
                Self { size: 7, name: "n".into(), on: true, perhaps: None, list, labels, zeros }
            }
        }
        impl Default for Zeros {
            fn default() -> Self {
                Self { size: 7, rate: 7.0, name: "n".into(), on: true, inner: Vec::new() }
            }
        }
        let read = |text: &str| from_str::<Block>(text).map_err(|e| e.to_string());
        for nulls in ["", "size:\nname: ~\non: null\nperhaps:\nlist:\nlabels:\nzeros:\n"] {
            assert_eq!(read(nulls), Ok(Block::default()), "{nulls}");
            let nested = format!("list:\n- {}\n", nulls.trim_end().replace('\n', "\n  "));
            assert_eq!(read(&nested).map(|block| block.list), Ok(vec![Block::default()]), "{nested}");
        }
        // Merged values and aliases are handled the same way.
        assert_eq!(read("list: [&n {size: , name: ''}, {<<: *n, on: }, *n]").map(|b| b.list[1].size), Ok(7));
        // A user's own key without a value is also a value.
        let labels = read("labels: {a: , b: ~}").expect("labels").labels;
        assert_eq!(labels.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect::<Vec<_>>(), [("a", ""), ("b", "")]);
        let zeros = read("zeros: {size: , rate: ~, name: null, on: , inner: [{size: , on: }]}").expect("zeros").zeros;
        let inner = Block { size: 0, on: false, ..Block::default() };
        assert_eq!(zeros, Zeros { size: 0, rate: 0.0, name: String::new(), on: false, inner: vec![inner] });
        assert!(read("size: 1\n---\nsize: 2\n").is_err_and(|e| e.contains("more than one")));
        // An unknown key is an error, with or without a value.
        let error = read("size: 1\nzize:\n").expect_err("unknown");
        assert_eq!(error, "line 2, column 1: zize: unknown key, did you mean size?");
    }

    #[test]
    fn scalars_are_read_as_yaml_v2_reads_them() {
        #[derive(Deserialize)]
        struct Read {
            #[serde(default)]
            text: String,
            #[serde(default)]
            flag: bool,
        }
        for (yaml, text, flag) in [
            ("text: 1.10\nflag: yes", "1.10", true),
            ("text: 0123\nflag: Off", "0123", false),
            ("text: ~\nflag: on", "", true),
            ("text:\nflag:", "", false),
            ("text: true\nflag: true", "true", true),
        ] {
            let read: Read = from_str(yaml).expect(yaml);
            assert_eq!((read.text.as_str(), read.flag), (text, flag), "{yaml}");
        }
        assert!(from_str::<Read>("text: a\nflag: maybe").is_err());
    }
}
