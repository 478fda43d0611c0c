//! Verifies a server's certificate by Go's rules.

use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};

/// The trusted CAs: those of the config, or the system's.
#[derive(Debug)]
pub(super) struct Roots {
    store: OnceLock<RootCertStore>,
    /// The CA certificates of the config.
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

    /// The system's CAs are read on first use: a push to `http://` needs none, and the image may have none.
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

/// Requires a chain to a trusted CA, and the correct name.
#[derive(Debug)]
pub(super) struct Verifier {
    /// None for `insecure_skip_verify`: it only checks that the server has the key of its certificate.
    roots: Option<Roots>,
    /// `server_name`, which replaces the host of the URL.
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
        // `openssl req -x509` makes server certificates that are CAs. As in Go, such a certificate is accepted if it is
        // itself a trusted CA, because the user has configured this very certificate. Its dates are still checked.
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
