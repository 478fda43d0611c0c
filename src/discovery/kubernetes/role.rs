//! What may stand behind `role`: one file each, which says what is listed, what of other objects belongs to it, and what
//! targets it comes to.

mod endpoint;
mod endpoints;
mod endpointslice;
mod ingress;
mod node;
mod pod;
mod service;
mod workload;

use super::beside::{Beside, Namespace};
use super::config::AttachMetadata;
use super::kind::{self, Kind};
use super::slim::{Metadata, Object};
use crate::model::TargetGroup;
use crate::relabel::Reads;
pub(super) use endpoints::Endpoints;
pub(super) use endpointslice::EndpointSlice;
pub(super) use ingress::Ingress;
pub(super) use node::Node;
pub(super) use service::Service;

/// An object that a role finds.
pub(super) trait Finds: Object {
    /// Takes away what is of other nodes than `node` (empty: it is not known); false: nothing is left that is of use here.
    fn narrow(&mut self, node: &str) -> bool {
        let _ = node;
        true
    }

    /// Whether its targets have labels of the object of `kind` that is known by `source`.
    fn refers(&self, kind: &Kind, source: &str) -> bool {
        *kind == kind::NAMESPACE && kind::NAMESPACE.source("", &self.metadata().namespace) == source
    }

    /// Its targets: without any, it is not told of.
    fn group(&self, with: &With<'_>) -> TargetGroup;
}

/// What targets are made with, beside the object itself.
pub(super) struct With<'a> {
    /// Which labels make a difference to the job.
    pub(super) reads: &'a Reads,
    pub(super) attach: &'a AttachMetadata,
    pub(super) beside: &'a Beside,
}

impl<'a> With<'a> {
    /// The metadata of the namespace, if it is to be attached and known.
    fn namespace(&self, name: &str) -> Option<&'a Metadata> {
        self.beside.namespaces.get(&kind::NAMESPACE.source("", name)).map(Namespace::metadata)
    }

    /// The metadata of the node, if it is to be attached and known.
    fn node(&self, name: &str) -> Option<&'a Metadata> {
        self.beside.nodes.get(&kind::NODE.source("", name)).map(Node::metadata)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Pod,
    Service,
    Endpoints,
    EndpointSlice,
    Node,
    Ingress,
}

impl Role {
    pub(super) const ALL: [Role; 6] =
        [Role::Pod, Role::Service, Role::Endpoints, Role::EndpointSlice, Role::Node, Role::Ingress];

    pub(super) fn of(name: &str) -> Option<Self> {
        Role::ALL.into_iter().find(|role| role.kind().role == name)
    }

    pub(super) fn kind(self) -> &'static Kind {
        match self {
            Role::Pod => &kind::POD,
            Role::Service => &kind::SERVICE,
            Role::Endpoints => &kind::ENDPOINTS,
            Role::EndpointSlice => &kind::SLICE,
            Role::Node => &kind::NODE,
            Role::Ingress => &kind::INGRESS,
        }
    }

    /// Whether pods stand behind its targets.
    pub(super) fn has_pods(self) -> bool {
        matches!(self, Role::Pod | Role::Endpoints | Role::EndpointSlice)
    }

    /// What else is watched, so that its labels can be put beside.
    pub(super) fn beside(self, attach: &AttachMetadata) -> Vec<&'static Kind> {
        let joins = matches!(self, Role::Endpoints | Role::EndpointSlice);
        let kinds = [
            (&kind::POD, joins),
            (&kind::SERVICE, joins),
            (&kind::NODE, self.has_pods() && attach.node),
            (&kind::NAMESPACE, self != Role::Node && attach.namespace),
        ];
        kinds.into_iter().filter_map(|(kind, wanted)| wanted.then_some(kind)).collect()
    }

    /// Of which objects `selectors` may say which ones are meant.
    pub(super) fn selectable(self) -> Vec<&'static Kind> {
        [vec![self.kind()], self.beside(&AttachMetadata::default())].concat()
    }
}

#[cfg(test)]
mod tests;
