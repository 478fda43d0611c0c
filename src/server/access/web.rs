//! Prometheus' `web.config`: a file with TLS settings and passwords.
//!
//! ```yaml
//! tls_server_config:
//!   cert_file: tls.crt            # relative to this file
//!   key_file: tls.key
//! basic_auth_users:
//!   prometheus: $2y$10$...        # bcrypt
//! ```

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use super::super::regular_file;
use super::super::tls::Tls;
use super::Door;
use super::users::Users;
use crate::yaml;

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Web {
    tls_server_config: Tls,
    /// Accepted because Prometheus has it. This server does not support HTTP/2.
    #[serde(rename = "http_server_config")]
    _http_server_config: Http,
    basic_auth_users: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Http {
    #[serde(rename = "http2")]
    _http2: bool,
}

impl Web {
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let text = regular_file::read(path).map_err(|e| format!("cannot read the file: {e}"))?;
        let text = String::from_utf8(text).map_err(|_| "the file is not UTF-8".to_string())?;
        let mut web: Self = yaml::from_str(&text).map_err(|error| said(&error))?;
        web.tls_server_config.below(path.parent().unwrap_or(Path::new("")));
        web.tls_server_config.validate().map_err(|error| format!("tls_server_config: {error}"))?;
        Ok(web)
    }

    pub(super) fn tls(&self) -> &Tls {
        &self.tls_server_config
    }

    pub(super) fn door(&self, before: Option<&Users>) -> Result<Door, String> {
        let tls = &self.tls_server_config;
        let tls = (!tls.is_empty()).then(|| tls.load()).transpose();
        let users = match self.basic_auth_users.is_empty() {
            true => None,
            false => Some(Arc::new(Users::new(&self.basic_auth_users, before)?)),
        };
        let tls = tls.map_err(|error| format!("tls_server_config.{error}"))?;
        Ok(Door { tls, users, asks_certificates: self.tls_server_config.asks_certificates() })
    }
}

/// Reports only the key and the place. The full message may quote a secret value.
fn said(error: &yaml::Error) -> String {
    let place = error.position().map_or(String::new(), |(line, column)| format!(" in line {line}, column {column}"));
    match error.unknown_key() {
        Some(key) => format!("unsupported key {key:?}{place}: remove it"),
        None => format!("not a valid web config{place}"),
    }
}
