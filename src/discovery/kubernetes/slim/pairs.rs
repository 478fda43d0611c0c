//! Labels and annotations: those that a rule reads, and some names of the others for the pages.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};

use super::super::kind::Kind;
use crate::model::{bounded, pod};
use crate::relabel::Reads;

/// The label with the part that the Deployment adds to its ReplicaSet's name.
pub(in crate::discovery::kubernetes) const TEMPLATE_HASH: &str = "__meta_kubernetes_pod_label_pod_template_hash";

/// The label with the service of an EndpointSlice.
pub(in crate::discovery::kubernetes) const SERVICE_OF_SLICE: &str =
    "__meta_kubernetes_endpointslice_label_kubernetes_io_service_name";

/// The maximum bytes of names (and for labels, values) that no rule reads, for each kind and pod.
const SHOWN: usize = 4 << 10;

/// The maximum bytes of memory for those that a rule reads, of each kind and object. The API server accepts 256 KiB of
/// annotations, but any number of labels.
const READ: usize = 512 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Label,
    Annotation,
}

impl What {
    fn as_str(self) -> &'static str {
        match self {
            What::Label => "label",
            What::Annotation => "annotation",
        }
    }

    /// The names in Prometheus: the label with the value, and the label for its presence.
    fn names(self, kind: &Kind, name: &str) -> [String; 2] {
        let (object, what, name) = (kind.prefix, self.as_str(), sanitised(name));
        [
            format!("__meta_kubernetes_{object}_{what}_{name}"),
            format!("__meta_kubernetes_{object}_{what}present_{name}"),
        ]
    }
}

/// Replaces characters that are not allowed in a label name by `_`.
pub(in crate::discovery::kubernetes) fn sanitised(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// The labels or annotations of an object, by their names in Prometheus.
#[derive(Debug, Default)]
pub(in crate::discovery::kubernetes) struct Pairs {
    /// Sorted by their names in Kubernetes. If two have the same name in Prometheus, the last one counts.
    pub(in crate::discovery::kubernetes) read: Vec<(String, String)>,
    /// Annotations have no value here.
    pub(in crate::discovery::kubernetes) unread: Vec<(String, String)>,
    /// The number of others that no rule reads.
    pub(in crate::discovery::kubernetes) more: usize,
    /// The number of others that a rule reads.
    pub(in crate::discovery::kubernetes) left_out: usize,
}

impl Pairs {
    /// Adds one that is read, if there is room. What the agent itself reads is always added.
    fn read(&mut self, name: String, value: String, room: &mut usize) {
        match room.checked_sub(name.len() + value.len() + bounded::VALUE) {
            Some(left) => *room = left,
            None if ALWAYS.contains(&name.as_str()) => {}
            None => return self.left_out += 1,
        }
        self.read.push((name, value));
    }

    /// The value of a label that the agent itself reads, by its name in Prometheus.
    pub(in crate::discovery::kubernetes) fn get(&self, name: &str) -> Option<&str> {
        self.read.iter().rev().find(|(one, _)| one == name).map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
impl Pairs {
    pub(in crate::discovery::kubernetes) fn count(&self) -> usize {
        self.read.len() + self.unread.len() + self.more + self.left_out
    }
}

/// Labels that the pod defaults and the agent's lookups read.
const ALWAYS: [&str; 5] = [pod::CONFIG_HASH, pod::LABEL_APP, pod::LABEL_APP_NAME, TEMPLATE_HASH, SERVICE_OF_SLICE];

/// Whether a rule or the agent itself reads the label `name`.
fn is_read(reads: &Reads, name: &str) -> bool {
    ALWAYS.contains(&name) || reads.reads(name)
}

pub(super) struct Seed<'a>(pub(super) What, pub(super) &'static Kind, pub(super) &'a Reads);

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Pairs;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Pairs, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Pairs;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s of an object", self.0.as_str())
    }

    fn visit_unit<E>(self) -> Result<Pairs, E> {
        Ok(Pairs::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
        let Seed(what, kind, reads) = self;
        let (mut pairs, mut room, mut room_for_read) = (Pairs::default(), SHOWN, READ);
        while let Some(key) = map.next_key::<String>()? {
            let [name, present] = what.names(kind, &key);
            if is_read(reads, &present) {
                pairs.read(present, "true".to_string(), &mut room_for_read);
            }
            if is_read(reads, &name) {
                pairs.read(name, map.next_value()?, &mut room_for_read);
                continue;
            }
            let value = match what {
                What::Label => map.next_value()?,
                What::Annotation => {
                    map.next_value::<IgnoredAny>()?;
                    String::new()
                }
            };
            match room.checked_sub(name.len() + value.len()) {
                Some(left) => {
                    room = left;
                    pairs.unread.push((name, value));
                }
                None => pairs.more += 1,
            }
        }
        Ok(pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::kind;
    use super::*;
    use crate::relabel::Rules;

    fn pairs(what: What, rules: &str, json: &str) -> Pairs {
        let configs: Vec<_> = serde_yaml::from_str(rules).expect(rules);
        let reads = Rules::compile(&configs).expect(rules).reads();
        Seed(what, &kind::POD, &reads).deserialize(&mut serde_json::Deserializer::from_str(json)).expect(json)
    }

    #[test]
    fn names_are_sanitised() {
        for (name, clean) in [("a.b/c-d", "a_b_c_d"), ("1x", "1x"), ("é", "_"), ("A_9", "A_9")] {
            assert_eq!(sanitised(name), clean);
        }
    }

    #[test]
    fn what_a_rule_reads_is_whole_and_of_the_rest_there_are_names() {
        let json = format!(r#"{{"a/b":"1","last":"{}","log":"yes","z":"2"}}"#, "x".repeat(256 << 10));
        let rules = "[{source_labels: [__meta_kubernetes_pod_annotation_log], action: keep}, \
            {source_labels: [__meta_kubernetes_pod_annotationpresent_z], target_label: z}]";
        let some = pairs(What::Annotation, rules, &json);
        let text = |pairs: &[(String, String)]| {
            let short = |(n, v): &(String, String)| format!("{}={v}", n.trim_start_matches("__meta_kubernetes_pod_"));
            pairs.iter().map(short).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(text(&some.read), "annotation_log=yes annotationpresent_z=true");
        assert_eq!(text(&some.unread), "annotation_a_b= annotation_last= annotation_z=");
        let labels = pairs(What::Label, "[]", r#"{"app":"web","other":"x"}"#);
        assert_eq!((text(&labels.read), text(&labels.unread)), ("label_app=web".into(), "label_other=x".into()));
        let all =
            pairs(What::Annotation, "[{regex: '__meta_kubernetes_pod_annotation_(.+)', action: labelmap}]", &json);
        assert_eq!((all.read.len(), all.unread.len()), (4, 0), "a labelmap reads what it matches");
        assert!(all.read.iter().any(|(_, value)| value.len() == 256 << 10));
    }

    #[test]
    fn what_rules_read_takes_a_bounded_number_of_bytes() {
        let many: Vec<String> = (0..100_000).map(|n| format!(r#""{n}":"""#)).collect();
        let json = format!(r#"{{{},"config.hash":"h","app":"web"}}"#, many.join(","));
        for (what, rules) in [
            (What::Label, "[{regex: '__meta_kubernetes_pod_label_(.+)', action: labelmap}]"),
            (What::Annotation, "[{regex: '__meta_kubernetes_pod_annotation(present)?_(.+)', action: labelmap}]"),
        ] {
            let pairs = pairs(what, rules, &json);
            let bytes: usize = pairs.read.iter().map(|(name, value)| name.capacity() + value.capacity() + 100).sum();
            assert!(bytes < READ && pairs.read.len() > 1_000, "{bytes}");
            assert!(pairs.left_out > 90_000 && pairs.read.len() + pairs.left_out >= 100_000, "each is counted");
            assert_eq!(pairs.get(pod::LABEL_APP), (what == What::Label).then_some("web"), "the agent itself reads it");
        }
    }

    #[test]
    fn names_that_no_rule_reads_are_shown_up_to_a_bound() {
        let many: Vec<String> = (0..5_000).map(|n| format!(r#""label-{n}":"{}""#, "v".repeat(60))).collect();
        let json = format!("{{{}}}", many.join(","));
        for kind in [What::Label, What::Annotation] {
            let pairs = pairs(kind, "[]", &json);
            let bytes: usize = pairs.unread.iter().map(|(name, value)| name.len() + value.len()).sum();
            assert!(bytes <= SHOWN && pairs.unread.len() > 20 && pairs.count() == 5_000, "{kind:?}: {bytes}");
        }
    }
}
