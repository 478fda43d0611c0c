//! Connections to one server, with its certificates and its proxy.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::answer::{Answer, read};
use super::error::Error;
use super::failure::in_words;
use super::proxy::Proxy;
use super::tls;
use super::{HeaderMap, HeaderValue, ParsedUrl};
use crate::model::units::Secret;

const USER_AGENT: &str = concat!("fantail/", env!("CARGO_PKG_VERSION"));

/// How often certificate files are checked for changes.
const CERTIFICATES_PERIOD: Duration = Duration::from_secs(60);

const MAX_REDIRECTS: usize = 10;

/// The credentials of one request.
#[derive(Debug)]
pub enum Credential {
    None,
    Basic { user: Secret, password: Secret },
    Header(HeaderValue),
}

/// A pool of connections. It is replaced when its certificates have changed.
pub struct Connection {
    tls: tls::Config,
    make: Make,
    made: Mutex<Made>,
}

struct Made {
    client: reqwest::Client,
    with: tls::Material,
    looked: Instant,
}

/// The settings of a connection that never change.
struct Make {
    timeout: Duration,
    follow_redirects: bool,
    use_environment: bool,
    proxy: Option<reqwest::Proxy>,
}

impl Connection {
    pub fn new(tls: &tls::Config, proxy: &Proxy<'_>, follow_redirects: bool, timeout: Duration) -> Result<Self, Error> {
        let make = Make { timeout, follow_redirects, use_environment: proxy.from_environment, proxy: proxy.build()? };
        let with = tls::Material::read(tls).map_err(|e| e.within("tls_config"))?;
        let client = make.client(tls, &with)?;
        Ok(Self { tls: tls.clone(), make, made: Mutex::new(Made { client, with, looked: Instant::now() }) })
    }

    /// Returns the answer, or the reason why there is none.
    pub async fn post(
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
            // The certificates may be outdated, so they are checked before the next request.
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
        // Files that cannot be read or do not match are probably being replaced. The current connection stays in use.
        match tls::Material::read(&self.tls) {
            Ok(with) if with == made.with => {}
            Ok(with) => match self.make.client(&self.tls, &with) {
                Ok(client) => {
                    tracing::info!("certificates have changed: using them for new connections");
                    made.client = client;
                    made.with = with;
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot use the changed certificates: the previous ones stay in use; check the files in tls_config")
                }
            },
            Err(error) => {
                tracing::warn!(%error, "cannot read the certificate files: the previous certificates stay in use; check the files in tls_config")
            }
        }
        made.client.clone()
    }

    // After a panic the data is consistent: it changes only after everything that can fail.
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
        // TLS is set up here completely, because reqwest alone needs the system's CA certificates even for `http://`.
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
                    // The pushed lines and the headers with credentials must only go to the host of the config.
                    307 | 308 if follow && stays(attempt.previous(), attempt.url()) => attempt.follow(),
                    // Other redirects would turn the push into a GET request.
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

/// Whether a redirect stays at the intended server: the same host, and the same port or a change to HTTPS.
fn stays(previous: &[ParsedUrl], to: &ParsedUrl) -> bool {
    previous.first().is_some_and(|from| {
        let is_upgrade = from.scheme() == "http" && to.scheme() == "https";
        let same_port = from.port_or_known_default() == to.port_or_known_default();
        from.host() == to.host() && (is_upgrade || (from.scheme() == to.scheme() && same_port))
    })
}
