//! Requests to one Loki.

use bytes::Bytes;

use super::answer::Failure;
use super::config::Config;
use super::headers::Headers;
use crate::http_client::{Answer, Auth, Connection, Error, ParsedUrl, header_value, parse_url};

/// One Loki, with its connection, credentials and headers.
#[derive(Debug)]
pub(super) struct Endpoint {
    connection: Connection,
    url: ParsedUrl,
    headers: Headers,
    auth: Auth,
}

impl Endpoint {
    pub(super) fn new(config: &Config) -> Result<Self, Error> {
        config.validate()?;
        let headers = Headers::new(&config.headers, &config.http_headers)?;
        Ok(Self {
            connection: Connection::new(
                &config.tls_config,
                &config.proxy(),
                config.follow_redirects,
                config.timeout.0,
            )?,
            url: parse_url(&config.url).map_err(|problem| Error::new("url", problem))?,
            auth: if headers.authorize() { Auth::None } else { Auth::new(&config.credentials(), config.timeout.0)? },
            headers,
        })
    }

    /// Sends a push once.
    pub(super) async fn push(&self, tenant: Option<&str>, body: Bytes) -> Result<Answer, Failure> {
        let tenant = tenant.filter(|tenant| !tenant.is_empty());
        let tenant = tenant.map(|tenant| header_value(tenant).ok_or(Failure::TenantName)).transpose()?;
        let headers = self.headers.of(tenant).map_err(Failure::NotSent)?;
        let (credential, token) = self.auth.credential().await.map_err(Failure::NotSent)?;
        let answer = self.connection.post(&self.url, headers, credential, body).await.map_err(Failure::Unreachable)?;
        if answer.status == 401 {
            self.auth.refused(token);
        }
        Ok(answer)
    }
}
