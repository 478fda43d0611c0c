//! What the API server is asked for: a row for each kind of object.

/// A kind of object: where it is listed, what a role that wants it is called, and how its labels begin.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kind {
    /// As `role` and `selectors[].role` name it; empty: no role finds it, it is only put beside others.
    pub(super) role: &'static str,
    /// The API group; empty: the core.
    pub(super) group: &'static str,
    /// As RBAC names it, and the last part of its URL.
    pub(super) plural: &'static str,
    /// Between `__meta_kubernetes_` and `_label_`.
    pub(super) prefix: &'static str,
    /// What the source of its targets begins with.
    source: &'static str,
    pub(super) scope: Reach,
}

/// Which objects of a kind there are to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Those of this node, by a field that names it.
    Node { namespaced: bool, field: &'static str },
    /// Those of the namespaces that are meant.
    Namespace,
    /// Namespaces themselves: those that are meant.
    Namespaces,
}

const fn namespaced(role: &'static str, group: &'static str, plural: &'static str, source: &'static str) -> Kind {
    Kind { role, group, plural, prefix: role, source, scope: Reach::Namespace }
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
pub(super) static NAMESPACE: Kind =
    Kind { role: "", prefix: "namespace", scope: Reach::Namespaces, ..namespaced("", "", "namespaces", "namespace") };

impl Kind {
    /// The path of a list, of one namespace or of all.
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

    /// What an object is known by: `pod/<namespace>/<name>`. One that takes the name of one deleted takes its place.
    pub(super) fn source(&self, namespace: &str, name: &str) -> String {
        match self.is_namespaced() {
            true => format!("{}/{namespace}/{name}", self.source),
            false => format!("{}/{name}", self.source),
        }
    }

    /// What a ClusterRole must have for it.
    pub(super) fn rule(&self) -> String {
        format!("{{apiGroups: [{:?}], resources: [{}], verbs: [list, watch]}}", self.group, self.plural)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_each_kind_is_listed() {
        for (kind, all, one, source) in [
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
            assert_eq!(kind.source("x", "a"), source);
        }
        assert_eq!(
            SLICE.rule(),
            r#"{apiGroups: ["discovery.k8s.io"], resources: [endpointslices], verbs: [list, watch]}"#
        );
    }
}
