//! The sockets of receivers, and the tasks that serve them. At a reload, a receiver with an
//! unchanged config keeps its connections. A changed receiver is opened again on the same socket, so that no connection
//! is refused meanwhile.

use std::io;
use std::net::{TcpListener as StdListener, UdpSocket as StdUdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, UdpSocket, lookup_host};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::labels::Labeller;
use super::live::{Current, Live, Queue};
use super::metrics::Metrics;
use super::spooling::Appender;
use super::{Config, Endpoint, Receiver, push, syslog};
use crate::model::AbortOnPanic;
use crate::scrape::Intake;
use crate::server::Port;

/// How long requests under way may take when a receiver is closed.
const CLOSING: Duration = Duration::from_secs(10);

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 4_096;

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
    Udp(StdUdpSocket, Arc<syslog::Drops>),
}

impl Socket {
    async fn bind(config: &Config) -> io::Result<Self> {
        match config {
            Config::Push(config) => Ok(Self::Tcp(Port::listen(&config.server).await?.into_std()?)),
            Config::Syslog(config) => {
                let mut outcome = Err(io::ErrorKind::AddrNotAvailable.into());
                for address in config.addresses() {
                    outcome = match config.is_udp() {
                        true => syslog::bind_udp(&address).map(|socket| {
                            let drops = Arc::new(syslog::Drops::of(&socket));
                            Self::Udp(socket, drops)
                        }),
                        false => listen(&address).await.map(Self::Tcp),
                    };
                    if outcome.is_ok() {
                        break;
                    }
                }
                outcome
            }
        }
    }

    fn copy(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(listener) => listener.try_clone().map(Self::Tcp),
            Self::Udp(socket, drops) => Ok(Self::Udp(socket.try_clone()?, drops.clone())),
        }
    }

    fn address(&self) -> String {
        let address = match self {
            Self::Tcp(listener) => listener.local_addr(),
            Self::Udp(socket, _) => socket.local_addr(),
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
            let queue = match &receiver.spool {
                Some(spool) => Some(Queue::Disk(Arc::new(Appender::new(receiver.job.clone(), spool.clone())))),
                None => intake(&receiver.job).map(Queue::Memory),
            };
            let Some(queue) = queue else { continue };
            let labels = receiver.config.labels().clone();
            let labeller = Mutex::new(Labeller::new(receiver.job.clone(), labels, receiver.rules.clone()));
            let live = Arc::new(Live { queue, labeller, reads: receiver.rules.reads() });
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
            let next =
                opened.iter().find(|(receiver, ..)| receiver.job == running.job).map(|(_, _, live)| live.clone());
            if let (Socket::Udp(_, drops), false) = (&running.socket, again) {
                drops.close();
            }
            match again {
                true => tracing::info!(job = %running.job, name = &*name, "receiver: its config changed, opened again"),
                false => tracing::info!(job = %running.job, name = &*name, "receiver: closed"),
            }
            // Requests under way may wait for Loki.
            tokio::spawn(async {
                let _abort_on_panic = AbortOnPanic;
                running.stop(next).await;
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
        for running in &mut self.running {
            if let Socket::Udp(_, drops) = &running.socket {
                drops.close();
            }
            running.stop = None;
        }
    }

    /// Waits for the requests under way, not for long.
    pub async fn finish(&mut self) {
        self.ask_to_stop();
        for running in std::mem::take(&mut self.running) {
            running.stop(None).await;
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
                let listener = TcpListener::from_std(listener).map_err(|e| e.to_string())?;
                let serving = push::serve((job.clone(), *push, labels), (port, listener), current, metrics, shutdown);
                tokio::spawn(async {
                    let _abort_on_panic = AbortOnPanic;
                    serving.await;
                })
            }
            (Config::Syslog(syslog), Socket::Tcp(listener)) => {
                let listener = TcpListener::from_std(listener).map_err(|e| e.to_string())?;
                let shared = syslog::Shared::new(job.clone(), *syslog, metrics);
                let serving = syslog::serve_tcp(shared, (port, listener), current, shutdown);
                tokio::spawn(async {
                    let _abort_on_panic = AbortOnPanic;
                    serving.await;
                })
            }
            (Config::Syslog(syslog), Socket::Udp(socket, drops)) => {
                syslog::set_buffer(&socket, syslog.receive_buffer.0 as usize);
                let socket = UdpSocket::from_std(socket).map_err(|e| e.to_string())?;
                let shared = syslog::Shared::new(job.clone(), *syslog, metrics);
                let serving = syslog::serve_udp(shared, (socket, drops), current, shutdown);
                tokio::spawn(async {
                    let _abort_on_panic = AbortOnPanic;
                    serving.await;
                })
            }
            (Config::Push(_), Socket::Udp(..)) => return Err("the push API needs a TCP socket".into()),
        };
        Ok(Self { job, config, socket, live, stop: Some(stop), task })
    }

    /// Stops the receiver. Its remaining records go to `next`, the intake of the job in the next run. None: no
    /// intake takes them.
    async fn stop(self, next: Option<Arc<Live>>) {
        let Self { stop, mut task, live, .. } = self;
        let _live = next.map(|next| {
            live.send_replace(next);
            live
        });
        drop(stop);
        if timeout(CLOSING, &mut task).await.is_err() {
            task.abort();
            let _ = task.await;
        }
    }
}

/// Many senders connect at once when the agent is started again. Tokio's own list of those that wait has 128 places.
async fn listen(address: &str) -> io::Result<StdListener> {
    let mut outcome = Err(io::ErrorKind::AddrNotAvailable.into());
    for address in lookup_host(address).await? {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        outcome = match socket.bind(address) {
            Ok(()) => socket.listen(BACKLOG)?.into_std(),
            Err(error) => Err(error),
        };
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

/// The current certificates and users of clients that may connect.
fn open_port(receiver: &Receiver) -> Result<Port, String> {
    match &receiver.config {
        Config::Push(config) => Port::open(&config.server, "loki_push_api.server"),
        Config::Syslog(config) => Port::open(&config.server(), "syslog.tls_config"),
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
