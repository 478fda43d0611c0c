//! Role `service`: a target for each port of a service.

use serde::Deserialize;
use serde::de::MapAccess;

use super::super::common::{Common, set_if_any};
use super::super::kind::{self, Kind};
use super::super::pod::ADDRESS;
use super::super::slim::{Capped, Metadata, Object};
use super::{Finds, With};
use crate::model::{Labels, LeftOut, TargetGroup, TargetLabels, pod};

/// The most ports of a service.
const PORTS: usize = 256;

pub(super) const NAME: &str = "__meta_kubernetes_service_name";

#[derive(Debug, Default)]
pub(in crate::discovery::kubernetes) struct Service {
    metadata: Metadata,
    spec: Spec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    #[serde(rename = "type")]
    kind: String,
    #[serde(rename = "clusterIP")]
    cluster_ip: String,
    external_name: String,
    #[serde(rename = "loadBalancerIP")]
    load_balancer_ip: String,
    ports: Capped<Port, PORTS>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Port {
    name: String,
    port: u32,
    protocol: String,
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
        let Spec { cluster_ip, external_name, load_balancer_ip, ports, .. } = &self.spec;
        let ports: usize =
            ports.kept.iter().map(|port| size_of::<Port>() + port.name.len() + port.protocol.len()).sum();
        ports + cluster_ip.len() + external_name.len() + load_balancer_ip.len()
    }
}

impl Finds for Service {
    fn group(&self, with: &With<'_>) -> TargetGroup {
        let (meta, spec) = (&self.metadata, &self.spec);
        let mut left_out = LeftOut { ports: spec.ports.more, ..LeftOut::default() };
        let namespace = with.namespace(&meta.namespace);
        let labels = [(pod::NAMESPACE, &meta.namespace), (NAME, &meta.name)];
        let labels = labels.map(|(name, value)| (name.to_string(), value.clone())).into();
        let objects: Vec<_> = [Some(meta), namespace].into_iter().flatten().collect();
        let common = Common::of(labels, &objects, &mut left_out).full;
        let target = |port: &Port| {
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
            TargetLabels::new(common.clone(), own)
        };
        TargetGroup { id: self.group_id(), targets: spec.ports.kept.iter().map(target).collect(), left_out }
    }
}
