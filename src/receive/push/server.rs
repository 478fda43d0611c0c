//! Answers those who push.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::BodyDataStream;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
use futures::StreamExt;
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout, timeout_at};

use super::body::{Encoding, decompress, unsnap};
use super::builder::{Builder, Built, Settings};
use super::deliveries::{Deliveries, Shared};
use super::{Config, Format, Refused, malformed, walk};
use crate::model::{AbortOnPanic, LabelSet};
use crate::receive::budget::{Budget, Reservation};
use crate::receive::live::Current;
use crate::receive::metrics::Metrics;
use crate::receive::time::Arrival;
use crate::server::Port;

/// How long a push waits for Loki's answers. Promtail, Alloy and Docker's driver wait ten seconds for theirs.
const WAIT: Duration = Duration::from_secs(8);

/// A body that is larger than this is decoded on another thread.
const SMALL: usize = 64 << 10;

/// Of a push that is refused, at most so much is read and thrown away before the answer.
const PASSED_MOST: usize = 256 << 20;

/// Nothing came for so long: the sender waits for the answer.
const QUIET: Duration = Duration::from_millis(500);

/// The longest tenant name, as in Loki.
const TENANT_MAX: usize = 150;

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
    let shelf = Arc::new(Shelf {
        job,
        labels,
        current,
        budget: Arc::new(Budget::new(config.pool(), config.most())),
        deliveries: Deliveries::new(),
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

/// How the body is encoded, what it is, and the tenant that the sender named.
type Push = (Encoding, Form, Option<String>);

enum Failure {
    Answer(Answer),
    /// What was handed in is not committed, and never will be.
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
    /// When to try again.
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

/// As Loki: JSON is what says so, and everything else is protobuf.
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
        Ok(tenant) if tenant.len() <= TENANT_MAX && tenant.chars().all(is_plain) && !matches!(tenant, "." | "..") => {
            Ok(Some(tenant.to_string()))
        }
        _ => Err(Answer::new(
            StatusCode::BAD_REQUEST,
            "X-Scope-OrgID is not the name of one tenant: at most 150 letters, digits and !-_.*'()",
        )),
    }
}

/// Reads what is left of a body and holds none of it. Ends when nothing comes for a while.
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
        let mut body = body.into_data_stream();
        let outcome = match form {
            Ok(form) => self.try_take(&head.headers, &mut body, form).await,
            Err(answer) => Err(answer),
        };
        match outcome {
            Ok(answer) => answer,
            Err(answer) => {
                // A connection that is closed with something unread is reset, and then the sender may not see the answer.
                let _ = timeout(self.read_timeout, pass_over(&mut body)).await;
                answer
            }
        }
    }

    async fn try_take(
        self: &Arc<Self>,
        headers: &HeaderMap,
        body: &mut BodyDataStream,
        form: Form,
    ) -> Result<Answer, Answer> {
        let tenant = tenant(headers)?;
        let coding = headers.get(CONTENT_ENCODING).map(|coding| coding.to_str().unwrap_or("?")).unwrap_or_default();
        let encoding = Encoding::of(coding).ok_or_else(|| {
            Answer::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Content-Encoding is none of gzip, deflate and snappy")
        })?;
        let mut reservation = self.budget.reserve(WAIT);
        let body = timeout(self.read_timeout, self.read(headers, body, &mut reservation)).await;
        let body = body.map_err(|_| Answer::new(StatusCode::REQUEST_TIMEOUT, "the push did not come in time"))??;
        if body.is_empty() {
            return Err(malformed("the push is empty").into());
        }
        let (until, push) = (Instant::now() + reservation.patience(), (encoding, form, tenant));
        let late = || Answer::later("Loki has not taken all of it yet: send it again to hear when it has");
        let Form::Push(format) = form else {
            // Raw lines have no times: the same lines again may be other lines.
            let (delivery, push) = (Shared::default(), push);
            let worked = self.work(push, body, &delivery, reservation);
            return timeout_at(until, worked)
                .await
                .unwrap_or_else(|_| Err(Failure::Answer(late())))
                .map_err(Answer::from);
        };
        let id = self.deliveries.id((format as u8, encoding as u8, &push.2), &body);
        let delivery =
            self.deliveries.of(id).ok_or_else(|| Answer::later("too many pushes wait for Loki: send it again"))?;
        let worked = timeout_at(until, self.work(push, body, &delivery, reservation)).await;
        let outcome = worked.unwrap_or_else(|_| Err(Failure::Answer(late())));
        let is_begun = delivery.try_lock().map_or(true, |delivery| delivery.taken > 0 || delivery.is_whole);
        if !is_begun || matches!(outcome, Err(Failure::Gone)) {
            self.deliveries.forget(id, &delivery);
        }
        outcome.map_err(Answer::from)
    }

    /// Hands in what was not handed in before, and waits until all is committed.
    async fn work(
        self: &Arc<Self>,
        push: Push,
        body: Vec<u8>,
        delivery: &Shared,
        mut reservation: Reservation,
    ) -> Result<Answer, Failure> {
        let mut delivery = match delivery.try_lock() {
            Ok(delivery) => delivery,
            // The same push is being worked on, and may wait for the turn that this one has.
            Err(_) if reservation.has_turn() => return Err(Answer::from(Refused::Busy).into()),
            Err(_) => delivery.lock().await,
        };
        if !delivery.is_whole {
            let skip = delivery.taken;
            let built = self.build(push, body, &mut reservation, skip).await?;
            let mut current = self.current.clone();
            for (parcel, taken) in built.parcels {
                let lines = parcel.len();
                delivery.tickets.push(current.put(parcel).await.map_err(|_| Failure::Gone)?);
                delivery.taken = taken;
                self.metrics.lines(&self.job, lines);
            }
            delivery.is_whole = true;
            self.metrics.dropped(built.dropped, built.too_long);
            drop(reservation);
        }
        for ticket in &delivery.tickets {
            ticket.committed().await.map_err(|_| Failure::Gone)?;
        }
        delivery.tickets = Vec::new();
        Ok(Answer::new(StatusCode::NO_CONTENT, ""))
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
            // While it waits, the sender is not read on.
            reservation.wait_and_grow_to(bytes.len() + piece.len()).await.map_err(Refused::from)?;
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    /// Decodes the push. If other pushes have the memory, it waits for its turn and begins again.
    async fn build(
        self: &Arc<Self>,
        push: Push,
        body: Vec<u8>,
        reservation: &mut Reservation,
        skip: usize,
    ) -> Result<Built, Answer> {
        let body = Arc::new(body);
        match self.decode_apart(push.clone(), body.clone(), reservation, skip).await? {
            Err(Refused::Busy) => {
                reservation.wait().await.map_err(Refused::from)?;
                Ok(self.decode_apart(push, body, reservation, skip).await??)
            }
            outcome => Ok(outcome?),
        }
    }

    /// On another thread, if it is large.
    async fn decode_apart(
        self: &Arc<Self>,
        push: Push,
        body: Arc<Vec<u8>>,
        reservation: &mut Reservation,
        skip: usize,
    ) -> Result<Result<Built, Refused>, Answer> {
        if body.len() <= SMALL && push.0 == Encoding::Plain {
            return Ok(self.decode(push, &body, reservation, skip));
        }
        let (shelf, mut held) = (self.clone(), std::mem::replace(reservation, self.budget.reserve(Duration::ZERO)));
        let decoding = tokio::task::spawn_blocking(move || {
            let _abort_on_panic = AbortOnPanic;
            (shelf.decode(push, &body, &mut held, skip), held)
        });
        let (built, held) = decoding.await.map_err(|_| Answer::later("the agent is stopping"))?;
        *reservation = held;
        Ok(built)
    }

    fn decode(
        &self,
        (encoding, form, tenant): Push,
        body: &[u8],
        reservation: &mut Reservation,
        skip: usize,
    ) -> Result<Built, Refused> {
        let limit = self.config.max_send_msg_size.0 as usize;
        let compressed = body.len();
        let mut plain = decompress(encoding, body, limit, reservation)?;
        if let Form::Push(Format::Protobuf) = form {
            let unsnapped = unsnap(&plain, limit, reservation)?;
            plain = unsnapped.into();
        }
        let live = self.current.now();
        let settings = Settings {
            live: &live,
            arrival: &self.arrival,
            use_incoming_timestamp: self.config.use_incoming_timestamp,
            tenant: tenant.as_deref(),
            held: compressed + plain.len(),
            skip,
        };
        let mut builder = Builder::new(settings, reservation);
        match form {
            Form::Push(format) => {
                walk(format, &plain, &mut builder)?;
                Ok(builder.finish())
            }
            Form::Raw => builder.lines(&String::from_utf8_lossy(&plain), self.labels.clone()),
        }
    }
}
