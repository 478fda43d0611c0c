//! The labels of services, tasks and nodes before relabelling. Their names are those of Prometheus.

use std::collections::BTreeMap;

use super::api::{Node, Port, Service, Task};
use crate::discovery::docker::api::Network;
use crate::discovery::label_name::label_name;
use crate::model::{Labels, bounded};

/// The beginning of the names of all labels.
const PREFIX: &str = "__meta_dockerswarm_";

/// What a manager knows of its swarm.
#[derive(Debug, Default)]
pub(super) struct Swarm {
    pub services: Vec<Service>,
    pub nodes: Vec<Node>,
    pub networks: Vec<Network>,
    /// In `__address__` of targets without ports.
    pub port: u16,
}

/// The most targets, and the most bytes of memory for their labels: the labels of a service are those of each of its tasks,
/// ports and addresses.
pub(super) const TARGETS: usize = 10_000;
pub(super) const BYTES: usize = 64 << 20;

/// Targets up to the limits.
#[derive(Debug, Default)]
pub(super) struct Targets {
    pub found: Vec<Labels>,
    bytes: usize,
    /// There are more.
    pub is_over: bool,
}

impl Targets {
    fn add(&mut self, labels: Labels) {
        self.bytes += bounded::labels_memory(&labels);
        self.is_over |= self.found.len() == TARGETS || self.bytes > BYTES;
        if !self.is_over {
            self.found.push(labels);
        }
    }
}

impl Swarm {
    /// A target for each address of a service, and each TCP port that it publishes.
    pub fn of_services(&self) -> Targets {
        let networks = self.network_labels();
        let mut targets = Targets::default();
        for service in &self.services {
            let mut common = of_service(service);
            let container = &service.spec.task_template.container_spec;
            add(&mut common, "service_task_container_hostname", &container.hostname);
            add(&mut common, "service_task_container_image", &container.image);
            if let Some(update) = &service.update_status {
                add(&mut common, "service_updating_status", &update.state);
            }
            // One without an address is that of a network of the host.
            for address in service.endpoint.addresses.iter().filter(|address| !address.address.is_empty()) {
                let mut common = common.clone();
                common.extend(networks.get(address.network.as_str()).into_iter().flatten().map(owned));
                let host = without_length(&address.address);
                let of_port = |port: &Port, labels: &mut Labels| {
                    add(labels, "service_endpoint_port_name", &port.name);
                    add(labels, "service_endpoint_port_publish_mode", &port.publish_mode);
                };
                self.at(host, &service.endpoint.ports, &common, of_port, &mut targets);
                if targets.is_over {
                    return targets;
                }
            }
        }
        targets
    }

    /// A target for each address of a task, and each TCP port of its service; at least one for each task.
    pub fn of_tasks(&self, tasks: &[Task]) -> Targets {
        let networks = self.network_labels();
        let services: BTreeMap<&str, (&Service, Labels)> =
            self.services.iter().map(|service| (service.id.as_str(), (service, of_service(service)))).collect();
        let nodes: BTreeMap<&str, (&Node, Labels)> =
            self.nodes.iter().map(|node| (node.id.as_str(), (node, of_node(node)))).collect();
        let of_port = |port: &Port, labels: &mut Labels| add(labels, "task_port_publish_mode", &port.publish_mode);
        let mut targets = Targets::default();
        for task in tasks {
            let (service, node) = (services.get(task.service.as_str()), nodes.get(task.node.as_str()));
            let mut common = of_task(task);
            common.extend(service.iter().flat_map(|(_, labels)| labels).map(owned));
            common.extend(node.iter().flat_map(|(_, labels)| labels).map(owned));
            let node_address = node.map_or("", |(node, _)| node.status.address.as_str());
            let before = targets.found.len();
            let host_ports = &task.status.port_status.ports;
            if host_ports.iter().any(is_tcp) {
                self.at(node_address, host_ports, &common, of_port, &mut targets);
            }
            let ports = service.map_or(&[] as &[Port], |(service, _)| &service.endpoint.ports);
            for attachment in &task.networks_attachments {
                let mut common = common.clone();
                common.extend(networks.get(attachment.network.id.as_str()).into_iter().flatten().map(owned));
                for address in &attachment.addresses {
                    self.at(without_length(address), ports, &common, of_port, &mut targets);
                }
                if targets.is_over {
                    return targets;
                }
            }
            // Prometheus has nothing to scrape there, but there is a log.
            if targets.found.len() == before {
                self.at(node_address, &[], &common, of_port, &mut targets);
            }
            if targets.is_over {
                return targets;
            }
        }
        targets
    }

    pub fn of_nodes(&self) -> Targets {
        let target = |node: &Node| {
            let mut labels = of_node(node);
            add(&mut labels, "node_engine_version", &node.description.engine.engine_version);
            if let Some(manager) = &node.manager_status {
                add(&mut labels, "node_manager_address", &manager.address);
                add(&mut labels, "node_manager_leader", if manager.leader { "true" } else { "false" });
                add(&mut labels, "node_manager_reachability", &manager.reachability);
            }
            labels.insert("__address__".into(), host_and_port(&node.status.address, self.port));
            labels
        };
        let mut targets = Targets::default();
        self.nodes.iter().map(target).for_each(|labels| targets.add(labels));
        targets
    }

    /// A target for each TCP port, or one with the port of the config.
    fn at(
        &self,
        host: &str,
        ports: &[Port],
        common: &Labels,
        of_port: impl Fn(&Port, &mut Labels),
        targets: &mut Targets,
    ) {
        let target = |port: u16, of: Option<&Port>| {
            let mut labels = common.clone();
            of.into_iter().for_each(|of| of_port(of, &mut labels));
            labels.insert("__address__".into(), host_and_port(host, port));
            labels
        };
        for port in ports.iter().filter(|port| is_tcp(port)) {
            if targets.is_over {
                return;
            }
            targets.add(target(port.published_port, Some(port)));
        }
        if !ports.iter().any(is_tcp) {
            targets.add(target(self.port, None));
        }
    }

    fn network_labels(&self) -> BTreeMap<&str, Labels> {
        let labels = |network: &Network| {
            let truth = |is: bool| if is { "true" } else { "false" };
            let mut labels = Labels::new();
            add(&mut labels, "network_id", &network.id);
            add(&mut labels, "network_name", &network.name);
            add(&mut labels, "network_scope", &network.scope);
            add(&mut labels, "network_internal", truth(network.internal));
            add(&mut labels, "network_ingress", truth(network.ingress));
            add_all(&mut labels, "network_label_", &network.labels);
            labels
        };
        self.networks.iter().map(|network| (network.id.as_str(), labels(network))).collect()
    }
}

fn of_service(service: &Service) -> Labels {
    let mode = match (&service.spec.mode.global, &service.spec.mode.replicated) {
        (Some(_), _) => "global",
        (None, Some(_)) => "replicated",
        (None, None) => "",
    };
    let mut labels = Labels::new();
    add(&mut labels, "service_id", &service.id);
    add(&mut labels, "service_name", &service.spec.name);
    add(&mut labels, "service_mode", mode);
    add_all(&mut labels, "service_label_", &service.spec.labels);
    labels
}

fn of_task(task: &Task) -> Labels {
    let mut labels = Labels::new();
    add(&mut labels, "task_id", &task.id);
    add(&mut labels, "task_slot", &task.slot.to_string());
    add(&mut labels, "task_state", &task.status.state);
    add(&mut labels, "task_desired_state", &task.desired_state);
    if let Some(status) = &task.status.container_status {
        add(&mut labels, "task_container_id", &status.container);
    }
    add_all(&mut labels, "container_label_", &task.spec.container_spec.labels);
    labels
}

fn of_node(node: &Node) -> Labels {
    let mut labels = Labels::new();
    add(&mut labels, "node_id", &node.id);
    add(&mut labels, "node_address", &node.status.address);
    add(&mut labels, "node_availability", &node.spec.availability);
    add(&mut labels, "node_hostname", &node.description.hostname);
    add(&mut labels, "node_platform_architecture", &node.description.platform.architecture);
    add(&mut labels, "node_platform_os", &node.description.platform.system);
    add(&mut labels, "node_role", &node.spec.role);
    add(&mut labels, "node_status", &node.status.state);
    add_all(&mut labels, "node_label_", &node.spec.labels);
    labels
}

fn add(labels: &mut Labels, name: &str, value: &str) {
    labels.insert(format!("{PREFIX}{name}"), value.into());
}

fn add_all(labels: &mut Labels, kind: &str, pairs: &BTreeMap<String, String>) {
    for (name, value) in pairs {
        labels.insert(label_name(&format!("{PREFIX}{kind}"), name), value.clone());
    }
}

fn owned((name, value): (&String, &String)) -> (String, String) {
    (name.clone(), value.clone())
}

fn is_tcp(port: &Port) -> bool {
    port.protocol == "tcp"
}

/// `10.0.0.2` of `10.0.0.2/24`.
fn without_length(address: &str) -> &str {
    address.split_once('/').map_or(address, |(address, _)| address)
}

/// An IPv6 address is written in brackets.
fn host_and_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 8,000 tasks of a service with a label of 100 kB would have 800 MB of labels.
    #[test]
    fn labels_of_a_service_times_its_tasks_have_a_limit() {
        let text = "x".repeat(100_000);
        let services = format!(r#"[{{"ID": "s", "Spec": {{"Name": "s", "Labels": {{"a": "{text}"}}}}}}]"#);
        let tasks = |count: usize| {
            let tasks: Vec<_> = (0..count).map(|n| format!(r#"{{"ID": "{n}", "ServiceID": "s"}}"#)).collect();
            serde_json::from_str::<Vec<Task>>(&format!("[{}]", tasks.join(","))).expect("tasks")
        };
        let mut swarm =
            Swarm { services: serde_json::from_str(&services).expect("services"), port: 80, ..Swarm::default() };
        let few = swarm.of_tasks(&tasks(600));
        assert!(few.found.len() == 600 && !few.is_over);
        let many = swarm.of_tasks(&tasks(8_000));
        assert!(many.is_over && many.found.len() < 700, "{}", many.found.len());
        swarm.services.clear();
        let small = [TARGETS, TARGETS + 1].map(|count| swarm.of_tasks(&tasks(count)).is_over);
        assert_eq!(small, [false, true]);
    }
}
