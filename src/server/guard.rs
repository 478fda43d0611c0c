//! Checks for each request: password, `http_pages` and host name. Adds the security headers to each answer.
//!
//! A web page whose host name is made to resolve to this address (DNS rebinding) could read the pages through a
//! visitor's browser. Such a request has a host name, so IP addresses are always allowed, and host names must be known.
//! Without that, it could still send requests, whose answers it does not see: those that change something must come from a page
//! of this server, or from no browser.

use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{
    AUTHORIZATION, CONTENT_SECURITY_POLICY, HOST, ORIGIN, REFERER, RETRY_AFTER, USER_AGENT, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
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

const LINK: &str = "a browser may not request this with GET: a page of another site could do so; use curl, or POST\n";

const OTHER_SITE: &str = "a page of another site may not request this\n";

/// Where a browser's request comes from.
const FETCH_SITE: &str = "sec-fetch-site";

const UNKNOWN: &str = "user and password are required\n";

const MANY: &str = "too many password checks: try again in a few seconds\n";

pub(super) struct Guard {
    access: Arc<Access>,
    pages: Pages,
    /// In lower case, without port.
    names: Vec<String>,
    /// The host of `external_url` with its port, unless it is that of the scheme, in lower case. Empty: there is none.
    external: String,
    /// The path that loads the config again.
    reload: String,
    /// Paths for probes and scrapes, which may use any host name. These paths show no labels of pods.
    open: Vec<String>,
}

impl Guard {
    pub(super) fn new(config: &Config, access: Arc<Access>) -> Self {
        let mut names = vec!["localhost".to_string(), config.http_listen_address.clone()];
        // The name of the pod, or of the node.
        names.extend(std::fs::read_to_string("/proc/sys/kernel/hostname").ok());
        let external = config.external_url.split_once("://").map(|(_, rest)| rest.to_string());
        names.extend(external.clone());
        names.extend(config.http_allowed_hosts.iter().cloned());
        let plain = |name: &String| host_of(name.trim().split('/').next().unwrap_or("")).to_lowercase();
        let names = names.iter().map(plain).filter(|name| !name.is_empty()).collect();
        let prefix = config.prefix();
        let open = ["/ready", "/-/healthy", "/metrics"].map(|path| format!("{prefix}{path}")).into();
        let external = authority_of(&config.external_url);
        Self { access, pages: config.pages(), names, external, reload: format!("{prefix}/reload"), open }
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
        let (path, headers) = (request.uri().path(), request.headers());
        // As in Promtail, any method reloads.
        let changes = !request.method().is_safe() || path == self.reload;
        let is_link = changes && request.method().is_safe() && is_from_nowhere(headers);
        let refusal = self.refuses(peer, path, headers.get(HOST));
        let other_site = || (changes && is_of_another_site(headers, &self.external)).then_some(OTHER_SITE);
        match refusal.or_else(other_site).or_else(|| is_link.then_some(LINK)) {
            None => next.run(request).await,
            Some(why) => (StatusCode::FORBIDDEN, why).into_response(),
        }
    }
}

/// Whether a browser sends the request for a page of another site, whose visitor may be allowed more than that site is.
/// Programs that are no browsers send neither header. `external` is the host and port of this server's pages as browsers know
/// them, in lower case, or empty.
fn is_of_another_site(headers: &HeaderMap, external: &str) -> bool {
    // A proxy may change the host, but not this.
    if let Some(site) = headers.get(FETCH_SITE) {
        return site != "same-origin" && site != "none";
    }
    // Browsers send that header only to addresses with TLS and to this machine. With GET they may send no origin.
    let Some(origin) = headers.get(ORIGIN).or(headers.get(REFERER)) else {
        return false;
    };
    let text = |value: &HeaderValue| value.to_str().unwrap_or("").to_lowercase();
    let (origin, host) = (text(origin), headers.get(HOST).map(text).unwrap_or_default());
    // It may be `null`.
    let authority = origin.split_once("://").map_or("", |(_, rest)| rest.split('/').next().unwrap_or(""));
    let is_external = !external.is_empty() && authority == external;
    authority.is_empty() || authority != host && !is_external
}

/// Whether a browser sends a request and does not say for which page: without TLS, pages of other sites can do that with GET.
fn is_from_nowhere(headers: &HeaderMap) -> bool {
    let is_browser = headers.get(USER_AGENT).is_some_and(|agent| agent.as_bytes().starts_with(b"Mozilla/"));
    is_browser && [FETCH_SITE, "origin", "referer"].iter().all(|name| !headers.contains_key(*name))
}

/// The host and port of a URL, in lower case, without the port of its scheme, as browsers write it.
fn authority_of(url: &str) -> String {
    let Some((scheme, rest)) = url.trim().split_once("://") else { return String::new() };
    let authority = rest.split('/').next().unwrap_or_default().to_lowercase();
    let usual = if scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
    authority.strip_suffix(usual).unwrap_or(&authority).to_string()
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

/// For the port of a receiver, which has no pages: checks the password, and that no web page sends the lines. A browser on this
/// machine or in this network would send what any site tells it to.
pub(super) async fn receiver(
    State(access): State<Arc<Access>>,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Response {
    if let Some(refusal) = unknown(&access, peer, request.headers().get(AUTHORIZATION).cloned()).await {
        return refusal;
    }
    match !request.method().is_safe() && is_of_another_site(request.headers(), "") {
        true => (StatusCode::FORBIDDEN, OTHER_SITE).into_response(),
        false => next.run(request).await,
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

    #[test]
    fn pages_of_other_sites_may_change_nothing() {
        let guard = guard_of("external_url: https://logs.example:8443/fantail");
        assert_eq!(guard.external, "logs.example:8443");
        assert_eq!(authority_of("https://Logs.example:443/a"), "logs.example");
        assert_eq!(authority_of("http://[fe80::1]:8080"), "[fe80::1]:8080");
        for (header, value, is_other) in [
            ("sec-fetch-site", "same-origin", false),
            ("sec-fetch-site", "none", false),
            ("sec-fetch-site", "cross-site", true),
            ("sec-fetch-site", "same-site", true),
            ("origin", "http://Node-1:3101", false),
            ("origin", "https://logs.example:8443", false),
            ("origin", "https://logs.example:9999", true),
            ("origin", "http://node-1:3102", true),
            ("origin", "http://node-1", true),
            ("origin", "http://evil.example", true),
            ("origin", "http://logs.example.evil.example:8443", true),
            ("origin", "null", true),
            ("origin", "", true),
            ("referer", "http://node-1:3101/config?q=1", false),
            ("referer", "http://evil.example/node-1:3101", true),
            ("user-agent", "curl/8", false),
        ] {
            let headers = [("host", "node-1:3101"), (header, value)].map(|(name, value)| {
                (name.parse::<axum::http::HeaderName>().expect("a name"), HeaderValue::from_static(value))
            });
            assert_eq!(
                is_of_another_site(&HeaderMap::from_iter(headers), &guard.external),
                is_other,
                "{header}: {value}"
            );
        }
    }

    #[test]
    fn a_browser_says_for_which_page_it_reloads() {
        let headers = |pairs: &[(&'static str, &'static str)]| {
            HeaderMap::from_iter(pairs.iter().map(|(name, value)| {
                (name.parse::<axum::http::HeaderName>().expect("a name"), HeaderValue::from_static(value))
            }))
        };
        let browser = ("user-agent", "Mozilla/5.0 (X11)");
        for (pairs, is_from_nowhere) in [
            (&[browser][..], true),
            (&[browser, ("sec-fetch-site", "none")], false),
            (&[browser, ("origin", "http://node-1:3101")], false),
            (&[browser, ("referer", "http://node-1:3101/")], false),
            (&[("user-agent", "curl/8.5")], false),
            (&[], false),
        ] {
            assert_eq!(super::is_from_nowhere(&headers(pairs)), is_from_nowhere, "{pairs:?}");
        }
        // A proxy in front may have changed the host.
        let proxied = [("host", "10.0.0.7:3101"), ("sec-fetch-site", "same-origin"), ("origin", "https://ops.example")];
        assert!(!is_of_another_site(&headers(&proxied), ""));
    }
}
