//! The paths of the server, and their answers.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Bytes;
use axum::extract::{self, ConnectInfo, Query};
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{any, get};
use axum::{Router, middleware};
use prometheus::TextEncoder;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit, oneshot, watch};

use super::access::Access;
use super::connections::Peer;
use super::discovered::Discovered;
use super::guard::{Guard, guard};
use super::html::Html;
use super::live::{Live, tail};
use super::metrics_text::Texts;
use super::page::{self, AskedForRows, Overview, Rows};
use super::targets::Targets;
use super::{Build, Config, State};
use crate::model::{AbortOnPanic, AskedToExplain};

const NOT_READY: &str =
    "Not ready: Unable to find any logs to tail. Please verify permissions, volumes, scrape_config, etc.\n";

/// The maximum number of pages in memory. A page stays there until its client has read it. Metrics, which have a limit of
/// their own, and probes do not count.
const PAGES: usize = 8;

/// The longest line that `/explain` runs through the stages, in bytes.
const LONGEST_LINE: usize = 64 << 10;

/// Makes tasks run one at a time, with other work in between. So a probe waits for one page to be built, not for all
/// requested pages.
struct Turn(Semaphore);

impl Turn {
    fn new() -> Self {
        Self(Semaphore::new(1))
    }

    /// Dropping the result ends the turn.
    async fn take(&self) -> Option<SemaphorePermit<'_>> {
        let turn = self.0.acquire().await.ok();
        // Lets others see that the turn is taken.
        tokio::task::yield_now().await;
        turn
    }
}

/// The data of the routes.
struct Shared {
    state: State,
    live: Arc<Live>,
    /// The address of the page at `/`.
    home: String,
    started: Instant,
    /// Whether `/ready` requires a tailed file.
    needs_targets: bool,
    pages: Arc<Semaphore>,
    building: Turn,
    gathering: Turn,
    looking: Turn,
    metrics: Texts,
}

type Known = extract::State<Arc<Shared>>;

pub(super) fn router(config: &Config, access: Arc<Access>, state: State, stopping: watch::Receiver<()>) -> Router {
    let live = Arc::new(Live::new(config, state.live_tail.clone(), stopping));
    let prefix = config.prefix();
    let at = |path: &str| format!("{prefix}{path}");
    let mut router = Router::new()
        .route(&at("/"), any(page))
        .route(&at("/page/{name}"), get(asset))
        .route(&at("/api/overview"), get(overview))
        .route(&at("/api/targets"), get(rows))
        .route(&at("/api/tail"), get(tail).with_state(live.clone()))
        .route(&at("/ready"), any(ready))
        .route(&at("/-/healthy"), any(healthy))
        .route(&at("/targets"), get(targets))
        .route(&at("/service-discovery"), get(discovered))
        .route(&at("/explain"), get(explained))
        .route(&at("/config"), get(effective_config));
    if !prefix.is_empty() {
        router = router.route(&prefix, any(home));
    }
    if config.register_instrumentation {
        router = router.route(&at("/metrics"), get(metrics));
    }
    if config.enable_runtime_reload {
        router = router.route(&at("/reload"), any(reload));
    }
    let router = router.with_state(Arc::new(Shared {
        state,
        live,
        home: format!("{}/", config.external_prefix()),
        started: Instant::now(),
        needs_targets: config.health_check_target,
        pages: Arc::new(Semaphore::new(PAGES)),
        building: Turn::new(),
        gathering: Turn::new(),
        looking: Turn::new(),
        metrics: Texts::default(),
    }));
    router.layer(middleware::from_fn_with_state(Arc::new(Guard::new(config, access)), guard))
}

/// To the page. Its links are relative, so that its address must end with a slash.
async fn home(extract::State(shared): Known) -> Redirect {
    Redirect::to(&shared.home)
}

async fn page() -> Response {
    let headers = [(CONTENT_TYPE, "text/html; charset=utf-8"), (CONTENT_SECURITY_POLICY, page::POLICY)];
    (headers, [(CACHE_CONTROL, "no-cache")], page::HTML).into_response()
}

async fn asset(extract::Path(name): extract::Path<String>) -> Response {
    match page::asset(&name) {
        Some((kind, text)) => ([(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-cache")], text).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn overview(extract::State(shared): Known, ConnectInfo(Peer(peer)): ConnectInfo<Peer>) -> Response {
    let Ok(place) = shared.pages.clone().try_acquire_owned() else { return busy() };
    let _turn = shared.building.take().await;
    let (shown, hostname, uptime) = (shared.state.shown(), shared.state.hostname.clone(), shared.started.elapsed());
    let refusal = shared.live.refuses(peer);
    collected(place, move || Overview::collect(&shown, hostname, uptime, refusal)).await
}

async fn rows(extract::State(shared): Known, Query(asked): Query<AskedForRows>) -> Response {
    let Ok(place) = shared.pages.clone().try_acquire_owned() else { return busy() };
    let _turn = shared.building.take().await;
    let report = shared.state.shown().report.clone();
    collected(place, move || Rows::collect(&*report, &asked)).await
}

/// Collects what the page asks for every two seconds on another thread, so that it does not delay pushes and probes.
async fn collected<T: Serialize + Send + 'static>(
    place: OwnedSemaphorePermit,
    collect: impl FnOnce() -> T + Send + 'static,
) -> Response {
    let made = tokio::task::spawn_blocking(move || {
        let _abort_on_panic = AbortOnPanic;
        answer(place, true, &collect(), |_| String::new())
    });
    made.await.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

/// Healthy unless a thread that delivers lines stands still.
async fn healthy(extract::State(shared): Known) -> Response {
    standing_still(&shared).unwrap_or_else(|| "Healthy\n".into_response())
}

/// The answer if threads that deliver lines have stood still for long.
fn standing_still(shared: &Shared) -> Option<Response> {
    let still = shared.state.shown().report.still();
    let text = || format!("Standing still, probably in a system call that does not return: {}\n", still.join(", "));
    (!still.is_empty()).then(|| (StatusCode::SERVICE_UNAVAILABLE, text()).into_response())
}

/// Ready if at least one file is tailed.
async fn ready(extract::State(shared): Known) -> Response {
    if let Some(still) = standing_still(&shared) {
        return still;
    }
    let _turn = shared.looking.take().await;
    let tailed = || shared.state.shown().report.targets().iter().any(|t| t.files.iter().any(|f| f.error.is_none()));
    if shared.needs_targets && !tailed() {
        return (StatusCode::INTERNAL_SERVER_ERROR, NOT_READY).into_response();
    }
    "Ready\n".into_response()
}

/// Never fails: a metric that cannot be written must not hide the others. Duplicate series are removed, because
/// Prometheus rejects a page with duplicates.
fn metrics_text(shared: &Shared) -> String {
    let (encoder, mut text) = (TextEncoder::new(), String::with_capacity(32 << 10));
    for mut family in shared.state.registry.gather() {
        // Two collectors may have the same name, for example because of a user's metric. The families are sorted, so
        // equal labels are adjacent.
        family.mut_metric().dedup_by(|second, first| first.get_label() == second.get_label());
        let whole = text.len();
        if encoder.encode_utf8(&[family], &mut text).is_err() {
            text.truncate(whole);
        }
    }
    text
}

async fn metrics(extract::State(shared): Known) -> Response {
    let asked = Instant::now();
    let _turn = shared.gathering.take().await;
    let text = shared.metrics.answer(asked, || metrics_text(&shared));
    ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response()
}

async fn targets(extract::State(shared): Known, Query(asked): Query<Asked>, headers: HeaderMap) -> Response {
    let Ok(place) = shared.pages.clone().try_acquire_owned() else { return busy() };
    let _turn = shared.building.take().await;
    let targets = Targets::collect(&*shared.state.shown().report, &asked.q);
    answer(place, asked.wants_json(&headers), &targets, |targets| targets.html(&asked.q))
}

async fn discovered(extract::State(shared): Known, Query(asked): Query<Asked>, headers: HeaderMap) -> Response {
    let Ok(place) = shared.pages.clone().try_acquire_owned() else { return busy() };
    let _turn = shared.building.take().await;
    let discovered = Discovered::collect(&*shared.state.shown().report, &asked.q);
    answer(place, asked.wants_json(&headers), &discovered, |discovered| discovered.html(&asked.q))
}

/// Explains targets and a line. No line of a file is shown, only that of the request.
async fn explained(extract::State(shared): Known, Query(asked): Query<AskedToExplain>, headers: HeaderMap) -> Response {
    let Ok(place) = shared.pages.clone().try_acquire_owned() else { return busy() };
    if asked.line.as_ref().is_some_and(|line| line.len() > LONGEST_LINE) {
        return (StatusCode::BAD_REQUEST, format!("the line is longer than {LONGEST_LINE} bytes\n")).into_response();
    }
    let _turn = shared.building.take().await;
    let (report, json) = (shared.state.shown().report.clone(), Asked::json(&asked.format, &headers));
    // Rules and stages are compiled for the question. On this thread, that would delay pushes and probes.
    let explained = tokio::task::spawn_blocking(move || {
        let _abort_on_panic = AbortOnPanic;
        report.explain(&asked)
    });
    match explained.await {
        Ok(Ok(explained)) if json => answer(place, true, &explained.explanation, |_| String::new()),
        Ok(Ok(explained)) => ([(CACHE_CONTROL, "no-store")], explained.text + "\n").into_response(),
        Ok(Err(why)) => (StatusCode::BAD_REQUEST, format!("{why}\n")).into_response(),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "the question cannot be answered\n").into_response(),
    }
}

async fn effective_config(extract::State(shared): Known, Query(asked): Query<Asked>, headers: HeaderMap) -> Response {
    #[derive(Serialize)]
    struct Effective<'s> {
        build: Build,
        config: &'s str,
        /// Null if the last reload succeeded.
        reload_error: Option<&'s str>,
    }
    let Ok(place) = shared.pages.clone().try_acquire_owned() else { return busy() };
    let _turn = shared.building.take().await;
    let shown = shared.state.shown();
    let effective =
        Effective { build: Build::THIS, config: &shown.config, reload_error: shown.reload_error.as_deref() };
    answer(place, asked.wants_json(&headers), &effective, |effective| {
        let mut page = Html::page("config");
        let build = &effective.build;
        page.element(
            "p",
            format_args!("fantail {}, branch {}, revision {}", build.version, build.branch, build.revision),
        );
        if let Some(error) = effective.reload_error {
            page.element("p", format_args!("The last reload failed, and this config stays in use. {error}"));
        }
        page.element("pre", effective.config);
        page.finish()
    })
}

/// Answers when the config is in use, or with the error.
async fn reload(extract::State(shared): Known) -> Response {
    let (request, answer) = oneshot::channel();
    if shared.state.reload.try_send(request).is_err() {
        let text = "too many requests for a reload, or the agent is stopping: try again in a few seconds\n";
        return (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "5")], text).into_response();
    }
    match answer.await {
        Ok(Ok(())) => StatusCode::OK.into_response(),
        Ok(Err(error)) => (StatusCode::BAD_REQUEST, format!("failed to reload config: {error}\n")).into_response(),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the agent is stopping\n").into_response(),
    }
}

/// The query parameters.
#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    q: String,
    #[serde(default)]
    format: String,
}

impl Asked {
    fn wants_json(&self, headers: &HeaderMap) -> bool {
        Self::json(&self.format, headers)
    }

    fn json(format: &str, headers: &HeaderMap) -> bool {
        let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
        format == "json" || (format.is_empty() && accept.contains("application/json"))
    }
}

/// A page, and its place until its last byte is in the kernel's buffer.
struct Held {
    page: Vec<u8>,
    _place: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.page
    }
}

fn busy() -> Response {
    let text = "too many pages are being sent: try again in a few seconds\n";
    (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "5")], text).into_response()
}

fn answer<T: Serialize>(
    place: OwnedSemaphorePermit,
    json: bool,
    value: &T,
    html: impl FnOnce(&T) -> String,
) -> Response {
    let (kind, page) = match json {
        true => match serde_json::to_vec(value) {
            Ok(page) => ("application/json", page),
            Err(error) => return (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
        },
        false => ("text/html; charset=utf-8", html(value).into_bytes()),
    };
    let page = Bytes::from_owner(Held { page, _place: place });
    ([(CACHE_CONTROL, "no-store"), (CONTENT_TYPE, kind)], page).into_response()
}
