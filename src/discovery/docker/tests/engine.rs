//! A Docker engine on a Unix socket, with containers and logs that a test scripts.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path as Id, State};
use axum::http::StatusCode;
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
