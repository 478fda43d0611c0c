//! The block `kubernetes_events` of a job.

use serde::{Deserialize, Serialize};

use crate::discovery::kubernetes::Config as Access;
use crate::http_client::{TlsConfig, Url};
use crate::model::{ConfigError, Labels, is_valid_label_name};

/// See the [module](self).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Empty: the events of all namespaces.
    pub namespace: String,
    pub format: Format,
    /// Labels of all events, before relabelling.
    pub labels: Labels,
    /// Whether only one agent of the cluster sends the events: the holder of the Lease.
    pub leader_election: bool,
    /// The namespace of the Lease. Empty: that of the agent.
    pub lease_namespace: String,
    /// The name of the Lease. Empty: `fantail-` and the name of the job.
    pub lease_name: String,

    // The access to the API server, as in `kubernetes_sd_configs`. Without it: the service account of the pod.
    #[serde(skip_serializing_if = "Url::is_empty")]
    pub api_server: Url,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kubeconfig_file: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub kubeconfig_exec: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub bearer_token_file: String,
    #[serde(skip_serializing_if = "TlsConfig::is_default")]
    pub tls_config: TlsConfig,
}

/// How an event is written as a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Its most important fields.
    #[default]
    Logfmt,
    /// The whole object, without `managedFields`.
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            namespace: String::new(),
            format: Format::default(),
            labels: Labels::new(),
            leader_election: true,
            lease_namespace: String::new(),
            lease_name: String::new(),
            api_server: Url::default(),
            kubeconfig_file: String::new(),
            kubeconfig_exec: false,
            bearer_token_file: String::new(),
            tls_config: TlsConfig::default(),
        }
    }
}

impl Config {
    pub fn validate(&self) -> Result<(), ConfigError> {
        for (key, name) in [
            ("namespace", &self.namespace),
            ("lease_namespace", &self.lease_namespace),
            ("lease_name", &self.lease_name),
        ] {
            if !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b)) {
                let problem = format!("{name:?} is not a name of Kubernetes: use lower-case letters, digits, - and .");
                return Err(ConfigError::new(key, problem));
            }
        }
        if let Some(name) = self.labels.keys().find(|name| !is_valid_label_name(name)) {
            return Err(ConfigError::new("labels", format!("{name:?} is not a valid label name")));
        }
        self.access().validate()
    }

    /// The access to the API server.
    pub fn access(&self) -> Access {
        Access {
            role: "pod".into(),
            api_server: self.api_server.clone(),
            kubeconfig_file: self.kubeconfig_file.clone(),
            kubeconfig_exec: self.kubeconfig_exec,
            bearer_token_file: self.bearer_token_file.clone(),
            tls_config: self.tls_config.clone(),
            ..Access::default()
        }
    }

    /// The name of the Lease of this job.
    pub(super) fn lease(&self, job: &str) -> String {
        if !self.lease_name.is_empty() {
            return self.lease_name.clone();
        }
        let valid =
            job.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect::<String>();
        // An object's name has at most 253 bytes, and ends with a letter or digit.
        let name = format!("fantail-{}", valid.get(..200).unwrap_or(&valid));
        name.trim_end_matches('-').to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_and_the_name_of_the_lease() {
        let parse = |yaml: &str| crate::yaml::from_str::<Config>(yaml).map_err(|e| e.to_string());
        let validate = |yaml: &str| parse(yaml)?.validate().map_err(|e| e.to_string());
        for (yaml, problem) in [
            ("{namespace: Default}", "namespace: \"Default\" is not a name of Kubernetes"),
            ("{lease_name: a_b}", "lease_name: \"a_b\""),
            ("{labels: {'a b': c}}", "labels: \"a b\" is not a valid label name"),
            ("{format: xml}", "format: unknown value \"xml\""),
            ("{api_server: x}", "api_server: "),
            ("{api_server: 'http://x', kubeconfig_file: /x}", "kubeconfig_file: cannot be used together"),
            ("{namespaces: {}}", "namespaces: unknown key"),
        ] {
            let error = validate(yaml).expect_err(yaml);
            assert!(error.contains(problem), "{yaml}: {error}");
        }
        assert_eq!(validate("{}"), Ok(()));
        assert_eq!(
            validate("{namespace: default, format: json, labels: {job: events}, api_server: 'https://x'}"),
            Ok(())
        );
        let lease = |job: &str| Config::default().lease(job);
        assert_eq!((&*lease("Events of_it"), &*lease("é")), ("fantail-events-of-it", "fantail"));
        assert!(lease(&"x".repeat(500)).len() < 253 && lease(&"é".repeat(500)).len() < 253);
    }
}
