//! A port of a receiver, with TLS, passwords and bounded connections as the agent's own HTTP server has them.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::{Router, middleware};
use rustls::ServerConfig;
use tokio::net::TcpListener;

use super::access::Access;
use super::guard::password;
use super::{Config, serve};

/// Who may connect to a port, and how many at once.
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

    /// The port that `config` names. 0: the system chooses one.
    pub async fn listen(config: &Config) -> io::Result<TcpListener> {
        super::listen(config).await
    }

    /// How to speak TLS with the next client: certificates are read again when they change. None: without TLS.
    pub fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.access.now().tls.clone()
    }

    /// How long a client may take to send a request.
    pub fn read_timeout(&self) -> Duration {
        self.config.timeouts().asking
    }

    /// Serves until `shutdown`, then lets requests under way finish for at most `graceful_shutdown_timeout`. An answer
    /// may take `answer_within` beyond the time that a request may take to come.
    pub async fn serve(
        &self,
        listener: TcpListener,
        router: Router,
        answer_within: Duration,
        shutdown: impl Future<Output = ()>,
    ) {
        let router = router.layer(middleware::from_fn_with_state(self.access.clone(), password));
        let mut timeouts = self.config.timeouts();
        timeouts.asking += answer_within;
        serve(listener, router, &self.config, timeouts, self.access.clone(), shutdown).await;
    }
}
