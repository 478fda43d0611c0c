//! Role `service`: a target for each port of a service.

use super::super::common::{Common, set_if_any};
use super::super::objects::{Service, ServicePort};
use super::super::pod::ADDRESS;
use super::super::slim::Object;
use super::{Finds, With};
use crate::model::{LabelSet, Labels, LeftOut, TargetGroup, TargetLabels, pod};

pub(super) const NAME: &str = "__meta_kubernetes_service_name";

impl Finds for Service {
    fn group(&self, with: &With<'_>) -> TargetGroup {
        let (meta, spec) = (&self.metadata, &self.spec);
        let mut left_out = LeftOut { ports: spec.ports.more, ..LeftOut::default() };
        let namespace = with.namespace(&meta.namespace);
        let labels = [(pod::NAMESPACE, &meta.namespace), (NAME, &meta.name)];
        let labels = labels.map(|(name, value)| (name.to_string(), value.clone())).into();
        let objects: Vec<_> = [Some(meta), namespace].into_iter().flatten().collect();
        let common = Common::of(labels, &objects, &mut left_out).full;
        let target = |port: &ServicePort| {
            let number = port.port.to_string();
            let mut own = Labels::new();
            own.insert(ADDRESS.into(), format!("{}.{}.svc:{number}", meta.name, meta.namespace));
            for (name, value) in [
                ("__meta_kubernetes_service_port_name", &port.name),
                ("__meta_kubernetes_service_port_number", &number),
                ("__meta_kubernetes_service_port_protocol", &port.protocol),
                ("__meta_kubernetes_service_type", &spec.kind),
            ] {
                own.insert(name.into(), value.clone());
            }
            match spec.kind.as_str() {
                "ExternalName" => {
                    own.insert("__meta_kubernetes_service_external_name".into(), spec.external_name.clone())
                }
                _ => own.insert("__meta_kubernetes_service_cluster_ip".into(), spec.cluster_ip.clone()),
            };
            if spec.kind == "LoadBalancer" {
                set_if_any(&mut own, &[("__meta_kubernetes_service_loadbalancer_ip", &spec.load_balancer_ip)]);
            }
            TargetLabels::new(common.clone(), LabelSet::from(&own))
        };
        TargetGroup { id: self.group_id(), targets: spec.ports.kept.iter().map(target).collect(), left_out }
    }
}
