//! The receiver: Loki's push API, which counts the entries instead of storing them.

use std::borrow::Cow;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use tokio::time::Instant;
use xxhash_rust::xxh3::Xxh3;

use super::counts::Arrival;
use super::pods;
use super::shared::Shared;
use crate::model::Labels;
use crate::receive::Budget;
use crate::receive::push::{Format, Malformed, Refused, Visit, unsnap, walk};

/// The largest push in bytes, compressed and decompressed.
const LARGEST: usize = 16 << 20;

#[derive(Clone)]
struct Receiver {
    shared: Arc<Shared>,
    budget: Arc<Budget>,
}

pub(super) fn router(shared: Arc<Shared>) -> Router {
    // An address may have half of it, and there is only this one.
    let receiver = Receiver { shared, budget: Arc::new(Budget::new(4 * LARGEST, 2 * LARGEST)) };
    Router::new().route("/loki/api/v1/push", post(push)).layer(DefaultBodyLimit::max(LARGEST)).with_state(receiver)
}

async fn push(State(receiver): State<Receiver>, body: Bytes) -> Response {
    match arrivals(&receiver.budget, &body) {
        Ok(arrivals) => {
            receiver.shared.counts().arrive(&arrivals, Instant::now());
            StatusCode::NO_CONTENT.into_response()
        }
        Err(Refused::Malformed(what)) => (StatusCode::BAD_REQUEST, format!("{what}\n")).into_response(),
        Err(Refused::TooLarge) => StatusCode::PAYLOAD_TOO_LARGE.into_response(),
        Err(Refused::Busy) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

fn arrivals(budget: &Arc<Budget>, body: &[u8]) -> Result<Vec<Arrival>, Refused> {
    let plain = unsnap(body, LARGEST, &mut budget.reserve(Ipv4Addr::LOCALHOST.into(), Duration::ZERO))?;
    let mut counted = Counted::default();
    walk(Format::Protobuf, &plain, &mut counted)?;
    Ok(counted.arrivals)
}

#[derive(Default)]
struct Counted {
    /// The current stream.
    labels: String,
    pod: String,
    arrivals: Vec<Arrival>,
}

impl Visit for Counted {
    fn stream(&mut self, text: &str, parse: fn(&str) -> Result<Labels, Malformed>) -> Result<(), Refused> {
        self.labels = text.to_string();
        self.pod = parse(text)?.remove("pod").unwrap_or_default();
        Ok(())
    }

    fn entry(&mut self, time: i64, line: &str, metadata: &[(Cow<'_, str>, Cow<'_, str>)]) -> Result<(), Refused> {
        let mut hash = Xxh3::new();
        hash.update(&time.to_le_bytes());
        let pairs = metadata.iter().flat_map(|(name, value)| [&**name, &**value]);
        for text in [self.labels.as_str(), line].into_iter().chain(pairs) {
            hash.update(text.as_bytes());
            // Not part of UTF-8 text, so the end of each part counts.
            hash.update(&[0xff]);
        }
        let arrival = Arrival { pod: self.pod.clone(), number: pods::number(line), identity: hash.digest() };
        self.arrivals.push(arrival);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_loki_would_store_once_has_one_identity() {
        let stream = |labels: &str, time: i64, line: &str| {
            let mut counted = Counted::default();
            let parse = |_: &str| Ok(Labels::from([("pod".to_string(), "a".to_string())]));
            counted.stream(labels, parse).expect("labels");
            counted.entry(time, line, &[]).expect("an entry");
            counted.arrivals.remove(0)
        };
        let arrival = stream("{pod=\"a\"}", 5, "x");
        assert_eq!((arrival.pod.as_str(), arrival.number), ("a", None));
        assert_eq!(stream("{pod=\"a\"}", 5, "x").identity, arrival.identity);
        for other in [stream("{pod=\"a\"}", 6, "x"), stream("{pod=\"b\"}", 5, "x"), stream("{pod=\"a\"}", 5, "y")] {
            assert_ne!(other.identity, arrival.identity);
        }
    }

    #[test]
    fn what_is_no_push_is_refused() {
        let budget = Arc::new(Budget::new(2 * LARGEST, LARGEST));
        for body in [&b""[..], b"\xff\xff\xff\xff\x0f", b"\x04\x0cabcd"] {
            assert!(matches!(arrivals(&budget, body), Err(Refused::Malformed(_) | Refused::TooLarge)), "{body:?}");
        }
    }
}
