//! The sockets of receivers, and the tasks that serve them. A receiver whose config stays the same goes on with its
//! connections when the config is reloaded. A changed one is opened again on the same socket, so that no connection is
//! refused meanwhile.

use std::io;
use std::net::TcpListener as StdListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::labels::Labeller;
use super::live::{Current, Live};
use super::metrics::Metrics;
use super::{Config, Endpoint, Receiver, push};
use crate::model::AbortOnPanic;
use crate::scrape::Intake;
use crate::server::Port;

/// How long requests under way may take when a receiver is closed.
const CLOSING: Duration = Duration::from_secs(10);

/// The receivers that run.
#[derive(Debug, Default)]
pub struct Receivers {
    running: Vec<Running>,
}

#[derive(Debug)]
struct Running {
    job: Arc<str>,
    config: Config,
    socket: Socket,
    live: watch::Sender<Arc<Live>>,
    /// None: it was asked to stop.
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

/// A bound socket. Each server works with a copy of its descriptor.
#[derive(Debug)]
enum Socket {
    Tcp(StdListener),
}

impl Socket {
    async fn bind(config: &Config) -> io::Result<Self> {
        match config {
            Config::Push(config) => Ok(Self::Tcp(Port::listen(&config.server).await?.into_std()?)),
        }
    }

    fn copy(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(listener) => listener.try_clone().map(Self::Tcp),
        }
    }

    fn address(&self) -> String {
        let address = match self {
            Self::Tcp(listener) => listener.local_addr(),
        };
        address.map_or_else(|_| String::new(), |address| address.to_string())
    }
}

/// Receivers with their sockets, not yet started.
#[derive(Debug, Default)]
pub struct Ready(Vec<(Receiver, Socket)>);

impl Receivers {
    /// Binds the sockets that are not bound yet, and reads certificates and users once. An error changes nothing.
    pub async fn bind(&self, receivers: Vec<Receiver>) -> Result<Ready, String> {
        let mut ready = Vec::new();
        for receiver in receivers {
            let endpoint = receiver.config.endpoint();
            let fails = |error: String| format!("job {:?}: {}: {error}", receiver.job, receiver.config.name());
            open_port(&receiver).map_err(fails)?;
            let is_known = |running: &&Running| {
                running.config.endpoint() == endpoint && (!endpoint.is_any_port() || running.job == receiver.job)
            };
            let known = self.running.iter().find(is_known);
            let socket = match known {
                Some(running) => running.socket.copy(),
                None => Socket::bind(&receiver.config).await,
            };
            let socket = socket.map_err(|error| fails(advise(&error, &endpoint)))?;
            ready.push((receiver, socket));
        }
        Ok(Ready(ready))
    }

    /// Goes over to these receivers. `intake` gives where the records of a job are handed in.
    pub fn start(&mut self, ready: Ready, intake: impl Fn(&str) -> Option<Arc<Intake>>, metrics: &Metrics) {
        let mut before = std::mem::take(&mut self.running);
        let is_same = |running: &Running, receiver: &Receiver| {
            running.job == receiver.job && running.config == receiver.config && !running.task.is_finished()
        };
        let mut opened = Vec::new();
        for (receiver, socket) in ready.0 {
            let Some(intake) = intake(&receiver.job) else { continue };
            let labels = receiver.config.labels().clone();
            let labeller = Mutex::new(Labeller::new(receiver.job.clone(), labels, receiver.rules.clone()));
            let live = Arc::new(Live { intake, labeller });
            match before.iter().position(|running| is_same(running, &receiver)) {
                Some(at) => {
                    let running = before.swap_remove(at);
                    running.live.send_replace(live);
                    self.running.push(running);
                }
                None => opened.push((receiver, socket, live)),
            }
        }
        for running in before {
            let name = running.config.name();
            let again = opened.iter().any(|(receiver, ..)| receiver.config.endpoint() == running.config.endpoint());
            match again {
                true => tracing::info!(job = %running.job, name = &*name, "receiver: its config changed, opened again"),
                false => tracing::info!(job = %running.job, name = &*name, "receiver: closed"),
            }
            // What is under way may wait for Loki.
            tokio::spawn(async {
                let _abort_on_panic = AbortOnPanic;
                running.stop().await;
            });
        }
        for (receiver, socket, live) in opened {
            let (job, name, address) = (receiver.job.clone(), receiver.config.name(), socket.address());
            match Running::start(receiver, socket, live, metrics.clone()) {
                Ok(running) => {
                    tracing::info!(%job, name = &*name, address, "receiver: listening");
                    self.running.push(running);
                }
                Err(error) => {
                    tracing::error!(%job, name = &*name, error, "receiver: cannot be started: nothing is received")
                }
            }
        }
    }

    /// Takes no new connections and requests from now on. Requests under way get their answers.
    pub fn ask_to_stop(&mut self) {
        self.running.iter_mut().for_each(|running| running.stop = None);
    }

    /// Waits for the requests under way, not for long.
    pub async fn finish(&mut self) {
        self.ask_to_stop();
        for running in std::mem::take(&mut self.running) {
            running.stop().await;
        }
    }

    /// Where the receiver of this job listens.
    pub fn address(&self, job: &str) -> Option<String> {
        self.running.iter().find(|running| &*running.job == job).map(|running| running.socket.address())
    }
}

impl Running {
    fn start(receiver: Receiver, socket: Socket, live: Arc<Live>, metrics: Metrics) -> Result<Self, String> {
        let (live, current) = watch::channel(live);
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async {
            // An error is a dropped `stop`, which means the same.
            let _ = stopped.await;
        };
        let copy = socket.copy().map_err(|e| e.to_string())?;
        let port = open_port(&receiver)?;
        let Receiver { job, config, .. } = receiver;
        let (labels, current) = (config.own_labels(), Current(current));
        let task = match (config.clone(), copy) {
            (Config::Push(push), Socket::Tcp(listener)) => {
                listener.set_nonblocking(true).map_err(|e| e.to_string())?;
                let listener = TcpListener::from_std(listener).map_err(|e| e.to_string())?;
                let serving = push::serve((job.clone(), *push, labels), (port, listener), current, metrics, shutdown);
                tokio::spawn(async {
                    let _abort_on_panic = AbortOnPanic;
                    serving.await;
                })
            }
        };
        Ok(Self { job, config, socket, live, stop: Some(stop), task })
    }

    async fn stop(self) {
        // The intake goes with `live`, which is needed until all is answered.
        let Self { stop, mut task, live: _live, .. } = self;
        drop(stop);
        if timeout(CLOSING, &mut task).await.is_err() {
            task.abort();
            let _ = task.await;
        }
    }
}

/// Who may connect: certificates and users, as they are now.
fn open_port(receiver: &Receiver) -> Result<Port, String> {
    match &receiver.config {
        Config::Push(config) => Port::open(&config.server, "loki_push_api.server"),
    }
}

fn advise(error: &io::Error, endpoint: &Endpoint) -> String {
    let address = &endpoint.address;
    match error.kind() {
        io::ErrorKind::AddrInUse => format!("cannot listen on {address}: the port is in use: choose another port"),
        io::ErrorKind::PermissionDenied => format!(
            "cannot listen on {address}: no permission: ports below 1024 are root's, and Landlock allows a new port only \
             after a restart of the agent"
        ),
        _ => format!("cannot listen on {address}: {error}"),
    }
}
