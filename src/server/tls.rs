//! TLS of the server: `server.http_tls_config`, and `tls_server_config` of a web config.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig, SignatureScheme,
    SupportedProtocolVersion,
};
use serde::{Deserialize, Serialize};

use super::regular_file;
use crate::model::units::Secret;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Tls {
    cert: String,
    key: Secret,
    client_ca: String,
    cert_file: String,
    key_file: String,
    client_auth_type: String,
    client_ca_file: String,
    /// `TLS12` or `TLS13`. In Promtail, this key is outside the block, as `tls_min_version`.
    #[serde(skip_serializing_if = "String::is_empty")]
    min_version: String,
}

/// The requirements for client certificates, with Go's names.
#[derive(Clone, Copy, PartialEq)]
enum Clients {
    NotAsked,
    /// Any certificate, or none.
    Request,
    /// Any certificate.
    RequireAny,
    /// A certificate of the CA, or none.
    VerifyIfGiven,
    /// A certificate of the CA.
    RequireAndVerify,
}

impl Tls {
    /// If there is a CA, each client needs a certificate of it.
    pub(super) fn of_files(cert_file: &str, key_file: &str, client_ca_file: &str) -> Self {
        let client_auth_type = if client_ca_file.is_empty() { "" } else { "RequireAndVerifyClientCert" };
        let [cert_file, key_file, client_ca_file, client_auth_type] =
            [cert_file, key_file, client_ca_file, client_auth_type].map(str::to_string);
        Self { cert_file, key_file, client_ca_file, client_auth_type, ..Self::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        let texts = [&self.cert, &self.client_ca, &self.cert_file, &self.key_file, &self.client_auth_type];
        texts.iter().all(|text| text.is_empty())
            && self.client_ca_file.is_empty()
            && self.min_version.is_empty()
            && self.key.is_empty()
    }

    pub(super) fn at_least(mut self, version: &str) -> Self {
        if !self.is_empty() && self.min_version.is_empty() {
            self.min_version = version.to_string();
        }
        self
    }

    pub(super) fn validate(&self) -> Result<(), String> {
        if self.is_empty() {
            return Ok(());
        }
        for (key, inline, file) in [
            ("cert", !self.cert.is_empty(), &self.cert_file),
            ("key", !self.key.is_empty(), &self.key_file),
            ("client_ca", !self.client_ca.is_empty(), &self.client_ca_file),
        ] {
            if inline && !file.is_empty() {
                return Err(format!("{key} and {key}_file are both set: remove one"));
            }
            if !inline && file.is_empty() && key != "client_ca" {
                return Err(format!("{key}_file is missing: a server needs a certificate and its key"));
            }
        }
        let has_ca = !self.client_ca.is_empty() || !self.client_ca_file.is_empty();
        let verifies = matches!(self.clients()?, Clients::VerifyIfGiven | Clients::RequireAndVerify);
        match (has_ca, verifies) {
            (true, false) => {
                Err("client_ca_file has no effect unless client_auth_type is RequireAndVerifyClientCert or \
                                  VerifyClientCertIfGiven: set it, or remove client_ca_file"
                    .into())
            }
            (false, true) => Err(format!("client_auth_type {} needs client_ca_file", self.client_auth_type)),
            _ => self.versions().map(|_| ()),
        }
    }

    fn clients(&self) -> Result<Clients, String> {
        Ok(match self.client_auth_type.as_str() {
            "" | "NoClientCert" => Clients::NotAsked,
            "RequestClientCert" => Clients::Request,
            "RequireAnyClientCert" | "RequireClientCert" => Clients::RequireAny,
            "VerifyClientCertIfGiven" => Clients::VerifyIfGiven,
            "RequireAndVerifyClientCert" => Clients::RequireAndVerify,
            other => {
                return Err(format!(
                    "unknown client_auth_type {other:?}: expected NoClientCert, RequestClientCert, \
                     RequireAnyClientCert, VerifyClientCertIfGiven or RequireAndVerifyClientCert"
                ));
            }
        })
    }

    /// Whether a client without a certificate is rejected.
    pub(super) fn asks_certificates(&self) -> bool {
        matches!(self.clients(), Ok(Clients::RequireAny | Clients::RequireAndVerify))
    }

    /// The oldest version is TLS 1.2, whatever is set.
    fn versions(&self) -> Result<Vec<&'static SupportedProtocolVersion>, String> {
        match self.min_version.trim_start_matches("Version") {
            "" | "TLS10" | "TLS11" | "TLS12" => Ok(vec![&TLS13, &TLS12]),
            "TLS13" => Ok(vec![&TLS13]),
            other => Err(format!("unknown min_version {other:?}: expected TLS12 or TLS13")),
        }
    }

    /// Makes relative file names relative to `folder`.
    pub(super) fn below(&mut self, folder: &Path) {
        for file in [&mut self.cert_file, &mut self.key_file, &mut self.client_ca_file] {
            if !file.is_empty() {
                *file = folder.join(&*file).to_string_lossy().into_owned();
            }
        }
    }

    /// The files that are read, and may change.
    pub(super) fn files(&self) -> impl Iterator<Item = PathBuf> {
        let files = [&self.cert_file, &self.key_file, &self.client_ca_file];
        files.into_iter().filter(|file| !file.is_empty()).map(PathBuf::from)
    }

    /// Reads the current certificates and key.
    pub(super) fn load(&self) -> Result<Arc<ServerConfig>, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&self.versions()?)
            .map_err(|e| format!("min_version: {e}"))?;
        let builder = match self.clients()? {
            Clients::NotAsked => builder.with_no_client_auth(),
            clients @ (Clients::Request | Clients::RequireAny) => {
                let mandatory = clients == Clients::RequireAny;
                builder.with_client_cert_verifier(Arc::new(Anyone { provider, mandatory }))
            }
            clients => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates("client_ca", &self.client_ca, &self.client_ca_file)? {
                    roots.add(certificate).map_err(|e| format!("client_ca_file: not a CA certificate: {e}"))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
                let verifier = match clients {
                    Clients::VerifyIfGiven => verifier.allow_unauthenticated(),
                    _ => verifier,
                };
                builder.with_client_cert_verifier(verifier.build().map_err(|e| format!("client_ca_file: {e}"))?)
            }
        };
        let chain = certificates("cert", &self.cert, &self.cert_file)?;
        let key = pem("key", self.key.expose(), &self.key_file)?;
        let key =
            PrivateKeyDer::from_pem_slice(&key).map_err(|_| "key_file: the file has no PEM private key".to_string())?;
        let mut config =
            builder.with_single_cert(chain, key).map_err(|e| format!("cert_file: does not match key_file: {e}"))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

fn pem(key: &str, inline: &str, file: &str) -> Result<Vec<u8>, String> {
    match file {
        "" => Ok(inline.as_bytes().to_vec()),
        file => regular_file::read(Path::new(file)).map_err(|e| format!("{key}_file: cannot read {file}: {e}")),
    }
}

fn certificates(key: &str, inline: &str, file: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem(key, inline, file)?).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        _ => Err(format!("{key}_file: the file has no PEM certificate")),
    }
}

/// Accepts all client certificates whose key the client has. As in Go, only their presence is checked.
#[derive(Debug)]
struct Anyone {
    provider: Arc<CryptoProvider>,
    mandatory: bool,
}

impl ClientCertVerifier for Anyone {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
