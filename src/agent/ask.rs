//! Asks the HTTP server of a running agent, for commands of the command line.

use std::collections::BTreeMap;
use std::time::Duration;

use super::runtime;
use crate::http_client::{Auth, Connection, Proxy, TlsConfig, Url, parse_url};

/// The longest answer in bytes.
const LONGEST: usize = 64 << 20;

/// The answer of the server.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

/// Sends a GET request. Certificates are not verified: the agent is usually on the same host, under another name than that
/// of its certificate.
pub fn ask(url: &str, query: &[(&str, &str)], within: Duration) -> Result<Answer, String> {
    let url = Url::new(url);
    let mut parsed = parse_url(&url)?;
    if !query.is_empty() {
        parsed.query_pairs_mut().extend_pairs(query);
    }
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = runtime().map_err(|e| format!("cannot start the runtime: {e}"))?;
    let none = BTreeMap::new();
    let proxy = Proxy { url: &Url::default(), no_proxy: "", from_environment: false, connect_header: &none };
    let tls = TlsConfig { insecure_skip_verify: true, ..TlsConfig::default() };
    let asked = async {
        let connection = Connection::of_streams(&tls, &proxy, false, None).map_err(|e| e.to_string())?;
        let (credential, _) = Auth::None.credential().await?;
        let answer = connection.get(&parsed, credential).await?;
        let status = answer.status();
        let body = String::from_utf8_lossy(&answer.whole(LONGEST).await?).into_owned();
        Ok::<_, String>(Answer { status, body })
    };
    let answer = runtime.block_on(async { tokio::time::timeout(within, asked).await });
    runtime.shutdown_timeout(Duration::from_millis(100));
    let place = url.redacted();
    match answer {
        Ok(answer) => answer.map_err(|why| format!("{place}: {why}")),
        Err(_) => Err(format!("{place}: no answer within {} s", within.as_secs())),
    }
}
