//! Targets for addresses of Endpoints and EndpointSlices, with the labels of their service, and of the pod behind each
//! address.

use std::collections::HashMap;

use serde::Deserialize;

use super::super::common::{Common, LABELS, host_port};
use super::super::kind::{self, Kind};
use super::super::pod::{ADDRESS, PORT_NAME, PORT_NUMBER, PORT_PROTOCOL, pod_labels};
use super::super::slim::{Container, Metadata, Object, Pod, Port};
use super::{With, service, workload};
use crate::model::{LabelSet, Labels, LeftOut, TargetGroup, TargetLabels, pod};

/// The most targets of one object. Kubernetes' controllers write at most a thousand addresses.
const TARGETS: usize = 1000;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Reference {
    pub(super) kind: String,
    pub(super) namespace: String,
    pub(super) name: String,
}

impl Reference {
    /// The name of the pod, if it is one, and if it is in `namespace`. Otherwise, a user who can make a service could
    /// read other users' logs under its name.
    fn pod(&self, namespace: &str) -> Option<String> {
        let is_own = self.namespace.is_empty() || self.namespace == namespace;
        (self.kind == "Pod" && is_own).then(|| kind::POD.group_id(namespace, &self.name))
    }

    pub(super) fn weight(&self) -> usize {
        self.kind.len() + self.namespace.len() + self.name.len()
    }
}

/// An address with one of its ports.
pub(super) struct Endpoint<'a> {
    pub(super) address: &'a str,
    pub(super) port: Option<u32>,
    pub(super) node: &'a str,
    pub(super) target: Option<&'a Reference>,
    /// The labels of the endpoint itself.
    pub(super) labels: Labels,
}

/// Whether an address of `node` is useful on `here`: pods of other nodes have no logs here.
pub(super) fn is_here(node: Option<&str>, here: &str) -> bool {
    here.is_empty() || node.is_none_or(|node| node.is_empty() || node == here)
}

/// Whether an object with addresses has labels of another object.
pub(super) fn refers<'a>(
    (kind, group_id): (&Kind, &str),
    namespace: &str,
    service: &str,
    mut addresses: impl Iterator<Item = (&'a str, Option<&'a Reference>)>,
) -> bool {
    if *kind == kind::SERVICE {
        return kind::SERVICE.group_id(namespace, service) == group_id;
    }
    if *kind == kind::NAMESPACE {
        return kind::NAMESPACE.group_id("", namespace) == group_id;
    }
    if *kind == kind::NODE {
        return addresses.any(|(node, target)| kind::NODE.group_id("", node_of(node, target)) == group_id);
    }
    addresses.any(|(_, target)| target.and_then(|target| target.pod(namespace)).is_some_and(|pod| pod == group_id))
}

/// The node of an address. The node may itself be the target.
fn node_of<'a>(node: &'a str, target: Option<&'a Reference>) -> &'a str {
    target.filter(|target| target.kind == "Node").map_or(node, |target| &target.name)
}

/// The labels of a pod, made once for all its targets.
struct PodOf<'a> {
    pod: &'a Pod,
    common: LabelSet,
    /// The ports with targets.
    ports: Vec<u32>,
}

/// The targets of `of`, which belongs to the service `service`.
///
/// The address of a pod has targets only while the pod is known.
pub(super) fn group<'a>(
    of: &impl Object,
    service: Option<&str>,
    labels: Labels,
    endpoints: impl Iterator<Item = Endpoint<'a>>,
    with: &With<'_>,
) -> TargetGroup {
    let meta = of.metadata();
    let mut left_out = LeftOut::default();
    let mut labels = labels;
    labels.insert(pod::NAMESPACE.into(), meta.namespace.clone());
    let service = service.and_then(|name| with.beside.services.get(&kind::SERVICE.group_id(&meta.namespace, name)));
    labels.extend(service.map(|service| (service::NAME.to_string(), service.metadata().name.clone())));
    let beside: Vec<&Metadata> =
        [Some(meta), service.map(Object::metadata), with.namespace(&meta.namespace)].into_iter().flatten().collect();
    let with_node = |labels: Labels, node: Option<&Metadata>, pod: Option<&Metadata>, left_out: &mut LeftOut| {
        let mut labels = labels;
        labels.extend(node.map(|node| ("__meta_kubernetes_node_name".to_string(), node.name.clone())));
        let objects: Vec<&Metadata> = pod.into_iter().chain(beside.iter().copied()).chain(node).collect();
        Common::of(labels, &objects, left_out)
    };

    let mut pods: HashMap<String, PodOf<'_>> = HashMap::new();
    let mut plain: HashMap<String, LabelSet> = HashMap::new();
    let (mut targets, mut spent) = (Vec::new(), 0);
    // Beyond the limit of an object, its pods are used without their long annotations.
    let mut choose = |common: Common, left_out: &mut LeftOut| {
        spent += common.full.bytes();
        if spent <= LABELS {
            return common.full;
        }
        left_out.labels = left_out.labels.max(common.without);
        common.short
    };
    for endpoint in endpoints {
        if targets.len() == TARGETS {
            left_out.ports += 1;
            continue;
        }
        let mut own = endpoint.labels;
        own.insert(ADDRESS.into(), with_port(endpoint.address, endpoint.port));
        let node = node_of(endpoint.node, endpoint.target);
        let of_pod = endpoint.target.filter(|target| target.kind == "Pod");
        let Some(target) = of_pod else {
            let common = plain.entry(node.to_string()).or_insert_with(|| {
                let common = with_node(labels.clone(), with.node(node), None, &mut left_out);
                choose(common, &mut left_out)
            });
            targets.push(TargetLabels::new(common.clone(), LabelSet::from(&own)));
            continue;
        };
        let Some(group_id) = target.pod(&meta.namespace) else { continue };
        let Some(pod) = with.beside.pods.get(&group_id) else { continue };
        let of = pods.entry(group_id).or_insert_with(|| {
            let mut labels = labels.clone();
            labels.extend(pod_labels(pod));
            workload::set(&mut labels, &pod.metadata, with.attach);
            let common = with_node(labels, with.node(node), Some(&pod.metadata), &mut left_out);
            PodOf { pod, common: choose(common, &mut left_out), ports: Vec::new() }
        });
        of.ports.extend(endpoint.port);
        for (container, port) in ports(pod).filter(|(_, port)| Some(port.container_port) == endpoint.port) {
            own.extend(container_labels(container, port));
        }
        targets.push(TargetLabels::new(of.common.clone(), LabelSet::from(&own)));
    }
    add_undeclared_ports(pods, &mut targets, &mut left_out);
    TargetGroup { id: of.group_id(), targets, left_out }
}

/// Adds targets for the ports that the pods declare and the service does not, in the order of the pods' names.
fn add_undeclared_ports(pods: HashMap<String, PodOf<'_>>, targets: &mut Vec<TargetLabels>, left_out: &mut LeftOut) {
    let mut pods: Vec<_> = pods.into_iter().collect();
    pods.sort_by(|(one, _), (other, _)| one.cmp(other));
    for (_, of) in &pods {
        let ip = &of.pod.status.pod_ip;
        let undeclared = |(_, port): &(&Container, &Port)| !of.ports.contains(&port.container_port);
        for (container, port) in ports(of.pod).filter(|_| !ip.is_empty()).filter(undeclared) {
            if targets.len() == TARGETS {
                left_out.ports += 1;
                continue;
            }
            let mut own = container_labels(container, port);
            own.insert(ADDRESS.into(), with_port(ip, Some(port.container_port)));
            targets.push(TargetLabels::new(of.common.clone(), LabelSet::from(&own)));
        }
    }
}

fn with_port(address: &str, port: Option<u32>) -> String {
    port.map_or_else(|| address.to_string(), |port| host_port(address, &port.to_string()))
}

fn ports(pod: &Pod) -> impl Iterator<Item = (&Container, &Port)> {
    pod.spec.containers.kept.iter().flat_map(|one| one.ports.kept.iter().map(move |port| (one, port)))
}

fn container_labels(container: &Container, port: &Port) -> Labels {
    let labels = [
        (pod::CONTAINER, container.name.clone()),
        ("__meta_kubernetes_pod_container_image", container.image.clone()),
        (PORT_NAME, port.name.clone()),
        (PORT_NUMBER, port.container_port.to_string()),
        (PORT_PROTOCOL, port.protocol.clone()),
    ];
    labels.map(|(name, value)| (name.to_string(), value)).into()
}
