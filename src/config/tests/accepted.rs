//! Configs that are accepted, their warnings, and the values read.

use serde_yaml::{Mapping, Value};

use super::*;

/// All keys of a Promtail config that are used, where possible with a value other than the default.
#[test]
fn honoured_keys_are_accepted_without_a_word() {
    let (config, warnings) = accepted(
        "
global: {file_watch_config: {min_poll_frequency: 100ms, max_poll_frequency: 1s}}
server: {http_listen_network: tcp, http_listen_address: 127.0.0.1, http_listen_port: 9080, http_path_prefix: /x,
  external_url: 'http://agent/x', health_check_target: false, disable: no, register_instrumentation: true,
  graceful_shutdown_timeout: 5s, log_level: warn, log_format: json, grpc_listen_port: 0, grpc_listen_address: ''}
clients:
- name: main
  url: http://loki:3100/loki/api/v1/push
  batchwait: 2s
  batchsize: 5000
  timeout: 3s
  tenant_id: t
  external_labels: {a: b}
  headers: {X-A: b}
  drop_rate_limited_batches: true
  backoff_config: {min_period: 1s, max_period: 1m, max_retries: 0}
  basic_auth: {username: u, password: p}
  tls_config: {server_name: loki}
  follow_redirects: true
  enable_http2: true
positions: {filename: /p/p.yaml, sync_period: 1s, ignore_invalid_yaml: true, import_from: [/run/promtail/positions.yaml]}
scrape_configs:
- job_name: pods
  encoding: utf-16le
  decompression: {enabled: true, initial_delay: 1s, format: gz}
  static_configs: [{targets: [localhost], labels: {__path__: /x, version: 1.10}}]
  file_sd_configs: [{files: [/sd/*.yaml], refresh_interval: 1m}]
  http_sd_configs:
  - {url: 'http://sd/targets', refresh_interval: 30s, basic_auth: {username: u, password_file: /p}, follow_redirects: true,
     enable_http2: true, tls_config: {ca_file: c}, http_headers: {X-A: {values: [b]}}, proxy_url: 'http://p', no_proxy: a}
  consul_sd_configs:
  - {server: 'consul:8500', path_prefix: /p, token: t, datacenter: d, namespace: n, partition: p, tag_separator: ',',
     scheme: https, username: u, password: p, allow_stale: false, refresh_interval: 30s, services: [a], tags: [b],
     node_meta: {url: x}, filter: f, health_filter: h, tls_config: {ca_file: c}}
  consulagent_sd_configs:
  - {server: 'localhost:8500', token: t, datacenter: d, tag_separator: ',', scheme: http, username: u, password: p,
     refresh_interval: 30s, services: [a], tags: [b], tls_config: {ca_file: c}}
  dns_sd_configs: [{names: [a.b], type: A, port: 80, refresh_interval: 30s}]
  dockerswarm_sd_configs:
  - {host: 'tcp://docker:2376', role: tasks, port: 81, refresh_interval: 5s, filters: [{name: label, values: [a=b]}],
     tls_config: {insecure_skip_verify: true}, basic_auth: {username: u, password: p}}
  kubernetes_sd_configs: [{role: pod, namespaces: {names: [a]}}]
  docker_sd_configs:
  - {host: 'unix:///var/run/docker.sock', port: 81, host_networking_host: node, match_first_network: true, refresh_interval: 5s,
     filters: [{name: label, values: [logging=promtail]}]}
  - {host: 'tcp://docker:2376', tls_config: {insecure_skip_verify: true}, basic_auth: {username: u, password: p},
     follow_redirects: true, enable_http2: true}
  pipeline_stages: [{cri: }]
  relabel_configs: [{source_labels: [__meta_kubernetes_namespace], action: keep, regex: a}]
target_config: {sync_period: 1m, stdin: false}
limits_config: {readline_rate: 5, readline_burst: 6, readline_rate_enabled: true, readline_rate_drop: no, max_streams: 0,
  max_line_size: 256kb, max_line_size_truncate: on}
options: {}
tracing: {enabled: false}
wal: {enabled: false, dir: /w, cleanSegmentsOlderThan: 1h, watchConfig: {minReadFrequency: 1s, maxReadFrequency: 1s}}
",
    );
    assert_eq!(warnings, [""; 0]);
    let second = GoDuration(std::time::Duration::from_secs(1));
    assert_eq!(config.global.file_watch_config.max_poll_frequency, Some(second));
    assert_eq!((config.positions.filename.as_str(), config.positions.sync_period), ("/p/p.yaml", second));
    assert!(config.positions.ignore_invalid_yaml);
    assert_eq!(config.positions.import_from, ["/run/promtail/positions.yaml"]);
    let limits = &config.limits_config;
    assert_eq!((limits.readline_rate, limits.readline_burst, limits.max_line_size), (5.0, 6, ByteSize(256 << 10)));
    assert!(limits.readline_rate_enabled && !limits.readline_rate_drop && limits.max_line_size_truncate);
    let job = &config.scrape_configs[0];
    assert_eq!(
        (job.encoding.as_str(), job.decompression.enabled, job.decompression.initial_delay),
        ("utf-16le", true, second)
    );
    assert_eq!(job.static_configs[0].labels["version"], "1.10");
    assert_eq!((job.file_sd_configs.len(), job.kubernetes_sd_configs.len(), job.docker_sd_configs.len()), (1, 1, 2));
}

#[test]
fn what_is_accepted_without_effect_is_said() {
    for (text, want) in [
        ("options: {stream_lag_labels: filename}", "f.yaml:2:11: options.stream_lag_labels: ignored"),
        ("options: {stream_lag_labels: [filename]}", "f.yaml:2:11: options.stream_lag_labels: ignored"),
        ("tracing: {enabled: true}", "f.yaml:2:11: tracing.enabled: ignored"),
        ("wal: {enabled: true}", "f.yaml:2:7: wal.enabled: ignored"),
        ("limits_config: {max_streams: 5}", "f.yaml:2:17: limits_config.max_streams: ignored"),
        ("server:\n  grpc_server_num_workers: 5", "f.yaml:3:3: server.grpc_server_num_workers: "),
        ("client: {url: 'http://other'}", "f.yaml:2:1: client: the client block is deprecated"),
        (
            "scrape_configs:\n- job_name: a\n  static_configs: [{labels: {__path__: /x}}]\n  pipeline_stages:\n  - cri:\n      odd: 1",
            "f.yaml:7:7: scrape_configs[0].pipeline_stages[0].cri",
        ),
    ] {
        let (_, warnings) = accepted(&format!("{CLIENT}{text}\n"));
        assert!(warnings.len() == 1, "{text}: {warnings:?}");
        assert!(warnings[0].starts_with(want) || warnings[0].contains("unknown option `odd`"), "{warnings:?}");
    }
}

#[test]
fn events_need_a_job_of_their_own() {
    let job = "scrape_configs:\n- job_name: a\n  kubernetes_events: {format: json, labels: {b: c}}\n";
    let (config, warnings) = accepted(&format!("{CLIENT}{job}"));
    assert!(config.scrape_configs[0].kubernetes_events.is_some() && warnings.is_empty(), "{warnings:?}");
    for other in ["static_configs: [{labels: {__path__: /x}}]", "journal: {labels: {a: b}}"] {
        let said = refused(&format!("{CLIENT}{job}  {other}\n"));
        assert!(
            said.starts_with("f.yaml:4:3: scrape_configs[0].kubernetes_events: a job has the events, or"),
            "{said}"
        );
    }
    let said = refused(&format!("{CLIENT}{job}  syslog: {{listen_address: ':1514'}}\n"));
    assert!(said.contains("scrape_configs[0].syslog: a job has targets, or"), "{said}");
}

#[test]
fn blocks_without_a_value_are_their_defaults() {
    let (config, warnings) = accepted(&format!(
        "{CLIENT}global:\nserver:\nclient:\npositions: ~\nscrape_configs: null\ntarget_config:\nlimits_config: null\noptions:\ntracing:\nwal:\n"
    ));
    assert_eq!(warnings, [""; 0]);
    assert!(config.limits_config.readline_rate_drop && config.scrape_configs.is_empty());
    assert_eq!(config.positions.filename, "/var/log/positions.yaml");
    accepted(&format!("{CLIENT}scrape_configs: []\n"));
}

/// A key without a value means the same as no such key. Checked for all keys at all levels.
#[test]
fn a_key_without_a_value_is_as_if_it_was_not_there() {
    let config = "
server: {external_url: 'http://agent/x', http_tls_config: {cert_file: a, key_file: b}, grpc_tls_config: {cert: a}}
clients:
- {name: main, url: 'http://loki', tenant_id: t, backoff_config: {max_retries: 0}, basic_auth: {username: u, password: p},
   tls_config: {ca_file: c, min_version: TLS12}, http_headers: {X-A: {values: [a], secrets: [b], files: [c]}},
   rate_limits: {ingestion_rate_mb: 4}, proxy_url: 'http://p', no_proxy: a}
- {name: token, url: 'http://loki', authorization: {type: Bearer, credentials: c}, proxy_from_environment: yes}
- {name: oauth2, url: 'http://loki', oauth2: {client_id: i, client_secret: s, scopes: [a], token_url: 'http://t'}}
scrape_configs:
- job_name: pods
  encoding: utf-16le
  decompression: {enabled: true, initial_delay: 1s, format: gz}
  static_configs: [{targets: [localhost], labels: {__path__: /x}}]
  file_sd_configs: [{files: [/sd/*.yaml], refresh_interval: 1m}]
  http_sd_configs: [{url: 'http://sd/targets', refresh_interval: 1m, oauth2: {client_id: i, token_url: 'http://t'}}]
  consul_sd_configs: [{server: 'consul:8500', datacenter: d, services: [a], filter: f, authorization: {credentials: c}}]
  consulagent_sd_configs: [{server: 'localhost:8500', token: t, username: u, password: p, tags: [a]}]
  dns_sd_configs: [{names: [a.b], type: SRV, refresh_interval: 1m}]
  dockerswarm_sd_configs: [{host: 'unix:///var/run/docker.sock', role: nodes, port: 81, filters: [{name: a, values: [b]}]}]
  kubernetes_sd_configs:
  - {role: pod, kubeconfig_file: k, namespaces: {names: [a]}, selectors: [{role: pod, label: a=b}], pods_from_path: off}
  - {role: pod, api_server: 'http://k8s', authorization: {credentials: c}, tls_config: {ca_file: c}}
options: {stream_lag_labels: a}
tracing: {enabled: yes}
";
    let whole = crate::yaml::to_value(&accepted(config).0);
    let mut paths = Vec::new();
    keys(&whole, &mut Vec::new(), &mut paths);
    assert!(paths.len() > 150, "{}", paths.len());
    for path in paths {
        let change = |change: &dyn Fn(&mut Mapping, &Value)| {
            let mut value = whole.clone();
            let (key, parents) = path.split_last().expect("a path has a key");
            let parent = parents.iter().fold(&mut value, |value, step| match step.as_u64() {
                Some(index) => &mut value[index as usize],
                None => &mut value[step],
            });
            change(parent.as_mapping_mut().expect("a key is in a mapping"), key);
            let text = crate::yaml::to_string(&value);
            Case::new(&text).load().map(|(config, _)| config.to_masked_yaml()).map_err(|_| "refused")
        };
        let without_value = change(&|parent, key| _ = parent.insert(key.clone(), Value::Null));
        let absent = change(&|parent, key| _ = parent.remove(key));
        assert_eq!(without_value, absent, "{path:?}");
    }
}

/// The paths of all keys, except where null is a value.
fn keys(value: &Value, path: &mut Vec<Value>, paths: &mut Vec<Vec<Value>>) {
    let own_meaning = ["positions", "limits_config", "labels", "external_labels", "headers", "http_headers"];
    let steps: Vec<(Value, &Value)> = match value {
        Value::Mapping(entries) => entries.iter().map(|(key, value)| (key.clone(), value)).collect(),
        Value::Sequence(items) => items.iter().enumerate().map(|(i, item)| (i.into(), item)).collect(),
        _ => return,
    };
    for (step, value) in steps {
        path.push(step.clone());
        if step.is_string() {
            paths.push(path.clone());
        }
        match step.as_str() {
            Some("http_headers") => {
                path.push("X-A".into());
                keys(&value["X-A"], path, paths);
                path.pop();
            }
            Some(key) if own_meaning.contains(&key) => {}
            _ => keys(value, path, paths),
        }
        path.pop();
    }
}

#[test]
fn a_client_block_without_a_url_gives_its_labels_to_all_clients() {
    let clients = "clients:\n- {url: 'http://a', external_labels: {k: own}}\n- {url: 'http://b', tenant_id: second}\n";
    for block in [
        "client: {external_labels: {x: y, k: common}, tenant_id: t, batchwait: 5s}\n",
        "client: {url: '', external_labels: {x: y, k: common}}\n",
        "client: {url: , external_labels: {x: y, k: common}}\n",
    ] {
        let (config, warnings) = accepted(&format!("{block}{clients}"));
        let labels: Vec<_> =
            config.clients.iter().map(|c| (&*c.external_labels["x"], &*c.external_labels["k"])).collect();
        assert_eq!(labels, [("y", "own"), ("y", "common")], "{block}");
        let tenants: Vec<_> = config.clients.iter().map(|c| c.tenant_id.as_str()).collect();
        assert_eq!(tenants, ["", "second"], "{block}");
        assert!(
            warnings[0].contains("client: the client block is deprecated, and this one has no url"),
            "{warnings:?}"
        );
    }
    // A `client` block with a URL is a client too.
    let (config, _) = accepted(&format!("client: {{url: 'http://c', external_labels: {{x: y}}}}\n{clients}"));
    assert_eq!(config.clients.len(), 3);
    assert!(config.clients.iter().all(|c| c.external_labels["x"] == "y"));
    // An empty block changes nothing. A block alone is a client without a URL.
    for block in ["client:\n", "client: {}\n", "client: {external_labels: }\n"] {
        assert_eq!(accepted(&format!("{block}{clients}")).0.clients.len(), 2, "{block}");
    }
    assert!(refused("client: {external_labels: {x: y}}\n").contains("url"));
    assert!(refused(&format!("{clients}client: {{batchwit: 1s}}\n")).contains("batchwit"));
}

#[test]
fn label_names_that_loki_cannot_parse_are_changed() {
    let job = "scrape_configs:\n- job_name: j\n  static_configs: [{targets: [x], labels: {my-app: a, __path__: /x}}]\n";
    let (config, warnings) =
        accepted(&format!("clients: [{{url: 'http://a', external_labels: {{a-b: '1', é: '3', c.d: '4'}}}}]\n{job}"));
    let labels: Vec<_> = config.clients[0].external_labels.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!(labels, [("_", "3"), ("a_b", "1"), ("c_d", "4")]);
    // A name that would become another existing name is not changed, and is refused.
    assert!(refused("clients: [{url: 'http://a', external_labels: {a-b: '1', a_b: '2'}}]\n").contains("a-b"));
    assert!(
        warnings.iter().any(|w| w.contains("clients[0].external_labels: Loki cannot parse the label name \"c.d\""))
    );
    assert!(warnings.iter().any(|w| w.contains("\"my-app\": the label is renamed to \"my_app\"")), "{warnings:?}");
}

#[test]
fn a_scheme_in_capitals() {
    let (config, _) = accepted(
        "clients: [{url: 'HTTP://LOKI:3100/Push', proxy_url: 'HTTP://p:1', oauth2: {client_id: i, client_secret: s, token_url: 'HTTPS://t/T'}}]",
    );
    assert_eq!(config.clients[0].redacted_url(), "http://LOKI:3100/Push");
    assert_eq!(config.clients[0].host(), "LOKI:3100");
}

#[test]
fn numbers_in_the_forms_of_yaml_1_1() {
    let (config, _) = accepted(
        "clients: [{url: 'http://a', batchsize: 0x100000}, {url: 'http://b', batchsize: 1e6}, {url: 'http://c', batchsize: 1_048_576}]\n\
         limits_config: {readline_rate: 1_000.5, readline_burst: 010, max_line_size: 0x400}\n",
    );
    assert_eq!(config.clients.iter().map(|c| c.batchsize).collect::<Vec<_>>(), [1 << 20, 1_000_000, 1 << 20]);
    let limits = &config.limits_config;
    assert_eq!((limits.readline_rate, limits.readline_burst, limits.max_line_size.0), (1000.5, 8, 1024));
    let (config, _) = accepted("clients: [{url: 'http://a'}]\nlimits_config: {readline_rate: , readline_burst: ~}\n");
    assert_eq!((config.limits_config.readline_rate, config.limits_config.readline_burst), (0.0, 0));
}

#[test]
fn the_client_block_is_the_last_client() {
    let (config, _) = accepted(&format!("client: {{url: 'http://old'}}\n{CLIENT}"));
    assert_eq!(config.clients.len(), 2);
    assert_eq!(accepted("client: {url: 'http://old'}\nclients: []").0.clients.len(), 1);
    assert_eq!(accepted("client: {url: 'http://old'}\nclients:\n").0.clients.len(), 1);
    let message = refused(&format!("{CLIENT}client:\n  url: http://old\n  batchwit: 1s\n"));
    assert!(message.starts_with("f.yaml:4:3: client.batchwit: unknown key, did you mean batchwait?"), "{message}");
}

#[test]
fn the_environment_is_expanded_when_asked_for() {
    let text = "clients: [{url: 'http://l', tenant_id: '${TENANT:-none}', name: '${UNSET:-n}'}]";
    let mut case = Case::new(text);
    case.request.expand_env = true;
    let (config, _) = case.load().expect("expanded");
    assert_eq!((config.clients[0].tenant_id.as_str(), config.clients[0].name.as_str()), ("acme", "n"));
    assert_eq!(accepted(text).0.clients[0].tenant_id, "${TENANT:-none}");

    let mut case = Case::new("# fine\nclients: ${");
    case.request.expand_env = true;
    let message = case.refused();
    assert!(message.starts_with("f.yaml:2:10: missing closing brace"), "{message}");
}

#[test]
fn the_first_file_that_exists_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("b.yaml"), "positions: {filename: /b}").expect("a file");
    fs::write(path("c.yaml"), "positions: {filename: /c}").expect("a file");
    fs::write(path("latin1.yaml"), b"a: \xe4").expect("a file");
    let load = |files: String| {
        let request = Request { files, ..Request::default() };
        Config::load(&request, &|_| None).map(|loaded| loaded.config.positions.filename).map_err(|e| e.to_string())
    };
    assert_eq!(load(format!("{}, {},{}", path("a.yaml"), path("b.yaml"), path("c.yaml"))), Ok("/b".to_string()));
    assert_eq!(load(String::new()), Ok("/var/log/positions.yaml".to_string()));
    let none = path("a.yaml");
    assert_eq!(load(none.clone()), Err(format!("{none} does not exist")));
    let two = load(format!("{none},{none}2"));
    assert_eq!(two, Err(format!("none of these config files exists: {none}, {none}2")));
    assert!(load(path("")).is_err_and(|e| e.starts_with("cannot read ")));
    assert!(load(path("latin1.yaml")).is_err_and(|e| e.contains("not UTF-8 text, at byte 3")));
}

#[test]
fn no_secret_is_printed() {
    let (config, _) = accepted(
        "
clients:
- {name: a, url: 'https://user:hunter2@loki/push', headers: {X-Key: hunter2}}
- {name: b, url: 'https://loki/push', basic_auth: {username: u, password: hunter2}}
- {name: c, url: 'https://loki/push', bearer_token: hunter2}
- {name: d, url: 'https://loki/push', proxy_url: 'http://user:hunter2@proxy', proxy_connect_header: {A: [hunter2]}}
- {name: e, url: 'https://loki/push', authorization: {credentials: hunter2}}
- {name: f, url: 'https://loki/push', http_headers: {A: {secrets: [hunter2], values: [hunter2]}}}
- {name: g, url: 'https://loki/push', oauth2: {client_id: i, client_secret: hunter2, token_url: 'https://t'}}
scrape_configs:
- job_name: pods
  kubernetes_sd_configs: [{role: pod, api_server: 'https://k8s', basic_auth: {username: u, password: hunter2}}]
",
    );
    let text = config.to_masked_yaml();
    assert!(!text.contains("hunter2"), "{text}");
    assert!(text.contains("X-Key: <secret>") && text.contains("job_name: pods"), "{text}");
}

#[test]
fn what_is_printed_can_be_read_again() {
    let (config, _) = accepted(&format!(
        "{CLIENT}scrape_configs:\n- job_name: a\n  static_configs: [{{labels: {{__path__: /x}}}}]\n  pipeline_stages: [{{cri: }}]\n"
    ));
    let text = config.to_masked_yaml();
    assert_eq!(accepted(&text).0.to_masked_yaml(), text);
}
