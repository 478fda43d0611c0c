//! Three hundred slow connections, each in another way. Probes are still answered.

use std::time::Instant;

use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use tempfile::TempDir;

use super::access::{ca, client, connect, https, put_pair};
use super::*;

const SLOW: usize = 300;
const ROUNDS: usize = 20;

/// Connections that send `first`, and then `drip` again and again. A closed connection is opened again.
struct Attack {
    address: SocketAddr,
    first: Vec<u8>,
    drip: Vec<u8>,
    connections: Vec<TcpStream>,
}

impl Attack {
    async fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).await.expect("it listens");
        stream.writable().await.expect("it is connected");
        let _ = stream.try_write(&self.first);
        stream
    }

    async fn again(&mut self) {
        while self.connections.len() < SLOW {
            let new = self.connect().await;
            self.connections.push(new);
        }
        for at in 0..SLOW {
            let stream = &self.connections[at];
            let said = stream.try_read(&mut [0; 4096]);
            let gone = match said {
                Ok(bytes) => bytes == 0,
                Err(error) => error.kind() != ErrorKind::WouldBlock,
            };
            let _ = stream.try_write(&self.drip);
            if gone {
                self.connections[at] = self.connect().await;
            }
        }
    }
}

fn attacks() -> Vec<(&'static str, Vec<u8>, Vec<u8>)> {
    let kinds: [(&str, &[u8], &[u8]); 6] = [
        ("headers without an end", b"GET /-/healthy HTTP/1.1\r\nHost: x\r\nX-a: ", b"a"),
        ("a body without an end", b"POST /ready HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n", b"a"),
        ("silence after a request", b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n", b""),
        ("silence from the start", b"", b""),
        ("chunks without an end", b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
        (
            "requests without an end",
            b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
        ),
    ];
    kinds.map(|(kind, first, drip)| (kind, first.to_vec(), drip.to_vec())).into()
}

/// The longest time of a probe on a new connection during the attack.
async fn worst(server: &Running, first: Vec<u8>, drip: Vec<u8>, probe: impl AsyncFn() -> String) -> Duration {
    let mut attack = Attack { address: server.address, first, drip, connections: Vec::new() };
    let mut worst = Duration::ZERO;
    for _ in 0..ROUNDS {
        attack.again().await;
        let begun = Instant::now();
        let answer = probe().await;
        worst = worst.max(begun.elapsed());
        assert!(answer.contains("Healthy"), "{answer}");
    }
    worst
}

#[tokio::test]
async fn a_probe_is_answered_whatever_the_others_do() {
    for (kind, first, drip) in attacks() {
        let server = start("", vec![]).await;
        let worst = worst(&server, first, drip, async || server.ask("/-/healthy", "").await).await;
        println!("{kind}: /-/healthy answers within {worst:?}");
        assert!(worst < Duration::from_secs(1), "{kind}: {worst:?}");
    }
}

/// Before the head of a request is there, nothing is known of the client: it may keep little of the memory.
#[tokio::test]
async fn a_head_without_end_is_refused_before_it_takes_memory() {
    let server = start("", vec![]).await;
    for head in ["GET /?q=", "GET / HTTP/1.1\r\nHost: x\r\nX-A: "] {
        let mut stream = TcpStream::connect(server.address).await.expect("it listens");
        let head = format!("{head}{}", "a".repeat(40_000));
        stream.write_all(head.as_bytes()).await.expect("it reads");
        let mut answer = vec![0; 100];
        let read = stream.read(&mut answer).await.expect("an answer");
        let answer = String::from_utf8_lossy(&answer[..read]);
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer:?}");
    }
    // A head with many cookies is none of these.
    let cookies = format!("Cookie: {}\r\n", "a".repeat(16_000));
    assert!(server.ask("/-/healthy", &cookies).await.contains("Healthy"));
}

/// The connections of one address. An earlier request of another address, sent in two halves, still succeeds.
#[tokio::test]
async fn one_address_that_connects_without_pause_closes_its_own() {
    let server = start("http_listen_conn_limit: 8", vec![]).await;
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.2:0".parse().expect("an address")).expect("all of 127/8 is here");
    let mut other = socket.connect(server.address).await.expect("it listens");
    other.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\nConnec").await.expect("it reads");
    let mut many = Vec::new();
    for _ in 0..100 {
        many.push(TcpStream::connect(server.address).await.expect("it listens"));
    }
    assert!(matches!(many[0].read(&mut [0]).await, Ok(0) | Err(_)), "the first of the many went");
    other.write_all(b"tion: close\r\n\r\n").await.expect("it reads");
    let mut answer = String::new();
    other.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.contains("Healthy"), "{answer}");
}

#[tokio::test]
async fn a_probe_is_answered_within_tls_whatever_the_others_do() {
    let (folder, ca) = (TempDir::new().expect("a folder"), ca());
    put_pair(folder.path(), &ca);
    let client = client(&ca, None);
    let name = ServerName::try_from("localhost").expect("a name");
    let mut hello = Vec::new();
    let mut session = ClientConnection::new(client.config().clone(), name).expect("a session");
    session.write_tls(&mut hello).expect("a hello");
    for (kind, first, drip) in [
        ("half a hello", hello[..40].to_vec(), vec![]),
        ("a hello a byte at a time", hello[..5].to_vec(), b"\x01".to_vec()),
        ("a hello and silence", hello.clone(), vec![]),
        ("silence from the start", vec![], vec![]),
        ("no TLS", b"GET / HTTP/1.1\r\n\r\n".to_vec(), b"a".to_vec()),
    ] {
        let server = start(&https(folder.path(), ""), vec![]).await;
        let probe = async || {
            let stream = connect(&client, server.address).await.expect("a handshake");
            ask_on(stream, "/-/healthy", "").await.expect("an answer")
        };
        let worst = worst(&server, first, drip, probe).await;
        println!("{kind}: /-/healthy answers within {worst:?}");
        assert!(worst < Duration::from_secs(1), "{kind}: {worst:?}");
    }
}

/// A client that sends its hello, and then only reads. Bytes that the server writes must not extend the handshake.
#[tokio::test(start_paused = true)]
async fn a_handshake_that_never_ends_is_cut() {
    let (folder, ca) = (TempDir::new().expect("a folder"), ca());
    put_pair(folder.path(), &ca);
    let server = start(&https(folder.path(), ""), vec![]).await;
    let name = ServerName::try_from("localhost").expect("a name");
    let mut session = ClientConnection::new(client(&ca, None).config().clone(), name).expect("a session");
    let mut hello = Vec::new();
    session.write_tls(&mut hello).expect("a hello");
    let mut slow = TcpStream::connect(server.address).await.expect("it listens");
    slow.write_all(&hello).await.expect("it reads");
    for second in 0..60 {
        // Further bytes belong to the handshake, or there are none.
        let said = tokio::time::timeout(Duration::from_secs(1), slow.read(&mut [0; 16384])).await;
        if let Ok(Ok(0) | Err(_)) = said {
            return assert!(second <= 20, "cut after {second} s");
        }
    }
    panic!("half a handshake kept it open for a minute");
}

#[tokio::test]
async fn pages_that_are_asked_for_without_pause_are_few() {
    let server = start("", vec![file(None); 10_000]).await;
    let mut asking = Vec::new();
    for _ in 0..16 {
        let address = server.address;
        asking.push(tokio::spawn(async move {
            let (mut pages, mut refused) = (0, 0);
            loop {
                let Ok(stream) = TcpStream::connect(address).await else { return (pages, refused) };
                match ask_on(stream, "/targets?format=json", "").await {
                    Ok(page) if page.starts_with("HTTP/1.1 200") => pages += 1,
                    Ok(page) if page.starts_with("HTTP/1.1 503") => refused += 1,
                    _ => return (pages, refused),
                }
                if pages + refused >= 20 {
                    return (pages, refused);
                }
            }
        }));
    }
    let mut worst = Duration::ZERO;
    while asking.iter().any(|task| !task.is_finished()) {
        let begun = Instant::now();
        assert_eq!(server.status("/-/healthy").await.0, 200);
        worst = worst.max(begun.elapsed());
    }
    let mut all = (0, 0);
    for task in asking {
        let (pages, refused) = task.await.expect("no panic");
        assert_eq!(pages + refused, 20, "each is answered");
        all = (all.0 + pages, all.1 + refused);
    }
    println!("{all:?} pages served and refused: /-/healthy answers within {worst:?}");
    assert!(all.0 > 0 && worst < Duration::from_secs(2), "{all:?}, {worst:?}");
}

#[tokio::test]
async fn those_who_ask_at_once_for_metrics_share_one_text() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    struct Counted(prometheus::IntCounter, Arc<AtomicUsize>);
    impl prometheus::core::Collector for Counted {
        fn desc(&self) -> Vec<&prometheus::core::Desc> {
            self.0.desc()
        }
        fn collect(&self) -> Vec<prometheus::proto::MetricFamily> {
            self.1.fetch_add(1, Ordering::Relaxed);
            self.0.collect()
        }
    }
    let (registry, gathered) = (Registry::new(), Arc::new(AtomicUsize::new(0)));
    let counter = prometheus::IntCounter::new("a_total", "x").expect("a counter");
    registry.register(Box::new(Counted(counter, gathered.clone()))).expect("a first metric");
    let server = start_with("", vec![], registry).await;
    let mut asking = Vec::new();
    for _ in 0..200 {
        let mut stream = TcpStream::connect(server.address).await.expect("it listens");
        // The connection is served before the request.
        stream.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("it reads");
        assert!(stream.read(&mut [0; 4096]).await.expect("an answer") > 0);
        asking.push(stream);
    }
    for stream in &mut asking {
        stream.try_write(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("it reads");
    }
    for mut stream in asking {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.contains("\na_total 0\n"), "{answer}");
    }
    let gathered = gathered.load(Ordering::Relaxed);
    assert!((1..=50).contains(&gathered), "{gathered} times for 200 that asked at once");
}
