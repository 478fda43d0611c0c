use std::io::{Read, Write};
use std::net::TcpStream;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::*;

type Issuer = CertifiedIssuer<'static, KeyPair>;

struct Tls(Arc<ServerConfig>);

impl Wrap for Tls {
    type Stream = StreamOwned<ServerConnection, TcpStream>;
    fn wrap(&self, stream: TcpStream) -> Self::Stream {
        StreamOwned::new(ServerConnection::new(self.0.clone()).expect("a server's side"), stream)
    }
}

fn ca(name: &str) -> Issuer {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a CA")
}

/// A certificate and its key for `name`, as PEM.
fn issue(ca: &Issuer, name: &str) -> (String, String) {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new([name.to_string()]).expect("a name");
    (params.signed_by(&key, ca).expect("signed").pem(), key.serialize_pem())
}

fn loki_with(pair: &(String, String), clients: Option<&Issuer>) -> FakeLoki {
    loki_speaking(pair, clients, rustls::DEFAULT_VERSIONS, |_, _| Reply::Status(204))
}

fn loki_speaking(
    (cert, key): &(String, String),
    clients: Option<&Issuer>,
    versions: &[&'static rustls::SupportedProtocolVersion],
    script: impl Fn(&Push, usize) -> Reply + Send + Sync + 'static,
) -> FakeLoki {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone());
    let builder = builder.with_protocol_versions(versions).expect("versions");
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            roots.add(ca.der().clone()).expect("a CA");
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build();
            builder.with_client_cert_verifier(verifier.expect("a verifier"))
        }
    };
    let cert = CertificateDer::from_pem_slice(cert.as_bytes()).expect("PEM");
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
    let config = builder.with_single_cert(vec![cert], key).expect("a pair");
    FakeLoki::start_wrapped(Tls(Arc::new(config)), script)
}

fn tls_config(loki: &FakeLoki, host: &str, tls: TlsConfig) -> Config {
    let url = format!("https://{host}:{}/loki/api/v1/push", loki.port);
    Config { url: Url::new(url), tls_config: tls, ..config(loki, "") }
}

/// The outcome of a push: empty if it was stored, otherwise the error.
async fn outcome(loki: &FakeLoki, host: &str, tls: TlsConfig) -> String {
    let mut running = start(&tls_config(loki, host, tls));
    running.push("a", &["one"]);
    until("it is stored or fails", || running.ledger.is_settled() || running.status.report().state != "ok").await;
    running.status.report().last_error.unwrap_or_default()
}

#[tokio::test]
async fn whom_to_trust() {
    let (ours, other) = (ca("ours"), ca("other"));
    let loki = loki_with(&issue(&ours, "localhost"), None);
    let trusting = |ca: &Issuer| TlsConfig { ca: ca.pem(), ..Default::default() };
    let named = |name: &str| TlsConfig { server_name: name.into(), ..trusting(&ours) };

    assert_eq!(outcome(&loki, "localhost", trusting(&ours)).await, "");
    for (host, tls, words) in [
        ("localhost", trusting(&other), "UnknownIssuer"),
        ("127.0.0.1", trusting(&ours), "not valid for"),
        ("localhost", named("elsewhere"), "not valid for"),
    ] {
        let why = outcome(&loki, host, tls).await;
        assert!(why.contains(words) && why.contains("check tls_config"), "{why}");
    }
    assert_eq!(outcome(&loki, "127.0.0.1", named("localhost")).await, "");
    let anyone = TlsConfig { insecure_skip_verify: true, ..Default::default() };
    assert_eq!(outcome(&loki, "127.0.0.1", anyone).await, "");
    for version in ["TLS12", "TLS13"] {
        let (min_version, max_version) = (version.to_string(), version.to_string());
        let tls = TlsConfig { min_version, max_version, ..trusting(&ours) };
        assert_eq!(outcome(&loki, "localhost", tls).await, "", "{version}");
    }
}

/// Answers each hello as a server that only supports TLS 1.1.
struct Old;

impl Wrap for Old {
    type Stream = TcpStream;
    fn wrap(&self, mut stream: TcpStream) -> TcpStream {
        let _ = stream.read(&mut [0; 4096]);
        let mut hello = vec![0x16, 3, 2, 0, 42, 2, 0, 0, 38, 3, 2];
        hello.extend([7; 32]);
        hello.extend([0, 0xc0, 0x13, 0]);
        let _ = stream.write_all(&hello);
        stream
    }
}

#[tokio::test]
async fn a_server_that_speaks_too_old_a_version_is_refused() {
    use rustls::version::{TLS12, TLS13};
    let ca = ca("ours");
    let pair = issue(&ca, "localhost");
    for (speaks, min, max, is_taken) in [
        (&[&TLS12][..], "", "", true),
        (&[&TLS12], "TLS12", "", true),
        (&[&TLS12], "TLS13", "", false),
        (&[&TLS13], "TLS13", "", true),
        (&[&TLS13], "", "TLS12", false),
        (&[&TLS12, &TLS13], "TLS13", "", true),
    ] {
        let loki = loki_speaking(&pair, None, speaks, |_, _| Reply::Status(204));
        let (min_version, max_version) = (min.to_string(), max.to_string());
        let tls = TlsConfig { ca: ca.pem(), min_version, max_version, ..Default::default() };
        let why = outcome(&loki, "localhost", tls).await;
        assert_eq!((why.is_empty(), loki.stored().len()), (is_taken, is_taken.into()), "{speaks:?} {min} {max}: {why}");
    }
    let loki = FakeLoki::start_wrapped(Old, |_, _| Reply::Status(204));
    let anyone = TlsConfig { insecure_skip_verify: true, min_version: "TLS10".into(), ..Default::default() };
    for tls in [TlsConfig { ca: ca.pem(), ..Default::default() }, anyone] {
        assert_ne!(outcome(&loki, "localhost", tls).await, "", "TLS 1.1");
    }
    assert!(loki.pushes().is_empty(), "not a line goes to who speaks TLS 1.1");
}

/// The lines and the password would be readable on the network, although the host is the same.
#[tokio::test]
async fn a_redirect_from_https_to_http_is_not_followed() {
    let ca = ca("ours");
    let other = FakeLoki::start(|_, _| Reply::Status(204));
    for status in [307, 308] {
        let headers: &'static str = format!("Location: http://localhost:{}/there\r\n", other.port).leak();
        let script = move |_: &Push, _| Reply::Full { status, headers, body: String::new() };
        let loki = loki_speaking(&issue(&ca, "localhost"), None, rustls::DEFAULT_VERSIONS, script);
        let mut config = tls_config(&loki, "localhost", TlsConfig { ca: ca.pem(), ..Default::default() });
        config.tenant_id = "acme".into();
        let mut running = start(&config);
        running.push("a", &["one"]);
        until("it is refused", || running.status.report().state.contains("the redirect is not followed")).await;
        assert!(other.pushes().is_empty() && !loki.pushes().is_empty(), "{status}");
    }
}

#[tokio::test]
async fn a_certificate_that_is_its_own_ca_is_taken_as_go_takes_it() {
    let mut params = CertificateParams::new(["localhost".to_string()]).expect("a name");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let cert = params.self_signed(&key).expect("signed").pem();
    let loki = loki_with(&(cert.clone(), key.serialize_pem()), None);
    let tls = TlsConfig { ca: cert, ..Default::default() };
    assert_eq!(outcome(&loki, "localhost", tls.clone()).await, "");
    assert!(outcome(&loki, "127.0.0.1", tls).await.contains("not valid for"));
}

/// Also if the config has this very certificate.
#[tokio::test]
async fn a_certificate_out_of_its_time_is_refused() {
    for (is_ca, years, is_taken) in [
        (true, (2020, 2021), false),
        (false, (2020, 2021), false),
        (true, (2090, 2091), false),
        (true, (2020, 2090), true),
        (false, (2020, 2090), true),
    ] {
        let mut params = CertificateParams::new(["localhost".to_string()]).expect("a name");
        params.is_ca = if is_ca { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::ExplicitNoCa };
        params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
        params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let cert = params.self_signed(&key).expect("signed").pem();
        let loki = loki_with(&(cert.clone(), key.serialize_pem()), None);
        let why = outcome(&loki, "localhost", TlsConfig { ca: cert, ..Default::default() }).await;
        assert_eq!(why.is_empty(), is_taken, "{is_ca} {years:?}: {why}");
        assert_eq!(loki.pushes().is_empty(), !is_taken, "{is_ca} {years:?}");
    }
}

#[tokio::test]
async fn client_certificates_and_their_rotation() {
    let (servers, clients, strangers) = (ca("servers"), ca("clients"), ca("strangers"));
    let loki = loki_with(&issue(&servers, "localhost"), Some(&clients));
    let dir = tempfile::tempdir().expect("a directory");
    let file = |name: &str| dir.path().join(name).display().to_string();
    let write = |(cert, key): (String, String)| {
        std::fs::write(file("cert"), cert).expect("written");
        std::fs::write(file("key"), key).expect("written");
    };
    let tls = TlsConfig { ca: servers.pem(), cert_file: file("cert"), key_file: file("key"), ..Default::default() };
    let config = tls_config(&loki, "localhost", tls);
    let metrics = Metrics::register(&Registry::new());
    let error = Client::new(&config, metrics).expect_err("there are no files").to_string();
    assert!(error.starts_with("tls_config.cert_file: cannot read"), "{error}");

    write(issue(&strangers, "client"));
    let mut running = start(&config);
    running.push("a", &["one"]);
    until("the stranger is refused", || running.status.report().state != "ok").await;
    assert!(loki.pushes().is_empty());
    // After a failure, the client checks its files again.
    write(issue(&clients, "client"));
    running.settled().await;
}

#[test]
fn what_is_no_certificate_is_refused_by_its_key() {
    let (ours, metrics) = (ca("ours"), Metrics::register(&Registry::new()));
    let (cert, key) = issue(&ours, "client");
    let (_, other_key) = issue(&ours, "client");
    for (cert, key, ca, expected) in [
        ("", "", "no PEM at all", "tls_config.ca: has no PEM certificate"),
        (cert.as_str(), "no PEM at all", "", "tls_config.key: is not a private key"),
        (cert.as_str(), other_key.as_str(), "", "tls_config.cert: does not match its key"),
        ("no PEM at all", key.as_str(), "", "tls_config.cert: has no PEM certificate"),
    ] {
        let tls = TlsConfig {
            cert: cert.into(),
            key: crate::model::units::Secret::new(key),
            ca: ca.into(),
            ..Default::default()
        };
        let config = Config { url: Url::new("https://loki/"), tls_config: tls, ..Config::default() };
        let error = Client::new(&config, metrics.clone()).expect_err(expected).to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}
