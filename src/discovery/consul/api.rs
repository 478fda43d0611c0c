//! What is read of the answers of Consul's API.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::discovery::few::few_pairs;
use crate::model::units::or_default;

/// An item of `/v1/health/service/<name>`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Instance {
    #[serde(deserialize_with = "or_default")]
    pub node: Node,
    #[serde(deserialize_with = "or_default")]
    pub service: Service,
    #[serde(deserialize_with = "or_default")]
    pub checks: Vec<Check>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Node {
    /// The name.
    pub node: String,
    pub address: String,
    pub datacenter: String,
    #[serde(deserialize_with = "few_pairs")]
    pub tagged_addresses: BTreeMap<String, String>,
    #[serde(deserialize_with = "few_pairs")]
    pub meta: BTreeMap<String, String>,
}

/// Also an item of `/v1/agent/services`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Service {
    #[serde(rename = "ID")]
    pub id: String,
    /// The name.
    pub service: String,
    #[serde(deserialize_with = "or_default")]
    pub tags: Vec<String>,
    pub address: String,
    pub port: i64,
    #[serde(deserialize_with = "few_pairs")]
    pub meta: BTreeMap<String, String>,
    pub namespace: String,
    pub partition: String,
}

/// Also an item of `/v1/agent/checks`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Check {
    #[serde(rename = "CheckID")]
    pub id: String,
    pub status: String,
    /// Empty: it is a check of the node.
    #[serde(rename = "ServiceID")]
    pub service: String,
}

/// `/v1/agent/self`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Agent {
    #[serde(deserialize_with = "or_default")]
    pub config: AgentConfig,
    #[serde(deserialize_with = "or_default")]
    pub debug_config: DebugConfig,
    #[serde(deserialize_with = "or_default")]
    pub member: Member,
    #[serde(deserialize_with = "few_pairs")]
    pub meta: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct AgentConfig {
    pub datacenter: String,
    pub node_name: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct DebugConfig {
    #[serde(deserialize_with = "few_pairs")]
    pub tagged_addresses: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Member {
    pub addr: String,
}

/// The health of an instance, as Consul's own client sums up its checks.
pub(super) fn health<'a>(checks: impl IntoIterator<Item = &'a Check>) -> &'static str {
    let (mut critical, mut warning) = (false, false);
    for check in checks {
        if check.id == "_node_maintenance" || check.id.starts_with("_service_maintenance:") {
            return "maintenance";
        }
        match check.status.as_str() {
            "critical" => critical = true,
            "warning" => warning = true,
            "passing" => {}
            _ => return "",
        }
    }
    match (critical, warning) {
        (true, _) => "critical",
        (false, true) => "warning",
        (false, false) => "passing",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_check_counts() {
        let check =
            |(id, status): &(&str, &str)| Check { id: (*id).into(), status: (*status).into(), service: String::new() };
        for (checks, expected) in [
            (&[] as &[(&str, &str)], "passing"),
            (&[("a", "passing"), ("b", "warning")], "warning"),
            (&[("a", "critical"), ("b", "warning")], "critical"),
            (&[("a", "critical"), ("_node_maintenance", "critical")], "maintenance"),
            (&[("_service_maintenance:web", "critical")], "maintenance"),
            (&[("a", "unknown")], ""),
        ] {
            let checks: Vec<Check> = checks.iter().map(check).collect();
            assert_eq!(health(&checks), expected, "{checks:?}");
        }
    }
}
