//! Parses a list of `{targets, labels}` with limits: with aliases, a short YAML text can expand to gigabytes.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};

use crate::discovery::StaticConfig;
use crate::model::{Labels, bounded, nesting};

/// The most groups, and the most targets of all groups, of one list.
const TARGETS: usize = 10_000;

/// The most bytes of memory for all targets, each with the labels of its group: rules may copy them. Aliases are expanded.
const BYTES: usize = 64 << 20;

/// The most bytes of memory that the YAML parser may take.
const MEMORY: usize = 64 << 20;

/// None: the text is null or empty.
pub(super) fn parse(text: &str, is_json: bool) -> Result<Option<Vec<StaticConfig>>, String> {
    let mut room = Room { targets: TARGETS, groups: TARGETS, bytes: BYTES };
    if is_json {
        let mut json = serde_json::Deserializer::from_str(text);
        let groups = Groups(&mut room).deserialize(&mut json).map_err(|e| e.to_string())?;
        json.end().map_err(|e| e.to_string())?;
        return Ok(groups);
    }
    if let Some(line) = nesting::too_deep(text) {
        return Err(format!("brackets are nested deeper than {} at line {line}", nesting::DEEPEST));
    }
    if bounded::yaml_memory(text) > MEMORY {
        return Err("it has too many lines or values for a list in YAML: divide it, or write JSON".into());
    }
    Groups(&mut room).deserialize(serde_yaml::Deserializer::from_str(text)).map_err(|e| e.to_string())
}

/// The remaining limits.
struct Room {
    targets: usize,
    groups: usize,
    bytes: usize,
}

impl Room {
    fn take<E: Error>(&mut self, text: &str) -> Result<(), E> {
        self.take_bytes(text.len() + bounded::VALUE / 2)
    }

    fn take_bytes<E: Error>(&mut self, bytes: usize) -> Result<(), E> {
        let left = self.bytes.checked_sub(bytes);
        self.bytes = left.ok_or_else(|| E::custom(format_args!("the targets take more than {BYTES} bytes")))?;
        Ok(())
    }
}

fn one_less<E: Error>(left: &mut usize, what: &str) -> Result<(), E> {
    *left = left.checked_sub(1).ok_or_else(|| E::custom(format_args!("the list has more than {TARGETS} {what}")))?;
    Ok(())
}

/// Each of these parses one thing, and treats null as empty.
struct Groups<'a>(&'a mut Room);
struct Group<'a>(&'a mut Room);
struct Targets<'a>(&'a mut Room);
struct LabelsOf<'a>(&'a mut Room);

impl<'de> DeserializeSeed<'de> for Groups<'_> {
    type Value = Option<Vec<StaticConfig>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Groups<'_> {
    type Value = Option<Vec<StaticConfig>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of targets and labels")
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut groups = Vec::new();
        while let Some(group) = list.next_element_seed(Group(self.0))? {
            one_less(&mut self.0.groups, "groups")?;
            groups.push(group);
        }
        Ok(Some(groups))
    }
}

impl<'de> DeserializeSeed<'de> for Group<'_> {
    type Value = StaticConfig;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<StaticConfig, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Group<'_> {
    type Value = StaticConfig;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a group: {targets: [...], labels: {...}}")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<StaticConfig, A::Error> {
        let (mut targets, mut labels) = (None, None);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "targets" if targets.is_none() => targets = Some(map.next_value_seed(Targets(self.0))?),
                "labels" if labels.is_none() => labels = Some(map.next_value_seed(LabelsOf(self.0))?),
                "targets" => return Err(A::Error::duplicate_field("targets")),
                "labels" => return Err(A::Error::duplicate_field("labels")),
                other => return Err(A::Error::unknown_field(other, &["targets", "labels"])),
            }
        }
        let (targets, labels): (Vec<String>, Labels) = (targets.unwrap_or_default(), labels.unwrap_or_default());
        self.0.take_bytes(bounded::labels_memory(&labels).saturating_mul(targets.len()))?;
        Ok(StaticConfig { targets, labels })
    }
}

impl<'de> DeserializeSeed<'de> for Targets<'_> {
    type Value = Vec<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<String>, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Targets<'_> {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of addresses")
    }

    fn visit_none<E>(self) -> Result<Vec<String>, E> {
        Ok(Vec::new())
    }

    fn visit_unit<E>(self) -> Result<Vec<String>, E> {
        Ok(Vec::new())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<String>, D::Error> {
        deserializer.deserialize_seq(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<String>, A::Error> {
        let mut targets = Vec::new();
        while let Some(address) = list.next_element::<String>()? {
            one_less(&mut self.0.targets, "targets")?;
            self.0.take(&address)?;
            targets.push(address);
        }
        Ok(targets)
    }
}

impl<'de> DeserializeSeed<'de> for LabelsOf<'_> {
    type Value = Labels;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Labels, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for LabelsOf<'_> {
    type Value = Labels;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("labels and their values")
    }

    fn visit_none<E>(self) -> Result<Labels, E> {
        Ok(Labels::new())
    }

    fn visit_unit<E>(self) -> Result<Labels, E> {
        Ok(Labels::new())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Labels, D::Error> {
        deserializer.deserialize_map(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Labels, A::Error> {
        let mut labels = Labels::new();
        while let Some((name, value)) = map.next_entry::<String, String>()? {
            self.0.take(&name)?;
            self.0.take(&value)?;
            labels.insert(name, value);
        }
        Ok(labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Within the limits, the result is the same as with derived code.
    #[test]
    fn it_reads_what_a_config_would_read() {
        for text in [
            "",
            "# nothing",
            "null",
            "[]",
            "- targets: [a, 8080, true]\n  labels: {env: prod, version: 1.10, none: }",
            "- targets:\n  labels:",
            "- {}",
            "- &g {targets: &t [&a x, *a], labels: &l {a: b}}\n- *g\n- {targets: *t, labels: *l}",
            "- targets: [a]\n- targets: [b",
            "- target: [a]",
            "- targets: a",
            "- {targets: [a], targets: [b]}",
            "- {labels: [a]}",
            "- x",
            "{targets: [a]}",
            "a: b",
            "[{\"targets\": [\"a\"], \"labels\": {\"x\": \"y\"}}]",
            "[{\"targets\": null, \"labels\": null}]",
            "[{\"labels\": {\"x\": 1}}]",
            "[] []",
        ] {
            let want: Result<Option<Vec<StaticConfig>>, _> = serde_yaml::from_str(text);
            assert_eq!(parse(text, false).ok(), want.ok(), "{text:?} as YAML");
            let want: Result<Option<Vec<StaticConfig>>, _> = serde_json::from_str(text);
            assert_eq!(parse(text, true).ok(), want.ok(), "{text:?} as JSON");
        }
    }

    #[test]
    fn a_file_that_says_too_much_is_refused_before_it_takes_memory() {
        let aliases = |name: &str, count: usize| vec![format!("*{name}"); count].join(", ");
        let laughs = format!(
            "- &g {{targets: &t [&a {}, {}]}}\n- {{targets: *t}}\n{}",
            "x".repeat(100_000),
            aliases("a", 90),
            "- *g\n".repeat(1_000)
        );
        let labels = format!("- &g {{labels: {{a: {}}}}}\n{}", "x".repeat(100_000), "- *g\n".repeat(1_000));
        let small = |pairs: usize| (0..pairs).map(|n| format!("l{n}: ''")).collect::<Vec<_>>().join(", ");
        for (text, why) in [
            (laughs, "more than 67108864 bytes"),
            (labels, "more than 67108864 bytes"),
            (format!("- labels: {{{}}}", small(600_000)), "too many lines or values"),
            (
                format!("- {{targets: [{}], labels: {{{}}}}}", "a, ".repeat(9_000), small(60)),
                "more than 67108864 bytes",
            ),
            ("- - - -\n".repeat(50_000), "too many lines or values"),
            (format!("- targets: [{}]", "a, ".repeat(10_001)), "more than 10000 targets"),
            ("- {}\n".repeat(10_001), "more than 10000 groups"),
            ("[".repeat(50_000), "nested deeper"),
        ] {
            let error = parse(&text, false).expect_err(why);
            assert!(error.contains(why), "{error}");
        }
        let json = format!("[{}{{}}]", "{},".repeat(10_001));
        assert!(parse(&json, true).is_err_and(|e| e.contains("more than 10000 groups")));
        assert!(parse(&"[".repeat(50_000), true).is_err());
        let pairs: Vec<_> = (0..600_000).map(|n| format!("\"{n}\":\"\"")).collect();
        let json = format!("[{{\"labels\": {{{}}}}}]", pairs.join(","));
        assert!(parse(&json, true).is_err_and(|e| e.contains("more than 67108864 bytes")));
    }
}
