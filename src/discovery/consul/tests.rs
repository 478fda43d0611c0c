use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::*;
use crate::discovery::testing::{Listener, Reply, Request, Server};
use crate::discovery::{Config as Discovery, Lists};
use crate::model::ConfigError;

fn checked<T: serde::de::DeserializeOwned>(
    yaml: &str,
    check: impl Fn(&T) -> Result<(), ConfigError>,
) -> Result<T, String> {
    let config = crate::yaml::from_str::<T>(yaml).map_err(|e| e.to_string())?;
    check(&config).map_err(|e| e.to_string())?;
    Ok(config)
}

fn catalog(yaml: &str) -> Discovery {
    Discovery { consul: vec![checked(yaml, Config::validate).expect(yaml)], ..Discovery::default() }
}

fn of_agent(yaml: &str) -> Discovery {
    Discovery { consul_agent: vec![checked(yaml, agent::Config::validate).expect(yaml)], ..Discovery::default() }
}

#[test]
fn configs_that_are_refused_and_why() {
    for (yaml, why) in [
        ("server: ''", "server: must be host:port"),
        ("server: 'unix:///run/consul.sock'", "only http and https"),
        ("server: 'h:8500/x'", "server: must be host:port"),
        ("scheme: ftp", "scheme: must be http or https"),
        ("refresh_interval: 0s", "refresh_interval: must be more than 0"),
        ("service: [a]", "service"),
    ] {
        let error = checked(yaml, Config::validate).expect_err(yaml);
        assert!(error.contains(why), "{yaml}: {error}");
        let error = checked(yaml, agent::Config::validate).expect_err(yaml);
        assert!(error.contains(why), "{yaml}: {error}");
    }
    for (yaml, why) in [
        ("{username: u, basic_auth: {username: v}}", "username: cannot be set together"),
        ("{token: t, authorization: {credentials: c}}", "token: cannot be set together"),
        ("{http_headers: {Host: {values: [a]}}}", "http_headers.Host: is reserved"),
    ] {
        let error = checked(yaml, Config::validate).expect_err(yaml);
        assert!(error.contains(why), "{yaml}: {error}");
    }
    let error = checked("path_prefix: /consul", agent::Config::validate).expect_err("it is a key of the catalog only");
    assert!(error.contains("path_prefix"), "{error}");
}

#[test]
fn no_secret_is_shown_and_defaults_are_those_of_promtail() {
    let yaml = "{token: hunter2, username: u, password: hunter2}";
    let (config, of_agent) =
        (checked(yaml, Config::validate).expect(yaml), checked(yaml, agent::Config::validate).expect(yaml));
    let shown = serde_yaml::to_string(&config).expect("yaml") + &serde_yaml::to_string(&of_agent).expect("yaml");
    assert!(!(shown + &format!("{config:?}{of_agent:?}")).contains("hunter2"));
    assert_eq!(config.url().map(|url| url.to_string()), Ok("http://localhost:8500/".into()));
    assert_eq!(
        (config.tag_separator.as_str(), config.allow_stale, config.refresh_interval.0.as_secs()),
        (",", true, 30)
    );
}

/// What the scripted Consul knows. Each change has an index.
#[derive(Default)]
struct World {
    index: u64,
    services: Value,
    instances: Value,
}

/// Answers as Consul's documentation says: at once without an index or after a change, else when something changes.
fn consul(world: &Arc<Mutex<World>>) -> impl Fn(&Request) -> Reply + Send + 'static {
    let world = world.clone();
    move |request: &Request| {
        let world = world.lock().expect("no test panics here");
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        if query.split('&').any(|pair| pair == format!("index={}", world.index)) {
            return Reply::Waits;
        }
        let body = match path.strip_prefix("/v1/health/service/") {
            Some(name) => world.instances.get(name).cloned().unwrap_or(json!([])),
            None => world.services.clone(),
        };
        let headers = format!("Content-Type: application/json\r\nX-Consul-Index: {}\r\n", world.index);
        Reply::Is(200, headers, body.to_string())
    }
}

fn instance(service: &str, id: &str, address: &str, status: &str) -> Value {
    json!({
        "Node": {"ID": "n", "Node": "node-1", "Address": "10.0.0.1", "Datacenter": "dc1",
                 "TaggedAddresses": {"lan": "10.0.0.1", "wan_ipv4": "1.2.3.4"}, "Meta": {"rack-no": "7"}},
        "Service": {"ID": id, "Service": service, "Tags": ["a", "b"], "Address": address, "Port": 8080,
                    "Meta": {"log.path": "/var/log/web.log"}, "Namespace": "ns", "Partition": "part"},
        "Checks": [{"CheckID": "c", "Status": status}]
    })
}

#[tokio::test]
async fn the_instances_of_all_services_with_their_labels_and_each_change() {
    let world = Arc::new(Mutex::new(World {
        index: 5,
        services: json!({"web": ["a", "b"], "db": [], "consul": null}),
        instances: json!({"web": [instance("web", "web-1", "", "passing"), instance("web", "web-2", "fe80::1", "warning")],
                          "db": [instance("db", "db-1", "10.0.0.9", "critical")]}),
    }));
    let server = Server::new(consul(&world)).await;
    let yaml = format!("{{server: '{}', refresh_interval: 10ms, token: t, path_prefix: /}}", server.address);
    let mut listener = Listener::start(catalog(&yaml), &Lists::default());
    listener.until(|listener| listener.synced).await;
    assert_eq!(listener.addresses(), ["10.0.0.9:8080", "10.0.0.1:8080", "[fe80::1]:8080"]);
    let web = &listener.told["consul_sd_configs[0]/service/web"][0];
    let expected = [
        ("__address__", "10.0.0.1:8080"),
        ("__meta_consul_address", "10.0.0.1"),
        ("__meta_consul_dc", "dc1"),
        ("__meta_consul_health", "passing"),
        ("__meta_consul_metadata_rack_no", "7"),
        ("__meta_consul_namespace", "ns"),
        ("__meta_consul_node", "node-1"),
        ("__meta_consul_partition", "part"),
        ("__meta_consul_service", "web"),
        ("__meta_consul_service_address", ""),
        ("__meta_consul_service_id", "web-1"),
        ("__meta_consul_service_metadata_log_path", "/var/log/web.log"),
        ("__meta_consul_service_port", "8080"),
        ("__meta_consul_tagged_address_lan", "10.0.0.1"),
        ("__meta_consul_tagged_address_wan_ipv4", "1.2.3.4"),
        ("__meta_consul_tags", ",a,b,"),
    ];
    assert_eq!(web.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect::<Vec<_>>(), expected);

    // A new service, one that is gone, one that has changed.
    let change = |services: Value, instances: Value| {
        let mut world = world.lock().expect("no test panics here");
        *world = World { index: world.index + 1, services, instances };
    };
    change(
        json!({"web": [], "cache/1": []}),
        json!({"web": [instance("web", "web-2", "", "passing")], "cache%2F1": [instance("cache/1", "c", "c", "passing")]}),
    );
    server.now(consul(&world));
    listener.until(|listener| listener.addresses() == ["c:8080", "10.0.0.1:8080"]).await;
    let waited = |path: &str| {
        let waits = |request: &Request| request.path.starts_with(path) && request.path.contains("index=5&wait=120s");
        server.asked().iter().any(waits)
    };
    assert!(waited("/v1/catalog/services?stale=&") && waited("/v1/health/service/web?stale=&"), "{:?}", server.asked());
    assert!(server.asked().iter().all(|request| request.head.to_ascii_lowercase().contains("x-consul-token: t\r\n")));

    // Consul was restored from an older snapshot.
    *world.lock().expect("no test panics here") = World { index: 2, services: json!({}), instances: json!({}) };
    server.now(consul(&world));
    listener.until(|listener| listener.told.is_empty()).await;
}

#[tokio::test]
async fn what_is_asked_of_consul() {
    let world = Arc::new(Mutex::new(World {
        index: 1,
        services: json!({"web": ["a", "b"], "other": ["a", "b"], "db": ["a"]}),
        instances: json!({"web": [instance("web", "1", "w", "passing")], "db": [instance("db", "1", "d", "passing")]}),
    }));
    let server = Server::new(consul(&world)).await;
    let asked = |yaml: &str| {
        let yaml = format!("{{server: 'http://{}', refresh_interval: 10ms, {yaml}}}", server.address);
        let from = server.asked().len();
        let server = &server;
        async move {
            let mut listener = Listener::start(catalog(&yaml), &Lists::default());
            listener.until(|listener| listener.synced).await;
            let addresses = listener.addresses().join(" ");
            let paths = server.asked()[from..].iter().map(|request| request.path.clone()).collect::<Vec<_>>();
            (addresses, paths)
        }
    };
    let (addresses, paths) = asked(
        "services: [web, db], tags: [a, b], datacenter: dc, namespace: n, partition: p, allow_stale: false, \
         node_meta: {rack: x y}, filter: 'ServiceName != x', health_filter: h, username: u, password: p",
    )
    .await;
    assert_eq!(addresses, "w:8080", "db has not all tags");
    let common = "dc=dc&ns=n&partition=p&node-meta=rack%3Ax+y";
    assert_eq!(paths[0], format!("/v1/catalog/services?{common}&filter=ServiceName+%21%3D+x"));
    assert!(paths.contains(&format!("/v1/health/service/web?{common}&tag=a&tag=b&filter=h")), "{paths:?}");
    assert!(server.asked()[0].head.to_ascii_lowercase().contains("authorization: basic dtpw"));
    // If all services are named, their list is not needed.
    let (addresses, paths) = asked("services: [web, db, none]").await;
    assert_eq!(addresses, "d:8080 w:8080");
    assert!(paths.iter().all(|path| path.starts_with("/v1/health/service/")), "{paths:?}");
}

/// There are more services than connections.
#[tokio::test]
async fn many_services_are_asked_without_waiting_and_few_at_a_time() {
    let names: Vec<String> = (0..200).map(|n| format!("s{n:03}")).collect();
    let of = |value: &dyn Fn(&str) -> Value| names.iter().map(|name| (name.clone(), value(name))).collect::<Value>();
    let world = Arc::new(Mutex::new(World {
        index: 1,
        services: of(&|_| json!([])),
        instances: of(&|name| json!([instance(name, name, name, "passing")])),
    }));
    let server = Server::new(consul(&world)).await;
    let yaml = format!("{{server: '{}', refresh_interval: 10ms}}", server.address);
    let mut listener = Listener::start(catalog(&yaml), &Lists::default());
    listener.until(|listener| listener.synced).await;
    assert_eq!(listener.addresses().len(), 200);
    let instances = server.asked().into_iter().filter(|request| request.path.starts_with("/v1/health"));
    assert!(instances.into_iter().all(|request| !request.path.contains("wait=")));
    let (most_open, most) = (server.most_open(), watch::AT_ONCE + 2);
    assert!(most_open <= most, "{most_open} connections at once");
}

#[tokio::test]
async fn whatever_is_wrong_with_consul_the_last_targets_stay() {
    let world = Arc::new(Mutex::new(World {
        index: 1,
        services: json!({"web": []}),
        instances: json!({"web": [instance("web", "1", "w", "passing")]}),
    }));
    let server = Server::new(consul(&world)).await;
    let (lists, yaml) = (Lists::default(), format!("{{server: '{}', refresh_interval: 10ms}}", server.address));
    let mut listener = Listener::start(catalog(&yaml), &lists);
    listener.until(|listener| listener.synced).await;
    let many: Vec<Value> = (0..10_001).map(|n| instance("web", &n.to_string(), "h", "passing")).collect();
    for (reply, why) in [
        (Reply::Is(500, String::new(), "No cluster leader".into()), "status 500: No cluster leader"),
        (Reply::Is(403, String::new(), "Permission denied".into()), "status 403: Permission denied"),
        (Reply::json("{\"web\": [}"), "cannot understand the answer"),
        (Reply::json("[{\"Service\": {\"Port\": \"x\"}}]"), "cannot understand the answer"),
        (Reply::json(" ".repeat(requests::LARGEST + 1)), "more than 8388608 bytes"),
        (Reply::Breaks, ""),
    ] {
        server.now(move |_| reply.clone());
        listener.until(|listener| listener.failure().is_some_and(|failure| failure.contains(why))).await;
        assert_eq!(listener.addresses(), ["w:8080"], "{why}");
        // The other request has failed too, or waits no more.
        server.now(consul(&world));
        listener.until(|listener| listener.failure().is_none()).await;
    }
    assert!(listener.counted("prometheus_sd_consul_rpc_failures_total") > 0.0);
    {
        let mut world = world.lock().expect("no test panics here");
        world.index = 2;
        world.instances = json!({"web": many});
    }
    server.now(consul(&world));
    listener.until(|listener| listener.failure().is_some_and(|why| why.contains("more than 10000 items"))).await;
    assert_eq!(listener.addresses(), ["w:8080"]);
    // A reload while Consul is away.
    server.now(|_| Reply::Is(500, String::new(), String::new()));
    let mut after = Listener::start(catalog(&yaml), &lists);
    after.until(|listener| listener.synced && listener.failure().is_some()).await;
    assert_eq!(after.addresses(), ["w:8080"]);
    drop(after);
    // Each service has few instances, but both have many.
    let half =
        |service: &str| (0..5_001).map(|n| instance(service, &n.to_string(), "h", "passing")).collect::<Vec<_>>();
    *world.lock().expect("no test panics here") = World {
        index: 3,
        services: json!({"web": [], "db": []}),
        instances: json!({"web": half("web"), "db": half("db")}),
    };
    server.now(consul(&world));
    listener.until(|listener| listener.failure().is_some_and(|why| why.contains("more than 10000 targets"))).await;
    assert!(listener.addresses().len() <= 10_000);
}

/// The clock of the test moves on by itself while nothing happens.
#[tokio::test]
async fn a_consul_that_hangs_is_not_waited_for() {
    let server = Server::new(|_| Reply::Hangs).await;
    let yaml = format!("{{server: '{}', refresh_interval: 10ms}}", server.address);
    for discovery in [catalog(&yaml), of_agent(&yaml)] {
        let mut listener = Listener::start(discovery, &Lists::default());
        let asked = server.asked().len();
        while server.asked().len() == asked {
            tokio::task::yield_now().await;
        }
        tokio::time::pause();
        listener.until(|listener| listener.failure().is_some()).await;
        assert!(listener.failure().is_some_and(|why| why.contains("no answer within")), "{:?}", listener.failure());
        assert!(!listener.synced);
        tokio::time::resume();
    }
}

#[tokio::test]
async fn the_services_of_one_agent() {
    let service = |id: &str, name: &str, tags: Value| json!({"ID": id, "Service": name, "Tags": tags, "Meta": {"k": "v"}, "Port": 80, "Address": ""});
    let services = json!({
        "web-1": service("web-1", "web", json!(["a"])),
        "web-2": service("web-2", "web", json!(["a", "b"])),
        "db-1": service("db-1", "db", json!(null)),
    });
    let script = move |request: &Request| match request.path.as_str() {
        "/v1/agent/self" => Reply::json(
            json!({
                "Config": {"Datacenter": "dc1", "NodeName": "node-1"},
                "DebugConfig": {"TaggedAddresses": {"lan": "10.0.0.1"}},
                "Member": {"Addr": "10.0.0.1", "Name": "node-1"},
                "Meta": {"rack": "7"}
            })
            .to_string(),
        ),
        "/v1/agent/services" => Reply::json(services.to_string()),
        "/v1/agent/checks" => Reply::json(
            json!({"s": {"CheckID": "s", "Status": "warning", "ServiceID": ""},
                   "w": {"CheckID": "w", "Status": "critical", "ServiceID": "web-2"}})
            .to_string(),
        ),
        _ => Reply::Is(404, String::new(), String::new()),
    };
    let server = Server::new(script).await;
    let of =
        |more: &str| of_agent(&format!("{{server: '{}', refresh_interval: 10ms, token: t{more}}}", server.address));
    let mut listener = Listener::start(of(""), &Lists::default());
    listener.until(|listener| listener.synced).await;
    assert_eq!(
        listener.told.keys().collect::<Vec<_>>(),
        ["db", "web"].map(|s| format!("consulagent_sd_configs[0]/service/{s}")).iter().collect::<Vec<_>>()
    );
    let web = &listener.told["consulagent_sd_configs[0]/service/web"];
    let expected = [
        ("__address__", "10.0.0.1:80"),
        ("__meta_consulagent_address", "10.0.0.1"),
        ("__meta_consulagent_dc", "dc1"),
        ("__meta_consulagent_health", "warning"),
        ("__meta_consulagent_metadata_rack", "7"),
        ("__meta_consulagent_node", "node-1"),
        ("__meta_consulagent_service", "web"),
        ("__meta_consulagent_service_address", ""),
        ("__meta_consulagent_service_id", "web-1"),
        ("__meta_consulagent_service_metadata_k", "v"),
        ("__meta_consulagent_service_port", "80"),
        ("__meta_consulagent_tagged_address_lan", "10.0.0.1"),
        ("__meta_consulagent_tags", ",a,"),
    ];
    assert_eq!(web[0].iter().map(|(n, v)| (n.as_str(), v.as_str())).collect::<Vec<_>>(), expected);
    assert_eq!(web[1]["__meta_consulagent_health"], "critical");
    let mut some = Listener::start(of(", services: [web], tags: [b]"), &Lists::default());
    some.until(|listener| listener.synced).await;
    assert_eq!(
        some.told.values().flatten().map(|labels| labels["__meta_consulagent_service_id"].as_str()).collect::<Vec<_>>(),
        ["web-2"]
    );
    // The agent stops.
    server.now(|_| Reply::Is(500, String::new(), String::new()));
    listener.until(|listener| listener.failure().is_some_and(|why| why.contains("/v1/agent/self: status 500"))).await;
    assert_eq!(listener.addresses().len(), 3);
}
