//! Whether a server is who it should be, the way Go decides it.

use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};

/// Whom to trust: the CAs of the config, or the system's.
#[derive(Debug)]
pub(super) struct Roots {
    store: OnceLock<RootCertStore>,
    /// The CAs of the config themselves.
    pinned: Vec<CertificateDer<'static>>,
}

impl Roots {
    pub(super) fn given(certificates: Vec<CertificateDer<'static>>) -> Result<Self, String> {
        let mut store = RootCertStore::empty();
        for certificate in &certificates {
            store.add(certificate.clone()).map_err(|e| format!("is not a CA certificate: {e}"))?;
        }
        Ok(Self { store: store.into(), pinned: certificates })
    }

    /// Read when they are first asked for: a push to `http://` needs none, in an image that has none.
    pub(super) fn system() -> Self {
        Self { store: OnceLock::new(), pinned: Vec::new() }
    }

    fn store(&self) -> &RootCertStore {
        self.store.get_or_init(|| {
            let mut store = RootCertStore::empty();
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            store
        })
    }
}

/// Asks for a chain to one of the roots, and for the right name.
#[derive(Debug)]
pub(super) struct Verifier {
    /// None (`insecure_skip_verify`): it asks only that the server holds the key of the certificate it shows.
    roots: Option<Roots>,
    /// `server_name`: instead of the name that was dialled.
    name: Option<ServerName<'static>>,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    pub(super) fn new(roots: Roots, name: Option<ServerName<'static>>, provider: Arc<CryptoProvider>) -> Self {
        Self { roots: Some(roots), name, provider }
    }

    /// For `insecure_skip_verify`.
    pub(super) fn of_anyone(provider: Arc<CryptoProvider>) -> Self {
        Self { roots: None, name: None, provider }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        dialled: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(roots) = &self.roots else { return Ok(ServerCertVerified::assertion()) };
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let store = roots.store();
        if store.is_empty() {
            return Err(CertificateError::Other(OtherError(Arc::new(NoRoots))).into());
        }
        let algorithms = self.provider.signature_verification_algorithms.all;
        let signed = verify_server_cert_signed_by_trust_anchor(&certificate, store, intermediates, now, algorithms);
        // `openssl req -x509` makes a CA of what is used as a server's certificate. Go takes it where it is itself the
        // CA that is trusted, and so do we: it is the very certificate the user wrote down. Its dates hold all the same.
        match signed {
            Err(error) if is_out_of_date(&error) || !roots.pinned.contains(end_entity) => return Err(error),
            _ => {}
        }
        verify_server_name(&certificate, self.name.as_ref().unwrap_or(dialled))?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Whether the certificate, or one that signed it, has expired or is not valid yet.
fn is_out_of_date(error: &Error) -> bool {
    use CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
    matches!(
        error,
        Error::InvalidCertificate(Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. })
    )
}

#[derive(Debug)]
struct NoRoots;

impl std::fmt::Display for NoRoots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("this system has no CA certificates: install ca-certificates or set tls_config.ca_file")
    }
}

impl std::error::Error for NoRoots {}
