//! The labels of an instance of a service before relabelling.

use std::collections::BTreeMap;

use super::api::{Instance, Service, health};
use crate::discovery::label_name::label_name;
use crate::model::Labels;

/// The node of an instance.
pub(super) struct NodeFacts<'a> {
    pub name: &'a str,
    pub address: &'a str,
    pub datacenter: &'a str,
    pub meta: &'a BTreeMap<String, String>,
    pub tagged_addresses: &'a BTreeMap<String, String>,
}

/// Makes labels whose names begin with `prefix`.
pub(super) struct Namer<'a> {
    pub prefix: &'static str,
    pub tag_separator: &'a str,
}

impl Namer<'_> {
    /// The labels of an instance in Consul's catalog.
    pub fn of_catalog(&self, instance: &Instance) -> Labels {
        let Instance { node, service, checks } = instance;
        let facts = NodeFacts {
            name: &node.node,
            address: &node.address,
            datacenter: &node.datacenter,
            meta: &node.meta,
            tagged_addresses: &node.tagged_addresses,
        };
        let mut labels = self.labels(service, &facts, health(checks));
        for (name, value) in [("namespace", &service.namespace), ("partition", &service.partition)] {
            labels.insert(format!("{}{name}", self.prefix), value.clone());
        }
        labels
    }

    pub fn labels(&self, service: &Service, node: &NodeFacts<'_>, health: &str) -> Labels {
        let separator = self.tag_separator;
        // The separator is at both ends as well, so that a rule can match a tag wherever it is in the list.
        let tags = format!("{separator}{}{separator}", service.tags.join(separator));
        let host = if service.address.is_empty() { node.address } else { &service.address };
        let port = service.port.to_string();
        let own = [
            ("address", node.address),
            ("dc", node.datacenter),
            ("health", health),
            ("node", node.name),
            ("service", &service.service),
            ("service_address", &service.address),
            ("service_id", &service.id),
            ("service_port", &port),
            ("tags", &tags),
        ];
        let mut labels: Labels =
            own.into_iter().map(|(name, value)| (format!("{}{name}", self.prefix), value.to_string())).collect();
        labels.insert("__address__".into(), host_and_port(host, &port));
        for (kind, pairs) in
            [("metadata_", node.meta), ("service_metadata_", &service.meta), ("tagged_address_", node.tagged_addresses)]
        {
            for (name, value) in pairs {
                labels.insert(label_name(&format!("{}{kind}", self.prefix), name), value.clone());
            }
        }
        labels
    }
}

/// An IPv6 address is written in brackets.
fn host_and_port(host: &str, port: &str) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
