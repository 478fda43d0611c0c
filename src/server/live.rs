//! `/api/tail`: lines as server-sent events, for those whom `server.live_tail` lets look.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{Instant, Interval, interval};

use super::Config;
use super::config::LiveTailFor;
use super::connections::Peer;
use crate::model::{LiveFilter, LiveLine, LiveTail, Viewer};

/// How often a viewer gets lines.
const EVERY: Duration = Duration::from_millis(200);

/// The longest time without a byte. A connection that stands still is closed.
const QUIET: Duration = Duration::from_secs(5);

const DISABLED: &str =
    "live tail is off: set server.live_tail to loopback or all in the config, and restart the agent\n";

const FROM_ELSEWHERE: &str = "server.live_tail is loopback, so lines are only shown to clients of this host: use \
                              `kubectl port-forward` or an SSH tunnel\n";

const FULL: &str = "too many look at the live tail: close another page\n";

/// What the live tail needs.
pub(super) struct Live {
    tail: Arc<LiveTail>,
    whom: LiveTailFor,
    /// An answer ends before the connection's deadline. The page asks again, and is checked again.
    within: Duration,
    /// Closed when the server stops.
    stopping: watch::Receiver<()>,
}

impl Live {
    pub(super) fn new(config: &Config, tail: Arc<LiveTail>, stopping: watch::Receiver<()>) -> Self {
        let within = config.timeouts().answering / 10 * 9;
        Self { tail, whom: config.live_tail(), within, stopping }
    }

    /// Why this client may not look. None: it may.
    pub(super) fn refuses(&self, peer: IpAddr) -> Option<&'static str> {
        match self.whom {
            LiveTailFor::Disabled => Some(DISABLED),
            LiveTailFor::Loopback if !peer.is_loopback() => Some(FROM_ELSEWHERE),
            LiveTailFor::Loopback | LiveTailFor::All => None,
        }
    }
}

pub(super) async fn tail(
    State(live): State<Arc<Live>>,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    Query(filter): Query<LiveFilter>,
    headers: HeaderMap,
) -> Response {
    if let Some(why) = live.refuses(peer) {
        return (StatusCode::FORBIDDEN, why).into_response();
    }
    // A page of another site must not use up the places of viewers through a visitor's browser.
    if headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none") {
        return (StatusCode::FORBIDDEN, "a page of another site may not ask for lines\n").into_response();
    }
    let Some(viewer) = live.tail.view(filter) else {
        return (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "5")], FULL).into_response();
    };
    let now = Instant::now();
    let sending =
        Sending { viewer, ticks: interval(EVERY), end: now + live.within, sent: None, stopping: live.stopping.clone() };
    let events = futures::stream::unfold(sending, |mut sending| async move {
        let event = sending.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(event)), sending))
    });
    ([(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-store")], Body::from_stream(events)).into_response()
}

struct Sending {
    viewer: Viewer,
    ticks: Interval,
    end: Instant,
    /// When something was sent last. None: nothing was sent yet.
    sent: Option<Instant>,
    stopping: watch::Receiver<()>,
}

#[derive(Serialize)]
struct Event {
    lines: Vec<LiveLine>,
    /// Lines that came too fast to be shown.
    skipped: u64,
}

impl Sending {
    /// The next event. None: the answer ends.
    async fn next(&mut self) -> Option<String> {
        loop {
            let now = tokio::select! {
                // The sender is dropped, and sends nothing.
                _ = self.stopping.changed() => return None,
                now = self.ticks.tick() => now,
            };
            if now >= self.end {
                return None;
            }
            let (lines, skipped) = self.viewer.take();
            let is_quiet = lines.is_empty() && skipped == 0;
            let text = match self.sent {
                None if is_quiet => "retry: 500\n\n".to_string(),
                Some(sent) if is_quiet && now < sent + QUIET => continue,
                Some(_) if is_quiet => ": nothing new\n\n".to_string(),
                _ => format!("data: {}\n\n", serde_json::to_string(&Event { lines, skipped }).ok()?),
            };
            self.sent = Some(now);
            return Some(text);
        }
    }
}
