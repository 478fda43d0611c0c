//! What is read of the answers of Docker's API about a swarm.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::model::units::or_default;

type Pairs = BTreeMap<String, String>;

/// An item of `/services`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Service {
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(deserialize_with = "or_default")]
    pub spec: ServiceSpec,
    #[serde(deserialize_with = "or_default")]
    pub endpoint: Endpoint,
    pub update_status: Option<UpdateStatus>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ServiceSpec {
    pub name: String,
    #[serde(deserialize_with = "or_default")]
    pub labels: Pairs,
    #[serde(deserialize_with = "or_default")]
    pub task_template: TaskSpec,
    #[serde(deserialize_with = "or_default")]
    pub mode: Mode,
}

/// Which of them is there says how the service is run.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Mode {
    pub global: Option<IgnoredAny>,
    pub replicated: Option<IgnoredAny>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct TaskSpec {
    #[serde(deserialize_with = "or_default")]
    pub container_spec: ContainerSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ContainerSpec {
    pub image: String,
    pub hostname: String,
    #[serde(deserialize_with = "or_default")]
    pub labels: Pairs,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Endpoint {
    #[serde(deserialize_with = "or_default")]
    pub ports: Vec<Port>,
    #[serde(rename = "VirtualIPs", deserialize_with = "or_default")]
    pub addresses: Vec<VirtualIp>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Port {
    pub name: String,
    pub protocol: String,
    pub published_port: u16,
    pub publish_mode: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct VirtualIp {
    #[serde(rename = "NetworkID")]
    pub network: String,
    /// With the length of its network.
    #[serde(rename = "Addr")]
    pub address: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct UpdateStatus {
    pub state: String,
}

/// An item of `/tasks`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Task {
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "ServiceID")]
    pub service: String,
    #[serde(rename = "NodeID")]
    pub node: String,
    pub slot: u64,
    pub desired_state: String,
    #[serde(deserialize_with = "or_default")]
    pub status: TaskStatus,
    #[serde(deserialize_with = "or_default")]
    pub spec: TaskSpec,
    #[serde(deserialize_with = "or_default")]
    pub networks_attachments: Vec<Attachment>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct TaskStatus {
    pub state: String,
    pub container_status: Option<ContainerStatus>,
    #[serde(deserialize_with = "or_default")]
    pub port_status: PortStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ContainerStatus {
    #[serde(rename = "ContainerID")]
    pub container: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct PortStatus {
    #[serde(deserialize_with = "or_default")]
    pub ports: Vec<Port>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Attachment {
    #[serde(deserialize_with = "or_default")]
    pub network: AttachedNetwork,
    #[serde(deserialize_with = "or_default")]
    pub addresses: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct AttachedNetwork {
    #[serde(rename = "ID")]
    pub id: String,
}

/// An item of `/nodes`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Node {
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(deserialize_with = "or_default")]
    pub spec: NodeSpec,
    #[serde(deserialize_with = "or_default")]
    pub description: Description,
    #[serde(deserialize_with = "or_default")]
    pub status: NodeStatus,
    pub manager_status: Option<ManagerStatus>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct NodeSpec {
    pub role: String,
    pub availability: String,
    #[serde(deserialize_with = "or_default")]
    pub labels: Pairs,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Description {
    pub hostname: String,
    #[serde(deserialize_with = "or_default")]
    pub platform: Platform,
    #[serde(deserialize_with = "or_default")]
    pub engine: EngineVersion,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Platform {
    #[serde(rename = "Architecture")]
    pub architecture: String,
    #[serde(rename = "OS")]
    pub system: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct EngineVersion {
    pub engine_version: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct NodeStatus {
    #[serde(rename = "State")]
    pub state: String,
    #[serde(rename = "Addr")]
    pub address: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ManagerStatus {
    #[serde(rename = "Leader")]
    pub leader: bool,
    #[serde(rename = "Reachability")]
    pub reachability: String,
    #[serde(rename = "Addr")]
    pub address: String,
}
