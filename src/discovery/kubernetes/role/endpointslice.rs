//! Role `endpointslice`: the addresses of a service, a slice at a time, and the pods behind them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::MapAccess;

use super::super::common::set_if_any;
use super::super::kind::{self, Kind};
use super::super::slim::{Capped, FEW, Metadata, Object, SERVICE_OF_SLICE, sanitised};
use super::endpoint::{self, Reference};
use super::{Finds, With};
use crate::model::{Labels, TargetGroup};

/// The most endpoints of a slice. Kubernetes has the same limit.
const ENDPOINTS: usize = 1000;

#[derive(Debug, Default)]
pub(in crate::discovery::kubernetes) struct EndpointSlice {
    metadata: Metadata,
    address_type: String,
    endpoints: Capped<Endpoint, ENDPOINTS>,
    ports: Capped<Port, FEW>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Endpoint {
    addresses: Capped<String, FEW>,
    conditions: Conditions,
    hostname: Option<String>,
    node_name: Option<String>,
    zone: Option<String>,
    target_ref: Option<Reference>,
    /// Kubernetes allows 16 keys, each with the value of the node's label.
    deprecated_topology: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Conditions {
    ready: Option<bool>,
    serving: Option<bool>,
    terminating: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Port {
    name: Option<String>,
    port: Option<u32>,
    protocol: Option<String>,
    app_protocol: Option<String>,
}

impl Object for EndpointSlice {
    const KIND: &'static Kind = &kind::SLICE;

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.metadata
    }

    fn read<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        match key {
            "addressType" => self.address_type = map.next_value()?,
            "endpoints" => self.endpoints = map.next_value()?,
            "ports" => self.ports = map.next_value()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn weight(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let endpoint = |one: &Endpoint| {
            let addresses: usize = one.addresses.kept.iter().map(|address| size_of::<String>() + address.len()).sum();
            let topology = one.deprecated_topology.iter().flatten().map(|(name, value)| 64 + name.len() + value.len());
            let texts = text(&one.hostname) + text(&one.node_name) + text(&one.zone);
            let target = one.target_ref.as_ref().map_or(0, Reference::weight);
            size_of::<Endpoint>() + addresses + topology.sum::<usize>() + texts + target
        };
        let port = |one: &Port| size_of::<Port>() + text(&one.name) + text(&one.protocol) + text(&one.app_protocol);
        self.endpoints.kept.iter().map(endpoint).chain(self.ports.kept.iter().map(port)).sum()
    }
}

impl EndpointSlice {
    fn service(&self) -> Option<&str> {
        self.metadata.labels.get(SERVICE_OF_SLICE)
    }
}

impl Finds for EndpointSlice {
    fn narrow(&mut self, node: &str) -> bool {
        self.endpoints.kept.retain(|one| endpoint::is_here(one.node_name.as_deref(), node));
        self.endpoints.kept.shrink_to_fit();
        !self.endpoints.kept.is_empty()
    }

    fn refers(&self, kind: &Kind, group_id: &str) -> bool {
        let each = self.endpoints.kept.iter();
        let addresses = each.map(|one| (one.node_name.as_deref().unwrap_or_default(), one.target_ref.as_ref()));
        endpoint::refers((kind, group_id), &self.metadata.namespace, self.service().unwrap_or_default(), addresses)
    }

    fn group(&self, with: &With<'_>) -> TargetGroup {
        let mut labels = Labels::new();
        set_if_any(
            &mut labels,
            &[
                ("__meta_kubernetes_endpointslice_name", &self.metadata.name),
                ("__meta_kubernetes_endpointslice_address_type", &self.address_type),
            ],
        );
        let ports: Vec<Option<&Port>> = match self.ports.kept.is_empty() {
            // A headless service may have no port.
            true => vec![None],
            false => self.ports.kept.iter().map(Some).collect(),
        };
        let endpoints = self.endpoints.kept.iter().flat_map(|one| {
            let addresses = one.addresses.kept.iter();
            let ports = &ports;
            addresses.flat_map(move |address| ports.iter().map(move |port| of(one, address, *port)))
        });
        endpoint::group(self, self.service(), labels, endpoints, with)
    }
}

fn of<'a>(endpoint: &'a Endpoint, address: &'a str, port: Option<&Port>) -> endpoint::Endpoint<'a> {
    let mut labels = Labels::new();
    let mut set = |name: &str, value: Option<String>| {
        let name = format!("__meta_kubernetes_endpointslice_{name}");
        labels.extend(value.map(|value| (name, value)));
    };
    let Conditions { ready, serving, terminating } = endpoint.conditions;
    set("endpoint_conditions_ready", ready.map(|is| is.to_string()));
    set("endpoint_conditions_serving", serving.map(|is| is.to_string()));
    set("endpoint_conditions_terminating", terminating.map(|is| is.to_string()));
    set("endpoint_hostname", endpoint.hostname.clone());
    set("endpoint_node_name", endpoint.node_name.clone());
    set("endpoint_zone", endpoint.zone.clone());
    set("address_target_kind", endpoint.target_ref.as_ref().map(|target| target.kind.clone()));
    set("address_target_name", endpoint.target_ref.as_ref().map(|target| target.name.clone()));
    for (name, value) in endpoint.deprecated_topology.iter().flatten().take(FEW) {
        let name = sanitised(name);
        set(&format!("endpoint_topology_{name}"), Some(value.clone()));
        set(&format!("endpoint_topology_present_{name}"), Some("true".into()));
    }
    if let Some(port) = port {
        set("port", port.port.map(|port| port.to_string()));
        set("port_name", port.name.clone());
        set("port_protocol", port.protocol.clone());
        set("port_app_protocol", port.app_protocol.clone());
    }
    let node = endpoint.node_name.as_deref().unwrap_or_default();
    endpoint::Endpoint {
        address,
        port: port.and_then(|port| port.port),
        node,
        target: endpoint.target_ref.as_ref(),
        labels,
    }
}
