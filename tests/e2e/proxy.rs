//! A proxy between the agent and Loki that can misbehave.
//!
//! It also records which bytes Loki has stored, and whether entries were sent out of order.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use prost::Message;

use crate::wait::wait_until;

/// The fate of a push.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deed {
    Pass,
    /// The answer is delayed by this time.
    PassIn(Duration),
    /// Loki gets the push and answers, but the agent's connection is closed.
    Swallow,
    /// The proxy answers, and Loki does not get the push.
    Answer(u16),
    /// The connection is closed, and Loki does not get the push.
    HangUp,
}

type Script = dyn Fn(usize) -> Deed + Send + Sync;

pub(crate) struct Proxy {
    port: u16,
    state: Arc<State>,
}

struct State {
    upstream: String,
    script: Box<Script>,
    closed: AtomicBool,
    hold: AtomicBool,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    pushes: usize,
    swallowed: usize,
    held: usize,
    /// Bytes of lines in pushes that Loki has stored. A push that it stored twice counts twice.
    stored_bytes: u64,
    streams: HashMap<String, Sent>,
    out_of_order: Option<String>,
}

/// The timestamps that were sent of a stream, whether Loki stored them or not.
#[derive(Default)]
struct Sent {
    times: HashSet<i64>,
    newest: i64,
}

impl Proxy {
    /// Starts a proxy between agents and the server at `upstream` (host and port). `script` decides the fate of the nth
    /// push, from 0.
    pub(crate) fn start(upstream: &str, script: impl Fn(usize) -> Deed + Send + Sync + 'static) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let state = Arc::new(State {
            upstream: upstream.to_owned(),
            script: Box::new(script),
            closed: AtomicBool::new(false),
            hold: AtomicBool::new(false),
            seen: Mutex::default(),
        });
        let serving = state.clone();
        thread::spawn(move || {
            for agent in listener.incoming().flatten() {
                if serving.closed.load(Ordering::Relaxed) {
                    return;
                }
                let serving = serving.clone();
                thread::spawn(move || {
                    // An error here closes the connection, and the agent must cope with that.
                    let _ = serving.serve(&agent);
                    let _ = agent.shutdown(Shutdown::Both);
                });
            }
        });
        Proxy { port, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn pushes(&self) -> usize {
        self.state.seen().pushes
    }

    pub(crate) fn swallowed(&self) -> usize {
        self.state.seen().swallowed
    }

    /// Waits for the next push that Loki stores. The proxy holds its answer back until the agent has closed the connection.
    #[track_caller]
    pub(crate) fn hold_an_answer(&self) {
        let before = self.state.seen().held;
        self.state.hold.store(true, Ordering::Relaxed);
        wait_until("a push is stored", Duration::from_secs(30), || self.state.seen().held > before);
    }

    /// Bytes of lines that Loki has stored. Lines that it stored twice count twice.
    pub(crate) fn stored_bytes(&self) -> u64 {
        self.state.seen().stored_bytes
    }

    /// Within a stream, a line is sent for the first time only after all older lines.
    #[track_caller]
    pub(crate) fn assert_oldest_first(&self) {
        if let Some(what) = &self.state.seen().out_of_order {
            panic!("sent out of order: {what}");
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.closed.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

impl State {
    fn serve(&self, mut agent: &TcpStream) -> io::Result<()> {
        agent.set_nodelay(true)?;
        while let Some(request) = Request::read(agent)? {
            let (streams, nth) = (request.streams()?, self.count());
            self.seen().sent(&streams);
            let deed = (self.script)(nth);
            match deed {
                Deed::HangUp => return Ok(()),
                Deed::Answer(status) => {
                    let answer = format!("HTTP/1.1 {status} by the proxy\r\nContent-Length: 0\r\n\r\n");
                    agent.write_all(answer.as_bytes())?;
                    continue;
                }
                Deed::Pass | Deed::PassIn(_) | Deed::Swallow => {}
            }
            let answer = self.forward(&request)?;
            let stored = answer.starts_with(b"HTTP/1.1 2");
            if stored {
                self.seen().stored_bytes += streams.iter().map(Stream::bytes).sum::<u64>();
            }
            if stored && self.hold.swap(false, Ordering::Relaxed) {
                self.seen().held += 1;
                // Waits until the agent has closed the connection: it sends nothing before it has an answer.
                let _ = agent.read(&mut [0]);
                return Ok(());
            }
            match deed {
                Deed::Swallow => {
                    self.seen().swallowed += usize::from(stored);
                    return Ok(());
                }
                Deed::PassIn(delay) => thread::sleep(delay),
                _ => {}
            }
            agent.write_all(&answer)?;
        }
        Ok(())
    }

    /// Reads the answer up to the end of the connection. Its `content-length` is the one that Loki sent.
    fn forward(&self, request: &Request) -> io::Result<Vec<u8>> {
        let mut loki = TcpStream::connect(&self.upstream)?;
        loki.set_nodelay(true)?;
        let head = request.head.strip_suffix("\r\n").unwrap_or(&request.head);
        loki.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes())?;
        loki.write_all(&request.body)?;
        let mut answer = Vec::new();
        loki.read_to_end(&mut answer)?;
        let end = answer.windows(4).position(|w| w == b"\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
        let head = String::from_utf8_lossy(&answer[..end]).replace("\r\nConnection: close", "");
        Ok([head.as_bytes(), &answer[end..]].concat())
    }

    fn count(&self) -> usize {
        let mut seen = self.seen();
        seen.pushes += 1;
        seen.pushes - 1
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("nobody panics under the lock")
    }
}

impl Seen {
    fn sent(&mut self, streams: &[Stream]) {
        for stream in streams {
            let sent = self.streams.entry(stream.labels.clone()).or_default();
            for time in stream.entries.iter().map(Entry::nanoseconds) {
                let first = sent.times.insert(time);
                if first && time < sent.newest && self.out_of_order.is_none() {
                    let pushes = self.pushes;
                    let newest = sent.newest;
                    self.out_of_order =
                        Some(format!("{}: {time} for the first time after {newest}, push {pushes}", stream.labels));
                }
                sent.newest = sent.newest.max(time);
            }
        }
    }
}

struct Request {
    /// Reads the request line and headers, with the empty line after them.
    head: String,
    body: Vec<u8>,
}

impl Request {
    /// None: there is no further request.
    fn read(mut agent: &TcpStream) -> io::Result<Option<Request>> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            if agent.read(&mut byte)? == 0 {
                return Ok(None);
            }
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let length = head.lines().filter_map(|line| line.split_once(": "));
        let mut length = length.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let length = length.next().and_then(|(_, length)| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        agent.read_exact(&mut body)?;
        Ok(Some(Request { head, body }))
    }

    fn streams(&self) -> io::Result<Vec<Stream>> {
        let plain = snap::raw::Decoder::new().decompress_vec(&self.body).map_err(io::Error::other)?;
        let push = PushRequest::decode(plain.as_slice()).map_err(io::Error::other)?;
        Ok(push.streams)
    }
}

#[derive(Message)]
struct PushRequest {
    #[prost(message, repeated, tag = "1")]
    streams: Vec<Stream>,
}

#[derive(Message)]
struct Stream {
    #[prost(string, tag = "1")]
    labels: String,
    #[prost(message, repeated, tag = "2")]
    entries: Vec<Entry>,
}

#[derive(Message)]
struct Entry {
    #[prost(message, optional, tag = "1")]
    timestamp: Option<Timestamp>,
    #[prost(bytes = "vec", tag = "2")]
    line: Vec<u8>,
}

#[derive(Message)]
struct Timestamp {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

impl Stream {
    fn bytes(&self) -> u64 {
        self.entries.iter().map(|entry| entry.line.len() as u64).sum()
    }
}

impl Entry {
    fn nanoseconds(&self) -> i64 {
        let time = self.timestamp.as_ref();
        time.map_or(0, |time| time.seconds * 1_000_000_000 + i64::from(time.nanos))
    }
}
