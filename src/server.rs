//! The HTTP server: readiness, metrics, and pages for the person who was woken by them.
//!
//! It shows and keeps nothing, and asks the [`Report`] at each request. The one thing it changes anything by is `/reload`, if that is
//! switched on. Whoever it lets in sees all, so no page may hold a secret.

mod access;
mod build;
mod config;
mod connection;
mod connections;
mod discovered;
mod guard;
mod html;
mod log;
mod port;
mod process;
mod regular_file;
mod routes;
mod stream;
mod targets;
mod tls;

use std::future::IntoFuture;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};

pub use build::Build;
pub use config::Config;
pub use log::{LogFormat, LogLevel};
pub use port::Port;

use access::Access;
use connection::Timeouts;
use connections::{Connections, Peer};

use crate::metrics::Registry;
use crate::model::Report;

/// What the server works with.
pub struct State {
    /// Another one after each reload.
    pub shown: watch::Receiver<Arc<Shown>>,
    pub registry: Registry,
    /// Who loads the config anew.
    pub reload: mpsc::Sender<ReloadRequest>,
}

/// Asks for a reload: what is sent back says that it is done, or what was wrong.
pub type ReloadRequest = oneshot::Sender<Result<(), String>>;

/// What the pages show.
pub struct Shown {
    pub report: Arc<dyn Report>,
    /// The effective config as YAML, secrets masked.
    pub config: String,
    /// Why the last reload failed, if it did.
    pub reload_error: Option<String>,
}

impl State {
    fn shown(&self) -> Arc<Shown> {
        self.shown.borrow().clone()
    }
}

/// A bound server, not yet serving.
pub struct Server {
    listener: TcpListener,
    access: Arc<Access>,
    config: Config,
}

impl Server {
    /// Takes the port. Not to be called if the config says `disable`.
    pub async fn bind(config: &Config) -> io::Result<Self> {
        let access = Access::open(config, "server").map_err(io::Error::other)?;
        let listener = listen(config).await.map_err(|error| advise(config, error))?;
        Ok(Self { listener, access: Arc::new(access), config: config.clone() })
    }

    /// Where it listens: the port is the system's choice if the config says 0.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown`, then lets requests under way finish for at most `graceful_shutdown_timeout`.
    pub async fn run(self, state: State, shutdown: impl Future<Output = ()>) {
        Build::THIS.register(&state.registry);
        let process = state.registry.register(Box::new(process::Process::new()));
        process.expect("each metric is registered once");

        let router = routes::router(&self.config, self.access.clone(), state);
        serve(self.listener, router, &self.config, self.config.timeouts(), self.access, shutdown).await;
    }
}

/// Serves until `shutdown`, then lets requests under way finish for at most `graceful_shutdown_timeout`.
async fn serve(
    listener: TcpListener,
    router: axum::Router,
    config: &Config,
    timeouts: Timeouts,
    access: Arc<Access>,
    shutdown: impl Future<Output = ()>,
) {
    let (stop, stopped) = oneshot::channel::<()>();
    let grace: Duration = config.graceful_shutdown_timeout.0;
    let connections = Connections::new(listener, config.connections(), timeouts, access);
    let router = router.into_make_service_with_connect_info::<Peer>();
    let serving = axum::serve(connections, router).with_graceful_shutdown(async {
        // An error is a dropped `stop`, which means the same.
        let _ = stopped.await;
    });
    let mut serving = std::pin::pin!(serving.into_future());
    tokio::select! {
        _ = &mut serving => return,
        () = shutdown => drop(stop),
    }
    // What is not done by then is cut off: a page half read must not hold up a restart.
    let _ = tokio::time::timeout(grace, serving).await;
}

async fn listen(config: &Config) -> io::Result<TcpListener> {
    let port = config.http_listen_port;
    let host = config.http_listen_address.trim_matches(['[', ']']);
    if !host.is_empty() {
        return TcpListener::bind((host, port)).await;
    }
    if config.http_listen_network != "tcp4" {
        // Where IPv6 is on, this takes IPv4 as well.
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
            "port {port} is in use: stop what uses it, or set server.http_listen_port (-server.http-listen-port) to \
             another port, for instance 9080"
        ),
        ErrorKind::PermissionDenied if port < 1024 => format!(
            "no permission for port {port}, ports below 1024 are root's: set server.http_listen_port \
             (-server.http-listen-port) to another port, for instance 9080"
        ),
        _ => format!("{error}: check server.http_listen_address (-server.http-listen-address)"),
    };
    io::Error::new(error.kind(), format!("cannot listen on {}:{port}: {advice}", config.http_listen_address))
}

#[cfg(test)]
mod tests;
