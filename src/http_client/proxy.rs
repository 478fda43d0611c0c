//! The proxy that requests go through.

use std::collections::BTreeMap;

use super::error::Error;
use super::failure::in_words;
use super::url::Url;
use super::{HeaderMap, HeaderName, header_value, parse_url};
use crate::model::units::Secret;

/// The proxy settings of a client or of its token server.
#[derive(Debug)]
pub struct Proxy<'a> {
    pub url: &'a Url,
    pub no_proxy: &'a str,
    pub from_environment: bool,
    pub connect_header: &'a BTreeMap<String, Vec<Secret>>,
}

impl Proxy<'_> {
    pub fn validate(&self) -> Result<(), Error> {
        self.build().map(|_| ())
    }

    pub(super) fn build(&self) -> Result<Option<reqwest::Proxy>, Error> {
        if self.from_environment && !self.url.is_empty() {
            return Err(Error::new("proxy_from_environment", "cannot be set together with proxy_url"));
        }
        if self.from_environment && !self.no_proxy.is_empty() {
            return Err(Error::new("proxy_from_environment", "cannot be set together with no_proxy"));
        }
        if self.url.is_empty() {
            if !self.no_proxy.is_empty() {
                return Err(Error::new("no_proxy", "needs proxy_url"));
            }
            if !self.connect_header.is_empty() && !self.from_environment {
                return Err(Error::new("proxy_connect_header", "needs proxy_url or proxy_from_environment"));
            }
            if !self.connect_header.is_empty() {
                return Err(Error::new(
                    "proxy_connect_header",
                    "is supported only with proxy_url: set the proxy there",
                ));
            }
            return Ok(None);
        }
        let url = parse_url(self.url).map_err(|problem| Error::new("proxy_url", problem))?;
        let mut proxy = reqwest::Proxy::all(url).map_err(|e| Error::new("proxy_url", in_words(e)))?;
        proxy = proxy.no_proxy(reqwest::NoProxy::from_string(self.no_proxy));
        let mut headers = HeaderMap::new();
        for (name, secret) in self.connect_header.iter().flat_map(|(n, all)| all.iter().map(move |s| (n, s))) {
            let invalid = || Error::new(name, "is not a valid HTTP header").within("proxy_connect_header");
            let value = header_value(secret.expose()).ok_or_else(invalid)?;
            headers.append(HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid())?, value);
        }
        Ok(Some(if headers.is_empty() { proxy } else { proxy.headers(headers) }))
    }
}
