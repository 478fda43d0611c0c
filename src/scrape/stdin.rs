//! `-stdin`: lines from standard input, to every client.

use std::io::Read as _;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex};

use super::bell::Bell;
use crate::model::{MAX_LINE, Position, Vital};
use crate::tail::Read;

/// What is read at a time: no more than may be under way of a stream.
const READ: usize = 64 << 10;

/// What was read of standard input and not yet by this client.
#[derive(Debug)]
pub(super) struct Pipe {
    chunks: Mutex<Receiver<Arc<[u8]>>>,
    pending: Vec<u8>,
    ended: bool,
    offset: u64,
}

impl Pipe {
    /// Reads whole lines into the front of `buffer`.
    pub fn read(&mut self, buffer: &mut Vec<u8>) -> Read {
        loop {
            let whole = memchr::memrchr(b'\n', &self.pending).map(|i| i + 1);
            let len =
                whole.or((self.ended || self.pending.len() > MAX_LINE).then_some(self.pending.len())).unwrap_or(0);
            if len > 0 {
                buffer.clear();
                buffer.extend(self.pending.drain(..len));
                let start = Position { offset: self.offset, ..Position::default() };
                self.offset += len as u64;
                let end = Position { offset: self.offset, ..start };
                return Read::Lines { len, start, end, more: true };
            }
            if self.ended {
                return Read::Finished;
            }
            let received = self.chunks.get_mut().map_or(Err(TryRecvError::Disconnected), |c| c.try_recv());
            match received {
                Ok(chunk) => self.pending.extend_from_slice(&chunk),
                Err(TryRecvError::Empty) => return Read::Idle,
                Err(TryRecvError::Disconnected) => self.ended = true,
            }
        }
    }
}

/// Starts reading standard input; each bell is rung when its pipe has something.
pub(super) fn start(bells: Vec<Arc<Bell>>) -> std::io::Result<Vec<Pipe>> {
    let mut ends: Vec<SyncSender<Arc<[u8]>>> = Vec::new();
    let mut pipes = Vec::new();
    for _ in &bells {
        // Bounded: standard input waits when Loki does.
        let (sender, receiver) = sync_channel(4);
        ends.push(sender);
        pipes.push(Pipe { chunks: Mutex::new(receiver), pending: Vec::new(), ended: false, offset: 0 });
    }
    std::thread::Builder::new().name("stdin".into()).spawn(move || {
        // Its end ends the agent, so it must not look like that when it is not.
        let _vital = Vital;
        let mut input = std::io::stdin().lock();
        let mut buffer = vec![0; READ];
        loop {
            let n = match input.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    tracing::error!(%error, "cannot read standard input");
                    break;
                }
            };
            let chunk: Arc<[u8]> = buffer[..n].into();
            for (end, bell) in ends.iter().zip(&bells) {
                let _ = end.send(chunk.clone());
                bell.ring();
            }
        }
        drop(ends);
        bells.iter().for_each(|bell| bell.ring());
    })?;
    Ok(pipes)
}
