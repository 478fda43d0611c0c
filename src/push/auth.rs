//! Who pushes: `basic_auth`, `authorization`, `bearer_token`, `oauth2`. What is kept in files is read for each push, so
//! a rotated secret is picked up at once.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::client::HeaderValue;
use super::config::{Config, Error, exclusive, refuse_refs};
use super::headers;
use super::oauth2::{OAuth2, Tokens};
use crate::model::bounded;
use crate::model::units::Secret;

/// `basic_auth`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct BasicAuth {
    pub username: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub username_file: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub username_ref: String,
    #[serde(skip_serializing_if = "Secret::is_empty")]
    pub password: Secret,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub password_file: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub password_ref: String,
}

impl BasicAuth {
    pub(super) fn validate(&self) -> Result<(), Error> {
        refuse_refs([("username_ref", &self.username_ref), ("password_ref", &self.password_ref)])?;
        exclusive("username", !self.username.is_empty(), &self.username_file)?;
        exclusive("password", !self.password.is_empty(), &self.password_file)
    }
}

/// `authorization`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Authorization {
    /// Empty: `Bearer`.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub kind: String,
    #[serde(skip_serializing_if = "Secret::is_empty")]
    pub credentials: Secret,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub credentials_file: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub credentials_ref: String,
}

impl Authorization {
    pub(super) fn validate(&self) -> Result<(), Error> {
        if self.kind.trim().eq_ignore_ascii_case("basic") {
            return Err(Error::new("type", "may not be basic; use basic_auth instead"));
        }
        refuse_refs([("credentials_ref", &self.credentials_ref)])?;
        exclusive("credentials", !self.credentials.is_empty(), &self.credentials_file)
    }
}

/// Where a request's credentials come from.
#[derive(Debug)]
pub(super) enum Auth {
    /// Nobody asks, or the URL or `headers` says it.
    None,
    Basic {
        user: Source,
        password: Source,
    },
    Token {
        kind: String,
        token: Source,
    },
    OAuth2(Box<Tokens>),
}

/// What goes with one request.
#[derive(Debug)]
pub(super) enum Credential {
    None,
    Basic { user: Secret, password: Secret },
    Header(HeaderValue),
}

impl Auth {
    pub(super) fn new(config: &Config) -> Result<Self, Error> {
        config.validate()?;
        if config.url.has_user() {
            return Ok(Auth::None);
        }
        if let Some(basic) = &config.basic_auth {
            return Ok(Auth::Basic {
                user: Source::new("basic_auth.username", Secret::new(&basic.username), &basic.username_file),
                password: Source::new("basic_auth.password", basic.password.clone(), &basic.password_file),
            });
        }
        if let Some(authorization) = &config.authorization {
            let kind = match authorization.kind.trim() {
                "" => "Bearer",
                kind => kind,
            };
            let (inline, file) = (authorization.credentials.clone(), &authorization.credentials_file);
            return Ok(Auth::Token {
                kind: kind.into(),
                token: Source::new("authorization.credentials", inline, file),
            });
        }
        if let Some(oauth2) = &config.oauth2 {
            return Ok(Auth::OAuth2(Box::new(OAuth2::tokens(oauth2, config.timeout.0)?)));
        }
        if !config.bearer_token.is_empty() || !config.bearer_token_file.is_empty() {
            let token = Source::new("bearer_token", config.bearer_token.clone(), &config.bearer_token_file);
            return Ok(Auth::Token { kind: "Bearer".into(), token });
        }
        Ok(Auth::None)
    }

    /// What goes with the next request, and the number of the token in it, if it was fetched.
    pub(super) async fn credential(&self) -> Result<(Credential, Option<u64>), String> {
        let (kind, token, from, number) = match self {
            Auth::None => return Ok((Credential::None, None)),
            Auth::Basic { user, password } => {
                return Ok((Credential::Basic { user: user.read()?, password: password.read()? }, None));
            }
            // A type without credentials sends no header, as in Prometheus.
            Auth::Token { token, .. } if token.is_unset() => return Ok((Credential::None, None)),
            Auth::Token { kind, token } => (kind.as_str(), token.read()?, token.key, None),
            Auth::OAuth2(tokens) => {
                let token = tokens.current().await?;
                ("Bearer", token.secret, "oauth2", Some(token.number))
            }
        };
        headers::value(&format!("{kind} {}", token.expose()))
            .map(|value| (Credential::Header(value), number))
            .ok_or_else(|| format!("{from}: has characters that no header can carry"))
    }

    /// The server took offence at what was sent: a token of this number is no good any more.
    pub(super) fn refused(&self, number: Option<u64>) {
        if let (Auth::OAuth2(tokens), Some(number)) = (self, number) {
            tokens.refused(number);
        }
    }
}

/// A secret as written in the config, or in a file.
pub(super) struct Source {
    key: &'static str,
    inline: Secret,
    file: String,
}

impl Source {
    pub(super) fn new(key: &'static str, inline: Secret, file: &str) -> Self {
        Self { key, inline, file: file.to_string() }
    }

    fn is_unset(&self) -> bool {
        self.inline.is_empty() && self.file.is_empty()
    }

    pub(super) fn read(&self) -> Result<Secret, String> {
        if self.file.is_empty() {
            return Ok(self.inline.clone());
        }
        read_file(&self.file).map_err(|e| format!("{}_file: {e}", self.key))
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.key)
    }
}

/// A secret has some hundred bytes.
const LARGEST: u64 = 64 << 10;

/// A secret in a file, without the newline an editor left there.
pub(super) fn read_file(path: &str) -> Result<Secret, String> {
    let text = std::fs::File::open(path).and_then(|file| bounded::read_text(file, LARGEST));
    let text = text.map_err(|e| format!("cannot read {path}: {e}"))?;
    Ok(Secret::new(text.trim()))
}
