//! Kubernetes objects, reduced to the values that logs need: about a tenth. This file has the pod and the common parts.
//!
//! Other values are skipped by the parser and take no memory: managed fields, and annotations that no rule reads.

mod pairs;

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::kind::{self, Kind};
use crate::relabel::Reads;
pub(super) use pairs::Pairs;
use pairs::What;
pub(super) use pairs::{SERVICE_OF_SLICE, TEMPLATE_HASH, sanitised};

/// The maximum number of containers of a kind (init, ephemeral, normal) for a pod. Real pods have a dozen.
const CONTAINERS: usize = 200;

/// The maximum number of ports of a container.
const PORTS: usize = 256;

/// The maximum length of other lists (conditions, owners).
pub(super) const FEW: usize = 100;

/// One kind of object. Its memory is limited, whatever its user writes.
pub(super) trait Object: Default + Send + 'static {
    const KIND: &'static Kind;

    fn metadata(&self) -> &Metadata;
    fn metadata_mut(&mut self) -> &mut Metadata;

    /// Reads the value of `key`, which is not `metadata`. False: the value is not needed, and must be skipped.
    fn read<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error>;

    /// The memory without metadata, in bytes (approximate).
    fn weight(&self) -> usize;

    /// The id of the object's target group.
    fn group_id(&self) -> String {
        let Metadata { namespace, name, .. } = self.metadata();
        Self::KIND.group_id(namespace, name)
    }
}

#[derive(Debug, Default)]
pub(super) struct Pod {
    pub(super) metadata: Metadata,
    pub(super) spec: Spec,
    pub(super) status: Status,
}

#[derive(Debug, Default)]
pub(super) struct Metadata {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) uid: String,
    pub(super) resource_version: String,
    pub(super) labels: Pairs,
    pub(super) annotations: Pairs,
    pub(super) owner_references: Capped<OwnerReference, FEW>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct OwnerReference {
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) controller: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Spec {
    pub(super) node_name: String,
    pub(super) containers: Capped<Container, CONTAINERS>,
    pub(super) init_containers: Capped<Container, CONTAINERS>,
    pub(super) ephemeral_containers: Capped<Container, CONTAINERS>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Container {
    pub(super) name: String,
    pub(super) image: String,
    pub(super) ports: Capped<Port, PORTS>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Port {
    pub(super) name: String,
    pub(super) container_port: u32,
    pub(super) protocol: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Status {
    pub(super) phase: String,
    #[serde(rename = "podIP")]
    pub(super) pod_ip: String,
    #[serde(rename = "hostIP")]
    pub(super) host_ip: String,
    pub(super) conditions: Capped<Condition, FEW>,
    pub(super) container_statuses: Capped<ContainerStatus, CONTAINERS>,
    pub(super) init_container_statuses: Capped<ContainerStatus, CONTAINERS>,
    pub(super) ephemeral_container_statuses: Capped<ContainerStatus, CONTAINERS>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Condition {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) status: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ContainerStatus {
    pub(super) name: String,
    #[serde(rename = "containerID")]
    pub(super) container_id: String,
}

/// The first `MOST` elements of a list, which may be null, and the number of the others.
#[derive(Debug)]
pub(super) struct Capped<T, const MOST: usize> {
    pub(super) kept: Vec<T>,
    pub(super) more: usize,
}

impl<T, const MOST: usize> Capped<T, MOST> {
    pub(super) fn count(&self) -> usize {
        self.kept.len() + self.more
    }
}

impl<T, const MOST: usize> Default for Capped<T, MOST> {
    fn default() -> Self {
        Self { kept: Vec::new(), more: 0 }
    }
}

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for Capped<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List<T, const MOST: usize>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for List<T, MOST> {
            type Value = Capped<T, MOST>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Capped::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut capped = Capped::default();
                while capped.kept.len() < MOST {
                    match list.next_element()? {
                        Some(one) => capped.kept.push(one),
                        None => return Ok(capped),
                    }
                }
                while list.next_element::<IgnoredAny>()?.is_some() {
                    capped.more += 1;
                }
                Ok(capped)
            }
        }
        deserializer.deserialize_any(List(PhantomData))
    }
}

impl Object for Pod {
    const KIND: &'static Kind = &kind::POD;

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.metadata
    }

    fn read<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        match key {
            "spec" => self.spec = map.next_value()?,
            "status" => self.status = map.next_value()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn weight(&self) -> usize {
        let (spec, status) = (&self.spec, &self.status);
        let containers = [&spec.containers, &spec.init_containers, &spec.ephemeral_containers];
        let statuses =
            [&status.container_statuses, &status.init_container_statuses, &status.ephemeral_container_statuses];
        let port = |port: &Port| size_of::<Port>() + port.name.len() + port.protocol.len();
        let container = |one: &Container| {
            let ports: usize = one.ports.kept.iter().map(port).sum();
            size_of::<Container>() + one.name.len() + one.image.len() + ports
        };
        let status = |one: &ContainerStatus| size_of::<ContainerStatus>() + one.name.len() + one.container_id.len();
        let containers: usize = containers.iter().flat_map(|list| &list.kept).map(container).sum();
        containers + statuses.iter().flat_map(|list| &list.kept).map(status).sum::<usize>()
    }
}

impl Metadata {
    /// The memory in bytes (approximate).
    pub(super) fn weight(&self) -> usize {
        let pairs =
            [&self.labels, &self.annotations].into_iter().flat_map(|pairs| pairs.read.iter().chain(&pairs.unread));
        let texts: usize = pairs.map(|(name, value)| name.len() + value.len() + 2 * size_of::<String>()).sum();
        let owners = self.owner_references.kept.iter().map(|one| one.kind.len() + one.name.len() + size_of_val(one));
        texts + owners.sum::<usize>() + self.name.len() + self.namespace.len()
    }
}

/// Parses an object with the labels and annotations that the rules read.
pub(super) struct ObjectSeed<'a, O>(&'a Reads, PhantomData<O>);

impl<'a, O> ObjectSeed<'a, O> {
    pub(super) fn new(reads: &'a Reads) -> Self {
        Self(reads, PhantomData)
    }
}

impl<'de, O: Object> DeserializeSeed<'de> for ObjectSeed<'_, O> {
    type Value = O;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<O, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, O: Object> Visitor<'de> for ObjectSeed<'_, O> {
    type Value = O;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "one of {}", O::KIND.plural)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<O, A::Error> {
        let mut object = O::default();
        while let Some(key) = map.next_key::<String>()? {
            if key == "metadata" {
                *object.metadata_mut() = map.next_value_seed(MetadataSeed(O::KIND, self.0))?;
            } else if !object.read(&key, &mut map)? {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(object)
    }
}

struct MetadataSeed<'a>(&'static Kind, &'a Reads);

impl<'de> DeserializeSeed<'de> for MetadataSeed<'_> {
    type Value = Metadata;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Metadata, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for MetadataSeed<'_> {
    type Value = Metadata;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the metadata of an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metadata, A::Error> {
        let mut metadata = Metadata::default();
        while let Some(key) = map.next_key::<String>()? {
            let text = match key.as_str() {
                "name" => &mut metadata.name,
                "namespace" => &mut metadata.namespace,
                "uid" => &mut metadata.uid,
                "resourceVersion" => &mut metadata.resource_version,
                "labels" => {
                    metadata.labels = map.next_value_seed(pairs::Seed(What::Label, self.0, self.1))?;
                    continue;
                }
                "annotations" => {
                    metadata.annotations = map.next_value_seed(pairs::Seed(What::Annotation, self.0, self.1))?;
                    continue;
                }
                "ownerReferences" => {
                    metadata.owner_references = map.next_value()?;
                    continue;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            *text = map.next_value::<Option<String>>()?.unwrap_or_default();
        }
        Ok(metadata)
    }
}

/// Parses an object from the whole of `json`.
pub(super) fn parse<O: Object>(json: &[u8], reads: &Reads) -> Result<O, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let object = ObjectSeed::new(reads).deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn managed_fields_and_everything_else_unneeded_are_skipped() {
        let pod: Pod = parse(
            br#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","managedFields":[{"manager":"kubelet"}]},
                "spec":{"containers":[{"name":"c","env":[{"name":"X"}]}],"initContainers":null,"nodeName":"n"},
                "status":{"podIP":"1.2.3.4","podIPs":[{"ip":"1.2.3.4"}],"conditions":[{"type":"Ready","status":"True"}]}}"#,
            &Reads::default(),
        )
        .expect("a pod");
        assert_eq!((pod.metadata.name.as_str(), pod.metadata.labels.count()), ("a", 0));
        assert_eq!((pod.spec.containers.kept.len(), pod.spec.node_name.as_str()), (1, "n"));
        assert_eq!((pod.status.pod_ip.as_str(), pod.status.conditions.kept[0].kind.as_str()), ("1.2.3.4", "Ready"));
    }

    #[test]
    fn a_pod_that_nobody_has_placed_yet() {
        let json = br#"{"metadata":{"labels":null,"annotations":null},"spec":{},"status":{}}"#;
        let pod: Pod = parse(json, &Reads::default()).expect("a pod");
        assert!(pod.spec.node_name.is_empty() && pod.spec.containers.kept.is_empty());
    }

    #[test]
    fn a_list_is_kept_as_far_as_it_may_go() {
        let list: Capped<u8, 2> = serde_json::from_str("[1,2,3,{\"a\":[]}]").expect("a list");
        assert_eq!((list.kept.as_slice(), list.more, list.count()), ([1, 2].as_slice(), 2, 4));
        assert_eq!(serde_json::from_str::<Capped<u8, 2>>("null").expect("none").count(), 0);
        assert!(serde_json::from_str::<Capped<u8, 2>>("{}").is_err());
    }
}
