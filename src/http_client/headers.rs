//! `http_headers` of Prometheus: additional headers of each request.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::error::Error;
use super::secret::read_file;
use super::{HeaderMap, HeaderName, HeaderValue, header_value};
use crate::model::units::Secret;

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

/// The headers of `http_headers` by name.
pub type HttpHeaders = BTreeMap<String, Header>;

/// One header of `http_headers`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Header {
    /// Treated as a secret, because users sometimes write keys here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<Secret>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<Secret>,
    /// Read again for each request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
}

pub fn validate_headers(headers: &HttpHeaders) -> Result<(), Error> {
    for (name, header) in headers {
        if RESERVED.contains(&name.to_ascii_lowercase().as_str()) {
            return Err(Error::new(name, "is reserved and cannot be set here").within("http_headers"));
        }
        let invalid = || Error::new(name, "is not a valid HTTP header").within("http_headers");
        for secret in header.values.iter().chain(&header.secrets) {
            header_pair(name, secret.expose()).ok_or_else(invalid)?;
        }
        header_pair(name, "").ok_or_else(invalid)?;
    }
    Ok(())
}

/// `http_headers` in the form of a request.
#[derive(Debug, Default)]
pub struct HeaderReader {
    fixed: HeaderMap,
    files: Vec<(HeaderName, String)>,
}

impl HeaderReader {
    pub fn new(headers: &HttpHeaders) -> Result<Self, Error> {
        validate_headers(headers)?;
        let mut reader = Self::default();
        for (name, header) in headers {
            for secret in header.values.iter().chain(&header.secrets) {
                if let Some((name, value)) = header_pair(name, secret.expose()) {
                    reader.fixed.append(name, value);
                }
            }
            if let Some((name, _)) = header_pair(name, "") {
                reader.files.extend(header.files.iter().map(|file| (name.clone(), file.clone())));
            }
        }
        Ok(reader)
    }

    /// Adds the headers to `headers`, with the current content of the files.
    pub fn add_to(&self, headers: &mut HeaderMap) -> Result<(), String> {
        for (name, value) in &self.fixed {
            headers.append(name, value.clone());
        }
        for (name, file) in &self.files {
            let text = read_file(file).map_err(|e| format!("http_headers.{name}.files: {e}"))?;
            let value = header_value(text.expose())
                .ok_or_else(|| format!("http_headers.{name}.files: {file}: not a header"))?;
            headers.append(name, value);
        }
        Ok(())
    }
}

/// None: they cannot be a header.
pub fn header_pair(name: &str, text: &str) -> Option<(HeaderName, HeaderValue)> {
    Some((HeaderName::from_bytes(name.as_bytes()).ok()?, header_value(text)?))
}
