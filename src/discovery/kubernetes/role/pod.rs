//! Role `pod`: the containers of this node's pods.

use super::super::config::AttachMetadata;
use super::super::kind::{self, Kind};
use super::super::pod::{group, group_beside, pod_labels};
use super::super::slim::Pod;
use super::{Finds, With, workload};
use crate::model::TargetGroup;

impl Finds for Pod {
    fn refers(&self, kind: &Kind, group_id: &str) -> bool {
        match *kind == kind::NODE {
            true => kind::NODE.group_id("", &self.spec.node_name) == group_id,
            false => *kind == kind::NAMESPACE && kind::NAMESPACE.group_id("", &self.metadata.namespace) == group_id,
        }
    }

    fn group(&self, with: &With<'_>) -> TargetGroup {
        if *with.attach == AttachMetadata::default() {
            return group(self, with.reads);
        }
        let (node, namespace) = (with.node(&self.spec.node_name), with.namespace(&self.metadata.namespace));
        let mut labels = pod_labels(self);
        workload::set(&mut labels, &self.metadata, with.attach);
        labels.extend(node.map(|node| ("__meta_kubernetes_node_name".to_string(), node.name.clone())));
        let beside: Vec<_> = [node, namespace].into_iter().flatten().collect();
        group_beside(self, with.reads, labels, &beside)
    }
}
