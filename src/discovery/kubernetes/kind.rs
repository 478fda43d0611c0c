//! The kinds of objects that the API server is asked for. Each is a table row.

/// A kind of object: its URL, its role, and the prefix of its labels.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kind {
    /// The name in `role` and `selectors[].role`. Empty: not a role, only added to others.
    pub(super) role: &'static str,
    /// The API group. Empty: the core group.
    pub(super) group: &'static str,
    /// The plural, as in RBAC and in the URL.
    pub(super) plural: &'static str,
    /// The text between `__meta_kubernetes_` and `_label_`.
    pub(super) prefix: &'static str,
    /// The start of the ids of its target groups.
    id_prefix: &'static str,
    pub(super) scope: Reach,
}

/// The objects of a kind to request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// The objects of this node, selected by `field`.
    Node { namespaced: bool, field: &'static str },
    /// The objects of the configured namespaces.
    Namespace,
    /// The configured namespaces themselves.
    Namespaces,
}

const fn namespaced(role: &'static str, group: &'static str, plural: &'static str, id_prefix: &'static str) -> Kind {
    Kind { role, group, plural, prefix: role, id_prefix, scope: Reach::Namespace }
}

pub(super) static POD: Kind =
    Kind { scope: Reach::Node { namespaced: true, field: "spec.nodeName" }, ..namespaced("pod", "", "pods", "pod") };
pub(super) static NODE: Kind = Kind {
    scope: Reach::Node { namespaced: false, field: "metadata.name" },
    ..namespaced("node", "", "nodes", "node")
};
pub(super) static SERVICE: Kind = namespaced("service", "", "services", "svc");
pub(super) static ENDPOINTS: Kind = namespaced("endpoints", "", "endpoints", "endpoints");
pub(super) static SLICE: Kind = namespaced("endpointslice", "discovery.k8s.io", "endpointslices", "endpointslice");
pub(super) static INGRESS: Kind = namespaced("ingress", "networking.k8s.io", "ingresses", "ingress");
/// No role: events become lines, not targets.
pub(super) static EVENTS: Kind = namespaced("", "", "events", "event");
pub(super) static NAMESPACE: Kind =
    Kind { role: "", prefix: "namespace", scope: Reach::Namespaces, ..namespaced("", "", "namespaces", "namespace") };

impl Kind {
    /// The path of a list, for one namespace or for all.
    pub(super) fn path(&self, namespace: Option<&str>) -> String {
        let Self { group, plural, .. } = self;
        let version = if group.is_empty() { "/api/v1".to_string() } else { format!("/apis/{group}/v1") };
        match namespace.filter(|_| self.is_namespaced()) {
            Some(namespace) => format!("{version}/namespaces/{namespace}/{plural}"),
            None => format!("{version}/{plural}"),
        }
    }

    pub(super) fn is_namespaced(&self) -> bool {
        matches!(self.scope, Reach::Namespace | Reach::Node { namespaced: true, .. })
    }

    /// The id of the target group of an object: `pod/<namespace>/<name>`. A new object with the same name replaces the
    /// old one.
    pub(super) fn group_id(&self, namespace: &str, name: &str) -> String {
        match self.is_namespaced() {
            true => format!("{}/{namespace}/{name}", self.id_prefix),
            false => format!("{}/{name}", self.id_prefix),
        }
    }

    /// The ClusterRole rule that it needs.
    pub(super) fn rule(&self) -> String {
        format!("{{apiGroups: [{:?}], resources: [{}], verbs: [list, watch]}}", self.group, self.plural)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_each_kind_is_listed() {
        for (kind, all, one, group_id) in [
            (&POD, "/api/v1/pods", "/api/v1/namespaces/x/pods", "pod/x/a"),
            (&SERVICE, "/api/v1/services", "/api/v1/namespaces/x/services", "svc/x/a"),
            (&ENDPOINTS, "/api/v1/endpoints", "/api/v1/namespaces/x/endpoints", "endpoints/x/a"),
            (&NODE, "/api/v1/nodes", "/api/v1/nodes", "node/a"),
            (&NAMESPACE, "/api/v1/namespaces", "/api/v1/namespaces", "namespace/a"),
            (
                &SLICE,
                "/apis/discovery.k8s.io/v1/endpointslices",
                "/apis/discovery.k8s.io/v1/namespaces/x/endpointslices",
                "endpointslice/x/a",
            ),
            (
                &INGRESS,
                "/apis/networking.k8s.io/v1/ingresses",
                "/apis/networking.k8s.io/v1/namespaces/x/ingresses",
                "ingress/x/a",
            ),
        ] {
            assert_eq!((kind.path(None).as_str(), kind.path(Some("x")).as_str()), (all, one));
            assert_eq!(kind.group_id("x", "a"), group_id);
        }
        assert_eq!(
            SLICE.rule(),
            r#"{apiGroups: ["discovery.k8s.io"], resources: [endpointslices], verbs: [list, watch]}"#
        );
    }
}
