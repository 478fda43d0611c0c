//! Checks for each request: password, `http_pages` and host name. Adds the security headers to each answer.
//!
//! A web page whose host name is made to resolve to this address (DNS rebinding) could read the pages through a
//! visitor's browser. Such a request has a host name, so IP addresses are always allowed, and host names must be known.

use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{
    AUTHORIZATION, CONTENT_SECURITY_POLICY, HOST, RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::IpAddr;
use std::sync::Arc;

use super::Config;
use super::access::Access;
use super::access::users::Verdict;
use super::config::Pages;
use super::connections::Peer;

/// No scripts, and nothing from other sites. A second protection after escaping.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'";

const REFUSED: &str = "this host name is not known: use an IP address or localhost, or add the name to \
                       server.http_allowed_hosts\n";

const FROM_ELSEWHERE: &str = "server.http_pages is loopback, so only /ready, /-/healthy and /metrics are available here: \
                              use `kubectl port-forward` to this pod for the other pages\n";

const UNKNOWN: &str = "user and password are required\n";

const MANY: &str = "too many password checks: try again in a few seconds\n";

pub(super) struct Guard {
    access: Arc<Access>,
    pages: Pages,
    /// In lower case, without port.
    names: Vec<String>,
    /// Paths for probes and scrapes, which may use any host name. These paths show no labels of pods.
    open: Vec<String>,
}

impl Guard {
    pub(super) fn new(config: &Config, access: Arc<Access>) -> Self {
        let mut names = vec!["localhost".to_string(), config.http_listen_address.clone()];
        // The name of the pod, or of the node.
        names.extend(std::fs::read_to_string("/proc/sys/kernel/hostname").ok());
        names.extend(config.external_url.split_once("://").map(|(_, rest)| rest.to_string()));
        names.extend(config.http_allowed_hosts.iter().cloned());
        let plain = |name: &String| host_of(name.trim().split('/').next().unwrap_or("")).to_lowercase();
        let names = names.iter().map(plain).filter(|name| !name.is_empty()).collect();
        let prefix = config.prefix();
        let open = ["/ready", "/-/healthy", "/metrics"].map(|path| format!("{prefix}{path}")).into();
        Self { access, pages: config.pages(), names, open }
    }

    /// Why a request is refused. Headers of a proxy about its client are ignored.
    fn refuses(&self, peer: IpAddr, path: &str, host: Option<&HeaderValue>) -> Option<&'static str> {
        if self.open.iter().any(|open| open == path) {
            return None;
        }
        if self.pages == Pages::Loopback && !peer.is_loopback() {
            return Some(FROM_ELSEWHERE);
        }
        // Browsers always send the host name.
        let host = host_of(host?.to_str().unwrap_or("")).to_lowercase();
        (host.parse::<IpAddr>().is_err() && !self.names.contains(&host)).then_some(REFUSED)
    }

    async fn answer(&self, peer: IpAddr, request: Request, next: Next) -> Response {
        if let Some(refusal) = unknown(&self.access, peer, request.headers().get(AUTHORIZATION).cloned()).await {
            return refusal;
        }
        match self.refuses(peer, request.uri().path(), request.headers().get(HOST)) {
            None => next.run(request).await,
            Some(why) => (StatusCode::FORBIDDEN, why).into_response(),
        }
    }
}

/// The answer to a request without a correct password, if a password is required. As in Prometheus' exporters, this
/// applies to all paths, also probes and metrics.
async fn unknown(access: &Access, peer: IpAddr, authorization: Option<HeaderValue>) -> Option<Response> {
    // Read with each request, so that open connections must know a changed password.
    let door = access.now();
    let verdict = match &door.users {
        Some(users) => users.check(peer, authorization.as_ref().map(HeaderValue::as_bytes)).await,
        None => Verdict::Right,
    };
    match verdict {
        Verdict::Right => None,
        Verdict::Wrong => {
            let ask = [(WWW_AUTHENTICATE, "Basic")];
            Some((StatusCode::UNAUTHORIZED, ask, UNKNOWN).into_response())
        }
        Verdict::Later => Some((StatusCode::TOO_MANY_REQUESTS, [(RETRY_AFTER, "5")], MANY).into_response()),
    }
}

/// For a server without pages: only checks the password.
pub(super) async fn password(
    State(access): State<Arc<Access>>,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Response {
    match unknown(&access, peer, request.headers().get(AUTHORIZATION).cloned()).await {
        Some(refusal) => refusal,
        None => next.run(request).await,
    }
}

/// Without port, brackets and the final dot.
fn host_of(authority: &str) -> &str {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(""),
        None if authority.matches(':').count() > 1 => authority,
        None => authority.split(':').next().unwrap_or(""),
    };
    host.strip_suffix('.').unwrap_or(host)
}

pub(super) async fn guard(
    State(guard): State<Arc<Guard>>,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = guard.answer(peer, request, next).await;
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // The page with a script of its own has its own policy.
    headers.entry(CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(POLICY));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard_of(config: &str) -> Guard {
        let config = crate::yaml::from_str(config).expect("a config");
        Guard::new(&config, Arc::new(Access::open(&config, "server").expect("nothing to read")))
    }

    #[test]
    fn pages_may_be_for_loopback_only() {
        let host = HeaderValue::from_static("10.0.0.7:3101");
        for (config, peer, path, seen) in [
            ("http_pages: loopback", "10.0.0.1", "/metrics", true),
            ("http_pages: loopback", "10.0.0.1", "/ready", true),
            ("http_pages: loopback", "10.0.0.1", "/-/healthy", true),
            ("http_pages: loopback", "10.0.0.1", "/targets", false),
            ("http_pages: loopback", "10.0.0.1", "/", false),
            ("http_pages: loopback", "10.0.0.1", "/metrics/", false),
            ("http_pages: loopback", "10.0.0.1", "//metrics/../config", false),
            ("http_pages: loopback", "fe80::1", "/config", false),
            ("http_pages: loopback", "127.0.0.1", "/config", true),
            ("http_pages: loopback", "127.8.8.8", "/config", true),
            ("http_pages: loopback", "::1", "/service-discovery", true),
            ("http_pages: loopback\nhttp_path_prefix: a", "10.0.0.1", "/a/metrics", true),
            ("http_pages: loopback\nhttp_path_prefix: a", "10.0.0.1", "/metrics", false),
            ("http_pages: all", "10.0.0.1", "/config", true),
            ("http_pages:", "10.0.0.1", "/config", true),
        ] {
            let refused = guard_of(config).refuses(peer.parse().expect("an address"), path, Some(&host));
            assert_eq!(refused.is_none(), seen, "{config} {peer} {path}: {refused:?}");
        }
    }

    #[test]
    fn addresses_and_known_names_are_let_in() {
        let config = "external_url: https://Logs.example:8443/a\nhttp_allowed_hosts: [agent.corp, 'x.corp:3101']";
        let guard = guard_of(config);
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
            let refused = guard.refuses([10, 0, 0, 1].into(), path, Some(&HeaderValue::from_static(host)));
            assert_eq!(refused.is_none(), let_in, "{host} {path}");
        }
    }
}
