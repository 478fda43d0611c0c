//! Makes the labels of each container of a list.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::api::{Endpoint, Listed, Network, Port};
use super::config::Config;
use super::labels::{Facts, prefixed};
use crate::model::Labels;

/// The labels of each container before relabelling, without those of its log, by its id. A container is one target,
/// however many networks and ports it has: it has the labels of its first network by name and of its lowest TCP port.
/// `others` are more containers whose networks these may use.
pub(super) fn labels(
    config: &Config,
    listed: &[Listed],
    others: &[Listed],
    networks: &[Network],
) -> HashMap<String, Labels> {
    let all = listed.iter().chain(others);
    let by_id: HashMap<&str, &Listed> = all.map(|container| (container.id.as_str(), container)).collect();
    let networks: HashMap<&str, &Network> = networks.iter().map(|network| (network.id.as_str(), network)).collect();
    let of = |container: &Listed| {
        let mode = container.host_config.network_mode.as_str();
        let facts = Facts {
            id: &container.id,
            name: container.name(),
            image: &container.image,
            network_mode: mode,
            labels: Some(&container.labels),
        };
        let mut labels = facts.labels();
        add_address(&mut labels, config, container, provider(container, &by_id), &networks);
        (container.id.clone(), labels)
    };
    listed.iter().map(of).collect()
}

/// Whether a container uses the network of one that is not in the list.
pub(super) fn lack_network(listed: &[Listed]) -> bool {
    let ids: HashSet<&str> = listed.iter().map(|container| container.id.as_str()).collect();
    let used = listed.iter().filter_map(|container| container.host_config.network_mode.strip_prefix(SHARED));
    used.into_iter().any(|id| !ids.contains(id))
}

/// The network mode of a container that uses another one's network begins with this. Its id follows.
const SHARED: &str = "container:";

/// The container whose network this one uses (`network_mode: service:x` or `container:x`), or itself.
fn provider<'l>(container: &'l Listed, by_id: &HashMap<&str, &'l Listed>) -> &'l Listed {
    let mut at = container;
    // Docker allows no chain of these, so no circle is possible.
    for _ in 0..8 {
        let Some(id) = at.host_config.network_mode.strip_prefix(SHARED) else { break };
        let named = || by_id.values().find(|other| other.name().trim_start_matches('/') == id);
        match by_id.get(id).or_else(named) {
            Some(other) => at = other,
            None => break,
        }
    }
    at
}

fn add_address(
    labels: &mut Labels,
    config: &Config,
    container: &Listed,
    provider: &Listed,
    networks: &HashMap<&str, &Network>,
) {
    let mut set = |name: &str, value: &str| {
        if !value.is_empty() {
            labels.insert(name.into(), value.into());
        }
    };
    let own = container.ports.iter().chain(&provider.ports);
    let tcp = own.filter(|port| port.protocol == "tcp").min_by_key(|port| (port.private, port.public == 0));
    if let Some(Port { ip, private, public, .. }) = tcp {
        set(&prefixed("port_", "private"), &private.to_string());
        if *public != 0 {
            set(&prefixed("port_", "public"), &public.to_string());
            set(&prefixed("port_", "public_ip"), ip);
        }
    }
    let Some((name, endpoint)) = first_network(&provider.network_settings.networks) else {
        return;
    };
    let ip = if endpoint.ip.is_empty() { &endpoint.ipv6 } else { &endpoint.ip };
    let address = match (name.as_str(), ip.contains(':')) {
        ("host", _) => config.host_networking_host.clone(),
        (_, true) => format!("[{ip}]:{}", tcp.map_or(config.port, |port| port.private)),
        (_, false) if ip.is_empty() => String::new(),
        (_, false) => format!("{ip}:{}", tcp.map_or(config.port, |port| port.private)),
    };
    set("__address__", &address);
    set(&prefixed("network_", "ip"), ip);
    set(&prefixed("network_", "id"), &endpoint.network_id);
    set(&prefixed("network_", "name"), name);
    if let Some(network) = networks.get(endpoint.network_id.as_str()) {
        set(&prefixed("network_", "name"), &network.name);
        set(&prefixed("network_", "scope"), &network.scope);
        set(&prefixed("network_", "internal"), &network.internal.to_string());
        set(&prefixed("network_", "ingress"), &network.ingress.to_string());
        for (name, value) in &network.labels {
            set(&prefixed("network_label_", name), value);
        }
    }
}

fn first_network(networks: &BTreeMap<String, Option<Endpoint>>) -> Option<(&String, &Endpoint)> {
    networks.iter().find_map(|(name, endpoint)| Some((name, endpoint.as_ref()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = r#"[
      {"Id": "aa", "Names": ["/db/alias", "/web"], "Image": "nginx", "State": "running",
       "Labels": {"com.docker.compose.service": "web", "a-b": "c"},
       "Ports": [{"PrivatePort": 9000, "Type": "udp"}, {"PrivatePort": 443, "Type": "tcp"},
                 {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"}],
       "HostConfig": {"NetworkMode": "shop"},
       "NetworkSettings": {"Networks": {"zone": {"NetworkID": "n2", "IPAddress": "10.2.0.2"},
                                        "shop": {"NetworkID": "n1", "IPAddress": "10.1.0.2"}}}},
      {"Id": "bb", "Names": ["/sidecar"], "Labels": null, "Ports": null,
       "HostConfig": {"NetworkMode": "container:aa"}, "NetworkSettings": {"Networks": {}}},
      {"Id": "cc", "Names": ["/on-host"], "HostConfig": {"NetworkMode": "host"},
       "NetworkSettings": {"Networks": {"host": {"NetworkID": "n3"}}}},
      {"Id": "dd", "Names": ["/alone"], "HostConfig": {"NetworkMode": "none"}, "NetworkSettings": null},
      {"Id": "ee", "Names": ["/v6"], "NetworkSettings": {"Networks": {"six": {"GlobalIPv6Address": "fd00::2"}, "x": null}}},
      {"Id": "ff", "Names": ["/lost"], "HostConfig": {"NetworkMode": "container:gone"}}
    ]"#;

    const NETWORKS: &str = r#"[
      {"Name": "shop", "Id": "n1", "Scope": "local", "Internal": true, "Ingress": false, "Labels": {"x.y": "z"}},
      {"Name": "zone", "Id": "n2", "Labels": null}]"#;

    #[test]
    fn a_container_is_one_target_with_the_labels_of_prometheus() {
        let config = Config { host_networking_host: "node-1".into(), ..Config::default() };
        let listed: Vec<Listed> = serde_json::from_str(LIST).expect("a list");
        let networks: Vec<Network> = serde_json::from_str(NETWORKS).expect("networks");
        let all = labels(&config, &listed, &[], &networks);
        assert_eq!(all.len(), 6);
        let shown = |id: &str| {
            let of = all[id].iter().map(|(name, value)| format!("{}={value}", name.replace("__meta_docker_", "")));
            of.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            shown("aa"),
            "__address__=10.1.0.2:80 container_id=aa container_image=nginx container_label_a_b=c \
             container_label_com_docker_compose_service=web container_name=/web container_network_mode=shop \
             network_id=n1 network_ingress=false network_internal=true network_ip=10.1.0.2 network_label_x_y=z \
             network_name=shop network_scope=local port_private=80 port_public=8080 port_public_ip=0.0.0.0"
        );
        assert!(
            shown("bb").starts_with("__address__=10.1.0.2:80 container_id=bb container_name=/sidecar"),
            "{}",
            shown("bb")
        );
        assert!(shown("cc").starts_with("__address__=node-1 container_id=cc"), "{}", shown("cc"));
        assert_eq!(shown("dd"), "container_id=dd container_name=/alone container_network_mode=none");
        assert!(shown("ee").starts_with("__address__=[fd00::2]:80 "), "{}", shown("ee"));
        assert!(lack_network(&listed), "of ff");
        let only: Vec<Listed> = listed.iter().filter(|container| container.id == "bb").cloned().collect();
        assert!(lack_network(&only));
        let bb = labels(&config, &only, &listed, &networks);
        assert_eq!((bb.len(), &bb["bb"]), (1, &all["bb"]), "the one it uses is left out by filters");
        assert_eq!(shown("ff"), "container_id=ff container_name=/lost container_network_mode=container:gone");
    }
}
