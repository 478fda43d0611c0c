use serde_json::json;

use super::*;
use crate::discovery::testing::{Listener, Reply, Request, Server};
use crate::discovery::{Config as Discovery, Lists};

fn parse(yaml: &str) -> Result<Config, String> {
    let config = crate::yaml::from_str::<Config>(yaml).map_err(|e| e.to_string())?;
    config.validate().map_err(|e| e.to_string())?;
    Ok(config)
}

fn discovery(yaml: &str) -> Discovery {
    Discovery { docker_swarm: vec![parse(yaml).expect(yaml)], ..Discovery::default() }
}

#[test]
fn configs_that_are_refused_and_why() {
    for (yaml, why) in [
        ("host: unix:///var/run/docker.sock", "role: is required: services, tasks or nodes"),
        ("{host: 'unix:///s', role: containers}", "role: is required"),
        ("role: tasks", "host: is required"),
        ("{role: tasks, host: docker}", "host: "),
        ("{role: tasks, host: 'unix:///s', refresh_interval: 0s}", "refresh_interval"),
        ("{role: tasks, host: 'unix:///s', filters: [{name: a}]}", "filters[0].values"),
        ("{role: tasks, host: 'unix:///s', http_headers: {Host: {values: [a]}}}", "http_headers.Host: is reserved"),
        ("{role: tasks, host: 'unix:///s', bearer_token: x, basic_auth: {username: y}}", "at most one"),
        ("{role: tasks, host: 'unix:///s', roles: x}", "roles"),
    ] {
        let error = parse(yaml).expect_err(yaml);
        assert!(error.contains(why), "{yaml}: {error}");
    }
    assert_eq!(parse("{role: nodes, host: 'tcp://h:2377'}").expect("a config").tcp_port(), Some(2377));
}

/// A swarm of one node with two services and four tasks.
fn swarm(request: &Request) -> Reply {
    let path = request.path.split('?').next().unwrap_or_default();
    let port = |protocol: &str, published: u16, mode: &str| json!({"Name": "web", "Protocol": protocol, "TargetPort": 80, "PublishedPort": published, "PublishMode": mode});
    let task = |id: &str, service: &str, more: serde_json::Value| {
        let mut task = json!({
            "ID": id, "ServiceID": service, "NodeID": "n1", "Slot": 2, "DesiredState": "running",
            "Spec": {"ContainerSpec": {"Image": "nginx", "Labels": {"com.example/tier": "front"}}},
            "Status": {"State": "running", "ContainerStatus": {"ContainerID": format!("c-{id}")}, "PortStatus": {}}
        });
        let (into, from) = (task.as_object_mut().expect("a map"), more.as_object().expect("a map").clone());
        into.extend(from);
        task
    };
    let attached = json!([{"Network": {"ID": "net1"}, "Addresses": ["10.0.0.5/24"]}]);
    let body = match path {
        "/networks" => json!([{"Id": "net1", "Name": "ingress", "Scope": "swarm", "Internal": false, "Ingress": true,
                               "Labels": {"a-b": "c"}}]),
        "/nodes" => json!([{
            "ID": "n1",
            "Spec": {"Role": "manager", "Availability": "active", "Labels": {"zone": "a"}},
            "Description": {"Hostname": "host-1", "Platform": {"Architecture": "x86_64", "OS": "linux"},
                            "Engine": {"EngineVersion": "20.10.24"}},
            "Status": {"State": "ready", "Addr": "192.168.0.1"},
            "ManagerStatus": {"Leader": true, "Reachability": "reachable", "Addr": "192.168.0.1:2377"}
        }]),
        "/services" => json!([
            {"ID": "s1", "Spec": {"Name": "web", "Labels": {"team": "x"}, "Mode": {"Replicated": {"Replicas": 2}},
                                  "TaskTemplate": {"ContainerSpec": {"Image": "nginx:1", "Hostname": "h"}}},
             "Endpoint": {"Ports": [port("tcp", 8080, "ingress"), port("udp", 53, "ingress")],
                          "VirtualIPs": [{"NetworkID": "net1", "Addr": "10.0.0.2/24"}]},
             "UpdateStatus": {"State": "completed"}},
            {"ID": "s2", "Spec": {"Name": "agent", "Mode": {"Global": {}}, "TaskTemplate": {}},
             "Endpoint": {"VirtualIPs": [{"NetworkID": "gone", "Addr": "10.0.9.2/24"}]}}
        ]),
        "/tasks" => json!([
            task("t1", "s1", json!({"NetworksAttachments": attached})),
            task("t2", "s2", json!({"NetworksAttachments": attached})),
            task(
                "t3",
                "s2",
                json!({"Status": {"State": "running", "PortStatus": {"Ports": [port("tcp", 9100, "host")]}}})
            ),
            task("t4", "s2", json!({"NetworksAttachments": null, "Slot": 0}))
        ]),
        _ => return Reply::Is(404, String::new(), json!({"message": "page not found"}).to_string()),
    };
    Reply::json(body.to_string())
}

async fn targets(server: &Server, role: &str) -> Vec<Labels> {
    let yaml = format!(
        "{{host: 'tcp://{}', role: {role}, port: 99, http_headers: {{X-A: {{values: [b]}}}}, filters: [{{name: name, values: [x]}}]}}",
        server.address
    );
    let mut listener = Listener::start(discovery(&yaml), &Lists::default());
    listener.until(|listener| listener.synced).await;
    listener.told.remove("dockerswarm_sd_configs[0]/swarm").expect("the targets")
}

/// The label names without their common prefix, and the values.
fn short(labels: &Labels) -> Vec<String> {
    labels.iter().map(|(name, value)| format!("{}={value}", name.trim_start_matches("__meta_dockerswarm_"))).collect()
}

const NETWORK: [&str; 6] = [
    "network_id=net1",
    "network_ingress=true",
    "network_internal=false",
    "network_label_a_b=c",
    "network_name=ingress",
    "network_scope=swarm",
];

const NODE: [&str; 9] = [
    "node_address=192.168.0.1",
    "node_availability=active",
    "node_hostname=host-1",
    "node_id=n1",
    "node_label_zone=a",
    "node_platform_architecture=x86_64",
    "node_platform_os=linux",
    "node_role=manager",
    "node_status=ready",
];

#[tokio::test]
async fn services_and_their_labels() {
    let server = Server::new(swarm).await;
    let services = targets(&server, "services").await;
    let expected = [
        &["__address__=10.0.0.2:8080"] as &[&str],
        &NETWORK,
        &[
            "service_endpoint_port_name=web",
            "service_endpoint_port_publish_mode=ingress",
            "service_id=s1",
            "service_label_team=x",
            "service_mode=replicated",
            "service_name=web",
            "service_task_container_hostname=h",
            "service_task_container_image=nginx:1",
            "service_updating_status=completed",
        ],
    ];
    assert_eq!(short(&services[0]), expected.concat());
    let other = short(&services[1]);
    assert_eq!((services.len(), other[0].as_str()), (2, "__address__=10.0.9.2:99"));
    assert!(other.contains(&"service_mode=global".into()) && !other.iter().any(|label| label.starts_with("network")));
    // Only the list of the role is filtered.
    let asked: Vec<String> = server.asked().into_iter().map(|request| request.path).collect();
    assert_eq!(asked, ["/networks?filters=%7B%7D", "/services?filters=%7B%22name%22%3A%5B%22x%22%5D%7D"]);
}

#[tokio::test]
async fn tasks_and_their_labels() {
    let server = Server::new(swarm).await;
    let tasks = targets(&server, "tasks").await;
    let expected = [
        &["__address__=10.0.0.5:8080", "container_label_com_example_tier=front"] as &[&str],
        &NETWORK,
        &NODE,
        &[
            "service_id=s1",
            "service_label_team=x",
            "service_mode=replicated",
            "service_name=web",
            "task_container_id=c-t1",
            "task_desired_state=running",
            "task_id=t1",
            "task_port_publish_mode=ingress",
            "task_slot=2",
            "task_state=running",
        ],
    ];
    assert_eq!(short(&tasks[0]), expected.concat());
    let address = |labels: &Labels| labels["__address__"].clone();
    let addresses: Vec<String> = tasks.iter().map(address).collect();
    // The last one has no port and no network, but a log.
    assert_eq!(addresses, ["10.0.0.5:8080", "10.0.0.5:99", "192.168.0.1:9100", "192.168.0.1:99"]);
    assert_eq!(tasks[2]["__meta_dockerswarm_task_port_publish_mode"], "host");
    assert!(!tasks[2].contains_key("__meta_dockerswarm_network_id"));
}

#[tokio::test]
async fn nodes_and_their_labels() {
    let server = Server::new(swarm).await;
    let nodes = targets(&server, "nodes").await;
    let mut expected = [
        &["__address__=192.168.0.1:99"] as &[&str],
        &NODE,
        &[
            "node_engine_version=20.10.24",
            "node_manager_address=192.168.0.1:2377",
            "node_manager_leader=true",
            "node_manager_reachability=reachable",
        ],
    ]
    .concat();
    expected.sort_unstable();
    assert_eq!((short(&nodes[0]), nodes.len()), (expected.into_iter().map(String::from).collect(), 1));
}

#[tokio::test]
async fn whatever_is_wrong_with_docker_the_last_targets_stay() {
    let server = Server::new(swarm).await;
    let yaml = format!("{{host: 'tcp://{}', role: nodes, refresh_interval: 10ms}}", server.address);
    let mut listener = Listener::start(discovery(&yaml), &Lists::default());
    listener.until(|listener| listener.synced).await;
    let refused = r#"{"message": "This node is not a swarm manager."}"#;
    let many = format!("[{}{{}}]", "{},".repeat(100_000));
    for (reply, why) in [
        (Reply::Is(503, String::new(), refused.into()), "not a swarm manager. (only a manager of a swarm"),
        (Reply::Is(302, "Location: /nodes\r\n".into(), String::new()), "too many redirects"),
        (Reply::json("{}"), "expected a list"),
        (Reply::json(many), "more than 10000 items"),
        (Reply::json(" ".repeat((64 << 20) + 1)), "more than 67108864 bytes"),
        (Reply::Breaks, ""),
    ] {
        server.now(move |_| reply.clone());
        listener.until(|listener| listener.failure().is_some_and(|failure| failure.contains(why))).await;
        assert_eq!(listener.addresses(), ["192.168.0.1:80"], "{why}");
        server.now(swarm);
        listener.until(|listener| listener.failure().is_none()).await;
    }
    server.now(|_| Reply::Hangs);
    tokio::time::pause();
    listener.until(|listener| listener.failure().is_some_and(|why| why.contains("no answer within 30 s"))).await;
}
