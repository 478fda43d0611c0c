//! What the user wrote under `kubernetes_sd_configs`.

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};

use super::kind::Kind;
use crate::http_client::{Authorization, BasicAuth, Credentials, TlsConfig, Url};
use crate::model::units::Secret;

/// One entry. Keys that Promtail takes and this agent does not are known, so that they are refused with advice.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub role: String,
    pub api_server: Url,
    pub kubeconfig_file: String,
    /// The kubeconfig may name a program to run (`exec`, `auth-provider`), which runs with all rights of the agent.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub kubeconfig_exec: bool,
    pub namespaces: Namespaces,
    pub selectors: Vec<Selector>,
    pub attach_metadata: AttachMetadata,
    /// Pods that the API server does not show are found by the folders of their logs; None: they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods_from_path: Option<bool>,

    // How to connect to `api_server`. A kubeconfig and a service account have their own settings for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization: Option<Authorization>,
    #[serde(skip_serializing_if = "Secret::is_empty")]
    pub bearer_token: Secret,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub bearer_token_file: String,
    #[serde(skip_serializing_if = "TlsConfig::is_default")]
    pub tls_config: TlsConfig,

    // An API server does not redirect, and HTTP/1.1 serves a watch as well: either value is right.
    #[serde(skip_serializing)]
    pub follow_redirects: Written,
    #[serde(skip_serializing)]
    pub enable_http2: Written,

    // These are refused, with what to write instead.
    #[serde(skip_serializing)]
    pub oauth2: Written,
    #[serde(skip_serializing)]
    pub proxy_url: String,
    #[serde(skip_serializing)]
    pub no_proxy: String,
    #[serde(skip_serializing)]
    pub proxy_from_environment: bool,
    #[serde(skip_serializing)]
    pub proxy_connect_header: Written,
    #[serde(skip_serializing)]
    pub http_headers: Written,
}

/// Without names and without the own one, all namespaces.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Namespaces {
    pub own_namespace: bool,
    pub names: Vec<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Selector {
    pub role: String,
    pub label: String,
    pub field: String,
}

/// What is put beside the labels of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AttachMetadata {
    pub node: bool,
    pub namespace: bool,
    pub deployment: bool,
    pub job: bool,
    pub cronjob: bool,
}

/// Whether a key was written; its value is of no use here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written(pub bool);

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Option::<IgnoredAny>::deserialize(deserializer)?.is_some()))
    }
}

impl Config {
    /// The same keys as those of a client that pushes, without the ones that are refused here.
    pub(super) fn credentials(&self) -> Credentials<'_> {
        Credentials {
            url: &self.api_server,
            basic_auth: self.basic_auth.as_ref(),
            authorization: self.authorization.as_ref(),
            oauth2: None,
            bearer_token: &self.bearer_token,
            bearer_token_file: &self.bearer_token_file,
        }
    }

    /// The one selector for objects of `kind`; validation lets no second one pass. One without a role is for the role's own.
    pub(super) fn selector(&self, kind: &Kind) -> Selector {
        let role =
            |selector: &&Selector| if selector.role.is_empty() { &self.role } else { &selector.role } == kind.role;
        self.selectors.iter().find(role).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_shows_no_secret() {
        let yaml =
            "{role: pod, api_server: 'http://me:hunter2@x', bearer_token: hunter2, basic_auth: {password: hunter2}}";
        let config: Config = crate::yaml::from_str(yaml).expect("a config");
        assert!(!serde_yaml::to_string(&config).expect("yaml").contains("hunter2"));
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
