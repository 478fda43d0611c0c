//! The settings of `docker_sd_configs`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::http_client::{
    Authorization, BasicAuth, Credentials, OAuth2, ParsedUrl, Proxy, TlsConfig, Url, check_url, parse_url,
};
use crate::model::ConfigError;
use crate::model::units::{PromDuration, Secret};

/// One entry of `docker_sd_configs`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `unix:///var/run/docker.sock`, `tcp://host:port`, `http://…` or `https://…`.
    pub host: Url,
    /// The port in `__address__` of containers without ports.
    pub port: u16,
    pub host_networking_host: String,
    /// Accepted: a container is one target in any case, with the labels of its first network.
    pub match_first_network: bool,
    pub filters: Vec<Filter>,
    /// How often containers are listed. Docker's events tell of changes between two lists.
    pub refresh_interval: PromDuration,

    #[serde(skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization: Option<Authorization>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oauth2: Option<OAuth2>,
    #[serde(skip_serializing_if = "Secret::is_empty")]
    pub bearer_token: Secret,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub bearer_token_file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_config: Option<TlsConfig>,
    #[serde(skip_serializing_if = "Url::is_empty")]
    pub proxy_url: Url,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub no_proxy: String,
    pub proxy_from_environment: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub proxy_connect_header: BTreeMap<String, Vec<Secret>>,
    pub follow_redirects: bool,
    /// Has no effect: Docker serves HTTP/1.1.
    pub enable_http2: bool,
    /// Refused, with the keys to use instead.
    #[serde(skip_serializing)]
    pub http_headers: Option<IgnoredAny>,
}

/// One entry of `filters`, as for `docker ps --filter`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    pub name: String,
    pub values: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            host: Url::default(),
            port: 80,
            host_networking_host: "localhost".into(),
            match_first_network: true,
            filters: Vec::new(),
            refresh_interval: PromDuration(Duration::from_secs(60)),
            basic_auth: None,
            authorization: None,
            oauth2: None,
            bearer_token: Secret::default(),
            bearer_token_file: String::new(),
            tls_config: None,
            proxy_url: Url::default(),
            no_proxy: String::new(),
            proxy_from_environment: false,
            proxy_connect_header: BTreeMap::new(),
            follow_redirects: true,
            enable_http2: true,
            http_headers: None,
        }
    }
}

impl Config {
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.address()?;
        if self.refresh_interval.0.is_zero() {
            return Err(ConfigError::new("refresh_interval", "must be more than 0, for instance 60s"));
        }
        for (i, filter) in self.filters.iter().enumerate() {
            let missing = if filter.name.is_empty() { "name" } else { "values" };
            if filter.name.is_empty() || filter.values.is_empty() {
                let problem = "is required, for instance {name: label, values: [logging=promtail]}";
                return Err(ConfigError::new(missing, problem).within(i).within("filters"));
            }
        }
        if self.http_headers.is_some() {
            let problem =
                "is not supported for Docker's API: use basic_auth, authorization or bearer_token for credentials";
            return Err(ConfigError::new("http_headers", problem));
        }
        self.credentials().validate()?;
        self.tls().validate().map_err(|e| e.within("tls_config"))?;
        self.proxy().validate()
    }

    /// Settings without effect.
    pub fn warnings(&self) -> Vec<ConfigError> {
        let problem = "has no effect: a container is one target, however many networks it has";
        let of_networks = (!self.match_first_network).then(|| ConfigError::new("match_first_network", problem));
        of_networks.into_iter().collect()
    }

    /// The Unix socket, if the host is one.
    pub fn socket(&self) -> Option<PathBuf> {
        let (scheme, path) = (self.host.scheme(), self.host.path());
        (scheme == "unix").then(|| Path::new(path).to_path_buf())
    }

    /// The TCP port that is connected to. None: the host is a Unix socket, or has no port that is known.
    pub fn tcp_port(&self) -> Option<u16> {
        self.socket().is_none().then(|| self.address().ok()?.port_or_known_default()).flatten()
    }

    /// The URL of the API.
    pub(super) fn address(&self) -> Result<ParsedUrl, ConfigError> {
        let refuse = |problem: String| ConfigError::new("host", problem);
        let url = match self.host.scheme() {
            _ if self.host.is_empty() => {
                return Err(refuse("is required, for instance unix:///var/run/docker.sock".into()));
            }
            "unix" if !self.host.path().starts_with('/') => {
                return Err(refuse("must name the socket by its full path: unix:///var/run/docker.sock".into()));
            }
            "unix" => Url::new("http://docker"),
            "tcp" if self.tls_config.is_some() => self.host.with_scheme("https"),
            "tcp" => self.host.with_scheme("http"),
            "http" | "https" => self.host.clone(),
            scheme => {
                let problem = format!(
                    "{scheme:?} is not supported: write unix:///path/of/docker.sock, tcp://host:port, http://… or https://…"
                );
                return Err(refuse(problem));
            }
        };
        check_url(&url).map_err(refuse)?;
        parse_url(&url).map_err(refuse)
    }

    pub(super) fn tls(&self) -> TlsConfig {
        self.tls_config.clone().unwrap_or_default()
    }

    pub(super) fn proxy(&self) -> Proxy<'_> {
        Proxy {
            url: &self.proxy_url,
            no_proxy: &self.no_proxy,
            from_environment: self.proxy_from_environment,
            connect_header: &self.proxy_connect_header,
        }
    }

    pub(super) fn credentials(&self) -> Credentials<'_> {
        Credentials {
            url: &self.host,
            basic_auth: self.basic_auth.as_ref(),
            authorization: self.authorization.as_ref(),
            oauth2: self.oauth2.as_ref(),
            bearer_token: &self.bearer_token,
            bearer_token_file: &self.bearer_token_file,
        }
    }

    /// The filters as Docker takes them, in JSON.
    pub(super) fn filters(&self) -> String {
        let mut by_name: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for filter in &self.filters {
            by_name.entry(&filter.name).or_default().extend(filter.values.iter().map(String::as_str));
        }
        serde_json::to_string(&by_name).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(yaml: &str) -> Result<Config, String> {
        let config = crate::yaml::from_str::<Config>(yaml).map_err(|e| e.to_string())?;
        config.validate().map_err(|e| e.to_string())?;
        Ok(config)
    }

    #[test]
    fn configs_that_are_refused_and_why() {
        for (yaml, why) in [
            ("{}", "host: is required"),
            ("host: /var/run/docker.sock", "host: \"\" is not supported"),
            ("host: npipe:////./pipe/docker_engine", "host: \"npipe\" is not supported"),
            ("host: unix://docker.sock", "full path"),
            ("host: 'tcp://'", "host"),
            ("{host: 'unix:///s', refresh_interval: 0s}", "refresh_interval"),
            ("{host: 'unix:///s', filters: [{name: a}]}", "filters[0].values"),
            ("{host: 'unix:///s', filters: [{values: [a]}]}", "filters[0].name"),
            ("{host: 'unix:///s', http_headers: {}}", "http_headers: is not supported for Docker's API: use"),
            ("{host: 'unix:///s', bearer_token: x, basic_auth: {username: y}}", "at most one"),
            ("{host: 'tcp://h:1', tls_config: {cert_file: x}}", "tls_config"),
        ] {
            let error = parse(yaml).expect_err(yaml);
            assert!(error.contains(why), "{yaml}: {error}");
        }
    }

    #[test]
    fn where_the_api_is() {
        for (yaml, url, port, socket) in [
            ("host: unix:///var/run/docker.sock", "http://docker/", None, Some("/var/run/docker.sock")),
            ("host: tcp://10.0.0.1:2375", "http://10.0.0.1:2375/", Some(2375), None),
            ("{host: 'tcp://h:2376', tls_config: {insecure_skip_verify: true}}", "https://h:2376/", Some(2376), None),
            ("host: http://proxy/docker", "http://proxy/docker", Some(80), None),
            ("host: https://h", "https://h/", Some(443), None),
        ] {
            let config = parse(yaml).expect(yaml);
            assert_eq!(config.address().map(|url| url.to_string()), Ok(url.to_string()), "{yaml}");
            assert_eq!((config.tcp_port(), config.socket()), (port, socket.map(PathBuf::from)), "{yaml}");
        }
    }

    #[test]
    fn filters_with_one_name_are_one() {
        let yaml = "{host: 'unix:///s', filters: [{name: label, values: [a=b]}, {name: label, values: [c]}, {name: status, \
                    values: [running]}]}";
        assert_eq!(parse(yaml).expect("a config").filters(), r#"{"label":["a=b","c"],"status":["running"]}"#);
    }
}
