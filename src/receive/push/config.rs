//! The block `loki_push_api`.

use serde::{Deserialize, Serialize};

use crate::model::units::ByteSize;
use crate::model::{ConfigError, Labels};
use crate::receive::Endpoint;
use crate::{server, spool};

/// Promtail accepts 100 MiB. Several such pushes at once need more memory than the agent has in most installations.
const MAX_SEND_MSG_SIZE: ByteSize = ByteSize(16 << 20);

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub server: server::Config,
    pub labels: Labels,
    pub use_incoming_timestamp: bool,
    pub max_send_msg_size: ByteSize,
    pub spool: Option<spool::Config>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server: server::Config::default(),
            labels: Labels::new(),
            use_incoming_timestamp: false,
            max_send_msg_size: MAX_SEND_MSG_SIZE,
            spool: None,
        }
    }
}

impl PartialEq for Config {
    /// A server's block may have keys that only serde knows.
    fn eq(&self, other: &Self) -> bool {
        crate::yaml::to_value(self) == crate::yaml::to_value(other)
    }
}

impl Config {
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.server.validate().map_err(|e| e.within("server"))?;
        if self.labels.contains_key("") {
            return Err(ConfigError::new("labels", "\"\" is no label name"));
        }
        if self.server.disable {
            return Err(
                ConfigError::new("disable", "nothing can be received then: remove it, or this job").within("server")
            );
        }
        self.spool.iter().try_for_each(spool::Config::validate).map_err(|e| e.within("spool"))?;
        match self.max_send_msg_size.0 {
            0 => Err(ConfigError::new("max_send_msg_size", "must be more than 0")),
            size if size > 1 << 30 => Err(ConfigError::new("max_send_msg_size", "must be at most 1GB")),
            _ => Ok(()),
        }
    }

    pub fn warnings(&self) -> Vec<ConfigError> {
        let mut warnings: Vec<ConfigError> = self.server.warnings().into_iter().map(|e| e.within("server")).collect();
        if self.server.http_listen_port == server::Config::default().http_listen_port {
            let problem = "is 80 where nothing else is written, which needs root: write a port, for instance 3500";
            warnings.push(ConfigError::new("http_listen_port", problem).within("server"));
        }
        warnings
    }

    pub(in crate::receive) fn endpoint(&self) -> Endpoint {
        let (host, port) = (&self.server.http_listen_address, self.server.http_listen_port);
        Endpoint { is_udp: false, address: format!("{host}:{port}") }
    }

    /// Bytes of memory that all pushes share that are being worked on.
    pub(super) fn pool(&self) -> usize {
        (self.max_send_msg_size.0 as usize).max(4 << 20)
    }

    /// Bytes of memory that one push may have: its body, decompressed, and its records. One push at a time has so much
    /// beside the pool.
    pub(super) fn most(&self) -> usize {
        (2 * self.max_send_msg_size.0 as usize).max(8 << 20)
    }
}
