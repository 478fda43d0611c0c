//! A Loki on a loopback port for tests. It answers each push as the test's script says, and keeps all pushes.
//!
//! The tests in `src/push/` and those in `tests/` include this file.

#![allow(dead_code, reason = "not every test uses all of it")]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use prost::Message;

/// The answer to a push.
#[derive(Clone, Debug)]
pub enum Reply {
    Status(u16),
    Full {
        status: u16,
        headers: &'static str,
        body: String,
    },
    /// Never answers.
    Hang,
    /// Closes the connection without an answer.
    Reset,
    /// Stores the push, then closes the connection without an answer.
    LoseAnswer,
    /// Sends `head`, then `again` with pauses, until the client disconnects.
    Endless {
        head: &'static str,
        again: &'static [u8],
        pause: Duration,
    },
}

/// A parsed request.
#[derive(Clone, Debug)]
pub struct Push {
    /// The request line and the headers. Header names are in lower case.
    pub head: String,
    pub path: String,
    pub body: Vec<u8>,
    /// Labels and lines of each stream.
    pub streams: Vec<(String, Vec<String>)>,
    /// The times of the same entries in Unix nanoseconds, in order.
    pub times: Vec<i64>,
}

impl Push {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    pub fn lines(&self) -> Vec<&str> {
        self.streams.iter().flat_map(|(_, lines)| lines).map(String::as_str).collect()
    }
}

#[derive(Clone)]
pub struct FakeLoki {
    pub port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    pushes: Vec<Push>,
    /// Labels, time in Unix nanoseconds and line of each entry.
    stored: Vec<(String, i64, String)>,
}

/// Makes a stream of a connection: with TLS, or plain.
pub trait Wrap: Send + Sync + 'static {
    type Stream: Read + Write;
    fn wrap(&self, stream: TcpStream) -> Self::Stream;
}

pub struct Plain;

impl Wrap for Plain {
    type Stream = TcpStream;
    fn wrap(&self, stream: TcpStream) -> TcpStream {
        stream
    }
}

impl FakeLoki {
    /// `script` gets each push, and the number of pushes before it.
    pub fn start(script: impl Fn(&Push, usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_wrapped(Plain, script)
    }

    pub fn start_wrapped(wrap: impl Wrap, script: impl Fn(&Push, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("a bound socket").port();
        let loki = Self { port, state: Arc::default() };
        let (accepting, shared) = (loki.clone(), Arc::new((wrap, script)));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (loki, shared) = (accepting.clone(), shared.clone());
                std::thread::spawn(move || {
                    stream.set_nodelay(true).expect("a socket");
                    let socket = stream.try_clone().expect("a second handle");
                    // Errors of a connection are visible to the client under test.
                    let _ = loki.serve(shared.0.wrap(stream), &shared.1);
                    let _ = socket.shutdown(Shutdown::Both);
                });
            }
        });
        loki
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/loki/api/v1/push", self.port)
    }

    pub fn pushes(&self) -> Vec<Push> {
        self.lock().pushes.clone()
    }

    /// The lines of pushes that were answered with success, in order.
    pub fn stored(&self) -> Vec<String> {
        self.lock().stored.iter().map(|(_, _, line)| line.clone()).collect()
    }

    /// The same with the labels of each line.
    pub fn stored_with_labels(&self) -> Vec<(String, String)> {
        self.lock().stored.iter().map(|(labels, _, line)| (labels.clone(), line.clone())).collect()
    }

    /// The same with the time of each line, in Unix nanoseconds.
    pub fn entries(&self) -> Vec<(String, i64, String)> {
        self.lock().stored.clone()
    }

    /// The number of pushes that came, whatever the answer was.
    pub fn requests(&self) -> usize {
        self.lock().pushes.len()
    }

    fn serve(&self, mut stream: impl Read + Write, script: &impl Fn(&Push, usize) -> Reply) -> std::io::Result<()> {
        while let Some(push) = read_push(&mut stream)? {
            let before = {
                let mut state = self.lock();
                state.pushes.push(push.clone());
                state.pushes.len() - 1
            };
            let (status, headers, body) = match script(&push, before) {
                Reply::Status(status) => (status, "", String::new()),
                Reply::Full { status, headers, body } => (status, headers, body),
                Reply::Hang => loop {
                    std::thread::park();
                },
                Reply::Reset => return Ok(()),
                Reply::Endless { head, again, pause } => {
                    stream.write_all(head.as_bytes())?;
                    loop {
                        stream.write_all(again)?;
                        stream.flush()?;
                        std::thread::park_timeout(pause);
                    }
                }
                Reply::LoseAnswer => {
                    self.store(&push);
                    return Ok(());
                }
            };
            if status == 204 || (status == 200 && body.is_empty()) {
                self.store(&push);
            }
            let length = if status == 204 { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
            stream.write_all(format!("HTTP/1.1 {status} Said\r\n{length}{headers}\r\n{body}").as_bytes())?;
            stream.flush()?;
        }
        Ok(())
    }

    fn store(&self, push: &Push) {
        let with_labels = |(labels, lines): &(String, Vec<String>)| {
            lines.iter().map(|line| (labels.clone(), line.clone())).collect::<Vec<_>>()
        };
        let lines = push.streams.iter().flat_map(with_labels).zip(&push.times);
        self.lock().stored.extend(lines.map(|((labels, line), time)| (labels, *time, line)));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics under the lock")
    }
}

fn read_push(stream: &mut impl Read) -> std::io::Result<Option<Push>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 {
            return Ok(None);
        }
        head.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&head).replace('\r', "");
    let path = text.split(' ').nth(1).unwrap_or_default().to_string();
    // Header names in lower case. Values are unchanged.
    let head = text.lines().map(|line| match line.split_once(": ") {
        Some((name, value)) => format!("{}: {value}\n", name.to_lowercase()),
        None => format!("{line}\n"),
    });
    let mut push = Push { head: head.collect(), path, body: Vec::new(), streams: Vec::new(), times: Vec::new() };
    let length = push.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    push.body = vec![0; length];
    stream.read_exact(&mut push.body)?;
    if push.header("content-type") == Some("application/x-protobuf") {
        (push.streams, push.times) = decode(&push.body);
    }
    Ok(Some(push))
}

fn decode(body: &[u8]) -> (Vec<(String, Vec<String>)>, Vec<i64>) {
    let plain = snap::raw::Decoder::new().decompress_vec(body).expect("snappy's block format");
    let push = PushRequest::decode(plain.as_slice()).expect("a push request");
    let nanos =
        |time: &Option<Time>| time.as_ref().map_or(0, |time| time.seconds * 1_000_000_000 + i64::from(time.nanos));
    let times = push.streams.iter().flat_map(|stream| &stream.entries).map(|entry| nanos(&entry.time)).collect();
    let lines = |entries: Vec<Entry>| entries.into_iter().map(|entry| entry.line).collect();
    (push.streams.into_iter().map(|stream| (stream.labels, lines(stream.entries))).collect(), times)
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
    #[prost(message, tag = "1")]
    time: Option<Time>,
    #[prost(string, tag = "2")]
    line: String,
}

#[derive(Message)]
struct Time {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}
