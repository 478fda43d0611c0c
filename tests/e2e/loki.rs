//! A real Loki, and what a tenant of it can read back.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use reqwest::Client;
use serde_json::Value;

use crate::http::{self, Answer};
use crate::scratch::Scratch;
use crate::servers::{self, Server};
use crate::wait::wait_for;

pub(crate) struct Loki {
    url: String,
    client: Client,
    _server: Server,
    _dir: Scratch,
}

/// Whoever has a tenant of their own sees only what they wrote, in a Loki that all tests share.
pub(crate) struct Tenant {
    url: String,
    id: String,
    client: Client,
}

#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) entries: Vec<Entry>,
}

/// Timestamp in nanoseconds, and line.
pub(crate) type Entry = (i64, String);

/// What Loki itself adds to every stream that has none, so it matches all of them.
pub(crate) const EVERYTHING: &str = r#"{service_name=~".+"}"#;

impl Loki {
    /// The one that tests share: it takes Loki about 17 s to be ready.
    pub(crate) fn shared() -> &'static Loki {
        static SHARED: OnceLock<Loki> = OnceLock::new();
        SHARED.get_or_init(|| servers::with_free_ports(|| Loki::start_on(servers::free_port())))
    }

    pub(crate) fn start_on(port: u16) -> Result<Loki, String> {
        let dir = Scratch::new("loki");
        let config = dir.join("loki.yaml");
        fs::write(&config, configuration(port, &dir.display().to_string())).expect("the configuration is written");

        let url = format!("http://127.0.0.1:{port}");
        let client = http::client(None);
        let ready = || {
            let answer = http::send(client.get(format!("{url}/ready")));
            answer.is_ok_and(|answer| answer.status == 200)
        };
        let binary = servers::binary("FANTAIL_E2E_LOKI");
        let argument = format!("-config.file={}", config.display());
        let server = Server::start(&binary, [argument], dir.join("loki.log"), ready)?;
        Ok(Loki { url, client, _server: server, _dir: dir })
    }

    pub(crate) fn tenant(&self, id: &str) -> Tenant {
        Tenant::new(&self.url, id)
    }

    /// Writes what is in memory to chunks, as Loki does by itself later on.
    pub(crate) fn flush(&self) {
        let answer = http::send(self.client.post(format!("{}/flush", self.url)));
        let answer = answer.expect("Loki answers");
        assert!(answer.is_success(), "flush: {answer:?}");
    }
}

impl Tenant {
    pub(crate) fn new(loki: &str, id: &str) -> Tenant {
        Tenant { url: loki.to_owned(), id: id.to_owned(), client: http::client(None) }
    }

    pub(crate) fn push_url(&self) -> String {
        format!("{}/loki/api/v1/push", self.url)
    }

    /// An agent's `clients`.
    pub(crate) fn clients(&self) -> String {
        let (url, id) = (self.push_url(), &self.id);
        format!("clients:\n  - url: {url}\n    tenant_id: {id}\n")
    }

    /// Pushes `body` in Loki's JSON, without an agent.
    pub(crate) fn push(&self, body: &Value) -> Answer {
        let request = self.client.post(self.push_url());
        let request = request.header("Content-Type", "application/json");
        self.send(request.body(body.to_string())).expect("Loki answers")
    }

    /// The streams `query` selects, each with its entries, oldest first.
    pub(crate) fn query_range(&self, query: &str, start: i64, end: i64) -> Result<Vec<Stream>, String> {
        let found = self.get(
            "query_range",
            &[
                ("query", query),
                ("start", &start.to_string()),
                ("end", &end.to_string()),
                ("limit", "1000000"),
                ("direction", "forward"),
            ],
        )?;
        found.iter().map(stream).collect()
    }

    /// How many entries of the last hour `selector` selects, as a dashboard counts them.
    pub(crate) fn count_over_time(&self, selector: &str) -> Result<u64, String> {
        let query = format!("sum(count_over_time({selector}[1h]))");
        let found = self.get("query", &[("query", &query)])?;
        let Some(sample) = found.first() else {
            return Ok(0);
        };
        let count = sample["value"][1].as_str().and_then(|n| n.parse().ok());
        count.ok_or_else(|| format!("not a sample: {sample}"))
    }

    pub(crate) fn streams(&self, selector: &str) -> Result<Vec<Stream>, String> {
        let (now, hour) = (nanoseconds(SystemTime::now()), 3_600_000_000_000);
        self.query_range(selector, now - hour, now + hour)
    }

    /// The entries of all streams that `selector` selects, oldest first.
    pub(crate) fn entries(&self, selector: &str) -> Result<Vec<Entry>, String> {
        let streams = self.streams(selector)?;
        let mut entries: Vec<Entry> = streams.into_iter().flat_map(|s| s.entries).collect();
        entries.sort();
        Ok(entries)
    }

    /// Waits until `selector` selects what was `written`: these timestamps and lines, all of them and no others.
    #[track_caller]
    pub(crate) fn wait_for_entries(&self, selector: &str, mut written: Vec<Entry>) {
        written.sort();
        wait_for(selector, Duration::from_secs(60), || {
            let found = self.entries(selector)?;
            if found == written {
                return Ok(());
            }
            Err(difference(&written, &found))
        });
    }

    fn get(&self, endpoint: &str, parameters: &[(&str, &str)]) -> Result<Vec<Value>, String> {
        let url = format!("{}/loki/api/v1/{endpoint}", self.url);
        let request = self.client.get(http::url(&url, parameters));
        // Or else structured metadata, such as Loki's own `detected_level`, is shown as labels of the stream.
        let answer = self.send(request.header("X-Loki-Response-Encoding-Flags", "categorize-labels"))?;
        let parsed: Value = serde_json::from_str(&answer.body).map_err(|_| format!("{endpoint}: {answer:?}"))?;
        let result = parsed["data"]["result"].as_array().cloned();
        result.ok_or_else(|| format!("{endpoint}: {answer:?}"))
    }

    fn send(&self, request: reqwest::RequestBuilder) -> Result<Answer, String> {
        http::send(request.header("X-Scope-OrgID", &self.id))
    }
}

pub(crate) fn nanoseconds(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    let since = since.expect("the clock is past 1970").as_nanos();
    i64::try_from(since).expect("the clock is before 2262")
}

fn stream(value: &Value) -> Result<Stream, String> {
    let labels = value["stream"].as_object().into_iter().flatten();
    let entries = value["values"].as_array().into_iter().flatten();
    Ok(Stream {
        labels: labels
            .filter(|(name, _)| *name != "service_name")
            .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
            .collect(),
        entries: entries
            .map(|entry| {
                let time = entry[0].as_str().and_then(|time| time.parse().ok());
                let line = entry[1].as_str().map(str::to_owned);
                time.zip(line).ok_or_else(|| format!("not an entry: {entry}"))
            })
            .collect::<Result<_, _>>()?,
    })
}

fn difference(written: &[Entry], found: &[Entry]) -> String {
    let (all, seen) = (BTreeSet::from_iter(written), BTreeSet::from_iter(found));
    let missing: Vec<_> = all.difference(&seen).collect();
    let strange: Vec<_> = seen.difference(&all).collect();
    format!(
        "{} written, {} found, {} missing, first {:?}, {} never written, first {:?}",
        written.len(),
        found.len(),
        missing.len(),
        missing.first(),
        strange.len(),
        strange.first(),
    )
}

/// Limits on what is written are Loki's defaults; only those on reading it back are lifted.
fn configuration(port: u16, dir: &str) -> String {
    format!(
        r#"
auth_enabled: true
analytics:
  reporting_enabled: false
server:
  http_listen_address: 127.0.0.1
  http_listen_port: {port}
  grpc_listen_address: 127.0.0.1
  grpc_listen_port: 0
  grpc_server_max_recv_msg_size: 268435456
  grpc_server_max_send_msg_size: 268435456
common:
  instance_addr: 127.0.0.1
  path_prefix: {dir}/data
  replication_factor: 1
  ring:
    kvstore:
      store: inmemory
  storage:
    filesystem:
      chunks_directory: {dir}/data/chunks
      rules_directory: {dir}/data/rules
schema_config:
  configs:
    - from: 2024-01-01
      store: tsdb
      object_store: filesystem
      schema: v13
      index:
        prefix: index_
        period: 24h
limits_config:
  max_entries_limit_per_query: 20000000
  max_query_length: 0s
ingester_client:
  grpc_client_config:
    max_recv_msg_size: 268435456
query_range:
  cache_results: false
querier:
  query_ingesters_within: 0s
"#
    )
}
