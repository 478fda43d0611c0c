//! Role `endpoints`: the addresses of a service, and the pods behind them.

use serde::Deserialize;
use serde::de::MapAccess;

use super::super::common::set_if_any;
use super::super::kind::{self, Kind};
use super::super::slim::{Capped, FEW, Metadata, Object};
use super::endpoint::{self, Endpoint, Reference};
use super::{Finds, With};
use crate::model::{Labels, TargetGroup};

/// The most addresses of a subset. Kubernetes' controllers write at most a thousand.
const ADDRESSES: usize = 1000;

#[derive(Debug, Default)]
pub(in crate::discovery::kubernetes) struct Endpoints {
    metadata: Metadata,
    subsets: Capped<Subset, FEW>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Subset {
    addresses: Capped<Address, ADDRESSES>,
    not_ready_addresses: Capped<Address, ADDRESSES>,
    ports: Capped<Port, FEW>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Address {
    ip: String,
    hostname: String,
    node_name: Option<String>,
    target_ref: Option<Reference>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Port {
    name: String,
    port: u32,
    protocol: String,
}

impl Object for Endpoints {
    const KIND: &'static Kind = &kind::ENDPOINTS;

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.metadata
    }

    fn read<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        if key == "subsets" {
            self.subsets = map.next_value()?;
        }
        Ok(key == "subsets")
    }

    fn weight(&self) -> usize {
        let address = |one: &Address| {
            let target = one.target_ref.as_ref().map_or(0, Reference::weight);
            size_of::<Address>()
                + one.ip.len()
                + one.hostname.len()
                + one.node_name.as_ref().map_or(0, String::len)
                + target
        };
        let subset = |one: &Subset| {
            let addresses = one.addresses.kept.iter().chain(&one.not_ready_addresses.kept).map(address);
            let ports = one.ports.kept.iter().map(|port| size_of::<Port>() + port.name.len() + port.protocol.len());
            addresses.chain(ports).sum::<usize>()
        };
        self.subsets.kept.iter().map(subset).sum()
    }
}

impl Endpoints {
    fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.subsets.kept.iter().flat_map(|one| one.addresses.kept.iter().chain(&one.not_ready_addresses.kept))
    }
}

impl Finds for Endpoints {
    fn narrow(&mut self, node: &str) -> bool {
        for subset in &mut self.subsets.kept {
            for addresses in [&mut subset.addresses.kept, &mut subset.not_ready_addresses.kept] {
                addresses.retain(|address| endpoint::is_here(address.node_name.as_deref(), node));
                addresses.shrink_to_fit();
            }
        }
        self.addresses().next().is_some()
    }

    fn refers(&self, kind: &Kind, group_id: &str) -> bool {
        let addresses =
            self.addresses().map(|one| (one.node_name.as_deref().unwrap_or_default(), one.target_ref.as_ref()));
        endpoint::refers((kind, group_id), &self.metadata.namespace, &self.metadata.name, addresses)
    }

    fn group(&self, with: &With<'_>) -> TargetGroup {
        let name = &self.metadata.name;
        let labels = [("__meta_kubernetes_endpoints_name".to_string(), name.clone())].into();
        let endpoints = self.subsets.kept.iter().flat_map(|subset| {
            let ready = subset.addresses.kept.iter().map(|address| (address, true));
            let addresses = ready.chain(subset.not_ready_addresses.kept.iter().map(|address| (address, false)));
            // A headless service may have no port.
            let ports = subset.ports.kept.iter().map(Some);
            let none = subset.ports.kept.is_empty().then_some(None);
            let ports: Vec<_> = ports.chain(none).collect();
            addresses
                .flat_map(move |(address, ready)| ports.clone().into_iter().map(move |port| of(address, port, ready)))
        });
        endpoint::group(self, Some(name), labels, endpoints, with)
    }
}

fn of<'a>(address: &'a Address, port: Option<&Port>, is_ready: bool) -> Endpoint<'a> {
    let mut labels = Labels::new();
    let node = address.node_name.as_deref().unwrap_or_default();
    let target = address.target_ref.as_ref();
    set_if_any(
        &mut labels,
        &[
            ("__meta_kubernetes_endpoint_hostname", &address.hostname),
            ("__meta_kubernetes_endpoint_node_name", node),
            ("__meta_kubernetes_endpoint_ready", if is_ready { "true" } else { "false" }),
            ("__meta_kubernetes_endpoint_address_target_kind", target.map_or("", |target| &target.kind)),
            ("__meta_kubernetes_endpoint_address_target_name", target.map_or("", |target| &target.name)),
        ],
    );
    for port in port.into_iter() {
        labels.insert("__meta_kubernetes_endpoint_port_name".into(), port.name.clone());
        labels.insert("__meta_kubernetes_endpoint_port_protocol".into(), port.protocol.clone());
    }
    Endpoint { address: &address.ip, port: port.map(|port| port.port), node, target, labels }
}
