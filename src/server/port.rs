//! A port of a receiver. TLS, passwords and connection limits work as for the agent's own HTTP server.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::{Router, middleware};
use rustls::ServerConfig;
use tokio::net::TcpListener;

use super::access::Access;
use super::guard::receiver;
use super::{Config, serve};

/// The requirements and limits for connections to a port.
pub struct Port {
    config: Config,
    access: Arc<Access>,
}

impl Port {
    /// Reads certificates and users. `block` names the block of the config in messages.
    pub fn open(config: &Config, block: &str) -> Result<Self, String> {
        let access = Arc::new(Access::open(config, block)?);
        Ok(Self { config: config.clone(), access })
    }

    /// Opens the port that `config` names. 0: the system chooses one.
    pub async fn listen(config: &Config) -> io::Result<TcpListener> {
        super::listen(config).await
    }

    /// The TLS settings for the next connection. Changed certificates are read again. None: no TLS.
    pub fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.access.now().tls.clone()
    }

    /// The longest time for a client to send a request.
    pub fn read_timeout(&self) -> Duration {
        self.config.timeouts().asking
    }

    /// Serves until `shutdown`. Then open requests may finish within `graceful_shutdown_timeout`. The first byte of an
    /// answer may take `answer_within` longer than the timeout for a request.
    pub async fn serve(
        &self,
        listener: TcpListener,
        router: Router,
        answer_within: Duration,
        shutdown: impl Future<Output = ()>,
    ) {
        let router = router.layer(middleware::from_fn_with_state(self.access.clone(), receiver));
        let mut timeouts = self.config.timeouts();
        timeouts.asking += answer_within;
        serve(listener, router, &self.config, timeouts, self.access.clone(), shutdown).await;
    }
}
