//! Objects whose labels are added to the targets of other objects: nodes, services and namespaces. Pods are in `slim.rs`.

use serde::Deserialize;
use serde::de::MapAccess;

use super::kind::{self, Kind};
use super::slim::{Capped, Condition, FEW, Metadata, Object};

/// The most ports of a service.
const SERVICE_PORTS: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) metadata: Metadata,
    pub(super) spec: NodeSpec,
    pub(super) status: NodeStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct NodeSpec {
    #[serde(rename = "providerID")]
    pub(super) provider_id: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct NodeStatus {
    pub(super) addresses: Capped<NodeAddress, FEW>,
    pub(super) conditions: Capped<Condition, FEW>,
    pub(super) daemon_endpoints: Daemons,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct NodeAddress {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) address: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Daemons {
    pub(super) kubelet_endpoint: Daemon,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Daemon {
    #[serde(rename = "Port")]
    pub(super) port: u32,
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
        let NodeStatus { addresses, conditions, .. } = &self.status;
        let addresses = addresses.kept.iter().map(|one| size_of::<NodeAddress>() + one.kind.len() + one.address.len());
        let conditions = conditions.kept.iter().map(|one| size_of::<Condition>() + one.kind.len() + one.status.len());
        addresses.chain(conditions).sum::<usize>() + self.spec.provider_id.len()
    }
}

#[derive(Debug, Default)]
pub(super) struct Service {
    pub(super) metadata: Metadata,
    pub(super) spec: ServiceSpec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ServiceSpec {
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(rename = "clusterIP")]
    pub(super) cluster_ip: String,
    pub(super) external_name: String,
    #[serde(rename = "loadBalancerIP")]
    pub(super) load_balancer_ip: String,
    pub(super) ports: Capped<ServicePort, SERVICE_PORTS>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ServicePort {
    pub(super) name: String,
    pub(super) port: u32,
    pub(super) protocol: String,
}

impl Object for Service {
    const KIND: &'static Kind = &kind::SERVICE;

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.metadata
    }

    fn read<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        if key == "spec" {
            self.spec = map.next_value()?;
        }
        Ok(key == "spec")
    }

    fn weight(&self) -> usize {
        let ServiceSpec { cluster_ip, external_name, load_balancer_ip, ports, .. } = &self.spec;
        let ports: usize =
            ports.kept.iter().map(|port| size_of::<ServicePort>() + port.name.len() + port.protocol.len()).sum();
        ports + cluster_ip.len() + external_name.len() + load_balancer_ip.len()
    }
}

/// Only has labels and annotations.
#[derive(Debug, Default)]
pub(super) struct Namespace(Metadata);

impl Object for Namespace {
    const KIND: &'static Kind = &kind::NAMESPACE;

    fn metadata(&self) -> &Metadata {
        &self.0
    }

    fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.0
    }

    fn read<'de, A: MapAccess<'de>>(&mut self, _: &str, _: &mut A) -> Result<bool, A::Error> {
        Ok(false)
    }

    fn weight(&self) -> usize {
        0
    }
}
