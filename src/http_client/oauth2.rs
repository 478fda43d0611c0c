//! `oauth2`: gets tokens from a token server by the client credentials grant (RFC 6749, section 4.4).

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::answer::Answer;
use super::connection::{Connection, Credential};
use super::error::{Error, exclusive, refuse_refs};
use super::proxy::Proxy;
use super::secret::SecretReader;
use super::tls;
use super::url::Url;
use super::{HeaderMap, HeaderValue, ParsedUrl, check_url, form, parse_url};
use crate::backoff::{Backoff, chance};
use crate::model::units::Secret;

/// A token is renewed this long before it expires, or at half of its lifetime, so that it does not expire during a
/// request.
const MARGIN: Duration = Duration::from_secs(10);
/// The longest lifetime of a token. A server may send any number of seconds, which could overflow the clock.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 3600);

/// The lifetime if the server sends none.
const UNKNOWN_LIFE: Duration = Duration::from_secs(300);

/// The pauses after a failed request for a token.
const BACKOFF: Backoff =
    Backoff { first: Duration::from_secs(1), most: Duration::from_secs(30), most_asked: Duration::ZERO };

/// The minimum time between two renewals because Loki refused a token.
const RENEWAL: Duration = Duration::from_secs(10);

/// `oauth2` of a client.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct OAuth2 {
    pub client_id: String,
    #[serde(skip_serializing_if = "Secret::is_empty")]
    pub client_secret: Secret,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub client_secret_file: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub client_secret_ref: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    pub token_url: Url,
    /// Some servers expect secrets here.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub endpoint_params: BTreeMap<String, Secret>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub grant_type: String,
    // The keys of the jwt-bearer grant. They are refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claims: Option<BTreeMap<String, serde_json::Value>>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub iss: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub audience: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub signature_algorithm: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub client_certificate_key_id: String,
    #[serde(skip_serializing_if = "Secret::is_empty")]
    pub client_certificate_key: Secret,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub client_certificate_key_file: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub client_certificate_key_ref: String,

    pub tls_config: tls::Config,
    #[serde(skip_serializing_if = "Url::is_empty")]
    pub proxy_url: Url,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub no_proxy: String,
    pub proxy_from_environment: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub proxy_connect_header: BTreeMap<String, Vec<Secret>>,
}

impl OAuth2 {
    pub fn validate(&self) -> Result<(), Error> {
        if !matches!(self.grant_type.as_str(), "" | "client_credentials") {
            return Err(Error::new("grant_type", "only client_credentials is supported: use a client secret"));
        }
        let jwt = [
            ("claims", self.claims.is_some()),
            ("iss", !self.iss.is_empty()),
            ("audience", !self.audience.is_empty()),
            ("signature_algorithm", !self.signature_algorithm.is_empty()),
            ("client_certificate_key_id", !self.client_certificate_key_id.is_empty()),
            ("client_certificate_key", !self.client_certificate_key.is_empty()),
            ("client_certificate_key_file", !self.client_certificate_key_file.is_empty()),
            ("client_certificate_key_ref", !self.client_certificate_key_ref.is_empty()),
        ];
        if let Some((key, _)) = jwt.into_iter().find(|(_, set)| *set) {
            return Err(Error::new(
                key,
                "belongs to the jwt-bearer grant, which is not supported: use a client secret",
            ));
        }
        if self.client_id.is_empty() {
            return Err(Error::new("client_id", "is required"));
        }
        refuse_refs([("client_secret_ref", &self.client_secret_ref)])?;
        exclusive("client_secret", !self.client_secret.is_empty(), &self.client_secret_file)?;
        check_url(&self.token_url).map_err(|problem| Error::new("token_url", problem))?;
        self.tls_config.validate().map_err(|e| e.within("tls_config"))?;
        self.proxy().validate()
    }

    /// The tokens of this server. Each is requested when it is needed, and kept until it expires.
    pub(super) fn tokens(&self, timeout: Duration) -> Result<Tokens, Error> {
        let within = |e: Error| e.within("oauth2");
        let url = parse_url(&self.token_url).map_err(|problem| within(Error::new("token_url", problem)))?;
        let mut fields = vec![("grant_type".to_string(), Secret::new("client_credentials"))];
        if !self.scopes.is_empty() {
            fields.push(("scope".to_string(), Secret::new(self.scopes.join(" "))));
        }
        fields.extend(self.endpoint_params.iter().map(|(n, v)| (n.clone(), v.clone())));
        Ok(Tokens {
            connection: Connection::new(&self.tls_config, &self.proxy(), true, timeout).map_err(within)?,
            url,
            fields,
            client_id: self.client_id.clone(),
            secret: SecretReader::new("oauth2.client_secret", self.client_secret.clone(), &self.client_secret_file),
            state: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        })
    }

    fn proxy(&self) -> Proxy<'_> {
        Proxy {
            url: &self.proxy_url,
            no_proxy: &self.no_proxy,
            from_environment: self.proxy_from_environment,
            connect_header: &self.proxy_connect_header,
        }
    }
}

/// The current token, and how to get the next. All lanes share it, so the server gets one request.
#[derive(Debug)]
pub struct Tokens {
    connection: Connection,
    url: ParsedUrl,
    fields: Vec<(String, Secret)>,
    client_id: String,
    secret: SecretReader,
    state: Mutex<State>,
    /// Held during a request to the server. Other tasks wait for its result.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    token: Option<Token>,
    /// The number of tokens so far.
    count: u64,
    failure: Option<Failure>,
    /// Until this time, a token is not replaced because Loki refused it.
    renewal: Option<Instant>,
    style: Style,
}

/// A token and its number.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) secret: Secret,
    pub(super) number: u64,
    end: Instant,
}

/// Why there is no token, and until when no further request is made.
#[derive(Clone, Debug)]
struct Failure {
    why: String,
    in_a_row: u32,
    until: Instant,
}

/// How the client sends its ID. Servers differ, so both ways are tried, as in Go's library.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Style {
    #[default]
    Unknown,
    Header,
    Form,
}

impl Tokens {
    /// A token that is valid for the next request.
    pub(super) async fn current(&self) -> Result<Token, String> {
        let count = {
            let state = self.lock();
            if let Some(known) = state.known(Instant::now()) {
                return known;
            }
            state.count
        };
        let _turn = self.turn.lock().await;
        let asked = Instant::now();
        {
            let state = self.lock();
            // Another task may have got a token while this one waited. A token that is so new is used, however short
            // its lifetime.
            let fetched = state.token.clone().filter(|_| state.count > count).map(Ok);
            if let Some(known) = fetched.or_else(|| state.known(asked)) {
                return known;
            }
        }
        let fetched = self.fetch().await;
        let mut state = self.lock();
        match fetched {
            Ok((secret, life, style)) => {
                let token = Token { secret, number: state.count, end: asked + (life - MARGIN.min(life / 2)) };
                (state.count, state.style, state.failure) = (state.count + 1, style, None);
                state.token = Some(token.clone());
                Ok(token)
            }
            Err(why) => {
                let in_a_row = state.failure.as_ref().map_or(1, |before| before.in_a_row.saturating_add(1));
                let pause = BACKOFF.pause(in_a_row, None, chance());
                state.failure = Some(Failure { why: why.clone(), in_a_row, until: Instant::now() + pause });
                Err(why)
            }
        }
    }

    /// Called when Loki refused this token. Several pushes may report the same one.
    pub(super) fn refused(&self, number: u64) {
        let now = Instant::now();
        let mut state = self.lock();
        let is_current = state.token.as_ref().is_some_and(|token| token.number == number);
        if is_current && state.renewal.is_none_or(|at| at <= now) {
            state.token = None;
            state.renewal = Some(now + RENEWAL);
        }
    }

    async fn fetch(&self) -> Result<(Secret, Duration, Style), String> {
        let secret = self.secret.read()?;
        let style = self.lock().style;
        let (answer, style) = match style {
            Style::Unknown => match self.ask(Style::Header, &secret).await? {
                answer if is_success(&answer) => (answer, Style::Header),
                _ => (self.ask(Style::Form, &secret).await?, Style::Form),
            },
            style => (self.ask(style, &secret).await?, style),
        };
        if !is_success(&answer) {
            return Err(format!(
                "oauth2.token_url: the token server answered status {}: check client_id and client_secret",
                answer.status
            ));
        }
        let (token, life) = parse(&answer.body)?;
        Ok((token, life, style))
    }

    async fn ask(&self, style: Style, secret: &Secret) -> Result<Answer, String> {
        let mut fields: Vec<(&str, &str)> = self.fields.iter().map(|(n, v)| (n.as_str(), v.expose())).collect();
        let credential = match style {
            // The grant requires that both are encoded like form fields first.
            Style::Header => Credential::Basic {
                user: Secret::new(form(&[("", &self.client_id)]).trim_start_matches('=')),
                password: Secret::new(form(&[("", secret.expose())]).trim_start_matches('=')),
            },
            Style::Form | Style::Unknown => {
                fields.extend([("client_id", self.client_id.as_str()), ("client_secret", secret.expose())]);
                Credential::None
            }
        };
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/x-www-form-urlencoded"));
        let answer = self.connection.post(&self.url, headers, credential, form(&fields).into()).await;
        answer.map_err(|why| format!("oauth2.token_url: {why}"))
    }

    // All fields change together, so a panic elsewhere cannot leave the state inconsistent.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A valid token, or why there is none at present.
    fn known(&self, now: Instant) -> Option<Result<Token, String>> {
        if let Some(token) = self.token.as_ref().filter(|token| now < token.end) {
            return Some(Ok(token.clone()));
        }
        let failure = self.failure.as_ref().filter(|failure| now < failure.until)?;
        Some(Err(failure.why.clone()))
    }
}

fn is_success(answer: &Answer) -> bool {
    (200..300).contains(&answer.status)
}

fn parse(body: &str) -> Result<(Secret, Duration), String> {
    let no_token =
        || "oauth2.token_url: the answer has no access_token: check that the URL is that of a token server".to_string();
    let answer: serde_json::Value = serde_json::from_str(body).map_err(|_| no_token())?;
    let token = answer["access_token"].as_str().filter(|token| !token.is_empty()).ok_or_else(no_token)?;
    // Some servers send the number as text.
    let life = &answer["expires_in"];
    let life = life.as_u64().or_else(|| life.as_str()?.parse().ok()).filter(|seconds| *seconds > 0);
    Ok((Secret::new(token), life.map_or(UNKNOWN_LIFE, Duration::from_secs).min(LONGEST_LIFE)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_as_servers_write_them() {
        for (body, expected) in [
            (r#"{"access_token":"t","expires_in":60}"#, Some(60)),
            (r#"{"access_token":"t","expires_in":"60"}"#, Some(60)),
            (r#"{"access_token":"t","expires_in":18446744073709551615}"#, Some(86_400)),
            (r#"{"access_token":"t"}"#, Some(300)),
            (r#"{"access_token":""}"#, None),
            (r#"{"error":"invalid_client"}"#, None),
            ("<html>", None),
        ] {
            let life = parse(body).ok().map(|(token, life)| (token.expose().to_string(), life.as_secs()));
            assert_eq!(life, expected.map(|secs| ("t".to_string(), secs)), "{body}");
        }
    }
}
