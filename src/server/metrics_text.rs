//! The texts of `/metrics`, while clients read them.
//!
//! Clients that ask at the same time share a text. Someone who reads slowly keeps a text in memory, and may ask for the next
//! one on another connection. So the texts have a limit of bytes: above it, the answers with the oldest text end early,
//! and their connections are closed. The answers with the newest text never end early, so a scrape always gets what is true.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use http_body::{Frame, SizeHint};

/// The maximum age of a text that is still being sent, for clients that ask meanwhile to share it.
const SHARED: Duration = Duration::from_secs(1);

/// The most bytes of all texts but the newest.
const HELD: usize = 16 << 20;

/// Bytes that a connection gets at once. The HTTP library holds up to 16 of them for each connection.
const PIECE: usize = 4 << 10;

#[derive(Default)]
pub(super) struct Texts(Mutex<VecDeque<Arc<Text>>>);

struct Text {
    /// When its collection started.
    begun: Instant,
    /// None: it ends early.
    bytes: Mutex<Option<Bytes>>,
    len: usize,
}

impl Texts {
    /// The answer to a request of the time `asked`. `collect` makes a text. Must not be called by two tasks at once.
    pub(super) fn answer(&self, asked: Instant, collect: impl FnOnce() -> String) -> Body {
        let mut texts = lock(&self.0);
        let is_shared = |text: &Arc<Text>| {
            // It was collected while this request waited, or it is being sent.
            let age = asked.saturating_duration_since(text.begun);
            age.is_zero() || (age < SHARED && Arc::strong_count(text) > 1)
        };
        let text = match texts.back().filter(|newest| is_shared(newest)) {
            Some(newest) => newest.clone(),
            None => {
                texts.retain(|text| Arc::strong_count(text) > 1);
                let mut held: usize = texts.iter().map(|text| text.len).sum();
                while held > HELD
                    && let Some(oldest) = texts.pop_front()
                {
                    held -= oldest.len;
                    *lock(&oldest.bytes) = None;
                }
                let begun = Instant::now();
                let bytes = Bytes::from(collect());
                let new = Arc::new(Text { begun, len: bytes.len(), bytes: Mutex::new(Some(bytes)) });
                texts.push_back(new.clone());
                new
            }
        };
        Body::new(Sent { text, at: 0 })
    }

    #[cfg(test)]
    fn bytes(&self) -> usize {
        lock(&self.0).iter().filter(|text| Arc::strong_count(text) > 1).map(|text| text.len).sum()
    }
}

/// An answer that is being sent.
struct Sent {
    text: Arc<Text>,
    /// The bytes that were taken.
    at: usize,
}

/// The answer ends early.
#[derive(Debug)]
struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the answer was read too slowly")
    }
}

impl std::error::Error for Cut {}

impl http_body::Body for Sent {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if self.is_end_stream() {
            return Poll::Ready(None);
        }
        // A copy, so that a slow connection does not hold the whole text.
        let end = self.text.len.min(self.at + PIECE);
        let piece = lock(&self.text.bytes).as_ref().map(|bytes| Bytes::copy_from_slice(&bytes[self.at..end]));
        self.at = end;
        Poll::Ready(Some(piece.map(Frame::data).ok_or(Cut)))
    }

    fn is_end_stream(&self) -> bool {
        self.at == self.text.len
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact((self.text.len - self.at) as u64)
    }
}

/// Nothing that can panic runs under these locks but `collect`, which leaves the texts as they were.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    async fn whole(body: Body) -> Result<usize, axum::Error> {
        let mut pieces = body.into_data_stream();
        let mut bytes = 0;
        while let Some(piece) = pieces.next().await {
            bytes += piece?.len();
        }
        Ok(bytes)
    }

    #[tokio::test]
    async fn slow_readers_hold_a_bounded_number_of_bytes_and_the_newest_text_is_whole() {
        let texts = Texts::default();
        let size = 5 << 20;
        // Each asks when no text may be shared.
        let ask = |texts: &Texts| texts.answer(Instant::now() + 2 * SHARED, || "x".repeat(size));
        let mut slow = Vec::new();
        for n in 0..20 {
            slow.push(ask(&texts));
            assert!(texts.bytes() <= HELD + 2 * size, "{n}: {} bytes", texts.bytes());
        }
        let newest = slow.pop().expect("it asked");
        let oldest = slow.remove(0);
        assert_eq!(whole(newest).await.expect("it is whole"), size);
        assert!(whole(oldest).await.is_err(), "it ends early");
        let held = slow.pop().expect("it asked");
        assert_eq!(whole(held).await.expect("it is whole"), size, "within the limit, the others are whole too");
        drop(slow);
        assert_eq!(texts.bytes(), 0, "what is read or given up takes nothing");
    }
}
