//! `http_sd_configs`: targets that a server lists.
//!
//! ```yaml
//! http_sd_configs:
//!   - url: http://inventory.example.com/targets
//!     refresh_interval: 60s
//! ```
//!
//! The answer is a list of `{targets, labels}` as JSON. Its targets also get the label `__meta_url`.

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::mpsc;

use super::groups::groups;
use super::http_settings::{HttpClient, TIMEOUT, with_http_settings};
use super::refresh::{Ask, Asked, Refresh};
use super::{Known, Metrics};
use crate::http_client::{Url, check_url, parse_url};
use crate::model::units::PromDuration;
use crate::model::{ConfigError, TargetGroup};

/// The largest list in bytes.
const LARGEST: usize = 16 << 20;

with_http_settings! {
    /// One entry of `http_sd_configs`.
    pub struct Config {
        pub url: Url = Url::default(),
        pub refresh_interval: PromDuration = PromDuration(Duration::from_secs(60)),
    }
}

impl Config {
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.url.is_empty() {
            return Err(ConfigError::new("url", "is required, for instance http://inventory.example.com/targets"));
        }
        check_url(&self.url).map_err(|problem| ConfigError::new("url", problem))?;
        if self.refresh_interval.0.is_zero() {
            return Err(ConfigError::new("refresh_interval", "must be more than 0, for instance 60s"));
        }
        self.http(&self.url).validate()
    }
}

/// Sends the targets of the list until it is dropped. `unlisted` is dropped when the list is known.
pub(super) async fn run(config: Config, known: Known, metrics: Metrics, unlisted: mpsc::Sender<Infallible>) {
    let (server, every) = (config.url.redacted(), config.refresh_interval.0);
    let refresh = Refresh { known, metrics: metrics.clone(), mechanism: "http", server, every, unlisted };
    refresh.run(Server { config, client: None, metrics }).await;
}

struct Server {
    config: Config,
    /// None: not made yet, for instance because a certificate file cannot be read.
    client: Option<HttpClient>,
    metrics: Metrics,
}

impl Ask for Server {
    async fn ask(&mut self) -> Asked {
        let groups = self.groups().await;
        if groups.is_err() {
            self.metrics.http_failed();
        }
        groups.into()
    }
}

impl Server {
    async fn groups(&mut self) -> Result<Vec<TargetGroup>, String> {
        let Self { config, client, .. } = self;
        if client.is_none() {
            *client = Some(config.http(&config.url).client().map_err(|e| e.to_string())?);
        }
        let Some(client) = client else { return Ok(Vec::new()) };
        let seconds = config.refresh_interval.0.as_secs_f64().to_string();
        let headers = [("accept", "application/json"), ("x-prometheus-refresh-interval-seconds", seconds.as_str())];
        let answered = client.get(&parse_url(&config.url)?, &headers, TIMEOUT, LARGEST).await?;
        let content_type = answered.header("content-type");
        if !is_json(content_type) {
            return Err(format!("the Content-Type of the list is {content_type:?}, but must be application/json"));
        }
        let (body, url) = (answered.body, config.url.redacted());
        // A long list takes tens of milliseconds, in which no push could be sent.
        let parsed = tokio::task::spawn_blocking(move || {
            let text = std::str::from_utf8(&body).map_err(|e| format!("the list is not UTF-8: {e}"))?;
            groups(text, true, ("__meta_url", &url)).map_err(|e| format!("cannot understand the list: {e}"))
        });
        match parsed.await {
            Ok(groups) => groups,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err("the agent is shutting down".into()),
        }
    }
}

/// JSON, in UTF-8 if the charset is named.
fn is_json(content_type: &str) -> bool {
    let (kind, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    let charset = parameters.trim().to_ascii_lowercase();
    kind.trim().eq_ignore_ascii_case("application/json")
        && matches!(charset.as_str(), "" | "charset=utf-8" | "charset=\"utf-8\"")
}
