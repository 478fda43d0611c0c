//! A Docker engine on a Unix socket, with containers and logs that a test scripts.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path as Id, Query, State};
use axum::http::{Response, StatusCode};
use axum::routing::get;
use futures::stream;
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio::sync::watch;

/// A container and its log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scripted {
    pub id: String,
    pub name: String,
    pub state: String,
    pub driver: String,
    pub log_path: String,
    pub tty: bool,
    pub finished_at: String,
    /// Each with its time in Unix nanoseconds. A text without a newline is a part.
    pub frames: Vec<(i64, Stream, String)>,
    /// The status and text with which its log is refused.
    pub refused: Option<(u16, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout = 1,
    Stderr = 2,
}

impl Scripted {
    pub fn running(id: &str, driver: &str) -> Self {
        let id = format!("{id:0<64}");
        let name = format!("/c-{}", &id[..4]);
        let [state, driver] = ["running", driver].map(String::from);
        Self { id, name, state, driver, finished_at: "0001-01-01T00:00:00Z".into(), ..Self::default() }
    }
}

#[derive(Debug, Default)]
pub(crate) struct World {
    pub containers: Vec<Scripted>,
    /// A log's stream breaks after so many bytes. None: never.
    pub breaks_after: Option<usize>,
    /// The connection of a log breaks after so many messages, between two of them. None: never.
    pub ends_after: Option<usize>,
    /// How many requests for logs there were.
    pub asked: usize,
    /// How often the engine was stopped. Its connections end with it.
    stops: usize,
    /// How many events there were. They say nothing else.
    events: usize,
}

#[derive(Clone)]
pub(crate) struct Docker {
    world: Arc<Mutex<World>>,
    changed: Arc<watch::Sender<u64>>,
    pub socket: PathBuf,
}

impl Docker {
    /// An engine that does not listen yet.
    pub fn new(folder: &Path) -> Self {
        let (changed, _) = watch::channel(0);
        let socket = folder.join("docker.sock");
        Self { world: Arc::default(), changed: Arc::new(changed), socket }
    }

    /// Listens until the result is dropped.
    pub fn listen(&self) -> Listening {
        let _ = std::fs::remove_file(&self.socket);
        let listener = UnixListener::bind(&self.socket).expect("a socket");
        let router = Router::new()
            .route("/containers/json", get(list))
            .route("/containers/{id}/json", get(inspect))
            .route("/containers/{id}/logs", get(logs))
            .route("/networks", get(async || json!([]).to_string()))
            .route("/info", get(async || json!({"DockerRootDir": "/var/lib/docker"}).to_string()))
            .route("/events", get(events))
            .with_state(self.clone());
        Listening(self.clone(), tokio::spawn(async move { axum::serve(listener, router).await }))
    }

    /// Changes the world. Streams that follow see it at once.
    pub fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        let done = change(&mut self.world());
        self.changed.send_modify(|version| *version += 1);
        done
    }

    /// Like [`change`](Self::change), with an event.
    pub fn happen<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        self.change(|world| {
            world.events += 1;
            change(world)
        })
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("no test has panicked")
    }

    /// How many events and stops there were.
    fn seen(&self) -> (usize, usize) {
        let world = self.world();
        (world.events, world.stops)
    }

    fn container(&self, id: &str) -> Option<Scripted> {
        self.world().containers.iter().find(|container| container.id == id).cloned()
    }
}

pub(crate) struct Listening(Docker, tokio::task::JoinHandle<io::Result<()>>);

impl Drop for Listening {
    fn drop(&mut self) {
        self.1.abort();
        self.0.change(|world| world.stops += 1);
    }
}

async fn list(State(docker): State<Docker>) -> String {
    let shown = |c: &Scripted| {
        json!({"Id": c.id, "Names": [c.name], "Image": "image:1", "State": c.state, "Labels": {"team": "a"},
               "HostConfig": {"NetworkMode": "none"}})
    };
    Value::from_iter(docker.world().containers.iter().map(shown)).to_string()
}

async fn inspect(State(docker): State<Docker>, Id(id): Id<String>) -> Result<String, StatusCode> {
    let c = docker.container(&id).ok_or(StatusCode::NOT_FOUND)?;
    let shown = json!({"Id": c.id, "LogPath": c.log_path, "State": {"FinishedAt": c.finished_at},
                       "Config": {"Tty": c.tty}, "HostConfig": {"LogConfig": {"Type": c.driver}}});
    Ok(shown.to_string())
}

async fn events(State(docker): State<Docker>) -> Body {
    let (seen, stops) = docker.seen();
    let changed = docker.changed.subscribe();
    Body::from_stream(stream::unfold((docker, changed, seen), move |(docker, mut changed, seen)| async move {
        loop {
            let (events, stopped) = docker.seen();
            if stopped != stops {
                return None;
            }
            if events > seen {
                let event = Bytes::from_static(b"{\"Type\":\"container\"}\n");
                return Some((io::Result::Ok(event), (docker, changed, events)));
            }
            changed.changed().await.ok()?;
        }
    }))
}

/// The state of a stream of a log.
struct Sent {
    docker: Docker,
    id: String,
    changed: watch::Receiver<u64>,
    follow: bool,
    since: i64,
    next: usize,
    /// A frame at or after `since` was found: from there on all are sent.
    found: bool,
    bytes: usize,
    messages: usize,
    breaks: bool,
    stops: usize,
}

async fn logs(
    State(docker): State<Docker>,
    Id(id): Id<String>,
    Query(query): Query<HashMap<String, String>>,
) -> Response<Body> {
    let answer = |status: u16, body: Body| Response::builder().status(status).body(body).expect("an answer");
    docker.world().asked += 1;
    let Some(container) = docker.container(&id) else {
        return answer(404, Body::from(json!({"message": "No such container"}).to_string()));
    };
    if let Some((status, message)) = container.refused {
        return answer(status, Body::from(json!({"message": message}).to_string()));
    }
    assert_eq!(["timestamps", "stdout", "stderr"].map(|key| query[key].as_str()), ["1"; 3]);
    let since = query.get("since").map_or(0, |since| nanos(since));
    let follow = query.get("follow").is_some_and(|follow| follow == "1");
    let (changed, (_, stops)) = (docker.changed.subscribe(), docker.seen());
    let sent =
        Sent { stops, docker, id, changed, follow, since, next: 0, found: false, bytes: 0, messages: 0, breaks: false };
    answer(200, Body::from_stream(stream::unfold(sent, Sent::next)))
}

impl Sent {
    async fn next(mut self) -> Option<(io::Result<Bytes>, Self)> {
        if self.breaks {
            return Some((Err(io::Error::other("broken off")), self));
        }
        loop {
            if self.docker.seen().1 != self.stops {
                return Some((Err(io::Error::other("the engine was stopped")), self));
            }
            let container = self.docker.container(&self.id)?;
            if let Some((time, stream, text)) = container.frames.get(self.next) {
                self.next += 1;
                self.found |= *time >= self.since;
                if !self.found {
                    continue;
                }
                if self.docker.world().ends_after.is_some_and(|most| self.messages >= most) {
                    return None;
                }
                self.messages += 1;
                let mut bytes = frame(container.tty, *time, *stream, text);
                self.bytes += bytes.len();
                let limit = self.docker.world().breaks_after;
                if let Some(limit) = limit.filter(|limit| self.bytes > *limit) {
                    bytes.truncate(bytes.len().saturating_sub(self.bytes - limit).max(1));
                    self.breaks = true;
                }
                return Some((Ok(bytes.into()), self));
            }
            if !self.follow || container.state != "running" {
                return None;
            }
            self.changed.changed().await.ok()?;
        }
    }
}

/// A frame as Docker sends it.
pub(crate) fn frame(tty: bool, time: i64, stream: Stream, text: &str) -> Vec<u8> {
    let time = jiff::Timestamp::from_nanosecond(time.into()).expect("a time");
    let mut bytes = format!("{time:.9} ").into_bytes();
    bytes.extend_from_slice(text.as_bytes());
    if tty {
        return bytes;
    }
    let mut framed = vec![stream as u8, 0, 0, 0];
    framed.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    framed.extend_from_slice(&bytes);
    framed
}

/// `1700000000.000000001` in nanoseconds.
fn nanos(since: &str) -> i64 {
    let (seconds, nanos) = since.split_once('.').unwrap_or((since, "0"));
    assert!(nanos.len() == 9 || nanos == "0", "{since}");
    seconds.parse::<i64>().expect("seconds") * 1_000_000_000 + nanos.parse::<i64>().expect("nanoseconds")
}
