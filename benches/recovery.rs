//! Counts the requests per second of a thousand agents during an outage of Loki and after it, and the time until each agent's lines
//! flow again.
//!
//!     cargo bench --bench recovery                       # 1,000 agents of 3 tenants each, 5 minutes of 503
//!     cargo bench --bench recovery -- 200 60             # 200 agents, 60 seconds
//!
//! The agents are real clients (`push::Client`) with the default configuration, all in one process. Loki is a server on
//! loopback that answers 503, then 204, and counts. Each agent always has a line for each of its lanes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use fantail::batch::{Batcher, Outcome};
use fantail::metrics::Registry;
use fantail::model::{AckRef, Clock, Entry, LabelSet, Ledger, Mark, Origin, Weight};
use fantail::push::{Client, Config, Metrics, Stop};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

const LANES: usize = 3;

#[derive(Default)]
struct Loki {
    is_well: AtomicBool,
    requests: AtomicUsize,
    stored: AtomicUsize,
}

#[tokio::main]
async fn main() {
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let agents = numbers.first().copied().unwrap_or(1000);
    let outage = numbers.get(1).copied().unwrap_or(300);

    let loki = Arc::new(Loki::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/loki/api/v1/push", listener.local_addr().expect("an address"));
    tokio::spawn(accept(listener, loki.clone()));

    let metrics = Metrics::register(&Registry::new());
    let config: Config = serde_yaml::from_str(&format!("url: {url}")).expect("a client");
    let (_stop, stopped) = watch::channel(Stop::Running);
    let flowing = Arc::new(AtomicUsize::new(0));
    for _ in 0..agents {
        let client = Client::new(&config, metrics.clone()).expect("a client");
        tokio::spawn(agent(
            client,
            Batcher::new(config.batching(Default::default()), Clock::default()),
            stopped.clone(),
            flowing.clone(),
        ));
    }

    println!("{agents} agents of {LANES} lanes; requests a second");
    for second in 0..outage {
        let seen = requests_of_a_second(&loki).await;
        if second < 10 || second % 15 == 0 {
            println!("away  {:>4} s  {seen:>6}", second + 1);
        }
    }
    loki.is_well.store(true, Ordering::Relaxed);
    let back = Instant::now();
    flowing.store(0, Ordering::Relaxed);
    let mut most = 0;
    for second in 0..15 {
        let seen = requests_of_a_second(&loki).await;
        most = most.max(seen);
        println!("back  {:>4} s  {seen:>6}   {} agents have delivered", second + 1, flowing.load(Ordering::Relaxed));
        if flowing.load(Ordering::Relaxed) == agents {
            break;
        }
    }
    println!("at most {most} requests a second; all flow after {:.1} s", back.elapsed().as_secs_f64());
}

async fn requests_of_a_second(loki: &Loki) -> usize {
    let before = loki.requests.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(1)).await;
    loki.requests.load(Ordering::Relaxed) - before
}

/// Has one line in flight in each of its lanes, and sends at most one per second.
async fn agent(client: Client, mut batcher: Batcher, stop: watch::Receiver<Stop>, flowing: Arc<AtomicUsize>) {
    let (batches, receiver) = mpsc::unbounded_channel();
    let woken = Arc::new(Woken);
    tokio::spawn(client.run(receiver, Waker::from(woken.clone()), stop));
    let ledger = Ledger::new();
    let mut time = 0;
    let mut delivered = false;
    loop {
        for lane in 0..LANES {
            if batcher.outstanding() < LANES {
                time += 1;
                add(&mut batcher, &ledger, lane, time);
            }
        }
        let ready: Vec<_> = std::iter::from_fn(|| batcher.next(Instant::now(), true)).collect();
        if !ready.is_empty() && batches.send(ready).is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        if !delivered && ledger.committed().is_some() {
            delivered = true;
            flowing.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn add(batcher: &mut Batcher, ledger: &Arc<Ledger>, lane: usize, time: i64) {
    let end = Mark(time as u64);
    let mut entry = Entry {
        timestamp: time,
        line: "a line".into(),
        labels: LabelSet::new([("app", "web")]),
        metadata: Vec::new(),
        tenant: Some(format!("tenant-{lane}").into()),
        origin: Origin::default(),
        weight: Weight::line(6),
        ack: AckRef::Own(ledger.open(1, end)),
    };
    match batcher.add(&mut entry, Instant::now()) {
        Outcome::Batched(_) => entry.close(),
        other => panic!("{other:?}"),
    }
}

struct Woken;

impl Wake for Woken {
    fn wake(self: Arc<Self>) {}
}

async fn accept(listener: TcpListener, loki: Arc<Loki>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, loki.clone()));
    }
}

async fn serve(mut stream: TcpStream, loki: Arc<Loki>) -> Option<()> {
    let mut data = Vec::new();
    loop {
        let head = loop {
            if let Some(at) = data.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            read_more(&mut stream, &mut data).await?;
        };
        let text = String::from_utf8_lossy(&data[..head]).to_lowercase();
        let (_, length) = text.split_once("content-length: ")?;
        let length: usize = length.split("\r\n").next()?.parse().ok()?;
        while data.len() < head + length {
            read_more(&mut stream, &mut data).await?;
        }
        data.drain(..head + length);
        loki.requests.fetch_add(1, Ordering::Relaxed);
        let answer: &[u8] = match loki.is_well.load(Ordering::Relaxed) {
            true => {
                loki.stored.fetch_add(1, Ordering::Relaxed);
                b"HTTP/1.1 204 No Content\r\n\r\n"
            }
            false => b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
        };
        stream.write_all(answer).await.ok()?;
    }
}

async fn read_more(stream: &mut TcpStream, data: &mut Vec<u8>) -> Option<()> {
    let mut buffer = [0; 4096];
    let count = stream.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
    data.extend_from_slice(&buffer[..count]);
    Some(())
}
