//! The way to one server over HTTP. The home of reqwest.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
pub(super) use reqwest::Url as ParsedUrl;
pub(super) use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::answer::{Answer, Failure, retry_after};
use super::auth::{Auth, Credential};
use super::config::{Config, Error};
use super::headers::{self, Headers};
use super::tls;
use super::url::Url;
use crate::model::units::Secret;

const USER_AGENT: &str = concat!("fantail/", env!("CARGO_PKG_VERSION"));

/// As much of an answer is read as can matter.
const MAX_ANSWER: usize = 64 << 10;

/// How often certificate files are looked at for new ones.
const CERTIFICATES_PERIOD: Duration = Duration::from_secs(60);

const MAX_REDIRECTS: usize = 10;

/// One Loki: where, as whom, with which headers.
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
        let headers = Headers::new(config)?;
        Ok(Self {
            connection: Connection::new(
                &config.tls_config,
                &config.proxy(),
                config.follow_redirects,
                config.timeout.0,
            )?,
            url: parse_url(&config.url).map_err(|problem| Error::new("url", problem))?,
            auth: if headers.authorize() { Auth::None } else { Auth::new(config)? },
            headers,
        })
    }

    /// Sends a push once.
    pub(super) async fn push(&self, tenant: Option<&str>, body: Bytes) -> Result<Answer, Failure> {
        let tenant = tenant.filter(|tenant| !tenant.is_empty());
        let tenant = tenant.map(|tenant| headers::value(tenant).ok_or(Failure::TenantName)).transpose()?;
        let headers = self.headers.of(tenant).map_err(Failure::NotSent)?;
        let (credential, token) = self.auth.credential().await.map_err(Failure::NotSent)?;
        let answer = self.connection.post(&self.url, headers, credential, body).await.map_err(Failure::Unreachable)?;
        if answer.status == 401 {
            self.auth.refused(token);
        }
        Ok(answer)
    }
}

/// A pool of connections, made anew when the certificates it was made with have changed.
pub(super) struct Connection {
    tls: tls::Config,
    make: Make,
    made: Mutex<Made>,
}

struct Made {
    client: reqwest::Client,
    with: tls::Material,
    looked: Instant,
}

/// What of a connection does not change.
struct Make {
    timeout: Duration,
    follow_redirects: bool,
    use_environment: bool,
    proxy: Option<reqwest::Proxy>,
}

impl Connection {
    pub(super) fn new(
        tls: &tls::Config,
        proxy: &Proxy<'_>,
        follow_redirects: bool,
        timeout: Duration,
    ) -> Result<Self, Error> {
        let make = Make { timeout, follow_redirects, use_environment: proxy.from_environment, proxy: proxy.build()? };
        let with = tls::Material::read(tls).map_err(|e| e.within("tls_config"))?;
        let client = make.client(tls, &with)?;
        Ok(Self { tls: tls.clone(), make, made: Mutex::new(Made { client, with, looked: Instant::now() }) })
    }

    /// Fails with the reason why there is no answer.
    pub(super) async fn post(
        &self,
        url: &ParsedUrl,
        headers: HeaderMap,
        credential: Credential,
        body: Bytes,
    ) -> Result<Answer, String> {
        let mut request = self.client().post(url.clone());
        request = match credential {
            Credential::None => request,
            Credential::Basic { user, password } => request.basic_auth(user.expose(), Some(password.expose())),
            Credential::Header(value) => request.header("authorization", value),
        };
        let answer = match request.headers(headers).body(body).send().await {
            Ok(response) => read(response).await,
            Err(error) => Err(error),
        };
        answer.map_err(|error| {
            // Perhaps it failed because the certificates are old ones: look at the next chance.
            self.lock().looked = Instant::now().checked_sub(CERTIFICATES_PERIOD).unwrap_or_else(Instant::now);
            in_words(error)
        })
    }

    fn client(&self) -> reqwest::Client {
        let mut made = self.lock();
        if made.looked.elapsed() < CERTIFICATES_PERIOD {
            return made.client.clone();
        }
        made.looked = Instant::now();
        // Files that cannot be read or do not go together are most likely being replaced: what works goes on.
        match tls::Material::read(&self.tls) {
            Ok(with) if with == made.with => {}
            Ok(with) => match self.make.client(&self.tls, &with) {
                Ok(client) => {
                    tracing::info!("certificates have changed, connecting anew");
                    made.client = client;
                    made.with = with;
                }
                Err(error) => tracing::warn!(%error, "new certificates cannot be used, going on with the old ones"),
            },
            Err(error) => tracing::warn!(%error, "certificates cannot be read, going on with the old ones"),
        }
        made.client.clone()
    }

    // `Made` is replaced field by field only after everything that can fail.
    fn lock(&self) -> MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("tls", &self.tls).finish_non_exhaustive()
    }
}

impl Make {
    fn client(&self, tls: &tls::Config, with: &tls::Material) -> Result<reqwest::Client, Error> {
        // Set up here from first to last: left to itself reqwest wants the system's CA certificates even for `http://`.
        let tls = with.client_config(tls).map_err(|e| e.within("tls_config"))?;
        let follow = self.follow_redirects;
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .http1_only()
            .user_agent(USER_AGENT)
            .timeout(self.timeout)
            .redirect(reqwest::redirect::Policy::custom(move |attempt| {
                match attempt.status().as_u16() {
                    307 | 308 if follow && attempt.previous().len() > MAX_REDIRECTS => {
                        attempt.error("too many redirects")
                    }
                    // What is pushed, and the headers that say who pushes it, are for the host of the config alone.
                    307 | 308 if follow && stays(attempt.previous(), attempt.url()) => attempt.follow(),
                    // The others would turn the push into a GET, which delivers nothing.
                    _ => attempt.stop(),
                }
            }));
        if !self.use_environment {
            builder = builder.no_proxy();
        }
        if let Some(proxy) = &self.proxy {
            builder = builder.proxy(proxy.clone());
        }
        builder.build().map_err(|e| Error::new("url", format!("cannot set up HTTP: {}", in_words(e))))
    }
}

/// Whether a redirect leads to where the push was meant to go: the same host, and the same port unless it is HTTPS there.
fn stays(previous: &[ParsedUrl], to: &ParsedUrl) -> bool {
    previous.first().is_some_and(|from| {
        let is_upgrade = from.scheme() == "http" && to.scheme() == "https";
        let same_port = from.port_or_known_default() == to.port_or_known_default();
        from.host() == to.host() && (is_upgrade || (from.scheme() == to.scheme() && same_port))
    })
}

/// The proxy settings of a client or of its token server.
#[derive(Debug)]
pub(super) struct Proxy<'a> {
    pub(super) url: &'a Url,
    pub(super) no_proxy: &'a str,
    pub(super) from_environment: bool,
    pub(super) connect_header: &'a BTreeMap<String, Vec<Secret>>,
}

impl Proxy<'_> {
    pub(super) fn validate(&self) -> Result<(), Error> {
        self.build().map(|_| ())
    }

    fn build(&self) -> Result<Option<reqwest::Proxy>, Error> {
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
                    "is supported with proxy_url only; write the proxy there",
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
            let value = headers::value(secret.expose()).ok_or_else(invalid)?;
            headers.append(HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid())?, value);
        }
        Ok(Some(if headers.is_empty() { proxy } else { proxy.headers(headers) }))
    }
}

pub(super) fn check_url(url: &Url) -> Result<(), String> {
    parse_url(url).map(|_| ())
}

pub(super) fn parse_url(url: &Url) -> Result<ParsedUrl, String> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("{:?} is not a URL that begins with http:// or https://", url.redacted()));
    }
    let parsed = ParsedUrl::parse(url.expose()).map_err(|e| format!("{:?} is not a URL: {e}", url.redacted()))?;
    Ok(parsed)
}

/// `application/x-www-form-urlencoded`.
pub(super) fn form(fields: &[(&str, &str)]) -> String {
    let mut url = ParsedUrl::parse("http://form").expect("a constant URL");
    url.query_pairs_mut().extend_pairs(fields);
    url.query().unwrap_or_default().to_string()
}

async fn read(mut response: reqwest::Response) -> reqwest::Result<Answer> {
    let header = |name| response.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let mut answer = Answer {
        status: response.status().as_u16(),
        retry_after: header("retry-after").and_then(|value| retry_after(value, SystemTime::now())),
        is_html: header("content-type").is_some_and(is_html),
        body: String::new(),
    };
    let mut body = Vec::new();
    while body.len() < MAX_ANSWER {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk[..chunk.len().min(MAX_ANSWER - body.len())]),
            Ok(None) => break,
            // The status has said the most of it; but a success that is cut short may be a broken proxy's.
            Err(_) if answer.status >= 300 => break,
            Err(error) => return Err(error),
        }
    }
    answer.body = String::from_utf8_lossy(&body).into_owned();
    // Loki's answers are text or JSON; some proxies send their pages without saying what they are.
    answer.is_html |= answer.body.trim_start_matches('\u{feff}').trim_start().starts_with('<');
    Ok(answer)
}

/// `text/html` or `application/xhtml+xml`, with whatever parameters.
fn is_html(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("text/html") || kind.eq_ignore_ascii_case("application/xhtml+xml")
}

/// The whole chain of causes in a line, without the URL.
fn in_words(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer within timeout".to_string();
    }
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    let mut words = Vec::new();
    while let Some(source) = cause.source() {
        cause = source;
        words.push(cause.to_string());
    }
    // The innermost says it ("connection refused"); the outer ones are about layers.
    let text = words.pop().unwrap_or_else(|| error.to_string());
    let is_refused = io::Error::from_raw_os_error(libc::EACCES).to_string() == text;
    match text {
        text if text.contains("certificate") => format!("{text} (check tls_config: ca_file, server_name)"),
        // The kernel itself gives this answer to no connection.
        text if is_refused => format!(
            "{text}: landlock refuses a port that is in no URL of the config; name it there, or set -security.landlock=false"
        ),
        text => text,
    }
}
