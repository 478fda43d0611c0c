//! Connections to one server, with its certificates and its proxy.

use std::fmt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::answer::{Answer, read};
use super::error::Error;
use super::failure::in_words;
use super::proxy::Proxy;
use super::stream::Stream;
use super::tls;
use super::{HeaderMap, HeaderValue, ParsedUrl};
use crate::model::units::Secret;

const USER_AGENT: &str = concat!("fantail/", env!("CARGO_PKG_VERSION"));

/// How often certificate files are checked for changes.
const CERTIFICATES_PERIOD: Duration = Duration::from_secs(60);

/// How long to wait for a connection for an answer without end.
const CONNECT: Duration = Duration::from_secs(10);

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
    /// For a request with its answer. None: an answer may have no end.
    timeout: Option<Duration>,
    /// All requests are GET requests.
    only_reads: bool,
    /// The Unix socket that all requests go to.
    socket: Option<std::path::PathBuf>,
    follow_redirects: bool,
    use_environment: bool,
    proxy: Option<reqwest::Proxy>,
}

impl Connection {
    pub fn new(tls: &tls::Config, proxy: &Proxy<'_>, follow_redirects: bool, timeout: Duration) -> Result<Self, Error> {
        Self::with(tls, proxy, follow_redirects, Some(timeout), None)
    }

    /// For [`get`](Self::get). With a socket, the host of a URL has no meaning.
    pub fn of_streams(
        tls: &tls::Config,
        proxy: &Proxy<'_>,
        follow_redirects: bool,
        socket: Option<&Path>,
    ) -> Result<Self, Error> {
        Self::with(tls, proxy, follow_redirects, None, socket)
    }

    fn with(
        tls: &tls::Config,
        proxy: &Proxy<'_>,
        follow_redirects: bool,
        timeout: Option<Duration>,
        socket: Option<&Path>,
    ) -> Result<Self, Error> {
        let (use_environment, proxy, socket) = (proxy.from_environment, proxy.build()?, socket.map(Path::to_path_buf));
        // Only `of_streams` has no timeout.
        let only_reads = timeout.is_none();
        let make = Make { timeout, only_reads, socket, follow_redirects, use_environment, proxy };
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
        let request = with(self.client().post(url.clone()), credential);
        let answer = match request.headers(headers).body(body).send().await {
            Ok(response) => read(response).await,
            Err(error) => Err(error),
        };
        answer.map_err(|error| self.failed(error))
    }

    /// Fails with the reason why there is no answer. Waits for its beginning without limit.
    pub async fn get(&self, url: &ParsedUrl, headers: HeaderMap, credential: Credential) -> Result<Stream, String> {
        let request = with(self.client().get(url.clone()), credential).headers(headers);
        request.send().await.map(Stream::new).map_err(|error| self.failed(error))
    }

    /// Like [`get`](Self::get), with HTTP/1.0: the answer ends with the connection. So the server sends no chunks, each
    /// of which would be a piece of its own. But an answer that breaks off looks like one that has ended.
    pub async fn get_until_close(
        &self,
        url: &ParsedUrl,
        headers: HeaderMap,
        credential: Credential,
    ) -> Result<Stream, String> {
        let request = with(self.client().get(url.clone()), credential).headers(headers);
        let answer = request.version(reqwest::Version::HTTP_10).send().await;
        answer.map(Stream::new).map_err(|error| self.failed(error))
    }

    fn failed(&self, error: reqwest::Error) -> String {
        // The certificates may be outdated, so they are checked before the next request.
        self.lock().looked = Instant::now().checked_sub(CERTIFICATES_PERIOD).unwrap_or_else(Instant::now);
        in_words(error)
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

fn with(request: reqwest::RequestBuilder, credential: Credential) -> reqwest::RequestBuilder {
    match credential {
        Credential::None => request,
        Credential::Basic { user, password } => request.basic_auth(user.expose(), Some(password.expose())),
        Credential::Header(value) => request.header("authorization", value),
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
        let (follow, only_reads) = (self.follow_redirects, self.only_reads);
        let mut builder =
            reqwest::Client::builder().tls_backend_preconfigured(tls).http1_only().user_agent(USER_AGENT).redirect(
                reqwest::redirect::Policy::custom(move |attempt| {
                    // Other redirects would turn a push into a GET request.
                    let keeps_method = only_reads || matches!(attempt.status().as_u16(), 307 | 308);
                    match follow && keeps_method {
                        true if attempt.previous().len() > MAX_REDIRECTS => attempt.error("too many redirects"),
                        // The pushed lines and the headers with credentials must only go to the host of the config.
                        true if stays(attempt.previous(), attempt.url()) => attempt.follow(),
                        _ => attempt.stop(),
                    }
                }),
            );
        builder = match self.timeout {
            Some(timeout) => builder.timeout(timeout),
            None => builder.connect_timeout(CONNECT),
        };
        if let Some(socket) = &self.socket {
            builder = builder.unix_socket(socket.as_path());
        }
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
