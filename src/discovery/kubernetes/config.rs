//! The config under `kubernetes_sd_configs`.

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};

use super::kind::Kind;
use crate::http_client::{Authorization, BasicAuth, Credentials, TlsConfig, Url};
use crate::model::units::Secret;

/// One entry. It also has Promtail's keys that fantail does not support, so that the error can say what to do instead.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub role: String,
    pub api_server: Url,
    pub kubeconfig_file: String,
    /// Whether the kubeconfig may name a program to run (`exec`, `auth-provider`). It runs with all rights of the
    /// agent.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub kubeconfig_exec: bool,
    pub namespaces: Namespaces,
    pub selectors: Vec<Selector>,
    pub attach_metadata: AttachMetadata,
    /// Whether pods that the API server does not show are found by their log directories. None: yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods_from_path: Option<bool>,

    // The access to `api_server`. A kubeconfig and a service account have their own.
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

    // An API server does not redirect, and watches work with HTTP/1.1, so these values do not matter.
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

/// Without names and `own_namespace`: all namespaces.
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

/// The related objects whose labels are added.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AttachMetadata {
    pub node: bool,
    pub namespace: bool,
    pub deployment: bool,
    pub job: bool,
    pub cronjob: bool,
}

/// Whether a key is set. Its value is not used.
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

    /// The selector for objects of `kind`. Validation allows only one. A selector without a role applies to the
    /// config's role.
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
