//! The HTTP server for pushes.

mod decoding;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::BodyDataStream;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
use futures::StreamExt;
use tokio::net::TcpListener;
use tokio::sync::OwnedMutexGuard;
use tokio::time::{Instant, timeout, timeout_at};

use super::body::Encoding;
use super::builder::{Built, Counts};
use super::deliveries::{Deliveries, Delivery, Id, Shared};
use super::{Config, Format, Refused, malformed};
use crate::model::{AbortOnPanic, LabelSet, MAX_TENANT};
use crate::receive::budget::{Budget, Reservation};
use crate::receive::live::Current;
use crate::receive::metrics::Metrics;
use crate::receive::spooling::{Appender, Failed};
use crate::receive::time::Arrival;
use crate::server::{Peer, Port};
use crate::spool::Transaction;

/// How long a push waits for Loki's answers. Promtail, Alloy and Docker's driver wait ten seconds for theirs.
const WAIT: Duration = Duration::from_secs(8);

/// The most bytes of a refused push that are read and thrown away before the answer.
const PASSED_MOST: usize = 256 << 20;

/// If nothing comes for this long, the sender waits for the answer.
const QUIET: Duration = Duration::from_millis(500);

/// When the memory of a body grows, it becomes this many times what is needed, up to the length that the sender said.
const GROWTH: usize = 4;

struct Shelf {
    job: Arc<str>,
    config: Config,
    /// The labels of raw lines.
    labels: LabelSet,
    current: Current,
    budget: Arc<Budget>,
    deliveries: Deliveries,
    arrival: Arrival,
    read_timeout: Duration,
    metrics: Metrics,
}

/// Serves until `shutdown`.
pub(in crate::receive) async fn serve(
    (job, config, labels): (Arc<str>, Config, LabelSet),
    (port, listener): (Port, TcpListener),
    current: Current,
    metrics: Metrics,
    shutdown: impl Future<Output = ()>,
) {
    let deliveries = current.now().spool().map_or_else(Deliveries::new, |appender| {
        Deliveries::delivered(appender.spool().seed(), appender.spool().remembered())
    });
    let shelf = Arc::new(Shelf {
        job,
        labels,
        current,
        budget: Arc::new(Budget::new(config.pool(), config.most())),
        deliveries,
        arrival: Arrival::default(),
        read_timeout: port.read_timeout(),
        metrics,
        config,
    });
    let prefix = shelf.config.server.http_path_prefix.trim_matches('/');
    let at = |path: &str| if prefix.is_empty() { path.to_string() } else { format!("/{prefix}{path}") };
    let mut router = Router::new().route(&at("/ready"), any(async || "Ready\n"));
    for path in ["/loki/api/v1/push", "/api/prom/push", "/promtail/api/v1/push"] {
        router = router.route(&at(path), post(push));
    }
    for path in ["/promtail/api/v1/raw", "/loki/api/v1/raw"] {
        router = router.route(&at(path), post(raw));
    }
    let router = router.layer(DefaultBodyLimit::disable()).with_state(shelf);
    port.serve(listener, router, WAIT + Duration::from_secs(5), shutdown).await;
}

async fn push(State(shelf): State<Arc<Shelf>>, request: Request) -> Response {
    let form = form(request.headers()).map(Form::Push);
    let answer = shelf.take(request, form).await;
    shelf.answered(answer)
}

async fn raw(State(shelf): State<Arc<Shelf>>, request: Request) -> Response {
    let answer = shelf.take(request, Ok(Form::Raw)).await;
    shelf.answered(answer)
}

#[derive(Clone, Copy)]
enum Form {
    Push(Format),
    /// Lines of text.
    Raw,
}

/// The encoding and the form of the body, and the tenant in the header.
type Push = (Encoding, Form, Option<String>);

enum Failure {
    Answer(Answer),
    /// The records that were handed in are not committed, and never will be.
    Gone,
}

impl From<Answer> for Failure {
    fn from(answer: Answer) -> Self {
        Self::Answer(answer)
    }
}

impl From<Failure> for Answer {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Answer(answer) => answer,
            Failure::Gone => Self::later("the agent is stopping, or the job was removed: send it again"),
        }
    }
}

struct Answer {
    status: StatusCode,
    text: String,
    /// The value of `Retry-After`.
    again: Option<&'static str>,
}

impl Answer {
    fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, text: text.into(), again: None }
    }

    fn later(text: &str) -> Self {
        Self { status: StatusCode::SERVICE_UNAVAILABLE, text: text.into(), again: Some("2") }
    }
}

impl From<Refused> for Answer {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Malformed(what) => Self::new(StatusCode::BAD_REQUEST, what.to_string()),
            Refused::TooLarge => Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "the push is larger than loki_push_api.max_send_msg_size allows: send smaller batches",
            ),
            Refused::Busy => Self::later("other pushes need the memory now: send it again"),
        }
    }
}

/// The form of a push, as in Loki: JSON if `Content-Type` says so, and otherwise protobuf.
fn form(headers: &HeaderMap) -> Result<Format, Answer> {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    match kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "application/json" => Ok(Format::Json),
        "" | "application/x-protobuf" | "application/protobuf" | "application/octet-stream" => Ok(Format::Protobuf),
        _ => Err(Answer::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Content-Type is neither application/x-protobuf nor application/json",
        )),
    }
}

/// `X-Scope-OrgID`. Loki takes the same names.
fn tenant(headers: &HeaderMap) -> Result<Option<String>, Answer> {
    let Some(value) = headers.get("x-scope-orgid") else { return Ok(None) };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "!-_.*'()".contains(c);
    match value.to_str() {
        Ok("") => Ok(None),
        Ok(tenant) if tenant.len() <= MAX_TENANT && tenant.chars().all(is_plain) && !matches!(tenant, "." | "..") => {
            Ok(Some(tenant.to_string()))
        }
        _ => Err(Answer::new(
            StatusCode::BAD_REQUEST,
            "X-Scope-OrgID is not the name of one tenant: at most 150 letters, digits and !-_.*'()",
        )),
    }
}

/// Reads the rest of a body and throws it away. Ends when nothing comes for a while.
async fn pass_over(body: &mut BodyDataStream) {
    let mut passed = 0;
    while let Ok(Some(Ok(piece))) = timeout(QUIET, body.next()).await {
        passed += piece.len();
        if passed > PASSED_MOST {
            return;
        }
    }
}

impl Shelf {
    fn answered(&self, answer: Answer) -> Response {
        self.metrics.push(&self.job, answer.status.as_u16());
        let Answer { status, mut text, again } = answer;
        if !text.is_empty() {
            text.push('\n');
        }
        match again {
            Some(seconds) => (status, [(RETRY_AFTER, seconds)], text).into_response(),
            None => (status, text).into_response(),
        }
    }

    async fn take(self: &Arc<Self>, request: Request, form: Result<Form, Answer>) -> Answer {
        let (head, body) = request.into_parts();
        // Without it, all requests would be those of one address.
        let peer = head.extensions.get::<ConnectInfo<Peer>>().map_or(Ipv4Addr::UNSPECIFIED.into(), |info| info.0.0);
        let mut body = body.into_data_stream();
        let outcome = match form {
            Ok(form) => self.try_take(peer, &head.headers, &mut body, form).await,
            Err(answer) => Err(answer),
        };
        match outcome {
            Ok(answer) => answer,
            Err(answer) => {
                // If a connection is closed with unread bytes, it is reset, and the sender may not see the answer.
                let _ = timeout(self.read_timeout, pass_over(&mut body)).await;
                answer
            }
        }
    }

    async fn try_take(
        self: &Arc<Self>,
        peer: IpAddr,
        headers: &HeaderMap,
        body: &mut BodyDataStream,
        form: Form,
    ) -> Result<Answer, Answer> {
        let tenant = tenant(headers)?;
        let coding = headers.get(CONTENT_ENCODING).map(|coding| coding.to_str().unwrap_or("?")).unwrap_or_default();
        let encoding = Encoding::of(coding).ok_or_else(|| {
            Answer::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Content-Encoding is none of gzip, deflate and snappy")
        })?;
        let mut reservation = self.budget.reserve(peer, WAIT);
        let body = timeout(self.read_timeout, self.read(headers, body, &mut reservation)).await;
        let body = body.map_err(|_| Answer::new(StatusCode::REQUEST_TIMEOUT, "the push did not come in time"))??;
        if body.is_empty() {
            return Err(malformed("the push is empty").into());
        }
        let (until, push) = (Instant::now() + reservation.patience(), (encoding, form, tenant));
        let late = || Answer::later("Loki has not taken all of it yet: send it again to hear when it has");
        let Form::Push(format) = form else {
            // Raw lines have no times, so equal lines may be new lines.
            let (delivery, push) = (Shared::default(), push);
            let worked = self.work((None, push), body, &delivery, reservation);
            return timeout_at(until, worked)
                .await
                .unwrap_or_else(|_| Err(Failure::Answer(late())))
                .map_err(Answer::from);
        };
        let id = self.deliveries.id((format as u8, encoding as u8, &push.2), &body);
        let delivery =
            self.deliveries.of(id).ok_or_else(|| Answer::later("too many pushes wait for Loki: send it again"))?;
        let worked = timeout_at(until, self.work((Some(id), push), body, &delivery, reservation)).await;
        let outcome = worked.unwrap_or_else(|_| Err(Failure::Answer(late())));
        let is_begun = delivery.try_lock().map_or(true, |delivery| delivery.taken > 0 || delivery.is_whole);
        if !is_begun || matches!(outcome, Err(Failure::Gone)) {
            self.deliveries.forget(id, &delivery);
        }
        outcome.map_err(Answer::from)
    }

    /// Hands in the entries that were not handed in before, and waits until all are committed.
    async fn work(
        self: &Arc<Self>,
        (id, push): (Option<Id>, Push),
        body: Vec<u8>,
        delivery: &Shared,
        mut reservation: Reservation,
    ) -> Result<Answer, Failure> {
        let mut delivery = match delivery.clone().try_lock_owned() {
            Ok(delivery) => delivery,
            // Another request works on the same push, and may wait for the turn that this request has.
            Err(_) if reservation.has_turn() => return Err(Answer::from(Refused::Busy).into()),
            Err(_) => delivery.clone().lock_owned().await,
        };
        if !delivery.is_whole {
            let skip = delivery.taken;
            let built = self.build(push, body, &mut reservation, skip).await?;
            if let Some(appender) = self.current.now().spool() {
                return self.keep(appender, (id, built), delivery, reservation).await;
            }
            let mut current = self.current.clone();
            let mut counted = Counts::default();
            for (parcel, end) in built.parcels {
                let lines = parcel.len();
                delivery.tickets.push(current.put(parcel).await.map_err(|_| Failure::Gone)?);
                delivery.taken = end.entries;
                self.metrics.lines(&self.job, lines);
                // If the sender does not wait longer, its next request goes on behind this parcel.
                self.count_dropped(&mut counted, end);
            }
            delivery.is_whole = true;
            self.count_dropped(&mut counted, built.all);
            drop(reservation);
        }
        for ticket in &delivery.tickets {
            ticket.committed().await.map_err(|_| Failure::Gone)?;
        }
        delivery.tickets = Vec::new();
        Ok(Answer::new(StatusCode::NO_CONTENT, ""))
    }

    /// Counts the dropped lines between two places of a push.
    fn count_dropped(&self, counted: &mut Counts, end: Counts) {
        self.metrics.dropped(end.dropped - counted.dropped, end.too_long - counted.too_long);
        *counted = end;
    }

    /// Writes the push to the spool.
    async fn keep(
        self: &Arc<Self>,
        appender: &Arc<Appender>,
        (id, built): (Option<Id>, Built),
        mut delivery: OwnedMutexGuard<Delivery>,
        reservation: Reservation,
    ) -> Result<Answer, Failure> {
        let Built { parcels, all } = built;
        let lines = parcels.iter().map(|(parcel, _)| parcel.len()).sum();
        let transaction = Transaction::new(id, parcels.iter().map(|(parcel, _)| (parcel.text(), parcel.records())));
        drop(parcels);
        let room = appender.room(&transaction).await.map_err(|_| Answer::from(Refused::TooLarge))?;
        let (appender, shelf) = (appender.clone(), self.clone());
        // From here on it is taken, even if its sender does not wait any more.
        let kept = tokio::spawn(async move {
            let _abort_on_panic = AbortOnPanic;
            if lines > 0 {
                appender.append(transaction, room).await?;
            }
            shelf.metrics.lines(&shelf.job, lines);
            shelf.count_dropped(&mut Counts::default(), all);
            delivery.is_whole = true;
            drop(reservation);
            Ok::<_, Failed>(())
        });
        match kept.await {
            Ok(Ok(())) => Ok(Answer::new(StatusCode::NO_CONTENT, "")),
            Ok(Err(Failed)) => Err(Answer::later("it cannot be written to the disk now: send it again").into()),
            Err(_) => Err(Failure::Gone),
        }
    }

    async fn read(
        &self,
        headers: &HeaderMap,
        body: &mut BodyDataStream,
        reservation: &mut Reservation,
    ) -> Result<Vec<u8>, Answer> {
        let limit = self.config.max_send_msg_size.0 as usize;
        let said = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if said.is_some_and(|said| said > limit as u64) {
            return Err(Refused::TooLarge.into());
        }
        let mut bytes = Vec::new();
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|_| Answer::new(StatusCode::BAD_REQUEST, "the push ends in the middle"))?;
            if bytes.len() + piece.len() > limit {
                return Err(Refused::TooLarge.into());
            }
            // While the request waits, nothing is read from the sender.
            let needed = bytes.len() + piece.len();
            if needed > bytes.capacity() {
                // Few steps: each may copy all that was read.
                // Without a length, most of it may never come.
                let (growth, most) = said.map_or((2, limit), |said| (GROWTH, said as usize));
                let capacity = (growth * needed).min(most.max(needed));
                reservation.wait_and_grow_to(capacity).await.map_err(Refused::from)?;
                bytes.reserve_exact(capacity - bytes.len());
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }
}
