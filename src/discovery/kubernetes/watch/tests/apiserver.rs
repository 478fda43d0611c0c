//! An API server on loopback that passes each request to the test.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Future, IntoFuture};
use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Query, Request as HttpRequest, State};
use axum::http::{HeaderMap, HeaderName, Response, header};
use axum::{RequestExt, Router};
use futures::stream;
use serde_json::{Value, json};
use tokio::net::TcpSocket;
use tokio::sync::{mpsc, oneshot};

/// Waits for an expected event.
pub(super) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("it comes soon")
}

pub(super) struct Apiserver {
    url: String,
    requests: mpsc::Receiver<Request>,
}

/// An address without a listener: connections are refused.
pub(super) struct Away {
    socket: TcpSocket,
    requests: mpsc::Sender<Request>,
}

pub(super) struct Request {
    pub(super) path: String,
    pub(super) authorization: String,
    pub(super) user_agent: String,
    query: HashMap<String, String>,
    answer: oneshot::Sender<Response<Body>>,
}

/// An accepted watch. It stays open until it is ended or broken off.
pub(super) struct Stream(mpsc::UnboundedSender<io::Result<String>>);

impl Apiserver {
    pub(super) fn start() -> Self {
        let (server, away) = Self::away();
        away.arrive();
        server
    }

    pub(super) fn away() -> (Self, Away) {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(([127, 0, 0, 1], 0).into()).expect("an address");
        let url = format!("http://{}", socket.local_addr().expect("bound"));
        let (sender, requests) = mpsc::channel(16);
        (Self { url, requests }, Away { socket, requests: sender })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn has_no_request(&mut self) -> bool {
        self.requests.try_recv().is_err()
    }

    pub(super) async fn request(&mut self) -> Request {
        soon(self.requests.recv()).await.expect("the server runs")
    }
}

impl Away {
    pub(super) fn arrive(self) {
        let listener = self.socket.listen(16).expect("listening");
        let routes = Router::new().fallback(hand_over).with_state(self.requests);
        tokio::spawn(axum::serve(listener, routes).into_future());
    }
}

async fn hand_over(
    State(requests): State<mpsc::Sender<Request>>,
    mut request: HttpRequest,
) -> Result<Response<Body>, Infallible> {
    let Query(query) = request.extract_parts().await.expect("a query");
    let text = |headers: &HeaderMap, name: HeaderName| {
        headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_string()
    };
    let (answer, answered) = oneshot::channel();
    let request = Request {
        path: request.uri().path().to_string(),
        authorization: text(request.headers(), header::AUTHORIZATION),
        user_agent: text(request.headers(), header::USER_AGENT),
        query,
        answer,
    };
    let _ = requests.send(request).await;
    // A request that the test drops never gets an answer, as if its server had died.
    Ok(match answered.await {
        Ok(response) => response,
        Err(_) => std::future::pending().await,
    })
}

impl Request {
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    pub(super) fn answer(self, status: u16, body: Value) {
        let response = Response::builder().status(status).header(header::CONTENT_TYPE, "application/json");
        self.answer.send(response.body(body.to_string().into()).expect("a response")).expect("somebody waits");
    }

    /// An error answer with `Retry-After`.
    pub(super) fn refuse(self, status: u16, retry_after: &str, body: &str) {
        let response = Response::builder().status(status).header(header::RETRY_AFTER, retry_after);
        self.answer.send(response.body(body.to_string().into()).expect("a response")).expect("somebody waits");
    }

    pub(super) fn stream(self) -> Stream {
        let (sender, receiver) = mpsc::unbounded_channel();
        let lines = stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) });
        self.answer.send(Response::new(Body::from_stream(lines))).expect("somebody waits");
        Stream(sender)
    }
}

impl Stream {
    pub(super) fn event(&self, kind: &str, object: Value) {
        self.0.send(Ok(format!("{}\n", json!({"type": kind, "object": object})))).expect("the watch is open");
    }

    /// Sends any text.
    pub(super) fn raw(&self, text: &str) {
        self.0.send(Ok(text.to_string())).expect("somebody reads");
    }

    /// Ends the watch normally.
    pub(super) fn end(self) {}

    pub(super) fn break_off(self) {
        let _ = self.0.send(Err(io::Error::other("pulled the plug")));
    }
}

pub(super) fn list(version: &str, pods: &[Value]) -> Value {
    json!({"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": version}, "items": pods})
}

pub(super) fn pod(name: &str, phase: &str, version: &str) -> Value {
    json!({
        "kind": "Pod", "apiVersion": "v1",
        "metadata": {"name": name, "namespace": "ns", "resourceVersion": version},
        "spec": {"nodeName": "n1", "containers": [{"name": "app", "image": "app:1"}]},
        "status": {"phase": phase, "podIP": "10.0.0.7"},
    })
}

pub(super) fn error(code: u16, reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message})
}
