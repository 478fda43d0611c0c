//! Role `node`: this node.

use serde::Deserialize;
use serde::de::MapAccess;

use super::super::common::{Common, host_port, set_if_any};
use super::super::kind::{self, Kind};
use super::super::pod::ADDRESS;
use super::super::slim::{Capped, Condition, FEW, Metadata, Object, sanitised};
use super::{Finds, With};
use crate::model::{Labels, LeftOut, TargetGroup, TargetLabels};

/// The types of addresses for `__address__`, in order of preference.
const ADDRESSES: [&str; 6] = ["InternalIP", "InternalDNS", "ExternalIP", "ExternalDNS", "LegacyHostIP", "Hostname"];

#[derive(Debug, Default)]
pub(in crate::discovery::kubernetes) struct Node {
    metadata: Metadata,
    spec: Spec,
    status: Status,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Spec {
    #[serde(rename = "providerID")]
    provider_id: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    addresses: Capped<Address, FEW>,
    conditions: Capped<Condition, FEW>,
    daemon_endpoints: Daemons,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Address {
    #[serde(rename = "type")]
    kind: String,
    address: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Daemons {
    kubelet_endpoint: Daemon,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Daemon {
    #[serde(rename = "Port")]
    port: u32,
}

impl Object for Node {
    const KIND: &'static Kind = &kind::NODE;

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
        let Status { addresses, conditions, .. } = &self.status;
        let addresses = addresses.kept.iter().map(|one| size_of::<Address>() + one.kind.len() + one.address.len());
        let conditions = conditions.kept.iter().map(|one| size_of::<Condition>() + one.kind.len() + one.status.len());
        addresses.chain(conditions).sum::<usize>() + self.spec.provider_id.len()
    }
}

impl Finds for Node {
    fn group(&self, _: &With<'_>) -> TargetGroup {
        let (meta, status) = (&self.metadata, &self.status);
        let mut left_out = LeftOut::default();
        let mut labels = Labels::new();
        let provider = ("__meta_kubernetes_node_provider_id", self.spec.provider_id.as_str());
        set_if_any(&mut labels, &[("__meta_kubernetes_node_name", &meta.name), provider]);
        for Condition { kind, status } in &status.conditions.kept {
            labels.insert(format!("__meta_kubernetes_node_condition_{}", sanitised(kind)), status.to_lowercase());
        }
        let common = Common::of(labels, &[meta], &mut left_out).full;

        let mut own = Labels::new();
        // If there are several of a type, the first one counts.
        for Address { kind, address } in status.addresses.kept.iter().rev() {
            own.insert(format!("__meta_kubernetes_node_address_{}", sanitised(kind)), address.clone());
        }
        let address = |kind: &&str| status.addresses.kept.iter().find(|address| address.kind == *kind);
        let address = ADDRESSES.iter().find_map(address).map_or("", |address| address.address.as_str());
        let port = status.daemon_endpoints.kubelet_endpoint.port.to_string();
        own.insert(ADDRESS.into(), host_port(address, &port));
        own.insert("instance".into(), meta.name.clone());
        TargetGroup { id: self.group_id(), targets: vec![TargetLabels::new(common, own)], left_out }
    }
}
