//! The names of this machine.

/// The name that `__host__` is compared with: `HOSTNAME`, or else the kernel's host name.
pub fn hostname(env: &dyn Fn(&str) -> Option<String>) -> String {
    set(env, "HOSTNAME").unwrap_or_else(|| {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        name.trim().to_string()
    })
}

/// The Kubernetes node whose pods this agent reads: `NODE_NAME`, or else [`hostname`]. The Helm chart sets `HOSTNAME`
/// to the node's name.
pub fn node_name(env: &dyn Fn(&str) -> Option<String>) -> String {
    set(env, "NODE_NAME").unwrap_or_else(|| hostname(env))
}

fn set(env: &dyn Fn(&str) -> Option<String>, name: &str) -> Option<String> {
    env(name).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_goes_first() {
        let both = |name: &str| Some(format!("from {name}"));
        assert_eq!(hostname(&both), "from HOSTNAME");
        assert_eq!(node_name(&both), "from NODE_NAME");
        let host = |name: &str| (name == "HOSTNAME").then(|| "h".to_string());
        assert_eq!(node_name(&host), "h");
        let empty = |_: &str| Some(String::new());
        assert!(!hostname(&empty).is_empty());
        assert!(!hostname(&|_| None).contains('\n'));
    }
}
