//! The address to listen on, if the config names none.

use std::env;
use std::path::Path;

use super::Config;

/// Where the process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In a container: its network decides who can connect. Probes of the kubelet and scrapes of Prometheus come from
    /// outside.
    Container,
    Host,
}

impl Place {
    pub fn of_this_process() -> Self {
        Self::of(|name| env::var_os(name).is_some_and(|value| !value.is_empty()), Path::new("/"))
    }

    fn of(is_set: impl Fn(&str) -> bool, root: &Path) -> Self {
        // Each pod has the first variable. LXC, systemd-nspawn and Podman set the second one.
        let has_variable = ["KUBERNETES_SERVICE_HOST", "container"].into_iter().any(is_set);
        let has_file = || [".dockerenv", "run/.containerenv"].into_iter().any(|name| root.join(name).exists());
        if has_variable || has_file() { Self::Container } else { Self::Host }
    }
}

impl Config {
    /// The address on which a server of this process listens. Empty: all addresses.
    pub fn address_here(&self) -> String {
        self.with_address(Place::of_this_process()).http_listen_address
    }

    /// The same config with an address to listen on. Empty: all addresses.
    pub(super) fn with_address(&self, place: Place) -> Self {
        let mut config = self.clone();
        if config.http_listen_address.is_empty() && place == Place::Host {
            config.http_listen_address = if config.http_listen_network == "tcp6" { "::1" } else { "127.0.0.1" }.into();
        }
        config
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_container_is_known_by_its_variables_and_files() {
        let root = tempfile::tempdir().expect("a directory");
        let place = |set: &str| Place::of(|name| name == set, root.path());
        assert_eq!(place("HOME"), Place::Host);
        for variable in ["KUBERNETES_SERVICE_HOST", "container"] {
            assert_eq!(place(variable), Place::Container, "{variable}");
        }
        fs::create_dir(root.path().join("run")).expect("made");
        for file in [".dockerenv", "run/.containerenv"] {
            fs::write(root.path().join(file), "").expect("written");
            assert_eq!(place("HOME"), Place::Container, "{file}");
            fs::remove_file(root.path().join(file)).expect("removed");
        }
        assert_eq!(place("HOME"), Place::Host);
    }

    #[test]
    fn a_host_is_open_to_loopback_only_unless_an_address_is_set() {
        for (yaml, on_host, in_container) in [
            ("{}", "127.0.0.1", ""),
            ("http_listen_network: tcp6", "::1", ""),
            ("http_listen_address:", "127.0.0.1", ""),
            ("http_listen_address: 0.0.0.0", "0.0.0.0", "0.0.0.0"),
            ("http_listen_address: '::'", "::", "::"),
            ("http_listen_address: 10.0.0.7", "10.0.0.7", "10.0.0.7"),
        ] {
            let config: Config = crate::yaml::from_str(yaml).expect(yaml);
            assert_eq!(config.with_address(Place::Host).http_listen_address, on_host, "{yaml}");
            assert_eq!(config.with_address(Place::Container).http_listen_address, in_container, "{yaml}");
        }
    }
}
