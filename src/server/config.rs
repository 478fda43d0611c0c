//! The `server` block of a config.
//!
//! ```yaml
//! server:
//!   http_listen_address: ""       # on a host 127.0.0.1, in a container and for a receiver all addresses
//!   http_listen_port: 80
//!   http_path_prefix: ""          # before every path, /metrics and /ready too
//!   http_allowed_hosts: []        # further host names of the pages, besides IP addresses, localhost and its own
//!   external_url: ""              # the URL of the pages for users, if there is a proxy
//!   health_check_target: true     # /ready requires a tailed file
//!   http_listen_conn_limit: 0     # maximum number of connections; 0 means 256
//!   http_pages: all               # which clients may see more than /ready, /-/healthy and /metrics: all, or loopback
//!   live_tail: disabled           # which clients may look at lines: disabled, loopback or all
//!   http_server_read_timeout: 10s # from the first byte of a request to the first byte of its answer
//!   http_server_read_header_timeout: 0  # the same; the shorter timeout counts
//!   http_server_write_timeout: 30s      # for the whole answer
//!   http_server_idle_timeout: 2m  # for a connection without a request
//!   http_tls_config: {}           # HTTPS
//!   web_config_file: ""           # Prometheus' web.config: HTTPS and passwords
//!   disable: false                # no pages, no metrics
//!   register_instrumentation: true
//!   graceful_shutdown_timeout: 30s
//!   log_level: info
//!   log_format: logfmt
//! ```
//!
//! Promtail's other keys are accepted, so that a `promtail.yaml` works unchanged. [`Config::warnings`] lists those that
//! are set without effect.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::connection::Timeouts;
use super::tls::Tls;
use super::{LogFormat, LogLevel};
use crate::model::ConfigError;
use crate::model::units::GoDuration;

const DEFAULT_PORT: u16 = 80;
/// Promtail has 30 s, which is too long for a client that occupies a connection without a request.
const DEFAULT_READ: GoDuration = GoDuration(Duration::from_secs(10));
const DEFAULT_WRITE: GoDuration = GoDuration(Duration::from_secs(30));
const DEFAULT_IDLE: GoDuration = GoDuration(Duration::from_secs(120));
const DEFAULT_GRACE: GoDuration = GoDuration(Duration::from_secs(30));

/// The meaning of `http_listen_conn_limit: 0`. In Promtail it means no limit.
const DEFAULT_CONNECTIONS: u32 = 256;

/// Lists the keys without effect, each with the defaults that cause no warning.
macro_rules! config {
    (
        $(#[$meta:meta])* honoured { $($honoured:tt)* }
        accepted { $($key:ident = $($default:literal)|+,)* }
    ) => {
        $(#[$meta])*
        pub struct Config {
            $($honoured)*
            $(#[serde(skip_serializing_if = "Option::is_none")] $key: Option<Value>,)*
        }

        impl Config {
            /// The keys without effect that are set, with the values that cause no warning.
            fn accepted(&self) -> impl Iterator<Item = (&'static str, &Value, &'static [&'static str])> {
                [$((stringify!($key), &self.$key, &[$($default),+] as &[&str]),)*]
                    .into_iter()
                    .filter_map(|(key, value, defaults)| Some((key, value.as_ref()?, defaults)))
            }
        }

        impl Default for Config {
            fn default() -> Self {
                Self {
                    http_listen_network: "tcp".into(),
                    http_listen_address: String::new(),
                    http_listen_port: DEFAULT_PORT,
                    http_path_prefix: String::new(),
                    external_url: String::new(),
                    http_allowed_hosts: Vec::new(),
                    health_check_target: true,
                    disable: false,
                    enable_runtime_reload: false,
                    register_instrumentation: true,
                    http_listen_conn_limit: 0,
                    http_pages: Pages::default(),
                    live_tail: LiveTailFor::default(),
                    http_server_read_timeout: DEFAULT_READ,
                    http_server_read_header_timeout: GoDuration(Duration::ZERO),
                    http_server_write_timeout: DEFAULT_WRITE,
                    http_server_idle_timeout: DEFAULT_IDLE,
                    web_config_file: String::new(),
                    graceful_shutdown_timeout: DEFAULT_GRACE,
                    log_level: LogLevel::default(),
                    log_format: LogFormat::default(),
                    http_tls_config: Tls::default(),
                    tls_min_version: String::new(),
                    grpc_tls_config: Tls::default(),
                    $($key: None,)*
                }
            }
        }
    };
}

config! {
    #[derive(Clone, Debug, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    honoured {
        pub http_listen_network: String,
        pub http_listen_address: String,
        pub http_listen_port: u16,
        pub http_path_prefix: String,
        pub external_url: String,
        pub http_allowed_hosts: Vec<String>,
        pub health_check_target: bool,
        pub disable: bool,
        pub enable_runtime_reload: bool,
        pub register_instrumentation: bool,
        pub http_listen_conn_limit: u32,
        http_pages: Pages,
        live_tail: LiveTailFor,
        http_server_read_timeout: GoDuration,
        http_server_read_header_timeout: GoDuration,
        http_server_write_timeout: GoDuration,
        web_config_file: String,
        pub http_server_idle_timeout: GoDuration,
        pub graceful_shutdown_timeout: GoDuration,
        pub log_level: LogLevel,
        pub log_format: LogFormat,
        #[serde(skip_serializing_if = "Tls::is_empty")]
        http_tls_config: Tls,
        #[serde(skip_serializing_if = "String::is_empty")]
        tls_min_version: String,
        #[serde(skip_serializing_if = "Tls::is_empty")]
        grpc_tls_config: Tls,
    }
    accepted {
        profiling_enabled = "false",
        http_log_closed_connections_without_response_enabled = "false",
        proxy_protocol_enabled = "false",
        tls_cipher_suites = "",
        log_source_ips_enabled = "false",
        log_source_ips_full = "false",
        log_source_ips_header = "",
        log_source_ips_regex = "",
        log_request_headers = "false",
        log_request_at_info_level_enabled = "false",
        log_request_exclude_headers_list = "",
        trace_request_headers = "false",
        trace_request_exclude_headers_list = "",
        cluster_validation = "",
        throughput = "",
        // The settings of Promtail's gRPC port. fantail has no such port.
        grpc_listen_network = "tcp",
        grpc_listen_address = "" | "127.0.0.1" | "0.0.0.0" | "localhost",
        grpc_listen_port = "0" | "9095",
        grpc_listen_conn_limit = "0",
        grpc_server_max_recv_msg_size = "4194304",
        grpc_server_max_send_msg_size = "4194304",
        grpc_server_max_concurrent_streams = "100",
        grpc_server_max_connection_idle = "2562047h47m16.854775807s",
        grpc_server_max_connection_age = "2562047h47m16.854775807s",
        grpc_server_max_connection_age_grace = "2562047h47m16.854775807s",
        grpc_server_keepalive_time = "2h" | "2h0m0s",
        grpc_server_keepalive_timeout = "20s",
        grpc_server_min_time_between_pings = "5m" | "5m0s",
        grpc_server_ping_without_stream_allowed = "false",
        grpc_server_num_workers = "0",
        grpc_server_stats_tracking_enabled = "true",
        grpc_server_recv_buffer_pools_enabled = "false",
        grpc_collect_max_streams_by_conn = "true",
        report_grpc_codes_in_instrumentation_label_enabled = "false",
    }
}

/// Which clients may see the status pages. Probes and metrics are open to all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Pages {
    #[default]
    All,
    /// Clients in the same network namespace, such as `kubectl port-forward`.
    Loopback,
}

/// Which clients may look at lines with the page's live tail. `http_pages` and passwords apply too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum LiveTailFor {
    #[default]
    Disabled,
    Loopback,
    All,
}

impl Config {
    /// The config of a port that speaks TLS if there is a certificate. With `ca_file` a client needs a certificate of
    /// that CA.
    pub fn of_tls(cert_file: &str, key_file: &str, ca_file: &str) -> Self {
        Self { http_tls_config: Tls::of_files(cert_file, key_file, ca_file), ..Self::default() }
    }

    /// Returns an error if the server cannot run as configured.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.tls().validate().map_err(|problem| ConfigError::new("http_tls_config", problem))?;
        if !self.http_tls_config.is_empty() && !self.web_config_file.is_empty() {
            return Err(ConfigError::new(
                "http_tls_config",
                "cannot be set together with web_config_file: put TLS into the web config as tls_server_config, \
                 and remove http_tls_config",
            ));
        }
        if !["", "tcp", "tcp4", "tcp6"].contains(&self.http_listen_network.as_str()) {
            let problem = format!("{:?} is not supported: use tcp, tcp4 or tcp6", self.http_listen_network);
            return Err(ConfigError::new("http_listen_network", problem));
        }
        let address = self.http_listen_address.as_str();
        let has_port = match address.strip_prefix('[') {
            Some(rest) => rest.contains("]:"),
            None => address.matches(':').count() == 1,
        };
        if has_port {
            let problem = format!("{address:?} has a port: write the address alone, and the port as http_listen_port");
            return Err(ConfigError::new("http_listen_address", problem));
        }
        for (key, value) in [("http_path_prefix", &self.http_path_prefix), ("external_url", &self.external_url)] {
            if let Some(bad) = value.chars().find(|c| !c.is_ascii_alphanumeric() && !"/:._~-[]".contains(*c)) {
                // The value is not shown: there may be a password in front of an `@`.
                let problem =
                    format!("unexpected {bad:?}: expected a simple path such as /logs, or a URL without user");
                return Err(ConfigError::new(key, problem));
            }
        }
        Ok(())
    }

    /// Settings without effect.
    pub fn warnings(&self) -> Vec<ConfigError> {
        let mut warnings = Vec::new();
        if !self.grpc_tls_config.is_empty() {
            warnings.push(ConfigError::new("grpc_tls_config", "has no effect: fantail has no gRPC port"));
        }
        if !self.tls_min_version.is_empty() && self.http_tls_config.is_empty() {
            warnings.push(ConfigError::new("tls_min_version", "has no effect without http_tls_config"));
        }
        let external = self.external_url.as_str();
        if !external.is_empty() && !external.contains("://") && !external.starts_with('/') {
            let problem = "is neither a URL nor a path, and is not used: write https://host/agent or /agent";
            warnings.push(ConfigError::new("external_url", problem));
        }
        for (key, value, defaults) in self.accepted() {
            if !says_nothing(value) && !defaults.contains(&plain(value).as_str()) {
                warnings.push(ConfigError::new(key, "has no effect"));
            }
        }
        warnings
    }

    /// The most connections at once.
    pub fn connections(&self) -> usize {
        match self.http_listen_conn_limit {
            0 => DEFAULT_CONNECTIONS as usize,
            limit => limit as usize,
        }
    }

    pub(super) fn tls(&self) -> Tls {
        self.http_tls_config.clone().at_least(&self.tls_min_version)
    }

    pub(super) fn web_config_file(&self) -> &str {
        &self.web_config_file
    }

    pub(super) fn pages(&self) -> Pages {
        self.http_pages
    }

    pub(super) fn live_tail(&self) -> LiveTailFor {
        self.live_tail
    }

    /// Zero would close every connection at once. In Go it means no timeout, and here the default.
    pub(super) fn timeouts(&self) -> Timeouts {
        let set = |value: GoDuration, default: Duration| if value.0.is_zero() { default } else { value.0 };
        let asking = set(self.http_server_read_timeout, DEFAULT_READ.0);
        Timeouts {
            idle: set(self.http_server_idle_timeout, DEFAULT_IDLE.0),
            asking: asking.min(set(self.http_server_read_header_timeout, asking)),
            answering: set(self.http_server_write_timeout, DEFAULT_WRITE.0),
        }
    }

    /// The address of this server for a client on the same host, without a slash at the end.
    pub fn local_url(&self) -> String {
        let scheme = if self.http_tls_config.is_empty() { "http" } else { "https" };
        let host = match self.http_listen_address.trim_matches(['[', ']']) {
            "" | "0.0.0.0" => "127.0.0.1".to_string(),
            "::" => "[::1]".to_string(),
            address if address.contains(':') => format!("[{address}]"),
            address => address.to_string(),
        };
        format!("{scheme}://{host}:{}{}", self.http_listen_port, self.prefix())
    }

    /// `http_path_prefix` in the form for the routes: empty, or with a slash at the start and none at the end.
    pub(super) fn prefix(&self) -> String {
        as_prefix(&self.http_path_prefix)
    }

    /// The path of the pages for users.
    pub(super) fn external_prefix(&self) -> String {
        match self.external_url.split_once("://") {
            Some((_, rest)) => as_prefix(rest.split_once('/').map_or("", |(_, path)| path)),
            None if self.external_url.starts_with('/') => as_prefix(&self.external_url),
            None => self.prefix(),
        }
    }
}

fn as_prefix(path: &str) -> String {
    match path.trim_matches('/') {
        "" => String::new(),
        path => format!("/{path}"),
    }
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(says_nothing),
        Value::String(text) => text.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_string)
}

#[cfg(test)]
mod tests;
