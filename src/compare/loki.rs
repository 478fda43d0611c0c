//! Asks a Loki over HTTP.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use super::pages::{Ask, Failure, Query};
use crate::http_client::{
    Auth, BasicAuth, Connection, Credentials, HeaderMap, HeaderName, HeaderValue, ParsedUrl, Proxy, TlsConfig, Url,
    header_value, parse_url,
};
use crate::model::units::Secret;

/// The longest answer in bytes. After a longer one, fewer entries are asked for.
const LONGEST: usize = 64 << 20;

/// How often a request is sent before the comparison fails.
const ATTEMPTS: u32 = 4;

/// Where a Loki is, and how it is asked.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// The address of the server. The path of the push API at its end is left out.
    pub url: String,
    /// Empty: no tenant.
    pub tenant: String,
    pub bearer_token_file: String,
    pub username: String,
    pub password_file: String,
    pub ca_file: String,
    pub insecure_skip_verify: bool,
    /// For one request.
    pub timeout: Duration,
}

pub struct Loki {
    runtime: Runtime,
    connection: Connection,
    auth: Auth,
    headers: HeaderMap,
    url: ParsedUrl,
    timeout: Duration,
}

impl Loki {
    pub fn new(access: &Access) -> Result<Self, String> {
        let base = access.url.trim_end_matches('/').trim_end_matches("/loki/api/v1/push");
        let url = Url::new(format!("{base}/loki/api/v1/query_range"));
        let basic = (!access.username.is_empty() || !access.password_file.is_empty()).then(|| BasicAuth {
            username: access.username.clone(),
            password_file: access.password_file.clone(),
            ..BasicAuth::default()
        });
        let credentials = Credentials {
            url: &url,
            basic_auth: basic.as_ref(),
            authorization: None,
            oauth2: None,
            bearer_token: &Secret::default(),
            bearer_token_file: &access.bearer_token_file,
        };
        let auth = Auth::new(&credentials, access.timeout).map_err(|e| e.to_string())?;
        let tls = TlsConfig {
            ca_file: access.ca_file.clone(),
            insecure_skip_verify: access.insecure_skip_verify,
            ..TlsConfig::default()
        };
        let none = BTreeMap::new();
        let proxy = Proxy { url: &Url::default(), no_proxy: "", from_environment: true, connect_header: &none };
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| format!("cannot start the runtime: {e}"))?;
        let connection = Connection::of_streams(&tls, &proxy, false, None).map_err(|e| e.to_string())?;
        let mut headers = HeaderMap::new();
        // Without it, Loki counts structured metadata among the labels of a stream.
        let flags = HeaderName::from_static("x-loki-response-encoding-flags");
        headers.insert(flags, HeaderValue::from_static("categorize-labels"));
        if !access.tenant.is_empty() {
            let tenant = header_value(&access.tenant).ok_or("the tenant has characters that are not allowed")?;
            headers.insert(HeaderName::from_static("x-scope-orgid"), tenant);
        }
        Ok(Self { runtime, connection, auth, headers, url: parse_url(&url)?, timeout: access.timeout })
    }

    /// One request. The flag says whether another one may succeed.
    async fn request(&self, url: &ParsedUrl) -> Result<Vec<u8>, (Failure, bool)> {
        let because = |why: String| (Failure::Because(why), true);
        let (credential, _) = self.auth.credential().await.map_err(because)?;
        let answer = self.connection.get(url, self.headers.clone(), credential).await.map_err(because)?;
        let status = answer.status();
        let length = answer.headers().get("content-length").and_then(|value| value.to_str().ok()?.parse().ok());
        let is_too_long = |length: u64| length > LONGEST as u64;
        if status == 200 && length.is_some_and(is_too_long) {
            return Err((Failure::TooLong, false));
        }
        let body = read(answer).await?;
        match status {
            200 => Ok(body),
            _ => {
                let text: String = String::from_utf8_lossy(&body).chars().take(300).collect();
                let why = format!("Loki answers with {status}: {}", text.trim());
                Err((Failure::Because(why), matches!(status, 429 | 500..)))
            }
        }
    }

    async fn ask(&self, url: &ParsedUrl) -> Result<Vec<u8>, Failure> {
        let mut attempt = 1;
        loop {
            let outcome = tokio::time::timeout(self.timeout, self.request(url)).await;
            let late = |_| Err((Failure::Because(format!("no answer within {} s", self.timeout.as_secs())), true));
            match outcome.unwrap_or_else(late) {
                Ok(body) => return Ok(body),
                Err((failure, may_pass)) if !may_pass || attempt == ATTEMPTS => return Err(failure),
                Err(_) => {}
            }
            tokio::time::sleep(Duration::from_millis(250) * 4u32.pow(attempt - 1)).await;
            attempt += 1;
        }
    }
}

async fn read(mut answer: crate::http_client::Stream) -> Result<Vec<u8>, (Failure, bool)> {
    let mut body = Vec::new();
    while let Some(piece) = answer.next().await.map_err(|why| (Failure::Because(why), true))? {
        if body.len() + piece.len() > LONGEST {
            return Err((Failure::TooLong, false));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

impl Ask for Loki {
    fn ask(&self, query: &Query) -> Result<Vec<u8>, Failure> {
        let mut url = self.url.clone();
        url.query_pairs_mut()
            .append_pair("query", &query.logql)
            .append_pair("start", &query.range.start.to_string())
            .append_pair("end", &query.range.end.to_string())
            .append_pair("limit", &query.limit.to_string())
            .append_pair("direction", "forward");
        self.runtime.block_on(self.ask(&url))
    }
}
