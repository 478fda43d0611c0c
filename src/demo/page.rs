//! The page of the demo, what it asks for, and its button.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Serialize;
use tokio::time::Instant;

use super::figures::Figures;
use super::shared::{Shared, Stage};

/// How many lines of each pod the page shows.
const RECENT: usize = 240;

/// Only the files of this page, and requests to this server.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'none'; \
                      frame-ancestors 'none'";

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/", get(async || asset("text/html; charset=utf-8", include_str!("page.html"))))
        .route("/page.css", get(async || asset("text/css", include_str!("page.css"))))
        .route("/page.js", get(async || asset("text/javascript", include_str!("page.js"))))
        .route("/state", get(state))
        .route("/kill", post(kill))
        .with_state(shared)
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, text).into_response()
}

#[derive(Serialize)]
struct Shown {
    /// Seconds since the start.
    seconds: f64,
    duration: u64,
    /// Seconds until the first line arrived.
    first_line: Option<f64>,
    /// The process of the agent. Null: it was killed, and is not started again yet.
    agent: Option<u32>,
    agent_page: Option<String>,
    kills: u64,
    foreign: u64,
    total: Figures,
    pods: Vec<ShownPod>,
    is_draining: bool,
    verdict: Option<String>,
    is_good: bool,
}

#[derive(Serialize)]
struct ShownPod {
    name: String,
    figures: Figures,
    /// A letter for each of its last lines.
    recent: String,
}

async fn state(State(shared): State<Arc<Shared>>) -> Response {
    let (now, shown) = (Instant::now(), shared.asked());
    let (verdict, is_good) = match &shown.stage {
        Stage::Over { verdict, is_good } => (Some(verdict.clone()), *is_good),
        _ => (None, false),
    };
    let mut counts = shared.counts();
    let total = if verdict.is_some() { counts.final_figures() } else { counts.total(now) };
    let pods = counts
        .pods(now, RECENT)
        .map(|(name, figures, recent)| ShownPod { name: name.to_string(), figures, recent })
        .collect();
    let since = |time: Instant| time.duration_since(shared.begun).as_secs_f64();
    let shown = Shown {
        seconds: since(now),
        duration: shared.duration.as_secs(),
        first_line: counts.first().map(since),
        agent: shown.agent,
        agent_page: shown.agent_page,
        kills: counts.kills(),
        foreign: counts.foreign(),
        total,
        pods,
        is_draining: matches!(shown.stage, Stage::Draining),
        verdict,
        is_good,
    };
    ([(CACHE_CONTROL, "no-store")], Json(shown)).into_response()
}

async fn kill(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    // A page of another site must not kill anything.
    if headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none") {
        return (StatusCode::FORBIDDEN, "a page of another site may not do this\n").into_response();
    }
    match shared.kill().await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(why) => (StatusCode::CONFLICT, format!("{why}\n")).into_response(),
    }
}
