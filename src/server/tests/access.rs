//! HTTPS and passwords.

use std::fs;
use std::path::Path;
use std::time::Instant;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;

type Issuer = CertifiedIssuer<'static, KeyPair>;

pub(in super::super) fn ca() -> Issuer {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a CA")
}

/// A certificate and its key, as PEM.
fn issue(ca: &Issuer, name: &str) -> (String, String) {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new([name.to_string()]).expect("a name");
    (params.signed_by(&key, ca).expect("signed").pem(), key.serialize_pem())
}

pub(in super::super) fn put_pair(folder: &Path, ca: &Issuer) {
    let (cert, key) = issue(ca, "localhost");
    fs::write(folder.join("tls.crt"), cert).expect("written");
    fs::write(folder.join("tls.key"), key).expect("written");
}

/// The config of a server with the certificate and key in `folder`.
pub(super) fn https(folder: &Path, more: &str) -> String {
    let folder = folder.display();
    format!("http_tls_config: {{cert_file: {folder}/tls.crt, key_file: {folder}/tls.key{more}}}\n")
}

pub(super) fn client(ca: &Issuer, identity: Option<(String, String)>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(ca.der().clone()).expect("a CA");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.expect("versions").with_root_certificates(roots);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let cert = CertificateDer::from_pem_slice(cert.as_bytes()).expect("PEM");
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
            builder.with_client_auth_cert(vec![cert], key).expect("a pair")
        }
    };
    TlsConnector::from(Arc::new(config))
}

pub(super) async fn connect(client: &TlsConnector, address: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    client.connect(ServerName::try_from("localhost").expect("a name"), stream).await
}

async fn healthy(client: &TlsConnector, server: &Running) -> io::Result<String> {
    ask_on(connect(client, server.address).await?, "/-/healthy", "").await
}

fn certificate(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    let (_, session) = stream.get_ref();
    session.peer_certificates().and_then(|all| all.first()).expect("a certificate").clone().into_owned()
}

#[tokio::test]
async fn https_is_spoken_and_nothing_else() {
    let (folder, ca) = (TempDir::new().expect("a folder"), ca());
    put_pair(folder.path(), &ca);
    let server = start(&https(folder.path(), ""), vec![file(None); 2000]).await;
    assert!(healthy(&client(&ca, None), &server).await.expect("an answer").starts_with("HTTP/1.1 200"));
    let stream = connect(&client(&ca, None), server.address).await.expect("a handshake");
    let page = ask_on(stream, "/targets?format=json", "").await.expect("all of a page");
    let (_, body) = page.split_once("\r\n\r\n").expect("a body");
    serde_json::from_str::<serde_json::Value>(body).expect("all of it");

    healthy(&client(&super::access::ca(), None), &server).await.expect_err("a client that trusts another CA");
    let plain = TcpStream::connect(server.address).await.expect("it listens");
    let answer = ask_on(plain, "/-/healthy", "").await.unwrap_or_default();
    assert!(!answer.contains("Healthy"), "{answer}");
}

#[tokio::test]
async fn clients_show_what_they_are_asked_for() {
    let (folder, ours, other) = (TempDir::new().expect("a folder"), ca(), ca());
    put_pair(folder.path(), &ours);
    let ca_file = folder.path().join("ca.crt");
    fs::write(&ca_file, ours.pem()).expect("written");
    let verified = format!(", client_ca_file: {}", ca_file.display());
    // No certificate, one of another CA, and one of our CA.
    for (kind, ca, expected) in [
        ("NoClientCert", "", [true, true, true]),
        ("RequestClientCert", "", [true, true, true]),
        ("RequireAnyClientCert", "", [false, true, true]),
        ("VerifyClientCertIfGiven", verified.as_str(), [true, false, true]),
        ("RequireAndVerifyClientCert", verified.as_str(), [false, false, true]),
    ] {
        let config = https(folder.path(), &format!(", client_auth_type: {kind}{ca}"));
        let server = start(&config, vec![]).await;
        let identities = [None, Some(issue(&other, "stranger")), Some(issue(&ours, "prometheus"))];
        for (identity, expected) in identities.into_iter().zip(expected) {
            let who = identity.is_some();
            let answer = healthy(&client(&ours, identity), &server).await;
            assert_eq!(answer.is_ok_and(|a| a.contains("Healthy")), expected, "{kind}, with a certificate: {who}");
        }
    }
}

#[tokio::test]
async fn a_renewed_certificate_is_served_and_a_broken_one_is_not() {
    let (folder, ca) = (TempDir::new().expect("a folder"), ca());
    let put = |name: &str| {
        let version = folder.path().join(name);
        fs::create_dir(&version).expect("a folder");
        put_pair(&version, &ca);
        // As the kubelet updates a Secret.
        std::os::unix::fs::symlink(&version, folder.path().join("next")).expect("a link");
        fs::rename(folder.path().join("next"), folder.path().join("data")).expect("renamed");
    };
    put("first");
    let server = start(&https(&folder.path().join("data"), ""), vec![]).await;
    let client = client(&ca, None);
    let now = async || certificate(&connect(&client, server.address).await.expect("a handshake"));
    let first = now().await;

    fs::write(folder.path().join("first/tls.key"), "no key").expect("written");
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(1500) {
        assert!(now().await == first, "the old one goes on");
    }
    put("second");
    while now().await == first {
        assert!(begun.elapsed() < Duration::from_secs(30), "the renewed one is never served");
    }
}

#[tokio::test]
async fn a_server_without_its_certificate_does_not_start() {
    let folder = TempDir::new().expect("a folder");
    for (yaml, named) in [
        (https(folder.path(), ""), "server.http_tls_config.cert_file: cannot read"),
        (format!("web_config_file: {}/web.yaml", folder.path().display()), "web.yaml: cannot read the file"),
    ] {
        let config: Config = crate::yaml::from_str(&yaml).expect("a config");
        let error = Server::bind(&config).await.err().expect("nothing to begin with").to_string();
        assert!(error.contains(named), "{error}");
    }
}

#[tokio::test]
async fn a_web_config_with_a_mistake_is_refused_without_its_secrets() {
    let folder = TempDir::new().expect("a folder");
    let web = folder.path().join("web.yaml");
    let config: Config = crate::yaml::from_str(&format!("web_config_file: {}", web.display())).expect("a config");
    for (text, named) in [
        ("basic_auth_users: {u: hunter2}", "u: is not a bcrypt hash"),
        ("basic_auth_users: {u: {hunter2: x}}", "not a valid web config"),
        ("basic_auth_users: hunter2", "not a valid web config"),
        ("hunter: 2", "unsupported key \"hunter\""),
        ("tls_server_config:\nhunter:\n", "unsupported key \"hunter\" in line 2, column 1"),
        // A mistake must not let anyone in.
        ("basic_auth_users: {u: }", "u: is not a bcrypt hash"),
        ("{}\n---\nbasic_auth_users: {u: hunter2}", "not a valid web config"),
        ("tls_server_config: {cert_file: a}", "key_file is missing"),
        ("tls_server_config: {cert_file: a, key_file: b}", "/a: "),
        ("tls_server_config: {cert_file: a, key_file: b, min_version: SSL3}", "min_version"),
        (
            "basic_auth_users: {u: $2y$31$O1.Aj5ZmpAGBTpRdSFWZtuTcNUqkpfMmOYzQlnPAJuGcOrVmD4pjO}",
            "cost of the hash is above 14",
        ),
    ] {
        fs::write(&web, text).expect("written");
        let error = Server::bind(&config).await.err().expect(text).to_string();
        assert!(error.contains(named) && !error.contains("hunter2"), "{text}: {error}");
    }
}

fn web(folder: &TempDir, users: &[(&str, &str)]) -> String {
    let web = folder.path().join("web.yaml");
    let hash = |password: &str| bcrypt::hash(password, 4).expect("a hash");
    let users: String = users.iter().map(|(name, password)| format!("  {name}: {}\n", hash(password))).collect();
    fs::write(&web, format!("basic_auth_users:\n{users}")).expect("written");
    format!("web_config_file: {}", web.display())
}

fn basic(user: &str, password: &str) -> String {
    format!("Authorization: Basic {}\r\n", BASE64_STANDARD.encode(format!("{user}:{password}")))
}

#[tokio::test]
async fn every_path_wants_the_password() {
    let folder = TempDir::new().expect("a folder");
    let server = start(&web(&folder, &[("ann", "a:b"), ("bob", "bob's")]), vec![file(None)]).await;
    for path in ["/", "/ready", "/-/healthy", "/metrics", "/targets", "/config", "/nowhere"] {
        let answer = server.ask(path, "").await;
        assert!(answer.starts_with("HTTP/1.1 401") && answer.contains("www-authenticate: Basic"), "{path}: {answer}");
        // The second time, the password is remembered.
        for _ in 0..2 {
            let answer = server.ask(path, &basic("ann", "a:b")).await;
            assert!(!answer.starts_with("HTTP/1.1 401"), "{path}: {answer}");
        }
    }
    for wrong in [
        basic("ann", "a"),
        basic("ann", ""),
        basic("bob", "a:b"),
        basic("", "a:b"),
        basic("eve", "bob's"),
        "Authorization: Basic !!!\r\n".into(),
        "Authorization: Bearer a:b\r\n".into(),
        "Authorization: Basic\r\n".into(),
    ] {
        let answer = server.ask("/metrics", &wrong).await;
        assert!(answer.starts_with("HTTP/1.1 401"), "{wrong}: {answer}");
    }
    assert!(server.ask("/metrics", &basic("bob", "bob's")).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn who_guesses_keeps_no_probe_waiting() {
    let folder = TempDir::new().expect("a folder");
    let server = start(&web(&folder, &[("kubelet", "right")]), vec![]).await;
    let right = basic("kubelet", "right");
    assert!(server.ask("/-/healthy", &right).await.starts_with("HTTP/1.1 200"));
    let mut guesses = Vec::new();
    for n in 0..100 {
        let mut stream = TcpStream::connect(server.address).await.expect("it listens");
        let request = format!("GET /ready HTTP/1.1\r\nHost: localhost\r\n{}\r\n", basic("kubelet", &n.to_string()));
        stream.write_all(request.as_bytes()).await.expect("it reads");
        guesses.push(stream);
    }
    let mut worst = Duration::ZERO;
    for _ in 0..50 {
        let begun = Instant::now();
        assert!(server.ask("/-/healthy", &right).await.starts_with("HTTP/1.1 200"));
        worst = worst.max(begun.elapsed());
    }
    println!("100 guesses: /-/healthy answers within {worst:?}");
    assert!(worst < Duration::from_secs(1), "{worst:?}");
    let mut later = 0;
    for stream in &mut guesses {
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.expect("an answer");
        later += usize::from(&answer == b"HTTP/1.1 429");
        assert!([b"HTTP/1.1 429", b"HTTP/1.1 401"].contains(&&answer), "{answer:?}");
    }
    assert!(later > 50, "one address has few checks under way: {later}");
}

#[tokio::test]
async fn a_changed_password_counts_without_a_restart() {
    let folder = TempDir::new().expect("a folder");
    let server = start(&web(&folder, &[("ann", "old")]), vec![]).await;
    assert!(server.ask("/metrics", &basic("ann", "old")).await.starts_with("HTTP/1.1 200"));
    web(&folder, &[("ann", "new")]);
    let begun = Instant::now();
    while !server.ask("/metrics", &basic("ann", "old")).await.starts_with("HTTP/1.1 401") {
        assert!(begun.elapsed() < Duration::from_secs(30), "the old one counts for ever");
    }
    assert!(server.ask("/metrics", &basic("ann", "new")).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn tls_1_3_only_where_it_is_said() {
    let (folder, ca) = (TempDir::new().expect("a folder"), ca());
    put_pair(folder.path(), &ca);
    let mut roots = RootCertStore::empty();
    roots.add(ca.der().clone()).expect("a CA");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let old = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS12]);
    let old = old.expect("a version").with_root_certificates(roots).with_no_client_auth();
    let old = TlsConnector::from(Arc::new(old));
    for (more, expected) in [("", true), ("tls_min_version: VersionTLS13", false)] {
        let server = start(&format!("{}{more}", https(folder.path(), "")), vec![]).await;
        assert_eq!(healthy(&old, &server).await.is_ok_and(|a| a.contains("Healthy")), expected, "{more}");
        assert!(healthy(&client(&ca, None), &server).await.is_ok());
    }
}

/// The example for users: HTTPS and a password, with files beside the web config.
#[tokio::test]
async fn the_example_lets_in_who_it_says() {
    let (folder, ca) = (TempDir::new().expect("a folder"), ca());
    put_pair(folder.path(), &ca);
    let web = folder.path().join("web.yaml");
    fs::write(&web, include_str!("../../../examples/tls/web.yaml")).expect("written");
    let server = start(&format!("web_config_file: {}", web.display()), vec![]).await;
    for (password, expected) in [("change me", "HTTP/1.1 200"), ("change", "HTTP/1.1 401")] {
        let stream = connect(&client(&ca, None), server.address).await.expect("a handshake");
        let answer = ask_on(stream, "/metrics", &basic("prometheus", password)).await.expect("an answer");
        assert!(answer.starts_with(expected), "{password}: {answer}");
    }
}
