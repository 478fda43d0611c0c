//! Requests to Docker's API. `api.rs` has the forms of its answers.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::config::Config;
use crate::http_client::{Auth, Connection, HeaderMap, HeaderReader, HttpHeaders, ParsedUrl, Stream};
use crate::model::{ConfigError, bounded};

/// The longest wait for the start of an answer, and for a whole list.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The largest list in bytes. A list has about 2 KiB for each container.
const LARGEST: usize = 64 << 20;

/// The most bytes of memory that a parsed list may take. Anybody's image has labels, and becomes a container.
const MEMORY: usize = 48 << 20;

/// The same for the lists of a swarm, which say more of each service and task than is read.
const MEMORY_OF_SWARM: usize = 128 << 20;

/// The most bytes to read of the text of a refusal.
const REFUSAL: usize = 16 << 10;

#[derive(Debug)]
pub(super) struct Engine {
    connection: Connection,
    base: ParsedUrl,
    auth: Auth,
    headers: HeaderReader,
    unix: Option<PathBuf>,
}

/// Why a request has no usable answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Docker answered with this status.
    Refused { status: u16, text: String },
    /// There is no answer, or it cannot be understood.
    NoAnswer(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Refused { status: 403, text } => {
                write!(f, "status 403: {text}; a proxy of the socket must allow it")
            }
            Failure::Refused { status, text } => write!(f, "status {status}: {text}"),
            Failure::NoAnswer(text) => f.write_str(text),
        }
    }
}

impl Engine {
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        Self::with_headers(config, &HttpHeaders::new())
    }

    pub fn with_headers(config: &Config, headers: &HttpHeaders) -> Result<Self, ConfigError> {
        let socket = config.socket();
        Ok(Self {
            connection: Connection::of_streams(
                &config.tls(),
                &config.proxy(),
                config.follow_redirects,
                socket.as_deref(),
            )?,
            base: config.address()?,
            auth: Auth::new(&config.credentials(), TIMEOUT)?,
            headers: HeaderReader::new(headers)?,
            unix: socket,
        })
    }

    /// A whole answer.
    pub async fn json<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T, Failure> {
        let get = async {
            let body = self.get(path, query).await?.whole(LARGEST).await.map_err(Failure::NoAnswer)?;
            let memory = if matches!(path, "/services" | "/tasks" | "/nodes") { MEMORY_OF_SWARM } else { MEMORY };
            bounded::json(&body, memory).map_err(|e| Failure::NoAnswer(format!("cannot understand the answer: {e}")))
        };
        tokio::time::timeout(TIMEOUT, get).await.unwrap_or_else(|_| Err(too_late()))
    }

    /// An answer that may have no end.
    pub async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Stream, Failure> {
        self.ask(path, query, false).await
    }

    /// An answer that may have no end, in large pieces if possible. True: it ends when the connection is closed, so an answer
    /// that breaks off looks like one that has ended.
    pub async fn get_in_large_pieces(&self, path: &str, query: &[(&str, &str)]) -> Result<(Stream, bool), Failure> {
        // With TLS, the connection may have HTTP/2.
        let until_close = self.base.scheme() == "http";
        Ok((self.ask(path, query, until_close).await?, until_close))
    }

    async fn ask(&self, path: &str, query: &[(&str, &str)], until_close: bool) -> Result<Stream, Failure> {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        url.query_pairs_mut().extend_pairs(query);
        let (credential, token) = self.auth.credential().await.map_err(Failure::NoAnswer)?;
        let mut headers = HeaderMap::new();
        self.headers.add_to(&mut headers).map_err(Failure::NoAnswer)?;
        let get = async {
            match until_close {
                true => self.connection.get_until_close(&url, headers, credential).await,
                false => self.connection.get(&url, headers, credential).await,
            }
        };
        let answer =
            tokio::time::timeout(TIMEOUT, get).await.map_err(|_| too_late())?.map_err(|text| self.no_answer(text))?;
        match answer.status() {
            200..300 => Ok(answer),
            status => {
                if status == 401 {
                    self.auth.refused(token);
                }
                let text = tokio::time::timeout(TIMEOUT, answer.whole(REFUSAL)).await;
                let text = text.ok().and_then(Result::ok).unwrap_or_default();
                Err(Failure::Refused { status, text: message(&text) })
            }
        }
    }

    /// Adds advice for the user.
    fn no_answer(&self, text: String) -> Failure {
        let Some(socket) = &self.unix else {
            return Failure::NoAnswer(text);
        };
        let socket = socket.display();
        let problem = if text.contains("(os error 2)") {
            format!(
                "there is no socket {socket}: start Docker, or mount the socket of the node there (read-only is enough)"
            )
        } else if text.contains("(os error 13)") {
            format!(
                "no permission for the socket {socket}: run the agent as root, or add its user to the group that owns the \
                 socket (group_add in a compose file)"
            )
        } else if text.contains("(os error 111)") {
            format!(
                "nobody listens at the socket {socket}: start Docker; if Docker was restarted, mount the folder of the \
                     socket and not the socket alone"
            )
        } else {
            text
        };
        Failure::NoAnswer(problem)
    }
}

fn too_late() -> Failure {
    Failure::NoAnswer(format!("no answer within {} s", TIMEOUT.as_secs()))
}

/// Docker explains a refusal as `{"message": "…"}`.
fn message(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Refusal {
        message: String,
    }
    let text = match serde_json::from_slice::<Refusal>(body) {
        Ok(refusal) => refusal.message,
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    text.trim().chars().take(300).collect()
}
