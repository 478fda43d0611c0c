//! A real Prometheus, and its answers.

use std::fs;
use std::time::Duration;

use reqwest::Client;
use serde_json::Value;

use crate::http;
use crate::scratch::Scratch;
use crate::servers::{self, Server};
use crate::wait::wait_for;

pub(crate) struct Prometheus {
    url: String,
    client: Client,
    _server: Server,
    _dir: Scratch,
}

impl Prometheus {
    /// `configuration` in block style: everything except the intervals, which are one second.
    pub(crate) fn start(configuration: &str) -> Prometheus {
        servers::with_free_ports(|| Prometheus::try_start(configuration))
    }

    fn try_start(configuration: &str) -> Result<Prometheus, String> {
        let dir = Scratch::new("prometheus");
        let global = "global:\n  scrape_interval: 1s\n  evaluation_interval: 1s\n";
        let file = dir.join("prometheus.yaml");
        fs::write(&file, format!("{global}{configuration}")).expect("the configuration is written");
        let address = format!("127.0.0.1:{}", servers::free_port());
        let (url, client) = (format!("http://{address}"), http::client(None));
        let ready = || http::send(client.get(format!("{url}/-/ready"))).is_ok_and(|answer| answer.status == 200);
        let arguments = [
            format!("--config.file={}", file.display()),
            format!("--storage.tsdb.path={}", dir.join("data").display()),
            format!("--web.listen-address={address}"),
        ];
        let binary = servers::binary("FANTAIL_E2E_PROMETHEUS");
        let server = Server::start(&binary, arguments, dir.join("prometheus.log"), ready)?;
        Ok(Prometheus { url, client, _server: server, _dir: dir })
    }

    /// The current series of `expression`.
    pub(crate) fn query(&self, expression: &str) -> Result<Vec<Value>, String> {
        let data = self.get("query", &[("query", expression)])?;
        Ok(data["result"].as_array().cloned().unwrap_or_default())
    }

    pub(crate) fn label_values(&self, label: &str, selector: &str) -> Result<Vec<String>, String> {
        let data = self.get(&format!("label/{label}/values"), &[("match[]", selector)])?;
        Ok(data.as_array().into_iter().flatten().filter_map(|value| Some(value.as_str()?.to_owned())).collect())
    }

    /// All loaded rules, once Prometheus has evaluated all of them.
    pub(crate) fn rules(&self) -> Vec<Value> {
        wait_for("all rules are evaluated", Duration::from_secs(60), || {
            let data = self.get("rules", &[])?;
            let groups = data["groups"].as_array().cloned().unwrap_or_default();
            let rules: Vec<Value> =
                groups.iter().flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default()).collect();
            match rules.iter().find(|rule| rule["health"] == "unknown") {
                None if !rules.is_empty() => Ok(rules),
                _ => Err(format!("{} rules, of which some are not evaluated yet", rules.len())),
            }
        })
    }

    fn get(&self, endpoint: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
        let url = http::url(&format!("{}/api/v1/{endpoint}", self.url), parameters);
        let answer = http::send(self.client.get(url))?;
        let parsed: Value = serde_json::from_str(&answer.body).map_err(|_| format!("{endpoint}: {answer:?}"))?;
        if parsed["status"] == "success" { Ok(parsed["data"].clone()) } else { Err(format!("{endpoint}: {answer:?}")) }
    }
}
