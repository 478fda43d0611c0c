//! The labels of a container before relabelling. Their names are those of Prometheus.

use std::collections::BTreeMap;

use crate::model::Labels;

pub(super) const ID: &str = "__meta_docker_container_id";
pub(super) const NAME: &str = "__meta_docker_container_name";
/// Prometheus does not have this label.
pub(super) const IMAGE: &str = "__meta_docker_container_image";
pub(super) const NETWORK_MODE: &str = "__meta_docker_container_network_mode";
/// The beginning of the names of all labels of Docker.
pub(super) const PREFIX: &str = "__meta_docker_";

/// The known properties of a container.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts<'f> {
    pub id: &'f str,
    /// Begins with `/`.
    pub name: &'f str,
    pub image: &'f str,
    pub network_mode: &'f str,
    pub labels: Option<&'f BTreeMap<String, String>>,
}

impl Facts<'_> {
    pub fn labels(&self) -> Labels {
        let own = [(ID, self.id), (NAME, self.name), (IMAGE, self.image), (NETWORK_MODE, self.network_mode)];
        let mut labels: Labels = own.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        labels.retain(|_, value| !value.is_empty());
        for (name, value) in self.labels.into_iter().flatten() {
            labels.insert(prefixed("container_label_", name), value.clone());
        }
        labels
    }
}

/// The label name for a label of Docker: characters that a label name cannot have become `_`.
pub(super) fn prefixed(kind: &str, name: &str) -> String {
    let valid = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' });
    PREFIX.chars().chain(kind.chars()).chain(valid).collect()
}
