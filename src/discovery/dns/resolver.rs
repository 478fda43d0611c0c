//! Asks the name servers of `/etc/resolv.conf`, as the C library does, for records that the C library does not give.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::message::{Answer, Kind, Record, answer, question};
use crate::backoff::chance;
use crate::model::bounded;

/// The largest `resolv.conf` in bytes.
const LARGEST: u64 = 1 << 20;

/// How many servers and search domains are used.
const SERVERS: usize = 3;
const SEARCH: usize = 32;

/// The largest answer over UDP in bytes.
const DATAGRAM: usize = 4096;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resolver {
    servers: Vec<SocketAddr>,
    search: Vec<String>,
    /// A name with so many dots is first tried as it is.
    ndots: usize,
    timeout: Duration,
    attempts: usize,
}

impl Resolver {
    /// `port` is the one of the servers.
    pub fn read(file: &Path, port: u16) -> Result<Self, String> {
        let text = std::fs::File::open(file).and_then(|file| bounded::read_text(file, LARGEST));
        Ok(Self::parse(&text.map_err(|e| format!("cannot read {}: {e}", file.display()))?, port))
    }

    fn parse(text: &str, port: u16) -> Self {
        let mut resolver =
            Self { servers: Vec::new(), search: Vec::new(), ndots: 1, timeout: Duration::from_secs(5), attempts: 2 };
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let address = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                    resolver.servers.extend(address.map(|address| SocketAddr::new(address, port)));
                }
                // The last one counts.
                Some("search" | "domain") => resolver.search = words.map(String::from).take(SEARCH).collect(),
                Some("options") => words.for_each(|option| resolver.set(option)),
                _ => {}
            }
        }
        resolver.servers.truncate(SERVERS);
        if resolver.servers.is_empty() {
            resolver.servers.push(SocketAddr::from(([127, 0, 0, 1], port)));
        }
        resolver
    }

    /// Values are limited as in the C library.
    fn set(&mut self, option: &str) {
        let Some((name, Ok(value))) = option.split_once(':').map(|(name, value)| (name, value.parse::<u8>())) else {
            return;
        };
        match name {
            "ndots" => self.ndots = usize::from(value.min(15)),
            "timeout" => self.timeout = Duration::from_secs(value.clamp(1, 30).into()),
            "attempts" => self.attempts = usize::from(value.clamp(1, 5)),
            _ => {}
        }
    }

    /// The records of the first name that has some: `name` itself, or `name` in one of the search domains. Fails if that
    /// is not certain because no server answers for one of them.
    pub async fn lookup(&self, name: &str, kind: Kind) -> Result<Vec<Record>, String> {
        let mut failure = None;
        for name in self.names(name) {
            match self.ask_servers(&name, kind).await {
                Ok(records) if !records.is_empty() => return Ok(records),
                Ok(_) => {}
                Err(error) => failure = failure.or(Some(format!("{name}: {error}"))),
            }
        }
        failure.map_or(Ok(Vec::new()), Err)
    }

    /// The names that `name` may stand for, in the order in which they are tried.
    fn names(&self, name: &str) -> Vec<String> {
        if name.ends_with('.') {
            return vec![name.into()];
        }
        let mut names: Vec<String> =
            self.search.iter().map(|domain| format!("{name}.{}.", domain.trim_matches('.'))).collect();
        let whole = format!("{name}.");
        if name.matches('.').count() >= self.ndots {
            names.insert(0, whole);
        } else {
            names.push(whole);
        }
        names
    }

    /// The answer of the first server that gives one. Empty: there are no such records.
    async fn ask_servers(&self, name: &str, kind: Kind) -> Result<Vec<Record>, String> {
        let mut failure = String::new();
        for _ in 0..self.attempts {
            for server in &self.servers {
                failure = match self.ask(*server, name, kind).await {
                    Ok(Answer::Records(records)) => return Ok(records),
                    Ok(Answer::Truncated) => format!("the name server {server} cuts its answer over TCP"),
                    Ok(Answer::Refused(code)) => {
                        format!("the name server {server} cannot answer: {}", in_words(code))
                    }
                    Err(error) => format!("no answer of the name server {server}: {error}"),
                };
            }
        }
        Err(failure)
    }

    async fn ask(&self, server: SocketAddr, name: &str, kind: Kind) -> io::Result<Answer> {
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "timeout");
        // Between 0 and 65,535.
        let id = (chance() * 65_536.0) as u16;
        let question = question(id, name, kind).ok_or_else(|| io::Error::other("this is not a valid name"))?;
        match timeout(self.timeout, by_udp(server, &question)).await.map_err(late)?? {
            Answer::Truncated => timeout(self.timeout, by_tcp(server, &question)).await.map_err(late)?,
            answer => Ok(answer),
        }
    }
}

async fn by_udp(server: SocketAddr, question: &[u8]) -> io::Result<Answer> {
    let any: IpAddr = if server.is_ipv4() { [0; 4].into() } else { [0u16; 8].into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut message = vec![0; DATAGRAM];
    loop {
        let length = socket.recv(&mut message).await?;
        // Others may send to the socket as well.
        if let Some(answer) = answer(question, &message[..length]) {
            return Ok(answer);
        }
    }
}

async fn by_tcp(server: SocketAddr, question: &[u8]) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(question.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), question].concat()).await?;
    let length = stream.read_u16().await?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await?;
    answer(question, &message).ok_or_else(|| io::Error::other("the answer cannot be read"))
}

/// The response codes of RFC 1035.
fn in_words(code: u8) -> String {
    match code {
        1 => "it cannot read the question".into(),
        2 => "it has failed (SERVFAIL)".into(),
        4 => "it does not know this type of record".into(),
        5 => "it refuses (REFUSED)".into(),
        code => format!("code {code}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_of_resolv_conf() {
        let text = "# a comment\nnameserver 10.0.0.1\nnameserver fe80::1\nnameserver x\nsearch a.b c.\n\
                    options ndots:5 timeout:1 rotate attempts:99 ndots:x\nnameserver 10.0.0.2\nnameserver 10.0.0.3";
        let resolver = Resolver::parse(text, 53);
        let servers: Vec<String> = resolver.servers.iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["10.0.0.1:53", "[fe80::1]:53", "10.0.0.2:53"]);
        assert_eq!((resolver.ndots, resolver.timeout.as_secs(), resolver.attempts), (5, 1, 5));
        assert_eq!(resolver.names("web"), ["web.a.b.", "web.c.", "web."]);
        assert_eq!(resolver.names("1.2.3.4.5.6"), ["1.2.3.4.5.6.", "1.2.3.4.5.6.a.b.", "1.2.3.4.5.6.c."]);
        assert_eq!(resolver.names("web."), ["web."]);
        let none = Resolver::parse("", 53);
        assert_eq!(
            (none.servers[0].to_string().as_str(), none.names("a.b")),
            ("127.0.0.1:53", vec!["a.b.".to_string()])
        );
    }
}
