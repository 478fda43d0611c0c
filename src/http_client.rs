//! HTTP requests to one server, with TLS, credentials and a proxy. Only this module uses reqwest.

mod answer;
mod auth;
mod connection;
mod error;
mod failure;
mod headers;
mod oauth2;
mod proxy;
mod secret;
mod stream;
mod tls;
mod url;

use http::Uri;

pub use reqwest::Url as ParsedUrl;
pub use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

pub use answer::Answer;
pub use auth::{Auth, Authorization, BasicAuth, Credentials};
pub use connection::Connection;
pub use error::{Error, exclusive, refuse_refs};
pub use headers::{Header, HeaderReader, HttpHeaders, header_pair, validate_headers};
pub use oauth2::OAuth2;
pub use proxy::Proxy;
pub use secret::{SecretReader, read_file};
pub use stream::Stream;
pub use tls::Config as TlsConfig;
pub use url::Url;

pub fn check_url(url: &Url) -> Result<(), String> {
    parse_url(url).map(|_| ())
}

pub fn parse_url(url: &Url) -> Result<ParsedUrl, String> {
    let hint = match url.may_hide_a_password() {
        true => ". In a user or password, write / as %2F, # as %23, ? as %3F and @ as %40",
        false => "",
    };
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("{:?} is not a URL that starts with http:// or https://{hint}", url.redacted()));
    }
    let parsed = ParsedUrl::parse(url.expose());
    // A URL may have characters that a request cannot have, for instance in `http://${HOST}/`.
    if parsed.as_ref().is_ok_and(|parsed| parsed.as_str().parse::<Uri>().is_err()) {
        return Err(format!("{:?} is not a URL: it has a character that no request can have{hint}", url.redacted()));
    }
    // With such a password, a part of it may be read as the host.
    match parsed {
        Ok(parsed) if !url.may_hide_a_password() || url.has_user() || parsed.username().is_empty() => Ok(parsed),
        Ok(_) => Err(format!("{:?} is not a URL{hint}", url.redacted())),
        Err(error) => Err(format!("{:?} is not a URL: {error}{hint}", url.redacted())),
    }
}

/// Encodes fields as `application/x-www-form-urlencoded`.
fn form(fields: &[(&str, &str)]) -> String {
    let mut url = ParsedUrl::parse("http://form").expect("a constant URL");
    url.query_pairs_mut().extend_pairs(fields);
    url.query().unwrap_or_default().to_string()
}

/// A header value that is never logged. None: `text` cannot be a header value.
pub fn header_value(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_bytes(text.as_bytes()).ok()?;
    value.set_sensitive(true);
    Some(value)
}
