//! `tls_config`: the trusted CAs, and the client's own certificate.

mod verify;

use std::path::Path;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use serde::{Deserialize, Serialize};

use super::error::{Error, exclusive, refuse_refs};
use crate::model::bounded;
use crate::model::units::Secret;
use verify::{Roots, Verifier};

/// `tls_config` of a client.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ca: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cert: String,
    #[serde(skip_serializing_if = "Secret::is_empty")]
    pub key: Secret,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ca_file: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cert_file: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub key_file: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ca_ref: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cert_ref: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub key_ref: String,
    /// The name that the server's certificate must have, if it differs from the host of `url`. (SNI still has the host
    /// of `url`.)
    #[serde(skip_serializing_if = "String::is_empty")]
    pub server_name: String,
    pub insecure_skip_verify: bool,
    /// `TLS10` to `TLS13`. The oldest version is TLS 1.2, whatever is set.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub min_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub max_version: String,
}

impl Config {
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    pub fn validate(&self) -> Result<(), Error> {
        refuse_refs([("ca_ref", &self.ca_ref), ("cert_ref", &self.cert_ref), ("key_ref", &self.key_ref)])?;
        exclusive("ca", !self.ca.is_empty(), &self.ca_file)?;
        exclusive("cert", !self.cert.is_empty(), &self.cert_file)?;
        exclusive("key", !self.key.is_empty(), &self.key_file)?;
        let has_cert = !self.cert.is_empty() || !self.cert_file.is_empty();
        let has_key = !self.key.is_empty() || !self.key_file.is_empty();
        match (has_cert, has_key) {
            (true, false) => {
                return Err(Error::new("cert", "needs its private key: set tls_config.key or tls_config.key_file"));
            }
            (false, true) => {
                return Err(Error::new("key", "needs its certificate: set tls_config.cert or tls_config.cert_file"));
            }
            _ => {}
        }
        if !self.server_name.is_empty() {
            self.parse_server_name()?;
        }
        self.versions().map(|_| ())
    }

    pub fn warnings(&self) -> impl Iterator<Item = Error> {
        let unverified = self
            .insecure_skip_verify
            .then(|| Error::new("insecure_skip_verify", "any server can pretend to be this Loki: set ca_file instead"));
        let old = matches!(self.min_version.as_str(), "TLS10" | "TLS11").then(|| {
            Error::new(
                "min_version",
                format!("{} is not supported any more: the oldest version is TLS 1.2", self.min_version),
            )
        });
        unverified.into_iter().chain(old)
    }

    fn parse_server_name(&self) -> Result<ServerName<'static>, Error> {
        let name = self.server_name.clone();
        ServerName::try_from(name).map_err(|_| Error::new("server_name", "is neither a host name nor an IP address"))
    }

    fn versions(&self) -> Result<Vec<&'static rustls::SupportedProtocolVersion>, Error> {
        let number = |key: &str, text: &str| match text {
            "" => Ok(None),
            "TLS10" => Ok(Some(10)),
            "TLS11" => Ok(Some(11)),
            "TLS12" => Ok(Some(12)),
            "TLS13" => Ok(Some(13)),
            other => Err(Error::new(key, format!("unknown TLS version {other:?}: expected TLS12 or TLS13"))),
        };
        let min = number("min_version", &self.min_version)?.unwrap_or(12);
        let max = number("max_version", &self.max_version)?.unwrap_or(13);
        if max < 12 {
            return Err(Error::new("max_version", "the oldest supported version is TLS 1.2: remove this key"));
        }
        if min > max {
            return Err(Error::new("min_version", "is above max_version"));
        }
        Ok([(12, &TLS12), (13, &TLS13)].into_iter().filter(|(v, _)| (min..=max).contains(v)).map(|(_, v)| v).collect())
    }
}

/// The current content of the certificates and keys of a [`Config`]. If it changes, a new connection is needed.
#[derive(Default, PartialEq)]
pub(super) struct Material {
    ca: Option<Vec<u8>>,
    identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl Material {
    pub(super) fn read(config: &Config) -> Result<Self, Error> {
        let ca = pem("ca", &config.ca, &config.ca_file)?;
        let cert = pem("cert", &config.cert, &config.cert_file)?;
        let key = pem("key", config.key.expose(), &config.key_file)?;
        Ok(Self { ca, identity: cert.zip(key) })
    }

    pub(super) fn client_config(&self, config: &Config) -> Result<ClientConfig, Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&config.versions()?)
            .map_err(|e| Error::new("min_version", e.to_string()))?;
        let verifier = match config.insecure_skip_verify {
            true => Verifier::of_anyone(provider),
            false => self.verifier(config, provider)?,
        };
        let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
        let Some((cert, key)) = &self.identity else {
            return Ok(builder.with_no_client_auth());
        };
        let chain = certificates("cert", cert)?;
        let key =
            PrivateKeyDer::from_pem_slice(key).map_err(|e| Error::new("key", format!("is not a private key: {e}")))?;
        builder
            .with_client_auth_cert(chain, key)
            .map_err(|e| Error::new("cert", format!("does not match its key: {e}")))
    }

    fn verifier(&self, config: &Config, provider: Arc<CryptoProvider>) -> Result<Verifier, Error> {
        let roots = match &self.ca {
            Some(pem) => Roots::given(certificates("ca", pem)?).map_err(|e| Error::new("ca", e))?,
            None => Roots::system(),
        };
        let name = (!config.server_name.is_empty()).then(|| config.parse_server_name()).transpose()?;
        Ok(Verifier::new(roots, name, provider))
    }
}

/// The maximum size of a file in bytes. A bundle of all well-known authorities has about 250 kB.
const LARGEST: u64 = 16 << 20;

fn pem(key: &str, inline: &str, file: &str) -> Result<Option<Vec<u8>>, Error> {
    if file.is_empty() {
        return Ok((!inline.is_empty()).then(|| inline.as_bytes().to_vec()));
    }
    let read = std::fs::File::open(Path::new(file)).and_then(|file| bounded::read(file, LARGEST));
    read.map(Some).map_err(|e| Error::new(&format!("{key}_file"), format!("cannot read {file}: {e}")))
}

fn certificates(key: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) => Err(Error::new(key, "has no PEM certificate")),
        Err(e) => Err(Error::new(key, format!("is not a PEM certificate: {e}"))),
    }
}
