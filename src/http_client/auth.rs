//! Credentials of a request: `basic_auth`, `authorization`, `bearer_token`, `oauth2`. Files are read for each request,
//! so a changed secret is used at once.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::connection::Credential;
use super::error::{Error, exclusive, refuse_refs};
use super::header_value;
use super::oauth2::{OAuth2, Tokens};
use super::secret::SecretReader;
use super::url::Url;
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
    pub fn validate(&self) -> Result<(), Error> {
        refuse_refs([("username_ref", &self.username_ref), ("password_ref", &self.password_ref)])?;
        exclusive("username", !self.username.is_empty(), &self.username_file)?;
        exclusive("password", !self.password.is_empty(), &self.password_file)
    }

    /// The user and the password.
    pub fn readers(&self) -> (SecretReader, SecretReader) {
        (
            SecretReader::new("basic_auth.username", Secret::new(&self.username), &self.username_file),
            SecretReader::new("basic_auth.password", self.password.clone(), &self.password_file),
        )
    }
}

/// `authorization`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Authorization {
    /// Empty means `Bearer`.
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
    pub fn validate(&self) -> Result<(), Error> {
        if self.kind.trim().eq_ignore_ascii_case("basic") {
            return Err(Error::new("type", "must not be basic: use basic_auth instead"));
        }
        refuse_refs([("credentials_ref", &self.credentials_ref)])?;
        exclusive("credentials", !self.credentials.is_empty(), &self.credentials_file)
    }
}

/// How a request proves who sends it.
#[derive(Debug)]
pub enum Auth {
    /// No credentials, or they are in the URL or in `headers`.
    None,
    Basic {
        user: SecretReader,
        password: SecretReader,
    },
    Token {
        kind: String,
        token: SecretReader,
    },
    OAuth2(Box<Tokens>),
}

/// The credentials of a config block. At most one of the four kinds may be set.
#[derive(Clone, Copy, Debug)]
pub struct Credentials<'a> {
    /// A user in the URL takes precedence.
    pub url: &'a Url,
    pub basic_auth: Option<&'a BasicAuth>,
    pub authorization: Option<&'a Authorization>,
    pub oauth2: Option<&'a OAuth2>,
    pub bearer_token: &'a Secret,
    pub bearer_token_file: &'a str,
}

impl Credentials<'_> {
    pub fn validate(&self) -> Result<(), Error> {
        if self.ways().into_iter().filter(|used| *used).count() > 1 {
            let keys = "basic_auth, authorization, oauth2, bearer_token & bearer_token_file";
            return Err(Error::new(keys, "at most one of them may be set"));
        }
        exclusive("bearer_token", !self.bearer_token.is_empty(), self.bearer_token_file)?;
        let basic = self.basic_auth.map_or(Ok(()), BasicAuth::validate);
        basic.map_err(|e| e.within("basic_auth"))?;
        let authorization = self.authorization.map_or(Ok(()), Authorization::validate);
        authorization.map_err(|e| e.within("authorization"))?;
        self.oauth2.map_or(Ok(()), OAuth2::validate).map_err(|e| e.within("oauth2"))
    }

    /// Whether any kind is set.
    pub fn are_set(&self) -> bool {
        self.ways().contains(&true)
    }

    fn ways(&self) -> [bool; 4] {
        [
            self.basic_auth.is_some(),
            self.authorization.is_some(),
            self.oauth2.is_some(),
            !self.bearer_token.is_empty() || !self.bearer_token_file.is_empty(),
        ]
    }
}

impl Auth {
    /// `timeout` applies to requests to the token server of `oauth2`.
    pub fn new(config: &Credentials<'_>, timeout: Duration) -> Result<Self, Error> {
        config.validate()?;
        if config.url.has_user() {
            return Ok(Auth::None);
        }
        if let Some(basic) = config.basic_auth {
            let (user, password) = basic.readers();
            return Ok(Auth::Basic { user, password });
        }
        if let Some(authorization) = config.authorization {
            let kind = match authorization.kind.trim() {
                "" => "Bearer",
                kind => kind,
            };
            let (inline, file) = (authorization.credentials.clone(), &authorization.credentials_file);
            return Ok(Auth::Token {
                kind: kind.into(),
                token: SecretReader::new("authorization.credentials", inline, file),
            });
        }
        if let Some(oauth2) = config.oauth2 {
            return Ok(Auth::OAuth2(Box::new(oauth2.tokens(timeout)?)));
        }
        if !config.bearer_token.is_empty() || !config.bearer_token_file.is_empty() {
            let token = SecretReader::new("bearer_token", config.bearer_token.clone(), config.bearer_token_file);
            return Ok(Auth::Token { kind: "Bearer".into(), token });
        }
        Ok(Auth::None)
    }

    /// The credentials for the next request, and the number of the OAuth2 token in it, if any.
    pub async fn credential(&self) -> Result<(Credential, Option<u64>), String> {
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
        header_value(&format!("{kind} {}", token.expose()))
            .map(|value| (Credential::Header(value), number))
            .ok_or_else(|| format!("{from}: has characters that are not allowed in a header"))
    }

    /// Called when the server refused the token with this number. The token is not used again.
    pub fn refused(&self, number: Option<u64>) {
        if let (Auth::OAuth2(tokens), Some(number)) = (self, number) {
            tokens.refused(number);
        }
    }
}
