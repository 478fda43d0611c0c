//! Keys that only a restart of the agent can change.

use std::collections::BTreeSet;

use super::Config;
use super::yaml::to_value;

impl Config {
    /// Replaces the values that a reload cannot change by those of `running`. Returns the keys whose values differed,
    /// and which need a restart.
    pub fn keep_fixed(&mut self, running: &Config) -> Vec<String> {
        let mut differ = Vec::new();
        let (ours, theirs) = (to_value(&self.server), to_value(&running.server));
        let keys = [&ours, &theirs].into_iter().filter_map(|block| block.as_mapping()).flat_map(|block| block.keys());
        let keys: BTreeSet<&str> = keys.filter_map(|key| key.as_str()).filter(|key| !RELOADED.contains(key)).collect();
        differ
            .extend(keys.into_iter().filter(|key| ours.get(key) != theirs.get(key)).map(|key| format!("server.{key}")));
        let log_level = self.server.log_level;
        self.server = running.server.clone();
        self.server.log_level = log_level;

        if self.positions.filename != running.positions.filename {
            differ.push("positions.filename".into());
            self.positions.filename.clone_from(&running.positions.filename);
        }
        if self.target_config.stdin != running.target_config.stdin {
            differ.push("target_config.stdin".into());
            self.target_config.stdin = running.target_config.stdin;
        }
        differ
    }
}

/// Keys of `server` that a reload can change.
const RELOADED: [&str; 1] = ["log_level"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::LogLevel;

    #[test]
    fn what_needs_a_restart_stays_and_is_named() {
        let config = |text: &str| serde_yaml::from_str::<Config>(text).expect(text);
        let base = "server: {http_listen_port: 9080, log_level: warn}\npositions: {filename: /p}\n";
        for (change, named) in [
            (("", ""), &[][..]),
            (("level: warn", "level: debug"), &[]),
            ((", log_level: warn", ""), &[]),
            (("9080", "9081"), &["server.http_listen_port"]),
            (("9080", "9080, log_format: json, disable: true"), &["server.disable", "server.log_format"]),
            (("9080", "9080, http_tls_config: {cert: a, key: b}"), &["server.http_tls_config"]),
            (("/p", "/elsewhere, sync_period: 1s"), &["positions.filename"]),
            (("positions", "target_config: {stdin: true, sync_period: 1s}\npositions"), &["target_config.stdin"]),
            (("positions", "scrape_configs: [{job_name: new}]\npositions"), &[]),
        ] {
            let running = config(base);
            let text: String = if change.0.is_empty() { base.into() } else { base.replace(change.0, change.1) };
            let mut new = config(&text);
            assert_eq!(new.keep_fixed(&running), named, "{text}");
            assert_eq!((new.server.http_listen_port, new.positions.filename.as_str()), (9080, "/p"), "{text}");
            assert!(!new.target_config.stdin && !new.server.disable);
            assert_eq!(new.server.log_level == LogLevel::Debug, text.contains("debug"));
        }
    }
}
