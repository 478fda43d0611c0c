//! An API server that knows events and Leases.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::IntoFuture;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Query, Request, State};
use axum::http::{Method, Response};
use axum::{RequestExt, Router};
use futures::stream;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

#[derive(Clone)]
pub(super) struct Server {
    pub url: String,
    state: Arc<Mutex<Seen>>,
    /// Changes with each change of the state.
    changes: watch::Sender<u64>,
}

#[derive(Clone, Default)]
pub(super) struct Seen {
    /// Kind of change, object, version.
    changed: Vec<(String, Value, u64)>,
    forgotten: u64,
    pub lease: Option<Value>,
    /// How many watches are open.
    pub watches: usize,
    /// Watches end that are older.
    cuts: u64,
}

impl Seen {
    pub fn holder(&self) -> &str {
        self.lease.as_ref().and_then(|lease| lease["spec"]["holderIdentity"].as_str()).unwrap_or_default()
    }

    pub fn delivered(&self) -> Option<&str> {
        self.lease.as_ref()?["metadata"]["annotations"]["fantail-resource-version"].as_str()
    }

    fn version(&self) -> u64 {
        self.changed.iter().map(|(_, _, version)| *version).max().unwrap_or(0)
    }
}

impl Server {
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("an address");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let server = Self { url, state: Arc::default(), changes: watch::channel(0).0 };
        let routes = Router::new().fallback(answer).with_state(server.clone());
        tokio::spawn(axum::serve(listener, routes).into_future());
        server
    }

    pub fn add(&self, name: &str, version: u64) {
        let object = json!({"metadata": {"name": name, "resourceVersion": version.to_string()}, "type": "Normal", "reason": "Tested",
                            "involvedObject": {"kind": "Pod", "namespace": "shop", "name": name},
                            "lastTimestamp": "2026-11-27T10:00:00Z"});
        self.send("ADDED", object, version);
    }

    pub fn send(&self, kind: &str, object: Value, version: u64) {
        self.change(|state| state.changed.push((kind.into(), object, version)));
    }

    pub fn forget_versions_before(&self, version: u64) {
        self.change(|state| state.forgotten = version);
    }

    pub fn give_lease_to(&self, identity: &str) {
        self.change(|state| {
            let lease = state.lease.as_mut().expect("a Lease");
            lease["spec"]["holderIdentity"] = identity.into();
            lease["metadata"]["resourceVersion"] = "other".into();
        });
    }

    pub fn cut_off_watches(&self) {
        self.change(|state| state.cuts += 1);
    }

    pub fn seen(&self) -> Seen {
        self.lock().clone()
    }

    pub async fn until(&self, enough: impl Fn(&Seen) -> bool) {
        let mut changes = self.changes.subscribe();
        let wait = changes.wait_for(|_| enough(&self.lock()));
        tokio::time::timeout(Duration::from_secs(20), wait).await.expect("it comes soon").expect("the server runs");
    }

    fn change<T>(&self, change: impl FnOnce(&mut Seen) -> T) -> T {
        let changed = change(&mut self.lock());
        self.changes.send_modify(|count| *count += 1);
        changed
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.state.lock().expect("not poisoned")
    }
}

/// An open watch.
struct Open {
    server: Server,
    changes: watch::Receiver<u64>,
    from: u64,
    cuts: u64,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.server.change(|state| state.watches -= 1);
    }
}

impl Open {
    async fn next(mut self) -> Option<(io::Result<String>, Self)> {
        loop {
            let next = {
                let state = self.server.lock();
                if state.cuts > self.cuts {
                    return None;
                }
                state.changed.iter().find(|(_, _, version)| *version > self.from).cloned()
            };
            if let Some((kind, object, version)) = next {
                self.from = version;
                return Some((Ok(format!("{}\n", json!({"type": kind, "object": object}))), self));
            }
            self.changes.changed().await.ok()?;
        }
    }
}

async fn answer(State(server): State<Server>, mut request: Request) -> Result<Response<Body>, Infallible> {
    let Query(query) = request.extract_parts::<Query<HashMap<String, String>>>().await.expect("a query");
    let (method, path) = (request.method().clone(), request.uri().path().to_string());
    let body = to_bytes(request.into_body(), 1 << 20).await.expect("a body");
    let say =
        |status: u16, body: Value| Response::builder().status(status).body(body.to_string().into()).expect("an answer");
    let refuse = |code: u16, reason: &str| {
        say(code, json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": reason}))
    };
    if path == "/api/v1/events" && query.contains_key("watch") {
        let from: u64 = query["resourceVersion"].parse().expect("a number");
        if from < server.lock().forgotten {
            return Ok(refuse(410, "Expired"));
        }
        let cuts = server.change(|state| {
            state.watches += 1;
            state.cuts
        });
        let open = Open { changes: server.changes.subscribe(), server, from, cuts };
        return Ok(Response::new(Body::from_stream(stream::unfold(open, Open::next))));
    }
    if path == "/api/v1/events" {
        let state = server.lock();
        let mut items: Vec<&Value> =
            state.changed.iter().filter(|(kind, ..)| kind != "DELETED").map(|(_, o, _)| o).collect();
        items.sort_by_key(|item| item["metadata"]["name"].to_string());
        return Ok(say(200, json!({"metadata": {"resourceVersion": state.version().to_string()}, "items": items})));
    }
    assert!(path.starts_with("/apis/coordination.k8s.io/v1/namespaces/fantail/leases"), "{path}");
    let answer = server.change(|state| {
        if method == Method::GET {
            return state.lease.clone().map_or_else(|| refuse(404, "NotFound"), |lease| say(200, lease));
        }
        let mut new: Value = serde_json::from_slice(&body).expect("JSON");
        let version = |lease: &Value| lease["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_string();
        let known = state.lease.as_ref().map(version).unwrap_or_default();
        if (method == Method::POST) == state.lease.is_some() || version(&new) != known {
            return refuse(409, "Conflict");
        }
        new["metadata"]["resourceVersion"] = format!("{known}x").into();
        state.lease = Some(new.clone());
        say(200, new)
    });
    Ok(answer)
}
