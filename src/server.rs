//! The HTTP server: readiness, metrics and status pages.
//!
//! It keeps no state, and asks the [`Report`] on each request. Only `/reload` changes anything, if it is enabled. All
//! clients that may connect see the same pages, so no page may contain a secret.

mod access;
mod address;
mod build;
mod config;
mod connection;
mod connections;
mod discovered;
mod guard;
mod html;
mod live;
mod log;
mod metrics_text;
mod page;
mod port;
mod process;
mod regular_file;
mod routes;
mod seats;
mod stream;
mod targets;
mod tls;

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::ConnectInfo;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tower::Layer;

pub use build::Build;
pub use config::Config;
pub use connections::Peer;
pub use log::{LogFormat, LogLevel};
pub use port::Port;
pub use seats::{Seat, Seats};

use access::Access;
use address::Place;
use connection::Timeouts;
use connections::Connections;

use crate::metrics::Registry;
use crate::model::{LiveTail, Report};

/// The most bytes that a connection keeps of the head of a request, and of an answer that is not written yet. Before the head is
/// there, nothing is known of the client, and there may be hundreds.
const BUFFER: usize = 32 << 10;

/// The data of the server.
pub struct State {
    /// The name of this host, for the page.
    pub hostname: String,
    /// Replaced by each reload.
    pub shown: watch::Receiver<Arc<Shown>>,
    pub registry: Registry,
    /// Where the readers show lines.
    pub live_tail: Arc<LiveTail>,
    /// Sends requests for a reload.
    pub reload: mpsc::Sender<ReloadRequest>,
}

/// A request for a reload. The answer is sent when the reload is done or has failed.
pub type ReloadRequest = oneshot::Sender<Result<(), String>>;

/// The data of the pages.
pub struct Shown {
    pub report: Arc<dyn Report>,
    /// The config in use as YAML, with masked secrets.
    pub config: String,
    /// The error of the last reload. None: it succeeded.
    pub reload_error: Option<String>,
}

impl State {
    fn shown(&self) -> Arc<Shown> {
        self.shown.borrow().clone()
    }
}

/// A server with an open port that does not serve yet.
pub struct Server {
    listener: TcpListener,
    access: Arc<Access>,
    config: Config,
}

impl Server {
    /// Opens the port, on the loopback interface only if the config names no address and this is no container. Must not be
    /// called if the config has `disable`.
    pub async fn bind(config: &Config) -> io::Result<Self> {
        let config = config.with_address(Place::of_this_process());
        let access = Access::open(&config, "server").map_err(io::Error::other)?;
        let listener = listen(&config).await.map_err(|error| advise(&config, error))?;
        Ok(Self { listener, access: Arc::new(access), config })
    }

    /// The address of the port. If the config says port 0, the system has chosen the port.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown`. Then open requests may finish within `graceful_shutdown_timeout`.
    pub async fn run(self, state: State, shutdown: impl Future<Output = ()>) {
        Build::THIS.register(&state.registry);
        let process = state.registry.register(Box::new(process::Process::new()));
        process.expect("each metric is registered once");

        let (stop, stopping) = watch::channel(());
        let router = routes::router(&self.config, self.access.clone(), state, stopping);
        // Answers that go on for long end at once.
        let shutdown = async {
            shutdown.await;
            drop(stop);
        };
        serve(self.listener, router, &self.config, self.config.timeouts(), self.access, shutdown).await;
    }
}

/// Serves until `shutdown`. Then open requests may finish within `graceful_shutdown_timeout`.
async fn serve(
    listener: TcpListener,
    router: axum::Router,
    config: &Config,
    timeouts: Timeouts,
    access: Arc<Access>,
    shutdown: impl Future<Output = ()>,
) {
    let mut connections = Connections::new(listener, config.connections(), timeouts, access);
    let mut http = http1::Builder::new();
    http.max_buf_size(BUFFER);
    let (graceful, mut joined, mut shutdown) = (GracefulShutdown::new(), JoinSet::new(), std::pin::pin!(shutdown));
    loop {
        let (stream, peer) = tokio::select! {
            accepted = connections.accept() => accepted,
            Some(ended) = joined.join_next() => {
                // The panic itself is logged where it happens.
                if ended.is_err_and(|ended| ended.is_panic()) {
                    tracing::error!("a connection to the HTTP server was closed by a mistake of fantail: please report it");
                }
                continue;
            }
            () = &mut shutdown => break,
        };
        let service = TowerToHyperService::new(Extension(ConnectInfo(peer)).layer(router.clone()));
        let served = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        joined.spawn(async {
            // The client went away, or was too slow.
            let _ = served.await;
        });
    }
    drop(connections);
    // Remaining requests are aborted: a client that reads slowly must not delay a restart.
    let grace: Duration = config.graceful_shutdown_timeout.0;
    let _ = tokio::time::timeout(grace, graceful.shutdown()).await;
}

async fn listen(config: &Config) -> io::Result<TcpListener> {
    let port = config.http_listen_port;
    let host = config.http_listen_address.trim_matches(['[', ']']);
    if !host.is_empty() {
        return TcpListener::bind((host, port)).await;
    }
    if config.http_listen_network != "tcp4" {
        // With IPv6, this socket also accepts IPv4.
        match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
            Err(error) if no_ipv6(&error) && config.http_listen_network != "tcp6" => {}
            bound => return bound,
        }
    }
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await
}

fn no_ipv6(error: &io::Error) -> bool {
    !matches!(error.kind(), ErrorKind::AddrInUse | ErrorKind::PermissionDenied)
}

fn advise(config: &Config, error: io::Error) -> io::Error {
    let port = config.http_listen_port;
    let advice = match error.kind() {
        ErrorKind::AddrInUse => format!(
            "port {port} is in use: stop the process that uses it, or set server.http_listen_port (-server.http-listen-port) to \
             another port, for instance 9080"
        ),
        ErrorKind::PermissionDenied if port < 1024 => format!(
            "no permission for port {port}, because only root may use ports below 1024: set server.http_listen_port \
             (-server.http-listen-port) to another port, for instance 9080"
        ),
        _ => format!("{error}: check server.http_listen_address (-server.http-listen-address)"),
    };
    io::Error::new(error.kind(), format!("cannot listen on {}:{port}: {advice}", config.http_listen_address))
}

#[cfg(test)]
mod tests;
