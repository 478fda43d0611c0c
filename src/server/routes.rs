//! The paths, and what each answers.

use std::sync::Arc;

use axum::extract::{self, Query};
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use prometheus::TextEncoder;
use serde::{Deserialize, Serialize};

use super::discovered::Discovered;
use super::html::Html;
use super::targets::Targets;
use super::{Build, Config, State};

const NOT_READY: &str =
    "Not ready: Unable to find any logs to tail. Please verify permissions, volumes, scrape_config, etc.\n";

/// No scripts, nothing from elsewhere: the last line behind escaping.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'";

/// What the routes know.
struct Shared {
    state: State,
    /// Where `/` leads.
    home: String,
    /// Whether `/ready` wants something to be tailed.
    needs_targets: bool,
}

type Known = extract::State<Arc<Shared>>;

pub(super) fn router(config: &Config, state: State) -> Router {
    let prefix = config.prefix();
    let at = |path: &str| format!("{prefix}{path}");
    let mut router = Router::new()
        .route(&at("/"), any(home))
        .route(&at("/ready"), any(ready))
        .route(&at("/-/healthy"), any(async || "Healthy\n"))
        .route(&at("/targets"), get(targets))
        .route(&at("/service-discovery"), get(discovered))
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
    router.with_state(Arc::new(Shared {
        state,
        home: format!("{}/targets", config.external_prefix()),
        needs_targets: config.health_check_target,
    }))
}

async fn home(extract::State(shared): Known) -> Redirect {
    Redirect::to(&shared.home)
}

/// Ready once at least one file is being tailed.
async fn ready(extract::State(shared): Known) -> Response {
    let tailed = || shared.state.report.targets().iter().any(|t| t.files.iter().any(|f| f.error.is_none()));
    if shared.needs_targets && !tailed() {
        return (StatusCode::INTERNAL_SERVER_ERROR, NOT_READY).into_response();
    }
    "Ready\n".into_response()
}

/// Never an error: one family that cannot be written must not blind whoever looks at the others. Nor may a series that is
/// there twice: Prometheus takes nothing of such a page.
async fn metrics(extract::State(shared): Known) -> Response {
    let (encoder, mut text) = (TextEncoder::new(), String::with_capacity(32 << 10));
    for mut family in shared.state.registry.gather() {
        // Two collectors may have one name, a user's metric for instance. Equal labels stand side by side here.
        family.mut_metric().dedup_by(|second, first| first.get_label() == second.get_label());
        let whole = text.len();
        if encoder.encode_utf8(&[family], &mut text).is_err() {
            text.truncate(whole);
        }
    }
    ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response()
}

async fn targets(extract::State(shared): Known, Query(asked): Query<Asked>, headers: HeaderMap) -> Response {
    let targets = Targets::collect(&*shared.state.report, &asked.q);
    answer(asked.wants_json(&headers), &targets, |targets| targets.html(&asked.q))
}

async fn discovered(extract::State(shared): Known, Query(asked): Query<Asked>, headers: HeaderMap) -> Response {
    let discovered = Discovered::collect(&*shared.state.report, &asked.q);
    answer(asked.wants_json(&headers), &discovered, |discovered| discovered.html(&asked.q))
}

async fn effective_config(extract::State(shared): Known, Query(asked): Query<Asked>, headers: HeaderMap) -> Response {
    #[derive(Serialize)]
    struct Effective<'s> {
        build: Build,
        config: &'s str,
    }
    let effective = Effective { build: Build::THIS, config: &shared.state.config };
    answer(asked.wants_json(&headers), &effective, |effective| {
        let mut page = Html::page("config");
        let build = &effective.build;
        page.element(
            "p",
            format_args!("fantail {}, branch {}, revision {}", build.version, build.branch, build.revision),
        );
        page.element("pre", effective.config);
        page.finish()
    })
}

async fn reload() -> (StatusCode, &'static str) {
    (StatusCode::NOT_IMPLEMENTED, "reload is not supported yet: restart the agent to load a changed config\n")
}

/// What a request may say behind the question mark.
#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    q: String,
    #[serde(default)]
    format: String,
}

impl Asked {
    fn wants_json(&self, headers: &HeaderMap) -> bool {
        let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
        self.format == "json" || (self.format.is_empty() && accept.contains("application/json"))
    }
}

fn answer<T: Serialize>(json: bool, value: &T, html: impl FnOnce(&T) -> String) -> Response {
    let headers = [(CACHE_CONTROL, "no-store"), (X_CONTENT_TYPE_OPTIONS, "nosniff"), (CONTENT_SECURITY_POLICY, POLICY)];
    if json {
        return (headers, Json(value)).into_response();
    }
    (headers, [(CONTENT_TYPE, "text/html; charset=utf-8")], html(value)).into_response()
}
