//! `dns_sd_configs`: targets in the records of DNS.
//!
//! ```yaml
//! dns_sd_configs:
//!   - names: [_web._tcp.example.com]
//!     type: SRV
//! ```

mod message;
mod resolver;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::path::PathBuf;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use futures::stream::{self, StreamExt};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::refresh::{Ask, Asked, Refresh};
use super::{Known, Metrics};
use crate::model::units::PromDuration;
use crate::model::{ConfigError, Labels, TargetGroup};
pub use message::{Answer, Kind, Record, answer, question};
use resolver::Resolver;

/// Where the name servers are.
const RESOLV_CONF: &str = "/etc/resolv.conf";
const PORT: u16 = 53;

/// How many names are looked up at a time.
const AT_ONCE: usize = 8;

/// The most names of a config.
const NAMES: usize = 1000;

/// The most targets of all names.
const TARGETS: usize = 10_000;

/// One entry of `dns_sd_configs`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub names: Vec<String>,
    /// `SRV`, `A`, `AAAA`, `MX` or `NS`.
    #[serde(rename = "type")]
    pub record_type: String,
    /// In `__address__`. Records of type SRV have their own.
    pub port: u16,
    pub refresh_interval: PromDuration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            names: Vec::new(),
            record_type: "SRV".into(),
            port: 0,
            refresh_interval: PromDuration(Duration::from_secs(30)),
        }
    }
}

impl Config {
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.names.is_empty() || self.names.len() > NAMES {
            let problem = format!("must have 1 to {NAMES} names, for instance _web._tcp.example.com");
            return Err(ConfigError::new("names", problem));
        }
        let kind = self.kind()?;
        if let Some(name) = self.names.iter().find(|name| message::question(0, name, kind).is_none()) {
            return Err(ConfigError::new("names", format!("{name:?} is not a name of DNS")));
        }
        if kind != Kind::Srv && self.port == 0 {
            let problem = format!("is required, because records of type {} have no port", self.record_type);
            return Err(ConfigError::new("port", problem));
        }
        if self.refresh_interval.0.is_zero() {
            return Err(ConfigError::new("refresh_interval", "must be more than 0, for instance 30s"));
        }
        Ok(())
    }

    fn kind(&self) -> Result<Kind, ConfigError> {
        Ok(match self.record_type.to_ascii_uppercase().as_str() {
            "SRV" => Kind::Srv,
            "A" => Kind::A,
            "AAAA" => Kind::Aaaa,
            "MX" => Kind::Mx,
            "NS" => Kind::Ns,
            _ => {
                let problem = format!("must be SRV, A, AAAA, MX or NS, not {:?}", self.record_type);
                return Err(ConfigError::new("type", problem));
            }
        })
    }
}

/// Tells of the records until it is dropped. `unlisted` is dropped when all are known.
pub(super) async fn run(config: Config, known: Known, metrics: Metrics, unlisted: mpsc::Sender<Infallible>) {
    let names = Names { config, metrics: metrics.clone(), resolv_conf: RESOLV_CONF.into(), port: PORT };
    names.run(known, metrics, unlisted).await;
}

/// The names of one config, and where they are looked up.
struct Names {
    config: Config,
    metrics: Metrics,
    resolv_conf: PathBuf,
    port: u16,
}

impl Names {
    async fn run(self, known: Known, metrics: Metrics, unlisted: mpsc::Sender<Infallible>) {
        let (server, every) = (self.resolv_conf.display().to_string(), self.config.refresh_interval.0);
        Refresh { known, metrics, mechanism: "dns", server, every, unlisted }.run(self).await;
    }

    /// The group of one name.
    async fn lookup(&self, resolver: &Resolver, name: &str) -> (String, Result<TargetGroup, String>) {
        self.metrics.dns_looked_up();
        let records = match self.config.kind() {
            Ok(kind) => resolver.lookup(name, kind).await,
            Err(error) => Err(error.to_string()),
        };
        let group = records.map(|records| {
            TargetGroup::new(name.into(), records.iter().map(|record| labels(name, record, self.config.port)))
        });
        if group.is_err() {
            self.metrics.dns_failed();
        }
        (name.into(), group)
    }
}

impl Ask for Names {
    async fn ask(&mut self) -> Asked {
        // The file changes when the network does.
        let resolver = match Resolver::read(&self.resolv_conf, self.port) {
            Ok(resolver) => resolver,
            Err(failure) => return Asked { failure: Some(failure), ..Asked::default() },
        };
        let (this, resolver) = (&*self, &resolver);
        let lookups: Vec<BoxFuture<'_, _>> =
            this.config.names.iter().map(|name| this.lookup(resolver, name).boxed()).collect();
        // In the order of the config, so that few wait in memory.
        let mut found = stream::iter(lookups).buffered(AT_ONCE);
        let (mut groups, mut unknown, mut failures) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        let mut targets = 0;
        while let Some((name, found)) = found.next().await {
            match found {
                Ok(group) => {
                    targets += group.targets.len();
                    if targets > TARGETS {
                        let failure =
                            format!("the names have more than {TARGETS} records: use fewer names for a config");
                        return Asked { failure: Some(failure), ..Asked::default() };
                    }
                    groups.push(group);
                }
                Err(failure) => {
                    unknown.insert(name);
                    failures.insert(failure);
                }
            }
        }
        Asked { groups: Some(groups), unknown, failure: failures.into_iter().next() }
    }
}

fn labels(name: &str, record: &Record, port: u16) -> Labels {
    let at = |host: &str| format!("{}:{port}", host.trim_end_matches('.'));
    let (address, more) = match record {
        Record::A(address) => (format!("{address}:{port}"), Vec::new()),
        Record::Aaaa(address) => (format!("[{address}]:{port}"), Vec::new()),
        Record::Ns(target) => (at(target), vec![("__meta_dns_ns_record_target", target.clone())]),
        Record::Mx(target) => (at(target), vec![("__meta_dns_mx_record_target", target.clone())]),
        Record::Srv { target, port } => (
            format!("{}:{port}", target.trim_end_matches('.')),
            vec![("__meta_dns_srv_record_target", target.clone()), ("__meta_dns_srv_record_port", port.to_string())],
        ),
    };
    let own = [("__address__", address), ("__meta_dns_name", name.to_string())];
    own.into_iter().chain(more).map(|(name, value)| (name.to_string(), value)).collect()
}
