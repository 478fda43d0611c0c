//! The additional headers of a push: `headers` of Promtail, and `http_headers` of Prometheus.

use std::collections::BTreeMap;

use crate::http_client::{
    Error, HeaderMap, HeaderName, HeaderReader, HeaderValue, HttpHeaders, header_pair, validate_headers,
};
use crate::model::units::Secret;

const TENANT: HeaderName = HeaderName::from_static("x-scope-orgid");

/// Headers that the client sets itself. `headers` cannot change them.
const OURS: [&str; 5] = ["content-type", "user-agent", "content-length", "host", "transfer-encoding"];

pub(super) fn validate(headers: &BTreeMap<String, Secret>, http: &HttpHeaders) -> Result<(), Error> {
    for (name, secret) in headers {
        let invalid = || Error::new(name, "is not a valid HTTP header").within("headers");
        header_pair(name, secret.expose()).ok_or_else(invalid)?;
    }
    validate_headers(http)
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
    http: HeaderReader,
}

impl Headers {
    pub(super) fn new(headers: &BTreeMap<String, Secret>, http: &HttpHeaders) -> Result<Self, Error> {
        validate(headers, http)?;
        let mut fixed = HeaderMap::new();
        for (name, secret) in headers {
            if let Some((name, value)) = header_pair(name, secret.expose()).filter(|(n, _)| !OURS.contains(&n.as_str()))
            {
                fixed.insert(name, value);
            }
        }
        fixed.insert("content-type", HeaderValue::from_static("application/x-protobuf"));
        Ok(Self { fixed, http: HeaderReader::new(http)? })
    }

    /// Whether `headers` has credentials. They replace the other credentials of the client.
    pub(super) fn authorize(&self) -> bool {
        self.fixed.contains_key("authorization")
    }

    /// The headers with the tenant and the current content of the files.
    pub(super) fn of(&self, tenant: Option<HeaderValue>) -> Result<HeaderMap, String> {
        let mut headers = self.fixed.clone();
        self.http.add_to(&mut headers)?;
        if let Some(tenant) = tenant {
            headers.insert(TENANT, tenant);
        }
        Ok(headers)
    }
}
