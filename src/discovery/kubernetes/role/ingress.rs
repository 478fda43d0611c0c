//! Role `ingress`: a target for each path of an ingress.

use serde::Deserialize;
use serde::de::MapAccess;

use super::super::common::{Common, set_if_any};
use super::super::kind::{self, Kind};
use super::super::pod::ADDRESS;
use super::super::slim::{Capped, Metadata, Object};
use super::{Finds, With};
use crate::model::{LabelSet, Labels, LeftOut, TargetGroup, TargetLabels, pod};

/// The most rules, and the most hosts with TLS.
const RULES: usize = 200;

/// The most paths of all rules.
const PATHS: usize = 1000;

#[derive(Debug, Default)]
pub(in crate::discovery::kubernetes) struct Ingress {
    metadata: Metadata,
    spec: Spec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    ingress_class_name: Option<String>,
    tls: Capped<Tls, RULES>,
    rules: Capped<Rule, RULES>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Tls {
    hosts: Capped<String, RULES>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Rule {
    host: String,
    http: Option<Http>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Http {
    paths: Capped<Path, PATHS>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Path {
    path: String,
}

impl Object for Ingress {
    const KIND: &'static Kind = &kind::INGRESS;

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
        let paths = |rule: &Rule| -> usize {
            let paths = rule.http.iter().flat_map(|http| &http.paths.kept);
            paths.map(|path| size_of::<Path>() + path.path.len()).sum()
        };
        let rules = self.spec.rules.kept.iter().map(|rule| size_of::<Rule>() + rule.host.len() + paths(rule));
        let hosts = self.spec.tls.kept.iter().flat_map(|tls| &tls.hosts.kept);
        rules.sum::<usize>() + hosts.map(|host| size_of::<String>() + host.len()).sum::<usize>()
    }
}

impl Finds for Ingress {
    fn group(&self, with: &With<'_>) -> TargetGroup {
        let (meta, spec) = (&self.metadata, &self.spec);
        let mut left_out = LeftOut { ports: spec.rules.more, ..LeftOut::default() };
        let mut labels = Labels::new();
        let class = spec.ingress_class_name.as_deref().unwrap_or_default();
        set_if_any(
            &mut labels,
            &[
                (pod::NAMESPACE, &meta.namespace),
                ("__meta_kubernetes_ingress_name", &meta.name),
                ("__meta_kubernetes_ingress_class_name", class),
            ],
        );
        let objects: Vec<_> = [Some(meta), with.namespace(&meta.namespace)].into_iter().flatten().collect();
        let common = Common::of(labels, &objects, &mut left_out).full;
        let mut targets = Vec::new();
        for Rule { host, http } in &spec.rules.kept {
            let mut hosts = spec.tls.kept.iter().flat_map(|tls| &tls.hosts.kept);
            let scheme = if hosts.any(|pattern| is_host_of(pattern, host)) { "https" } else { "http" };
            let none = Capped::default();
            let paths = http.as_ref().map_or(&none, |http| &http.paths);
            let mut paths: Vec<&str> = paths.kept.iter().map(|path| path.path.as_str()).collect();
            if paths.is_empty() {
                paths.push("/");
            }
            for path in paths {
                if targets.len() == PATHS {
                    left_out.ports += 1;
                    continue;
                }
                let path = if path.is_empty() { "/" } else { path };
                let own = [
                    (ADDRESS, host.as_str()),
                    ("__meta_kubernetes_ingress_scheme", scheme),
                    ("__meta_kubernetes_ingress_host", host),
                    ("__meta_kubernetes_ingress_path", path),
                ];
                let own = own.map(|(name, value)| (name.to_string(), value.to_string())).into();
                targets.push(TargetLabels::new(common.clone(), LabelSet::from(&own)));
            }
        }
        TargetGroup { id: self.group_id(), targets, left_out }
    }
}

/// Whether `pattern` matches `host`. `*.` at the start matches one part.
fn is_host_of(pattern: &str, host: &str) -> bool {
    let below = |pattern: &str| host.split_once('.').is_some_and(|(first, rest)| !first.is_empty() && rest == pattern);
    pattern == host || pattern.strip_prefix("*.").is_some_and(below)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_with_tls() {
        for (pattern, host, is_one) in [
            ("a.example.com", "a.example.com", true),
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "b.a.example.com", false),
            ("*.example.com", "example.com", false),
            ("*.example.com", ".example.com", false),
            ("", "a", false),
        ] {
            assert_eq!(is_host_of(pattern, host), is_one, "{pattern} {host}");
        }
    }
}
