//! A real Loki, and reading back the lines of a tenant.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use reqwest::Client;
use serde_json::Value;

use crate::http::{self, Answer};
use crate::proxy::Proxy;
use crate::scratch::Scratch;
use crate::servers::{self, Server};
use crate::wait::wait_for;

pub(crate) struct Loki {
    url: String,
    client: Client,
    /// None while it is down.
    server: Option<Server>,
    dir: Scratch,
}

/// A tenant of its own sees only its own lines, so all tests can share a Loki.
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

/// The labels that distinguish streams here: the file, and the output of a container (none for plain files).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StreamName {
    pub(crate) filename: String,
    pub(crate) output: String,
}

impl StreamName {
    fn of<'v>(label: impl Fn(&str) -> Option<&'v str>) -> StreamName {
        let label = |name| label(name).unwrap_or_default().to_owned();
        StreamName { filename: label("filename"), output: label("stream") }
    }

    pub(crate) fn selector(&self) -> String {
        format!("{{filename={:?}, stream={:?}}}", self.filename, self.output)
    }
}

/// The limits of single tenants, which Loki reads again each second.
const RUNTIME: &str = "runtime.yaml";

/// The label that Loki adds to a stream of more than 1.5 MB/s when it divides it.
const SHARD: &str = "__stream_shard__";

/// The label that Loki adds to each stream without it, so it selects all streams.
pub(crate) const EVERYTHING: &str = r#"{service_name=~".+"}"#;

impl Loki {
    /// The Loki that tests share if they only compare lines.
    pub(crate) fn shared() -> &'static Loki {
        static SHARED: OnceLock<Loki> = OnceLock::new();
        SHARED.get_or_init(|| Loki::with_limits(""))
    }

    /// A Loki for one test, which may flush it, kill it and count in it. `limits` is added to its `limits_config`; all other
    /// limits have Loki's defaults.
    pub(crate) fn with_limits(limits: &str) -> Loki {
        servers::with_free_ports(|| Loki::new(servers::free_port(), limits))
    }

    pub(crate) fn start_on(port: u16) -> Result<Loki, String> {
        Loki::new(port, "")
    }

    fn new(port: u16, limits: &str) -> Result<Loki, String> {
        Loki::of(port, |dir| configuration(port, dir, limits))
    }

    /// A Loki with a whole configuration, which is made from its port and its directory.
    pub(crate) fn configured(text: impl Fn(u16, &str) -> String) -> Loki {
        servers::with_free_ports(|| {
            let port = servers::free_port();
            Loki::of(port, |dir| text(port, dir))
        })
    }

    fn of(port: u16, text: impl Fn(&str) -> String) -> Result<Loki, String> {
        let dir = Scratch::new("loki");
        let text = text(&dir.display().to_string());
        fs::write(dir.join("loki.yaml"), text).expect("the configuration is written");
        fs::write(dir.join(RUNTIME), "overrides: {}\n").expect("the limits of tenants are written");
        let url = format!("http://127.0.0.1:{port}");
        let mut loki = Loki { url, client: http::client(None), server: None, dir };
        loki.start()?;
        Ok(loki)
    }

    /// Starts it, again if it ran before: same port, same data.
    fn start(&mut self) -> Result<(), String> {
        let ready = || {
            let answer = http::send(self.client.get(format!("{}/ready", self.url)));
            answer.is_ok_and(|answer| answer.status == 200)
        };
        let binary = servers::binary("FANTAIL_E2E_LOKI");
        let argument = format!("-config.file={}", self.dir.join("loki.yaml").display());
        self.server = Some(Server::start(&binary, [argument], self.dir.join("loki.log"), ready)?);
        Ok(())
    }

    /// As by kill -9: it says goodbye to nobody, and finds what it had taken in its write-ahead log.
    pub(crate) fn kill(&mut self) {
        self.server = None;
    }

    pub(crate) fn start_again(&mut self) {
        self.start().unwrap_or_else(|why| panic!("{why}"));
    }

    pub(crate) fn address(&self) -> &str {
        self.url.strip_prefix("http://").expect("a URL of our own")
    }

    pub(crate) fn tenant(&self, id: &str) -> Tenant {
        Tenant::new(&self.url, id)
    }

    /// Gives one tenant other limits than the configuration's, and waits until they hold. `limits` is YAML in block style,
    /// without indentation; what it does not name is as configured.
    pub(crate) fn set_limits(&self, tenant: &str, limits: &str) {
        let limits: String = limits.lines().map(|line| format!("    {line}\n")).collect();
        // No two texts are the same, so each has another hash.
        let different = nanoseconds(SystemTime::now()) % 1_000_000_000 + 1_000_000;
        let text = format!("overrides:\n  {tenant}:\n{limits}    max_query_series: {different}\n");
        let before = self.hash_of_limits().expect("Loki answers");
        fs::write(self.dir.join(RUNTIME), text).expect("the limits are written");
        wait_for("the limits hold", Duration::from_secs(20), || {
            if self.hash_of_limits()? == before { Err("they are the old ones".to_owned()) } else { Ok(()) }
        });
    }

    /// That of the limits of single tenants, as Loki has read them.
    fn hash_of_limits(&self) -> Result<String, String> {
        let metrics = http::send(self.client.get(format!("{}/metrics", self.url)))?.body;
        let hash = metrics.lines().find(|line| line.starts_with("loki_runtime_config_hash{"));
        hash.map(str::to_owned).ok_or_else(|| "no loki_runtime_config_hash".to_owned())
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
        format!("clients:\n{}", self.client())
    }

    /// An item of an agent's `clients`, whose block it may be continued in.
    pub(crate) fn client(&self) -> String {
        let (url, id) = (self.push_url(), &self.id);
        format!("  - url: {url}\n    tenant_id: {id}\n")
    }

    /// The same tenant by another way, through a proxy.
    pub(crate) fn by_way_of(&self, proxy: &Proxy) -> Tenant {
        Tenant::new(&proxy.url(), &self.id)
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
        let mut streams = BTreeMap::new();
        for value in &found {
            let Stream { labels, entries } = stream(value)?;
            streams.entry(labels).or_insert_with(Vec::new).extend(entries);
        }
        let sorted = streams.into_iter().map(|(labels, mut entries)| {
            entries.sort_by_key(|(time, _)| *time);
            Stream { labels, entries }
        });
        Ok(sorted.collect())
    }

    /// How many entries of the last hour `selector` selects, as a dashboard counts them.
    pub(crate) fn count_over_time(&self, selector: &str) -> Result<u64, String> {
        let query = format!("sum(count_over_time({selector}[1h]))");
        let found = self.get("query", &[("query", &query)])?;
        found.first().map_or(Ok(0), sample)
    }

    /// Of the last hour, what `function` (`count_over_time`, `bytes_over_time`) says of each stream that is of a file.
    pub(crate) fn over_time(&self, function: &str) -> Result<BTreeMap<StreamName, u64>, String> {
        let query = format!("sum by (filename, stream) ({function}({{filename=~\".+\"}}[1h]))");
        let found = self.get("query", &[("query", &query)])?;
        let named = |of: &Value| Ok((StreamName::of(|label| of["metric"][label].as_str()), sample(of)?));
        found.iter().map(named).collect()
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

    /// Waits until `selector` selects exactly the `written` timestamps and lines.
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
        let data = self.ask(endpoint, parameters)?;
        data["result"].as_array().cloned().ok_or_else(|| format!("{endpoint}: {data}"))
    }

    /// The answer of `endpoint`.
    pub(crate) fn ask(&self, endpoint: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
        let url = format!("{}/loki/api/v1/{endpoint}", self.url);
        let request = self.client.get(http::url(&url, parameters));
        // Otherwise, Loki shows structured metadata, such as its own `detected_level`, as labels of the stream.
        let answer = self.send(request.header("X-Loki-Response-Encoding-Flags", "categorize-labels"))?;
        let parsed: Value = serde_json::from_str(&answer.body).map_err(|_| format!("{endpoint}: {answer:?}"))?;
        if parsed["status"] == "success" { Ok(parsed["data"].clone()) } else { Err(format!("{endpoint}: {answer:?}")) }
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

fn sample(value: &Value) -> Result<u64, String> {
    let count = value["value"][1].as_str().and_then(|n| n.parse().ok());
    count.ok_or_else(|| format!("not a sample: {value}"))
}

fn stream(value: &Value) -> Result<Stream, String> {
    let labels = value["stream"].as_object().into_iter().flatten();
    let entries = value["values"].as_array().into_iter().flatten();
    Ok(Stream {
        labels: labels
            .filter(|(name, _)| !["service_name", SHARD].contains(&name.as_str()))
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

/// The limits for writing are Loki's defaults, except `limits`. Only the limits for reading are removed. Loki does not
/// look for other Lokis, so it is ready within a second instead of 17.
fn configuration(port: u16, dir: &str, limits: &str) -> String {
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
runtime_config:
  file: {dir}/{RUNTIME}
  period: 1s
limits_config:
  max_entries_limit_per_query: 20000000
  max_query_length: 0s
{limits}
ingester:
  lifecycler:
    min_ready_duration: 0s
    final_sleep: 0s
frontend:
  scheduler_dns_lookup_period: 500ms
frontend_worker:
  dns_lookup_duration: 500ms
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
