//! Messages over real sockets, into an inbox that the test commits.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio_rustls::TlsConnector;

use super::*;
use crate::receive::Config as Receives;
use crate::receive::testing::{Client, Rig, clients, receiver};

const MAP: &str = "[{action: labelmap, regex: '__syslog_(.+)'}]";

async fn start(yaml: &str, rules: &str) -> (Rig, Client) {
    let config: Config = crate::yaml::from_str(yaml).expect(yaml);
    config.validate().expect(yaml);
    let (intake, mut clients) = clients(1);
    let rig = Rig::start(receiver(Receives::Syslog(Box::new(config)), rules), intake).await;
    (rig, clients.remove(0))
}

const TCP: &str = "listen_address: 127.0.0.1:0\n";
const UDP: &str = "listen_address: 127.0.0.1:0\nlisten_protocol: udp\n";

#[tokio::test]
async fn messages_of_both_formats_and_framings_have_their_labels() {
    let (rig, mut client) = start(&format!("{TCP}label_structured_data: true\nlabels: {{job: s}}"), MAP).await;
    let mut stream = rig.connect().await;
    let rfc5424 = "<165>1 2026-01-02T03:04:05Z host app 7 ID [x@1 k=\"v\"] one";
    let sent =
        format!("{} {rfc5424}<34>Jan  2 03:04:05 old su[9]: two\n<13>1 - - - - - -\njunk\n<13>three", rfc5424.len());
    stream.write_all(sent.as_bytes()).await.expect("sent");
    drop(stream);
    let ip = "connection_ip_address=\"127.0.0.1\"";
    assert_eq!(
        client.wait_for(3).await,
        [
            format!(
                "{{{ip}, job=\"s\", message_app_name=\"app\", message_facility=\"local4\", message_hostname=\"host\", \
                 message_msg_id=\"ID\", message_proc_id=\"7\", message_sd_x_1_k=\"v\", message_severity=\"notice\"}} one"
            ),
            format!(
                "{{{ip}, job=\"s\", message_app_name=\"su\", message_facility=\"auth\", message_hostname=\"old\", \
                 message_proc_id=\"9\", message_severity=\"critical\"}} two"
            ),
            format!("{{{ip}, job=\"s\", message_facility=\"user\", message_severity=\"notice\"}} three"),
        ]
    );
    assert_eq!(rig.count("promtail_syslog_target_entries_total"), 3);
    assert_eq!(rig.count("promtail_syslog_empty_messages_total"), 1);
    assert_eq!(rig.count("promtail_syslog_target_parsing_errors_total"), 1);
}

#[tokio::test]
async fn a_datagram_is_a_message_however_it_ends() {
    let yaml = format!("{UDP}use_incoming_timestamp: true\nuse_rfc5424_message: true\nmax_message_length: 480");
    let (rig, mut client) =
        start(&yaml, "[{action: drop, source_labels: [__syslog_message_app_name], regex: noise}]").await;
    let sender = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let long = format!("<13>1 1970-01-01T00:00:00.000000001Z h a p m - {}", "x".repeat(1_000));
    for datagram in [
        "<13>1 1970-01-01T00:00:00.000000001Z h a p m - one",
        "<13>1 1970-01-01T00:00:00.000000002Z h a p m - two\n<13>1 1970-01-01T00:00:00.000000003Z h a p m - three\n",
        "50 <13>1 1970-01-01T00:00:00.000000004Z h a p m - four",
        "random \u{0} bytes",
        "<13>1 - h noise p m - dropped",
        "<13>without a time",
        &long,
    ] {
        sender.send_to(datagram.as_bytes(), &rig.address).await.expect("sent");
    }
    let got = client.wait_for(6).await;
    let whole =
        |n: i32, text: &str| format!("{{job=\"job\"}} {n} <13>1 1970-01-01T00:00:00.00000000{n}Z h a p m - {text}");
    assert_eq!(got[..4], [whole(1, "one"), whole(2, "two"), whole(3, "three"), whole(4, "fou")]);
    assert_eq!(got[4], "{job=\"job\"} <13>without a time");
    assert_eq!(got[5], format!("{{job=\"job\"}} 1 {}", &long[..480]));
    assert_eq!(rig.count("fantail_syslog_messages_without_time_total"), 1);
    assert_eq!(rig.count("fantail_syslog_cut_messages_total"), 1);
    // The random bytes, and the `r` behind the frame that was said to be shorter than it is.
    assert_eq!(rig.count("promtail_syslog_target_parsing_errors_total"), 2);
    assert_eq!(rig.count("logentry_dropped_lines_total"), 1);
}

#[tokio::test]
async fn what_the_kernel_dropped_is_counted_once_although_the_config_changes() {
    let yaml = format!("{UDP}receive_buffer: 4KB\n");
    let (mut rig, _client) = start(&yaml, "[]").await;
    // The receiver gets no turn before all are sent.
    let sender = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    for _ in 0..200 {
        sender.send_to(&[b'x'; 1_000], &rig.address).expect("sent");
    }
    let config: Config = crate::yaml::from_str(&format!("{yaml}max_message_length: 480")).expect("a config");
    let (intake, _clients) = clients(1);
    rig.reload(receiver(Receives::Syslog(Box::new(config)), "[]"), intake).await;
    let count = |rig: &Rig| rig.count("fantail_syslog_dropped_datagrams_total");
    while count(&rig) == 0 {
        tokio::task::yield_now().await;
    }
    let before = count(&rig);
    rig.receivers.finish().await;
    assert_eq!(count(&rig), before);
}

/// An outage of Loki: the sender waits, and nothing is lost.
#[tokio::test]
async fn a_connection_is_not_read_on_while_there_is_no_room() {
    let (rig, mut client) = start(TCP, "[]").await;
    let mut stream = rig.connect().await;
    let line = |n: usize| format!("<13>{n:05} {}\n", "x".repeat(1_000));
    // More than an inbox and the buffers of a connection hold.
    let count = 40_000;
    let sending = tokio::spawn(async move {
        for n in 0..count {
            stream.write_all(line(n).as_bytes()).await.expect("sent");
        }
    });
    // The inbox is full with these, since nothing is committed.
    let mut got = client.wait_for(3_500).await;
    while got.len() < count {
        client.commit();
        got.extend(client.wait_for(1).await);
    }
    sending.await.expect("all is sent");
    let want = |n: usize| format!("{{job=\"job\"}} {}", &line(n)[4..line(n).len() - 1]);
    assert!(got.iter().enumerate().all(|(n, line)| *line == want(n)), "each line once, in order");
    assert_eq!(rig.count("fantail_lost_bytes_total"), 0);
}

#[tokio::test]
async fn many_connections_of_one_address_close_their_own() {
    let (rig, mut client) = start(&format!("{TCP}max_connections: 8"), "[]").await;
    let address: SocketAddr = rig.address.parse().expect("an address");
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.2:0".parse().expect("an address")).expect("bound");
    let mut neighbour = socket.connect(address).await.expect("it listens");
    neighbour.write_all(b"<13>before\n").await.expect("sent");
    client.wait_for(1).await;
    let open = || {
        let families = rig.registry.gather();
        let family = families.iter().find(|family| family.name() == "fantail_syslog_connections");
        family.map(|family| family.get_metric()[0].get_gauge().get_value())
    };
    let mut many = Vec::new();
    for _ in 0..1_000 {
        many.push(TcpStream::connect(address).await.expect("it listens"));
        // Those that end are among them.
        assert!(open().is_none_or(|open| open <= 26.0), "{:?}", open());
    }
    // The oldest is closed.
    assert_eq!(many[0].read(&mut [0; 1]).await.unwrap_or(0), 0);
    neighbour.write_all(b"<13>after\n").await.expect("sent");
    assert_eq!(client.wait_for(1).await, ["{job=\"job\"} after"]);
    // Tasks of closed connections end when they are polled.
    while open().is_none_or(|open| open > 8.0) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_and_a_frame_of_a_gigabyte_are_closed() {
    let (rig, mut client) = start(&format!("{TCP}idle_timeout: 5s"), "[]").await;
    let mut silent = rig.connect().await;
    silent.write_all(b"<13>its last message has no end").await.expect("sent");
    assert_eq!(silent.read(&mut [0; 1]).await.expect("closed"), 0);
    assert_eq!(client.read(), ["{job=\"job\"} its last message has no end"]);
    let mut huge = rig.connect().await;
    huge.write_all(b"<13>good\n1000000000 <13>x").await.expect("sent");
    assert_eq!(huge.read(&mut [0; 1]).await.unwrap_or(0), 0);
    assert_eq!(client.read(), ["{job=\"job\"} good"]);
    assert_eq!(rig.count("promtail_syslog_target_parsing_errors_total"), 1);
}

#[tokio::test]
async fn with_a_ca_only_its_certificates_are_let_in() {
    let dir = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let made = |name: &str| rcgen::generate_simple_self_signed([name.to_string()]).expect("a certificate");
    let (server, sender, stranger) = (made("localhost"), made("sender"), made("stranger"));
    let yaml = format!(
        "{TCP}tls_config: {{cert_file: {}, key_file: {}, ca_file: {}}}",
        write("server.crt", &server.cert.pem()),
        write("server.key", &server.signing_key.serialize_pem()),
        write("ca.crt", &sender.cert.pem()),
    );
    let (rig, mut client) = start(&yaml, "[]").await;
    // A handshake that is never finished, and one that is none.
    let _half_open = rig.connect().await;
    let mut plain = rig.connect().await;
    plain.write_all(b"<13>without TLS\n").await.expect("sent");
    let connect = async |identity: &rcgen::CertifiedKey<rcgen::KeyPair>| {
        let mut roots = RootCertStore::empty();
        roots.add(server.cert.der().clone()).expect("a root");
        let chain: Vec<CertificateDer<'static>> = vec![identity.cert.der().clone()];
        let key = PrivateKeyDer::try_from(identity.signing_key.serialize_der()).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .expect("a certificate");
        let name = ServerName::try_from("localhost").expect("a name");
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, rig.connect().await).await.ok()?;
        stream.write_all(b"<13>within TLS\n").await.ok()?;
        stream.shutdown().await.ok()?;
        let _ = stream.read(&mut [0; 1]).await;
        Some(())
    };
    connect(&stranger).await;
    assert_eq!(connect(&sender).await, Some(()));
    assert_eq!(client.wait_for(1).await, ["{job=\"job\"} within TLS"]);
    drop(plain);
    assert_eq!(client.read(), [""; 0]);
    assert!(rig.count("fantail_syslog_handshake_errors_total") >= 2);
}

#[test]
fn configs() {
    for (yaml, wrong) in [
        ("listen_address: 0.0.0.0:1514", ""),
        ("listen_address: ':1514'", ""),
        ("listen_address: '[::]:1514'\nsyslog_format: rfc3164", ""),
        ("{}", "listen_address"),
        ("listen_address: localhost", "listen_address"),
        ("listen_address: :1\nidle_timeout: 0s", "idle_timeout"),
        ("listen_address: :1\nmax_message_length: 0", "max_message_length"),
        ("listen_address: :1\nmax_connections: 0", "max_connections"),
        ("listen_address: :1\nlabels: {'': x}", "labels"),
        ("listen_address: :1\ntls_config: {cert_file: a}", "tls_config"),
        ("listen_address: :1\nlisten_protocol: udp\ntls_config: {cert_file: a, key_file: b}", "tls_config"),
    ] {
        let config: Config = crate::yaml::from_str(yaml).expect(yaml);
        let said = config.validate().err().map(|e| e.path.to_string()).unwrap_or_default();
        assert_eq!(said, wrong, "{yaml}");
    }
    for (address, want) in [(":1514", &["[::]:1514", "0.0.0.0:1514"][..]), ("[::1]:1514", &["[::1]:1514"])] {
        let config = Config { listen_address: address.into(), ..Config::default() };
        assert_eq!(config.addresses(), want);
    }
    for wrong in ["listen_protocol: sctp", "syslog_format: cef", "idle_timeout: 5", "tls: {}"] {
        assert!(crate::yaml::from_str::<Config>(wrong).is_err(), "{wrong}");
    }
}
