//! Limits the answers of the API server. Lists and watches are read object by object, so only one object is in memory.
//! Error answers are read as a whole.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};
use http_body::Frame;
use kube::Client;
use kube::client::Body;

/// The error's text. The client wraps the error, so it is recognised by its text.
pub(super) const TOO_LONG: &str = "the answer of the API server is too long";

/// The maximum size of an error answer in bytes. Normal ones have a sentence or two.
const REFUSAL: usize = 1 << 20;

/// Stores the `Retry-After` of a refused request. A request with this extension fills it in, because the client's error
/// does not have it.
#[derive(Clone, Debug, Default)]
pub(super) struct RetryAfter(Arc<AtomicU64>);

impl RetryAfter {
    /// Zero: the server did not send it.
    pub(super) fn wait(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::Relaxed))
    }

    /// Parses seconds, as the API server sends them. Anything else counts as not sent.
    fn learn(&self, headers: &HeaderMap) {
        let seconds = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        self.0.store(seconds.unwrap_or_default(), Ordering::Relaxed);
    }
}

/// Wraps `client`. Requests fail if a list has more than `list` bytes, or an error answer more than 1 MiB. Watches have
/// no limit.
pub(super) fn bounded(client: Client, list: usize) -> Client {
    let namespace = client.default_namespace().to_string();
    let service = tower::service_fn(move |request: Request<Body>| {
        let client = client.clone();
        async move {
            let is_watch = request.uri().query().is_some_and(|query| query.split('&').any(|pair| pair == "watch=true"));
            let retry_after = request.extensions().get::<RetryAfter>().cloned();
            let response: Response<Body> = client.send(request).await?;
            if let Some(retry_after) = retry_after.filter(|_| !response.status().is_success()) {
                retry_after.learn(response.headers());
            }
            let (what, limit) = match (response.status().is_success(), is_watch) {
                (false, _) => ("a refusal", REFUSAL),
                (true, true) => ("a watch", usize::MAX),
                (true, false) => ("a list", list),
            };
            Ok::<_, kube::Error>(response.map(|body| Bounded { body, what, limit, seen: 0 }))
        }
    });
    Client::new(service, namespace)
}

struct Bounded {
    body: Body,
    what: &'static str,
    limit: usize,
    seen: usize,
}

impl Bounded {
    fn count(&mut self, data: &[u8]) -> Result<(), std::io::Error> {
        self.seen = self.seen.saturating_add(data.len());
        if self.seen <= self.limit {
            return Ok(());
        }
        let (what, limit) = (self.what, self.limit >> 20);
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
    fn an_answer_is_counted_over_all_its_parts() {
        let mut list = Bounded { body: Body::empty(), what: "a list", limit: 10, seen: 0 };
        assert!(list.count(b"12345\n789").is_ok() && list.count(b"0").is_ok());
        assert!(list.count(b"\n").is_err_and(|e| e.to_string().contains("a list of more than")));
    }
}
