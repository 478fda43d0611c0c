//! Answers of the API server, cut off where they get too long to be held: the client keeps a list whole, and a line of a
//! watch until it ends.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use kube::Client;
use kube::client::Body;

/// What the error says; the client wraps it, so that it is known by its text.
pub(super) const TOO_LONG: &str = "the answer of the API server is too long";

/// An object is at most 1.5 MiB in the store of the API server.
const EVENT: usize = 8 << 20;

/// `client`, which fails where a list has more than `list` bytes, or an event of a watch more than 8 MiB.
pub(super) fn bounded(client: Client, list: usize) -> Client {
    let namespace = client.default_namespace().to_string();
    let service = tower::service_fn(move |request: Request<Body>| {
        let client = client.clone();
        async move {
            let is_watch = request.uri().query().is_some_and(|query| query.split('&').any(|pair| pair == "watch=true"));
            let limit = if is_watch { EVENT } else { list };
            let response: Response<Body> = client.send(request).await?;
            Ok::<_, kube::Error>(response.map(|body| Bounded { body, limit, is_watch, seen: 0 }))
        }
    });
    Client::new(service, namespace)
}

struct Bounded {
    body: Body,
    limit: usize,
    /// Counted from the last newline on.
    is_watch: bool,
    seen: usize,
}

impl Bounded {
    fn count(&mut self, data: &[u8]) -> Result<(), std::io::Error> {
        let end = data.iter().rposition(|byte| self.is_watch && *byte == b'\n');
        // What came before a newline is not counted with what follows it, but a line is not longer than it may be either.
        self.seen = match end {
            Some(end) => data.len() - end - 1,
            None => self.seen.saturating_add(data.len()),
        };
        if self.seen <= self.limit {
            return Ok(());
        }
        let (what, limit) = (if self.is_watch { "an event of a watch" } else { "a list of pods" }, self.limit >> 20);
        Err(std::io::Error::other(format!("{TOO_LONG}: {what} of more than {limit} MiB")))
    }
}

impl http_body::Body for Bounded {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)) else {
            return Poll::Ready(None);
        };
        let frame = frame?;
        if let Some(data) = frame.data_ref() {
            self.count(data)?;
        }
        Poll::Ready(Some(Ok(frame)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_counted_whole_and_a_watch_by_the_line() {
        let bounded = |is_watch| Bounded { body: Body::empty(), limit: 10, is_watch, seen: 0 };
        let mut watch = bounded(true);
        for part in ["123456\n89", "12345678\n", "\n\n", "1234567890", "\n1234567890"] {
            assert!(watch.count(part.as_bytes()).is_ok(), "{part:?}");
        }
        assert!(watch.count(b"1").is_err_and(|e| e.to_string().contains("event")));
        let mut list = bounded(false);
        assert!(list.count(b"12345\n789").is_ok());
        assert!(list.count(b"\n1").is_err_and(|e| e.to_string().contains("list")), "newlines make it no shorter");
    }
}
