//! The keys of Prometheus' HTTP client, which several kinds of discovery have, and requests with these settings.

use std::time::Duration;

use crate::http_client::{
    Auth, Connection, Credentials, HeaderMap, HeaderReader, HttpHeaders, ParsedUrl, Proxy, TlsConfig, header_pair,
    validate_headers,
};
use crate::model::ConfigError;

/// How long to wait for an answer that a server gives at once.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);

/// The most bytes that are read of the text of a refusal.
const REFUSAL: usize = 16 << 10;

/// Defines a config that has the keys of the HTTP client after its own keys. Each own key has its default behind it.
///
/// A macro, because serde cannot refuse unknown keys of a struct that has another one flattened into it.
macro_rules! with_http_settings {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $($(#[$of_field:meta])* pub $field:ident: $kind:ty = $default:expr,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name {
            $($(#[$of_field])* pub $field: $kind,)*
            #[serde(skip_serializing_if = "Option::is_none")]
            pub basic_auth: Option<$crate::http_client::BasicAuth>,
            #[serde(skip_serializing_if = "Option::is_none")]
            pub authorization: Option<$crate::http_client::Authorization>,
            #[serde(skip_serializing_if = "Option::is_none")]
            pub oauth2: Option<$crate::http_client::OAuth2>,
            #[serde(skip_serializing_if = "crate::model::units::Secret::is_empty")]
            pub bearer_token: $crate::model::units::Secret,
            #[serde(skip_serializing_if = "String::is_empty")]
            pub bearer_token_file: String,
            #[serde(skip_serializing_if = "crate::http_client::TlsConfig::is_default")]
            pub tls_config: $crate::http_client::TlsConfig,
            #[serde(skip_serializing_if = "crate::http_client::Url::is_empty")]
            pub proxy_url: $crate::http_client::Url,
            #[serde(skip_serializing_if = "String::is_empty")]
            pub no_proxy: String,
            pub proxy_from_environment: bool,
            #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
            pub proxy_connect_header: std::collections::BTreeMap<String, Vec<$crate::model::units::Secret>>,
            pub follow_redirects: bool,
            /// Has no effect: requests use HTTP/1.1.
            pub enable_http2: bool,
            #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
            pub http_headers: $crate::http_client::HttpHeaders,
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    $($field: $default,)*
                    basic_auth: None,
                    authorization: None,
                    oauth2: None,
                    bearer_token: Default::default(),
                    bearer_token_file: String::new(),
                    tls_config: Default::default(),
                    proxy_url: Default::default(),
                    no_proxy: String::new(),
                    proxy_from_environment: false,
                    proxy_connect_header: Default::default(),
                    follow_redirects: true,
                    enable_http2: true,
                    http_headers: Default::default(),
                }
            }
        }

        impl $name {
            /// The settings for requests to `url`.
            fn http<'a>(&'a self, url: &'a $crate::http_client::Url) -> $crate::discovery::http_settings::HttpSettings<'a> {
                $crate::discovery::http_settings::HttpSettings {
                    credentials: $crate::http_client::Credentials {
                        url,
                        basic_auth: self.basic_auth.as_ref(),
                        authorization: self.authorization.as_ref(),
                        oauth2: self.oauth2.as_ref(),
                        bearer_token: &self.bearer_token,
                        bearer_token_file: &self.bearer_token_file,
                    },
                    tls: &self.tls_config,
                    proxy: $crate::http_client::Proxy {
                        url: &self.proxy_url,
                        no_proxy: &self.no_proxy,
                        from_environment: self.proxy_from_environment,
                        connect_header: &self.proxy_connect_header,
                    },
                    headers: &self.http_headers,
                    follow_redirects: self.follow_redirects,
                }
            }
        }
    };
}
pub(super) use with_http_settings;

/// The settings of one HTTP client.
#[derive(Debug)]
pub struct HttpSettings<'a> {
    pub credentials: Credentials<'a>,
    pub tls: &'a TlsConfig,
    pub proxy: Proxy<'a>,
    pub headers: &'a HttpHeaders,
    pub follow_redirects: bool,
}

impl HttpSettings<'_> {
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.credentials.validate()?;
        self.tls.validate().map_err(|e| e.within("tls_config"))?;
        self.proxy.validate()?;
        validate_headers(self.headers)
    }

    /// Reads the certificate files.
    pub fn client(&self) -> Result<HttpClient, ConfigError> {
        Ok(HttpClient {
            connection: Connection::of_streams(self.tls, &self.proxy, self.follow_redirects, None)?,
            auth: Auth::new(&self.credentials, TIMEOUT)?,
            headers: HeaderReader::new(self.headers)?,
            follow_redirects: self.follow_redirects,
        })
    }
}

#[derive(Debug)]
pub struct HttpClient {
    connection: Connection,
    auth: Auth,
    headers: HeaderReader,
    follow_redirects: bool,
}

/// A whole answer with the status 200.
#[derive(Debug)]
pub struct Answered {
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answered {
    /// The text of a header. Empty if it is missing or not text.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

impl HttpClient {
    /// Fails if there is no answer within `timeout`, or one with more than `most` bytes or another status than 200.
    pub async fn get(
        &self,
        url: &ParsedUrl,
        headers: &[(&str, &str)],
        timeout: Duration,
        most: usize,
    ) -> Result<Answered, String> {
        let get = tokio::time::timeout(timeout, self.answer(url, headers, most));
        get.await.unwrap_or_else(|_| Err(format!("no answer within {} s", timeout.as_secs())))
    }

    async fn answer(&self, url: &ParsedUrl, headers: &[(&str, &str)], most: usize) -> Result<Answered, String> {
        let mut all: HeaderMap = headers.iter().filter_map(|(name, text)| header_pair(name, text)).collect();
        self.headers.add_to(&mut all)?;
        let (credential, token) = self.auth.credential().await?;
        let answer = self.connection.get(url, all, credential).await?;
        match answer.status() {
            200 => Ok(Answered { headers: answer.headers().clone(), body: answer.whole(most).await? }),
            status => {
                if status == 401 {
                    self.auth.refused(token);
                }
                let body = answer.whole(REFUSAL).await.unwrap_or_default();
                Err(self.refusal(status, &String::from_utf8_lossy(&body)))
            }
        }
    }

    fn refusal(&self, status: u16, text: &str) -> String {
        let text = text.trim();
        let advice = match status {
            300..=399 if self.follow_redirects => {
                "the server redirects to another host or port, which is not followed: write that address instead".into()
            }
            300..=399 => "the server redirects, but follow_redirects is false: write that address instead".into(),
            401 | 403 if text.is_empty() => "check the credentials".into(),
            _ => text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(200).collect::<String>(),
        };
        if advice.is_empty() { format!("status {status}") } else { format!("status {status}: {advice}") }
    }
}
