//! The additional headers of a push: `headers` of Promtail, and `http_headers` of Prometheus.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::http_client::{Error, HeaderMap, HeaderName, HeaderValue, header_value, read_file};
use crate::model::units::Secret;

const TENANT: HeaderName = HeaderName::from_static("x-scope-orgid");

/// Headers that the client sets itself. `headers` cannot change them.
const OURS: [&str; 5] = ["content-type", "user-agent", "content-length", "host", "transfer-encoding"];

/// Headers that `http_headers` refuses, as in Prometheus.
const RESERVED: [&str; 18] = [
    "accept-encoding",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "user-agent",
    "www-authenticate",
    "x-amz-content-sha256",
    "x-amz-date",
    "x-amz-security-token",
    "x-prometheus-remote-read-version",
    "x-prometheus-remote-write-version",
    "x-prometheus-scrape-timeout-seconds",
];

/// One header of `http_headers`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Header {
    /// Treated as a secret, because users sometimes write keys here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<Secret>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<Secret>,
    /// Read again for each push.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
}

pub(super) fn validate(headers: &BTreeMap<String, Secret>, http: &BTreeMap<String, Header>) -> Result<(), Error> {
    let invalid = |key: &str, name: &str| Error::new(name, "is not a valid HTTP header").within(key);
    for (name, secret) in headers {
        pair(name, secret.expose()).ok_or_else(|| invalid("headers", name))?;
    }
    for (name, header) in http {
        let lower = name.to_ascii_lowercase();
        if RESERVED.contains(&lower.as_str()) {
            return Err(Error::new(name, "is reserved and cannot be set here").within("http_headers"));
        }
        for secret in header.values.iter().chain(&header.secrets) {
            pair(name, secret.expose()).ok_or_else(|| invalid("http_headers", name))?;
        }
        pair(name, "").ok_or_else(|| invalid("http_headers", name))?;
    }
    Ok(())
}

/// A warning for each of `headers` that has no effect.
pub(super) fn ignored(headers: &BTreeMap<String, Secret>, has_tenant: bool) -> Vec<Error> {
    headers
        .keys()
        .filter_map(|name| {
            let lower = name.to_ascii_lowercase();
            let problem = match () {
                () if OURS.contains(&lower.as_str()) => "is set by the client itself and ignored here",
                () if has_tenant && TENANT == *lower => "tenant_id is used instead",
                () => return None,
            };
            Some(Error::new(name, problem).within("headers"))
        })
        .collect()
}

/// The headers of each push of a client.
#[derive(Debug)]
pub(super) struct Headers {
    fixed: HeaderMap,
    files: Vec<(HeaderName, String)>,
}

impl Headers {
    pub(super) fn new(headers: &BTreeMap<String, Secret>, http: &BTreeMap<String, Header>) -> Result<Self, Error> {
        validate(headers, http)?;
        let (mut fixed, mut files) = (HeaderMap::new(), Vec::new());
        for (name, secret) in headers {
            if let Some((name, value)) = pair(name, secret.expose()).filter(|(n, _)| !OURS.contains(&n.as_str())) {
                fixed.insert(name, value);
            }
        }
        for (name, header) in http {
            for secret in header.values.iter().chain(&header.secrets) {
                if let Some((name, value)) = pair(name, secret.expose()) {
                    fixed.append(name, value);
                }
            }
            if let Some((name, _)) = pair(name, "") {
                files.extend(header.files.iter().map(|file| (name.clone(), file.clone())));
            }
        }
        fixed.insert("content-type", HeaderValue::from_static("application/x-protobuf"));
        Ok(Self { fixed, files })
    }

    /// Whether `headers` has credentials. They replace the other credentials of the client.
    pub(super) fn authorize(&self) -> bool {
        self.fixed.contains_key("authorization")
    }

    /// The headers with the tenant and the current content of the files.
    pub(super) fn of(&self, tenant: Option<HeaderValue>) -> Result<HeaderMap, String> {
        let mut headers = self.fixed.clone();
        if let Some(tenant) = tenant {
            headers.insert(TENANT, tenant);
        }
        for (name, file) in &self.files {
            let text = read_file(file).map_err(|e| format!("http_headers.{name}.files: {e}"))?;
            let value = header_value(text.expose())
                .ok_or_else(|| format!("http_headers.{name}.files: {file}: not a header"))?;
            headers.append(name, value);
        }
        Ok(headers)
    }
}

fn pair(name: &str, text: &str) -> Option<(HeaderName, HeaderValue)> {
    Some((HeaderName::from_bytes(name.as_bytes()).ok()?, header_value(text)?))
}
