//! Where Consul is, and with which password or token it is asked.

use crate::discovery::http_settings::{HttpClient, HttpSettings};
use crate::http_client::{BasicAuth, ParsedUrl, Url, check_url, parse_url};
use crate::model::ConfigError;
use crate::model::units::Secret;

/// The URL of a `server` with its `scheme`. `server` may begin with a scheme itself: HTTPS then applies, as in Consul.
pub(super) fn base(server: &str, scheme: &str, path_prefix: &str) -> Result<ParsedUrl, ConfigError> {
    let (scheme, server) = match server.split_once("://") {
        Some(("http", server)) => (scheme, server),
        Some(("https", server)) => ("https", server),
        Some(_) => return Err(ConfigError::new("server", "must be host:port: only http and https are supported")),
        None => (scheme, server),
    };
    if server.is_empty() || server.contains(['/', '?', '#', '@']) {
        return Err(ConfigError::new("server", "must be host:port, for instance localhost:8500"));
    }
    if !matches!(scheme, "http" | "https") {
        return Err(ConfigError::new("scheme", format!("must be http or https, not {scheme:?}")));
    }
    let prefix = path_prefix.trim_matches('/');
    let url = Url::new(format!("{scheme}://{server}/{prefix}"));
    check_url(&url).and_then(|()| parse_url(&url)).map_err(|problem| ConfigError::new("server", problem))
}

/// The credentials of Consul's own keys.
#[derive(Clone, Copy, Debug)]
pub(super) struct Access<'a> {
    pub username: &'a str,
    pub password: &'a Secret,
    pub token: &'a Secret,
}

impl Access<'_> {
    pub fn validate(&self, http: &HttpSettings<'_>) -> Result<(), ConfigError> {
        let has_user = !self.username.is_empty() || !self.password.is_empty();
        let credentials = &http.credentials;
        if has_user && credentials.are_set() {
            let problem = "cannot be set together with basic_auth, authorization, oauth2 or bearer_token";
            return Err(ConfigError::new("username", problem));
        }
        if !self.token.is_empty() && credentials.are_set() && credentials.basic_auth.is_none() {
            let problem = "cannot be set together with authorization, oauth2 or bearer_token";
            return Err(ConfigError::new("token", problem));
        }
        http.validate()
    }

    pub fn client(&self, http: HttpSettings<'_>) -> Result<HttpClient, ConfigError> {
        let user =
            BasicAuth { username: self.username.to_string(), password: self.password.clone(), ..BasicAuth::default() };
        let mut http: HttpSettings<'_> = http;
        if !self.username.is_empty() {
            http.credentials.basic_auth = Some(&user);
        }
        http.client()
    }
}

/// The headers of a request.
pub(super) fn token_header(token: &Secret) -> Vec<(&'static str, &str)> {
    if token.is_empty() { Vec::new() } else { vec![("x-consul-token", token.expose())] }
}
