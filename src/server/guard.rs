//! What holds for every answer: headers for browsers, and to which host names the pages answer.
//!
//! A web page whose name is made to point at this address (DNS rebinding) could read the pages through the browser of a
//! visitor. Such a page has a name; so an IP address is always right, and names have to be known.

use axum::extract::{Request, State};
use axum::http::header::{CONTENT_SECURITY_POLICY, HOST, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::IpAddr;
use std::sync::Arc;

use super::Config;

/// No scripts, nothing from elsewhere: the last line behind escaping.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'";

const REFUSED: &str = "the pages do not answer to this host name: use an IP address or localhost, or add the name to \
                       server.http_allowed_hosts\n";

pub(super) struct Guard {
    /// In lower case, without port.
    names: Vec<String>,
    /// Whoever probes or scrapes may come by any name, a service's for instance: there are no labels of pods on these.
    open: Vec<String>,
}

impl Guard {
    pub(super) fn new(config: &Config) -> Self {
        let mut names = vec!["localhost".to_string(), config.http_listen_address.clone()];
        // The pod's name, or the node's.
        names.extend(std::fs::read_to_string("/proc/sys/kernel/hostname").ok());
        names.extend(config.external_url.split_once("://").map(|(_, rest)| rest.to_string()));
        names.extend(config.http_allowed_hosts.iter().cloned());
        let plain = |name: &String| host_of(name.trim().split('/').next().unwrap_or("")).to_lowercase();
        let names = names.iter().map(plain).filter(|name| !name.is_empty()).collect();
        let prefix = config.prefix();
        let open = ["/ready", "/-/healthy", "/metrics"].map(|path| format!("{prefix}{path}")).into();
        Self { names, open }
    }

    fn lets(&self, path: &str, host: Option<&HeaderValue>) -> bool {
        // Every browser says whom it asks.
        let Some(host) = host else { return true };
        if self.open.iter().any(|open| open == path) {
            return true;
        }
        let host = host_of(host.to_str().unwrap_or("")).to_lowercase();
        host.parse::<IpAddr>().is_ok() || self.names.contains(&host)
    }
}

/// Without port, brackets and the dot of the root.
fn host_of(authority: &str) -> &str {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(""),
        None if authority.matches(':').count() > 1 => authority,
        None => authority.split(':').next().unwrap_or(""),
    };
    host.strip_suffix('.').unwrap_or(host)
}

pub(super) async fn guard(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let mut response = match guard.lets(request.uri().path(), request.headers().get(HOST)) {
        true => next.run(request).await,
        false => (StatusCode::FORBIDDEN, REFUSED).into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_known_names_are_let_in() {
        let config = "external_url: https://Logs.example:8443/a\nhttp_allowed_hosts: [agent.corp, 'x.corp:3101']";
        let guard = Guard::new(&serde_yaml::from_str(config).expect("a config"));
        for (host, path, let_in) in [
            ("127.0.0.1:3101", "/config", true),
            ("10.0.0.7", "/config", true),
            ("[::1]:80", "/config", true),
            ("LOCALHOST:80", "/targets", true),
            ("localhost.", "/targets", true),
            ("logs.example", "/targets", true),
            ("agent.corp:1", "/targets", true),
            ("x.corp", "/targets", true),
            ("evil.example", "/targets", false),
            ("localhost.evil.example", "/", false),
            ("127.0.0.1.evil.example:80", "/config", false),
            ("", "/config", false),
            ("fantail.logs.svc:80", "/metrics", true),
            ("evil.example", "/metrics/../config", false),
        ] {
            assert_eq!(guard.lets(path, Some(&HeaderValue::from_static(host))), let_in, "{host} {path}");
        }
    }
}
