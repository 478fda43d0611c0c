//! Role `node`: this node.

use super::super::common::{Common, host_port, set_if_any};
use super::super::objects::{Node, NodeAddress};
use super::super::pod::ADDRESS;
use super::super::slim::{Condition, Object, sanitised};
use super::{Finds, With};
use crate::model::{LabelSet, Labels, LeftOut, TargetGroup, TargetLabels};

/// The types of addresses for `__address__`, in order of preference.
const ADDRESSES: [&str; 6] = ["InternalIP", "InternalDNS", "ExternalIP", "ExternalDNS", "LegacyHostIP", "Hostname"];

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
        for NodeAddress { kind, address } in status.addresses.kept.iter().rev() {
            own.insert(format!("__meta_kubernetes_node_address_{}", sanitised(kind)), address.clone());
        }
        let address = |kind: &&str| status.addresses.kept.iter().find(|address| address.kind == *kind);
        let address = ADDRESSES.iter().find_map(address).map_or("", |address| address.address.as_str());
        let port = status.daemon_endpoints.kubelet_endpoint.port.to_string();
        own.insert(ADDRESS.into(), host_port(address, &port));
        own.insert("instance".into(), meta.name.clone());
        TargetGroup { id: self.group_id(), targets: vec![TargetLabels::new(common, LabelSet::from(&own))], left_out }
    }
}
