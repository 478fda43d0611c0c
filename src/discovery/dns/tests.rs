use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

use super::*;
use crate::discovery::Lists;
use crate::discovery::testing::Listener;

fn parse(yaml: &str) -> Result<Config, String> {
    let config = crate::yaml::from_str::<Config>(yaml).map_err(|e| e.to_string())?;
    config.validate().map_err(|e| e.to_string())?;
    Ok(config)
}

#[test]
fn configs_that_are_refused_and_why() {
    for (yaml, why) in [
        ("{}", "names: must have 1 to 1000 names"),
        ("names: ['a..b']", "names: \"a..b\" is not a name"),
        ("{names: [a], type: TXT}", "type: must be SRV, A, AAAA, MX or NS"),
        ("{names: [a], type: A}", "port: is required"),
        ("{names: [a], type: a, port: 70000}", "port"),
        ("{names: [a], refresh_interval: 0s}", "refresh_interval: must be more than 0"),
        ("{names: [a], server: x}", "server"),
    ] {
        let error = parse(yaml).expect_err(yaml);
        assert!(error.contains(why), "{yaml}: {error}");
    }
    assert_eq!(parse("{names: [a], type: aaaa, port: 1}").map(|config| config.port), Ok(1));
}

/// How a name server answers a question for one name and type: with the data of records, or not.
#[derive(Clone)]
enum Said {
    Records(Vec<Vec<u8>>),
    /// Over UDP only the beginning.
    Long(Vec<Vec<u8>>),
    Code(u8),
    Nothing,
    Garbage,
}

type Zone = Arc<Mutex<HashMap<(String, u16), Said>>>;

/// A name server on this machine, over UDP and TCP.
struct NameServer {
    port: u16,
    zone: Zone,
    _folder: tempfile::TempDir,
    resolv_conf: PathBuf,
}

impl NameServer {
    async fn new() -> Self {
        let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address: SocketAddr = tcp.local_addr().expect("an address");
        let udp = UdpSocket::bind(address).await.expect("the same port");
        let zone = Zone::default();
        let (of_udp, of_tcp) = (zone.clone(), zone.clone());
        tokio::spawn(async move {
            let mut question = [0; 512];
            while let Ok((length, from)) = udp.recv_from(&mut question).await {
                for message in answers(&of_udp, &question[..length], true) {
                    udp.send_to(&message, from).await.expect("sent");
                }
            }
        });
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = tcp.accept().await {
                let length = stream.read_u16().await.expect("a length");
                let mut question = vec![0; length.into()];
                stream.read_exact(&mut question).await.expect("a question");
                for message in answers(&of_tcp, &question, false) {
                    let length = u16::try_from(message.len()).expect("a short answer").to_be_bytes();
                    stream.write_all(&[&length, message.as_slice()].concat()).await.expect("sent");
                }
            }
        });
        let folder = tempfile::tempdir().expect("a folder");
        let resolv_conf = folder.path().join("resolv.conf");
        std::fs::write(&resolv_conf, "nameserver 127.0.0.1\nsearch example.com\noptions timeout:1 attempts:1\n")
            .expect("written");
        Self { port: address.port(), zone, _folder: folder, resolv_conf }
    }

    fn say(&self, name: &str, kind: Kind, said: Said) {
        self.zone.lock().expect("no test panics here").insert((name.into(), kind as u16), said);
    }

    /// The discovery of a config that asks this server.
    fn discover(&self, yaml: &str) -> Listener {
        let config = parse(yaml).expect(yaml);
        let (resolv_conf, port) = (self.resolv_conf.clone(), self.port);
        Listener::of("dns_sd_configs", &Lists::default(), |known, metrics, unlisted| {
            Names { config, metrics: metrics.clone(), resolv_conf, port }.run(known, metrics, unlisted)
        })
    }
}

/// The messages with which a question is answered.
fn answers(zone: &Zone, question: &[u8], is_udp: bool) -> Vec<Vec<u8>> {
    let (mut at, mut name) = (12, String::new());
    while question[at] > 0 {
        let end = at + 1 + usize::from(question[at]);
        name += &format!("{}.", String::from_utf8_lossy(&question[at + 1..end]));
        at = end;
    }
    let kind = u16::from_be_bytes([question[at + 1], question[at + 2]]);
    let said = zone.lock().expect("no test panics here").get(&(name, kind)).cloned();
    let message = |flags: u16, records: &[Vec<u8>]| {
        let mut message = question.to_vec();
        message[2..4].copy_from_slice(&flags.to_be_bytes());
        message[6..8].copy_from_slice(&(records.len() as u16).to_be_bytes());
        for data in records {
            let length = (data.len() as u16).to_be_bytes();
            message.extend([&[0xc0, 12], &kind.to_be_bytes() as &[u8], &[0, 1, 0, 0, 0, 1], &length, data].concat());
        }
        message
    };
    match said {
        None => vec![message(0x8183, &[])],
        Some(Said::Long(records)) if is_udp => vec![message(0x8380, &records[..1])],
        Some(Said::Records(records) | Said::Long(records)) => vec![message(0x8180, &records)],
        Some(Said::Code(code)) => vec![message(0x8180 | u16::from(code), &[])],
        Some(Said::Nothing) => Vec::new(),
        // Then the true answer comes.
        Some(Said::Garbage) => {
            let mut other = message(0x8180, &[vec![6, 6, 6, 6]]);
            other[0] ^= 1;
            vec![vec![0xff; 3], other, message(0x8180, &[vec![10, 0, 0, 7]])]
        }
    }
}

fn srv(port: u16, target: &[u8]) -> Vec<u8> {
    [&[0, 1, 0, 2], &port.to_be_bytes() as &[u8], target].concat()
}

#[tokio::test]
async fn the_records_of_each_type_and_their_labels() {
    let server = NameServer::new().await;
    server.say(
        "_web._tcp.example.com.",
        Kind::Srv,
        Said::Records(vec![srv(8080, b"\x01a\x00"), srv(8081, b"\x01b\x00")]),
    );
    server.say("a.", Kind::A, Said::Records(vec![vec![10, 0, 0, 1]]));
    server.say("a.", Kind::Aaaa, Said::Records(vec![std::net::Ipv6Addr::LOCALHOST.octets().to_vec()]));
    server.say("a.", Kind::Mx, Said::Records(vec![b"\x00\x01\x02mx\x00".to_vec()]));
    server.say("a.", Kind::Ns, Said::Records(vec![b"\x02ns\x00".to_vec()]));
    for (yaml, expected) in [
        (
            "names: [_web._tcp, gone]",
            vec![
                "__address__=a:8080 __meta_dns_name=_web._tcp __meta_dns_srv_record_port=8080 __meta_dns_srv_record_target=a.",
                "__address__=b:8081 __meta_dns_name=_web._tcp __meta_dns_srv_record_port=8081 __meta_dns_srv_record_target=b.",
            ],
        ),
        ("{names: [a.], type: A, port: 80}", vec!["__address__=10.0.0.1:80 __meta_dns_name=a."]),
        ("{names: [a.], type: AAAA, port: 80}", vec!["__address__=[::1]:80 __meta_dns_name=a."]),
        (
            "{names: [a.], type: MX, port: 25}",
            vec!["__address__=mx:25 __meta_dns_mx_record_target=mx. __meta_dns_name=a."],
        ),
        (
            "{names: [a.], type: NS, port: 53}",
            vec!["__address__=ns:53 __meta_dns_name=a. __meta_dns_ns_record_target=ns."],
        ),
    ] {
        let mut listener = server.discover(yaml);
        listener.until(|listener| listener.synced).await;
        let line = |labels: &Labels| labels.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join(" ");
        assert_eq!(listener.told.values().flatten().map(line).collect::<Vec<_>>(), expected, "{yaml}");
        assert_eq!(listener.failure(), None);
    }
}

#[tokio::test]
async fn an_answer_that_is_too_long_for_udp_comes_over_tcp() {
    let server = NameServer::new().await;
    let records = (0..2000u16).map(|n| [&[10, 0], &n.to_be_bytes() as &[u8]].concat()).collect();
    server.say("a.", Kind::A, Said::Long(records));
    let mut listener = server.discover("{names: [a.], type: A, port: 80}");
    listener.until(|listener| listener.synced).await;
    assert_eq!(listener.addresses().len(), 2000);
}

/// A long answer has few bytes for each target. Then the last targets stay.
#[tokio::test]
async fn more_targets_than_the_limit_are_refused() {
    let server = NameServer::new().await;
    let records = |count: u16| Said::Long((0..count).map(|n| [&[10, 0], &n.to_be_bytes() as &[u8]].concat()).collect());
    let names: Vec<String> = (0..6).map(|n| format!("n{n}.")).collect();
    names.iter().for_each(|name| server.say(name, Kind::A, records(1)));
    let yaml = format!("{{names: [{}], type: A, port: 80, refresh_interval: 10ms}}", names.join(", "));
    let mut listener = server.discover(&yaml);
    listener.until(|listener| listener.synced).await;
    names.iter().for_each(|name| server.say(name, Kind::A, records(2_000)));
    listener.until(|listener| listener.failure().is_some_and(|why| why.contains("more than 10000 records"))).await;
    assert!(listener.addresses().len() <= 6 * 2_000);
}

#[tokio::test]
async fn whatever_is_wrong_with_a_name_server_the_last_records_stay() {
    let server = NameServer::new().await;
    let good = || Said::Records(vec![vec![10, 0, 0, 1]]);
    let other = |last: u8| Said::Records(vec![vec![10, 0, 0, last]]);
    server.say("a.", Kind::A, good());
    server.say("b.", Kind::A, other(2));
    let mut listener = server.discover("{names: [a., b.], type: A, port: 80, refresh_interval: 10ms}");
    listener.until(|listener| listener.synced).await;
    assert_eq!(listener.addresses(), ["10.0.0.1:80", "10.0.0.2:80"]);
    for (n, (said, why)) in [
        (Said::Code(2), "a.: the name server 127.0.0.1"),
        (Said::Code(5), "REFUSED"),
        (Said::Records(vec![vec![1, 2, 3]]), "timeout"),
        (Said::Nothing, "timeout"),
    ]
    .into_iter()
    .enumerate()
    {
        server.say("a.", Kind::A, said);
        listener.until(|listener| listener.failure().is_some_and(|failure| failure.contains(why))).await;
        // Another name is followed meanwhile.
        server.say("b.", Kind::A, other(100 + n as u8));
        let expected = ["10.0.0.1:80".to_string(), format!("10.0.0.{}:80", 100 + n)];
        listener.until(|listener| listener.addresses() == expected).await;
        server.say("a.", Kind::A, good());
        listener.until(|listener| listener.failure().is_none()).await;
    }
    assert!(listener.counted("prometheus_sd_dns_lookup_failures_total") > 3.0);
    assert!(listener.counted("prometheus_sd_dns_lookups_total") > 8.0);
    // What others send to the socket is no answer.
    server.say("a.", Kind::A, Said::Garbage);
    listener.until(|listener| listener.addresses().contains(&"10.0.0.7:80")).await;
    // The name is gone.
    server.zone.lock().expect("no test panics here").clear();
    listener.until(|listener| listener.told.is_empty()).await;
    std::fs::remove_file(&server.resolv_conf).expect("removed");
    listener.until(|listener| listener.failure().is_some_and(|why| why.contains("cannot read"))).await;
}
