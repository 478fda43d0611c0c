//! Sources that others send to: Loki's push API and syslog.
//!
//! A receiver hands records to the [`Intake`](crate::scrape::Intake) of its job. Parsers are synchronous and use no
//! sockets; servers read, wait and answer. [`Receivers`] keeps the sockets while the config is reloaded.

mod budget;
mod labels;
mod listeners;
mod live;
mod metrics;
pub mod push;
mod spooling;
pub mod syslog;
#[cfg(test)]
mod testing;
mod time;

use std::path::PathBuf;
use std::sync::Arc;

use crate::model::{ConfigError, LabelSet, Labels};
use crate::relabel::Rules;
use crate::spool::{self, Spool};

// The parsers and what bounds them are public for the fuzz targets.
pub use budget::{Budget, Full, Reservation};
pub use listeners::{Ready, Receivers};
pub use metrics::Metrics;

/// The config of a job's receiver.
#[derive(Clone, Debug, PartialEq)]
pub enum Config {
    Push(Box<push::Config>),
    Syslog(Box<syslog::Config>),
}

impl Config {
    /// Refuses what cannot work. The path of an error begins in the job: `loki_push_api.server`.
    pub fn validate(&self) -> Result<(), ConfigError> {
        match self {
            Config::Push(config) => config.validate().map_err(|e| e.within("loki_push_api")),
            Config::Syslog(config) => config.validate().map_err(|e| e.within("syslog")),
        }
    }

    /// Settings that have no effect.
    pub fn warnings(&self) -> Vec<ConfigError> {
        match self {
            Config::Push(config) => config.warnings().into_iter().map(|e| e.within("loki_push_api")).collect(),
            Config::Syslog(config) => config.warnings().into_iter().map(|e| e.within("syslog")).collect(),
        }
    }

    /// The key of its block.
    pub fn key(&self) -> &'static str {
        match self {
            Config::Push(_) => "loki_push_api",
            Config::Syslog(_) => "syslog",
        }
    }

    pub fn shares_socket_with(&self, other: &Self) -> bool {
        self.endpoint() == other.endpoint() && !self.endpoint().is_any_port()
    }

    /// Whether its address and this one surely overlap. Both may be empty or `::`, which is all addresses.
    pub fn listens_at(&self, address: &str) -> bool {
        let own = self.endpoint().address;
        let own = own.rsplit_once(':').map_or("", |(host, _)| host);
        let [own, other] = [own, address].map(|address| match address.trim_matches(['[', ']']) {
            "localhost" => "127.0.0.1",
            address => address,
        });
        // All addresses of version 4 have nothing to do with one of version 6.
        let covers = |all: &str, one: &str| matches!(all, "" | "::") || all == "0.0.0.0" && !one.contains(':');
        own == other || covers(own, other) || covers(other, own)
    }

    /// The TCP port that is listened at. None: none. 0: any.
    pub fn tcp_port(&self) -> Option<u16> {
        match self {
            Config::Push(config) => Some(config.server.http_listen_port),
            Config::Syslog(config) => config.port().filter(|_| !config.is_udp()),
        }
    }

    /// How many connections it may have.
    pub fn connections(&self) -> usize {
        match self {
            Config::Push(config) => config.server.connections(),
            Config::Syslog(config) if config.is_udp() => 1,
            Config::Syslog(config) => config.max_connections,
        }
    }

    /// Files beside those that its keys name: a web config names some.
    pub fn files(&self) -> Vec<PathBuf> {
        match self {
            Config::Push(config) => config.server.files(),
            Config::Syslog(_) => Vec::new(),
        }
    }

    /// Shown in place of a path.
    pub fn name(&self) -> Arc<str> {
        match self {
            Config::Push(config) => format!("push http {}", config.endpoint().address).into(),
            Config::Syslog(config) => {
                let protocol = if config.is_udp() { "udp" } else { "tcp" };
                format!("syslog {protocol} {}", config.listen_address).into()
            }
        }
    }

    fn endpoint(&self) -> Endpoint {
        match self {
            Config::Push(config) => config.endpoint(),
            Config::Syslog(config) => config.endpoint(),
        }
    }

    /// How its records wait on disk. None: they wait in memory.
    pub fn spool(&self) -> Option<&spool::Config> {
        match self {
            Config::Push(config) => config.spool.as_ref(),
            Config::Syslog(config) => config.spool.as_ref(),
        }
    }

    /// The labels that each record gets from the config.
    pub fn labels(&self) -> &Labels {
        match self {
            Config::Push(config) => &config.labels,
            Config::Syslog(config) => &config.labels,
        }
    }

    /// The labels of records without labels of their own.
    pub fn own_labels(&self) -> LabelSet {
        LabelSet::new(self.labels().iter().filter(|(name, _)| !name.starts_with("__")))
    }
}

/// A socket. Two receivers cannot have the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub is_udp: bool,
    pub address: String,
}

impl Endpoint {
    /// The system chooses the port.
    fn is_any_port(&self) -> bool {
        self.address.ends_with(":0")
    }
}

/// A receiver that is checked and not started yet.
#[derive(Clone, Debug)]
pub struct Receiver {
    pub job: Arc<str>,
    pub config: Config,
    pub rules: Rules,
    /// Where its records wait on disk. None: they wait in memory.
    pub spool: Option<Arc<Spool>>,
}
