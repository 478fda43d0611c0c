//! HTTP calls that wait for their answer, so that tests read top-down.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use reqwest::{Certificate, Client, RequestBuilder, Url};
use tokio::runtime::Runtime;

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// A client for plain HTTP, or for HTTPS with the certificates in `ca` and no others.
pub(crate) fn client(ca: Option<&Path>) -> Client {
    rustls::crypto::ring::default_provider().install_default().ok();
    let certificates = ca.map_or(Vec::new(), |path| {
        let pem = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Certificate::from_pem_bundle(&pem).expect("a server writes its own certificate")
    });
    Client::builder()
        .tls_certs_only(certificates)
        .no_proxy()
        // Servers start and stop during these tests, so no connection is used for a second call.
        .pool_max_idle_per_host(0)
        .timeout(Duration::from_secs(30))
        .build()
        .expect("a client of constants")
}

/// `Err`: why there was no answer.
pub(crate) fn send(request: RequestBuilder) -> Result<Answer, String> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| Runtime::new().expect("a runtime starts"));
    runtime.block_on(async {
        let response = request.send().await.map_err(chain)?;
        let status = response.status().as_u16();
        let body = response.text().await.map_err(chain)?;
        Ok(Answer { status, body })
    })
}

pub(crate) fn url(base: &str, parameters: &[(&str, &str)]) -> Url {
    Url::parse_with_params(base, parameters).expect("a URL of the test's own")
}

/// reqwest has the cause of an error in the chain of `source()`.
fn chain(error: reqwest::Error) -> String {
    let mut said = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(inner) = source {
        said = format!("{said}: {inner}");
        source = inner.source();
    }
    said
}
