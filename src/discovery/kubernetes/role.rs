//! The roles. Each has its own file with the listed kind, the related objects, and the resulting targets.

mod endpoint;
mod endpoints;
mod endpointslice;
mod ingress;
mod node;
mod pod;
mod service;
mod workload;

use super::beside::Beside;
use super::config::AttachMetadata;
use super::kind::{self, Kind};
use super::objects::{Namespace, Node};
use super::slim::{Metadata, Object};
use crate::model::TargetGroup;
use crate::relabel::Reads;
pub(super) use endpoints::Endpoints;
pub(super) use endpointslice::EndpointSlice;
pub(super) use ingress::Ingress;

/// An object of a role.
pub(super) trait Finds: Object {
    /// Removes the parts of other nodes than `node` (empty: not known). Returns false if nothing is left.
    fn narrow(&mut self, node: &str) -> bool {
        let _ = node;
        true
    }

    /// Whether its targets have labels of the object of `kind` whose target group has the id `group_id`.
    fn refers(&self, kind: &Kind, group_id: &str) -> bool {
        *kind == kind::NAMESPACE && kind::NAMESPACE.group_id("", &self.metadata().namespace) == group_id
    }

    /// The group of its targets. Without targets, nothing is sent.
    fn group(&self, with: &With<'_>) -> TargetGroup;
}

/// The data for targets, in addition to the object itself.
pub(super) struct With<'a> {
    /// The labels that the job reads.
    pub(super) reads: &'a Reads,
    pub(super) attach: &'a AttachMetadata,
    pub(super) beside: &'a Beside,
}

impl<'a> With<'a> {
    /// The metadata of the namespace, if configured and known.
    fn namespace(&self, name: &str) -> Option<&'a Metadata> {
        self.beside.namespaces.get(&kind::NAMESPACE.group_id("", name)).map(Namespace::metadata)
    }

    /// The metadata of the node, if configured and known.
    fn node(&self, name: &str) -> Option<&'a Metadata> {
        self.beside.nodes.get(&kind::NODE.group_id("", name)).map(Node::metadata)
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

    /// Whether its targets may be pods.
    pub(super) fn has_pods(self) -> bool {
        matches!(self, Role::Pod | Role::Endpoints | Role::EndpointSlice)
    }

    /// The kinds of related objects that are also watched.
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

    /// The kinds that `selectors` may be set for.
    pub(super) fn selectable(self) -> Vec<&'static Kind> {
        [vec![self.kind()], self.beside(&AttachMetadata::default())].concat()
    }
}

#[cfg(test)]
mod tests;
