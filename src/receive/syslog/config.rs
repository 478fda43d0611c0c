//! The block `syslog`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::units::{ByteSize, GoDuration};
use crate::model::{ConfigError, Labels};
use crate::receive::Endpoint;
use crate::{server, spool};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub listen_address: String,
    pub listen_protocol: Protocol,
    pub idle_timeout: GoDuration,
    pub label_structured_data: bool,
    pub labels: Labels,
    pub use_incoming_timestamp: bool,
    pub use_rfc5424_message: bool,
    pub syslog_format: Format,
    pub max_message_length: usize,
    pub tls_config: TlsConfig,
    pub max_connections: usize,
    pub receive_buffer: ByteSize,
    pub spool: Option<spool::Config>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    #[default]
    Tcp,
    Udp,
}

/// Has no effect: each message shows its own format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    #[default]
    Rfc5424,
    Rfc3164,
}

/// The TLS settings of a server. Promtail accepts the keys of a client here as well.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    pub cert_file: String,
    pub key_file: String,
    pub ca_file: String,
    pub server_name: String,
    pub insecure_skip_verify: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen_address: String::new(),
            listen_protocol: Protocol::default(),
            idle_timeout: GoDuration(Duration::from_secs(120)),
            label_structured_data: false,
            labels: Labels::new(),
            use_incoming_timestamp: false,
            use_rfc5424_message: false,
            syslog_format: Format::default(),
            max_message_length: 8_192,
            tls_config: TlsConfig::default(),
            max_connections: 1_024,
            receive_buffer: ByteSize(0),
            spool: None,
        }
    }
}

impl Config {
    pub fn validate(&self) -> Result<(), ConfigError> {
        let refuse = |key: &str, problem: &str| Err(ConfigError::new(key, problem));
        if self.port().is_none() {
            return refuse("listen_address", "must be an address with a port, such as 0.0.0.0:1514 or [::]:1514");
        }
        if self.labels.contains_key("") {
            return refuse("labels", "\"\" is no label name");
        }
        if self.idle_timeout.0.is_zero() {
            return refuse("idle_timeout", "must be longer than 0");
        }
        if !(480..=1 << 20).contains(&self.max_message_length) {
            return refuse("max_message_length", "must be from 480 to 1048576 bytes");
        }
        if !(1..=65_536).contains(&self.max_connections) {
            return refuse("max_connections", "must be from 1 to 65536");
        }
        if self.receive_buffer.0 > 1 << 30 {
            return refuse("receive_buffer", "must be at most 1GB");
        }
        self.spool.iter().try_for_each(spool::Config::validate).map_err(|e| e.within("spool"))?;
        let tls = &self.tls_config;
        if tls.is_set() && self.is_udp() {
            return refuse("tls_config", "is for listen_protocol tcp only: remove it, or listen with tcp");
        }
        if tls.is_set() && (tls.cert_file.is_empty() || tls.key_file.is_empty()) {
            return refuse("tls_config", "needs cert_file and key_file");
        }
        Ok(())
    }

    pub fn warnings(&self) -> Vec<ConfigError> {
        let mut warnings = Vec::new();
        if self.receive_buffer.0 > 0 && !self.is_udp() {
            warnings.push(ConfigError::new("receive_buffer", "has no effect with listen_protocol tcp"));
        }
        let tls = &self.tls_config;
        let of_clients =
            [("server_name", !tls.server_name.is_empty()), ("insecure_skip_verify", tls.insecure_skip_verify)];
        for (key, _) in of_clients.into_iter().filter(|(_, is_set)| *is_set) {
            warnings.push(ConfigError::new(key, "has no effect in a server").within("tls_config"));
        }
        warnings
    }

    pub fn is_udp(&self) -> bool {
        self.listen_protocol == Protocol::Udp
    }

    pub(in crate::receive) fn port(&self) -> Option<u16> {
        self.listen_address.rsplit_once(':')?.1.parse().ok()
    }

    /// The addresses to bind, in turn. Without a host: every address, as in Go.
    pub(in crate::receive) fn addresses(&self) -> Vec<String> {
        match self.listen_address.strip_prefix(':') {
            Some(port) => vec![format!("[::]:{port}"), format!("0.0.0.0:{port}")],
            None => vec![self.listen_address.clone()],
        }
    }

    pub(in crate::receive) fn endpoint(&self) -> Endpoint {
        Endpoint { is_udp: self.is_udp(), address: self.listen_address.clone() }
    }

    /// Clients that may connect.
    pub(in crate::receive) fn server(&self) -> server::Config {
        let TlsConfig { cert_file, key_file, ca_file, .. } = &self.tls_config;
        server::Config::of_tls(cert_file, key_file, ca_file)
    }
}

impl TlsConfig {
    fn is_set(&self) -> bool {
        [&self.cert_file, &self.key_file, &self.ca_file].iter().any(|file| !file.is_empty())
    }
}
