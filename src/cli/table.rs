//! All flags of Promtail and fantail, and their effect.

/// A flag of the command line: `-name`.
#[derive(Debug)]
pub(crate) struct Flag {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) default: &'static str,
    pub(crate) effect: Effect,
    pub(crate) help: &'static str,
}

/// The type of a flag's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bool,
    Int,
    Float,
    Text,
    Duration,
    Size,
    /// `name=value,name2=value2`.
    Labels,
    OneOf(&'static [&'static str]),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Read by `cli`.
    Program,
    /// Sets this key of the config.
    Sets(&'static str),
    /// Accepted without effect. The text says why.
    Ignored(&'static str),
}

/// Flags that belong together, in the order of `-help`.
pub(crate) struct Group {
    pub(crate) title: &'static str,
    pub(crate) flags: &'static [Flag],
}

pub(crate) fn all() -> impl Iterator<Item = &'static Flag> {
    GROUPS.iter().flat_map(|group| group.flags).chain(IGNORED)
}

use Effect::{Ignored, Program, Sets};
use Kind::{Bool, Duration, Float, Int, Labels, OneOf, Size, Text};

const fn flag(name: &'static str, kind: Kind, default: &'static str, effect: Effect, help: &'static str) -> Flag {
    Flag { name, kind, default, effect, help }
}

pub(crate) const GROUPS: &[Group] = &[
    Group {
        title: "Config",
        flags: &[
            flag("config.file", Text, "", Program, "config file; in a comma-separated list, the first that exists"),
            flag(
                "config.expand-env",
                Bool,
                "false",
                Program,
                "replace ${NAME} and ${NAME:-default} in the config file",
            ),
            flag(
                "config.skip-unsupported-jobs",
                Bool,
                "false",
                Sets("options.skip_unsupported_jobs"),
                "start without the jobs that fantail does not support",
            ),
            flag("config.watch-interval", Duration, "0s", Program, "interval of checks for a changed config; 0s: none"),
            flag("check-syntax", Bool, "false", Program, "check the config and exit"),
            flag("print-config-stderr", Bool, "false", Program, "print the config in use, with masked secrets"),
            flag("log-config-reverse-order", Bool, "false", Program, "log the config in use, last line first"),
        ],
    },
    Group {
        title: "Security",
        flags: &[
            flag("security.landlock", Bool, "true", Program, "let the kernel refuse unneeded files and ports"),
            flag("security.seccomp", Bool, "true", Program, "let the kernel refuse unneeded system calls"),
        ],
    },
    Group {
        title: "Test runs",
        flags: &[
            flag("dry-run", Bool, "false", Program, "print entries instead of sending them; save no positions"),
            flag(
                "stdin",
                Bool,
                "false",
                Sets("target_config.stdin"),
                "read lines from standard input, with the stages of the first job",
            ),
            flag("inspect", Bool, "false", Program, "print to standard error what each stage changes"),
            flag("version", Bool, "false", Program, "print the version and exit"),
            flag("help", Bool, "false", Program, "print this and exit"),
        ],
    },
    Group {
        title: "Logging",
        flags: &[
            flag(
                "log.level",
                OneOf(&["debug", "info", "warn", "error"]),
                "info",
                Sets("server.log_level"),
                "debug, info, warn or error",
            ),
            flag("log.format", OneOf(&["logfmt", "json"]), "logfmt", Sets("server.log_format"), "logfmt or json"),
        ],
    },
    Group {
        title: "Positions and files",
        flags: &[
            flag("positions.file", Text, "/var/log/positions.yaml", Sets("positions.filename"), "file for positions"),
            flag(
                "positions.sync-period",
                Duration,
                "10s",
                Sets("positions.sync_period"),
                "interval of writes of this file",
            ),
            flag(
                "positions.ignore-invalid-yaml",
                Bool,
                "false",
                Sets("positions.ignore_invalid_yaml"),
                "start without positions if this file cannot be read",
            ),
            flag(
                "target.sync-period",
                Duration,
                "10s",
                Sets("target_config.sync_period"),
                "interval of searches for new files",
            ),
            flag(
                "file-watch.min_poll_frequency",
                Duration,
                "250ms",
                Sets("global.file_watch_config.min_poll_frequency"),
                "poll interval of a file with new lines",
            ),
            flag(
                "file-watch.max_poll_frequency",
                Duration,
                "250ms",
                Sets("global.file_watch_config.max_poll_frequency"),
                "longest poll interval of an idle file",
            ),
        ],
    },
    Group {
        title: "A client set by flags (better: `clients` in the config file)",
        flags: &[
            flag("client.url", Text, "", Sets("client.url"), "additional client: http://host/loki/api/v1/push"),
            flag("client.tenant-id", Text, "", Sets("client.tenant_id"), "tenant of this client"),
            flag("client.external-labels", Labels, "", Program, "labels for every client: name=value,name2=value2"),
            flag("client.batch-wait", Duration, "1s", Sets("client.batchwait"), "longest time until a batch is sent"),
            flag(
                "client.batch-size-bytes",
                Int,
                "1048576",
                Sets("client.batchsize"),
                "batch size, in bytes, at which it is sent",
            ),
            flag("client.timeout", Duration, "10s", Sets("client.timeout"), "timeout of a push"),
            flag(
                "client.min-backoff",
                Duration,
                "500ms",
                Sets("client.backoff_config.min_period"),
                "first pause before a retry",
            ),
            flag(
                "client.max-backoff",
                Duration,
                "5m0s",
                Sets("client.backoff_config.max_period"),
                "longest pause before a retry",
            ),
            flag(
                "client.max-retries",
                Int,
                "",
                Sets("client.backoff_config.max_retries"),
                "attempts until a batch is dropped; not set: no limit",
            ),
            flag(
                "client.drop-rate-limited-batches",
                Bool,
                "false",
                Sets("client.drop_rate_limited_batches"),
                "drop batches that Loki answers with 429",
            ),
        ],
    },
    Group {
        title: "Limits",
        flags: &[
            flag(
                "max-line-size",
                Size,
                "0",
                Sets("limits_config.max_line_size"),
                "longest line, such as 256kb; 0: no limit",
            ),
            flag(
                "max-line-size-truncate",
                Bool,
                "false",
                Sets("limits_config.max_line_size_truncate"),
                "cut longer lines instead of dropping them",
            ),
            flag(
                "limit.readline-rate-enabled",
                Bool,
                "false",
                Sets("limits_config.readline_rate_enabled"),
                "limit the lines per second of all jobs together",
            ),
            flag("limit.readline-rate", Float, "10000", Sets("limits_config.readline_rate"), "lines per second"),
            flag("limit.readline-burst", Int, "10000", Sets("limits_config.readline_burst"), "lines in one burst"),
            flag(
                "limit.readline-rate-drop",
                Bool,
                "true",
                Sets("limits_config.readline_rate_drop"),
                "drop lines beyond the limit; false: wait",
            ),
        ],
    },
    Group {
        title: "HTTP server",
        flags: &[
            flag("server.disable", Bool, "false", Sets("server.disable"), "no HTTP server"),
            flag("server.http-listen-address", Text, "", Sets("server.http_listen_address"), "address to listen on"),
            flag(
                "server.http-listen-port",
                Int,
                "80",
                Sets("server.http_listen_port"),
                "port to listen on; 0: any free port",
            ),
            flag("server.http-listen-network", Text, "tcp", Sets("server.http_listen_network"), "tcp, tcp4 or tcp6"),
            flag("server.path-prefix", Text, "", Sets("server.http_path_prefix"), "prefix of all HTTP paths"),
            flag(
                "server.enable-runtime-reload",
                Bool,
                "false",
                Sets("server.enable_runtime_reload"),
                "enable /reload, which loads the config again",
            ),
            flag(
                "server.register-instrumentation",
                Bool,
                "true",
                Sets("server.register_instrumentation"),
                "serve /metrics",
            ),
            flag(
                "server.graceful-shutdown-timeout",
                Duration,
                "30s",
                Sets("server.graceful_shutdown_timeout"),
                "longest wait for open requests at the end",
            ),
            flag(
                "web.config.file",
                Text,
                "",
                Sets("server.web_config_file"),
                "Prometheus' web config file: HTTPS and passwords",
            ),
            flag(
                "server.http-tls-cert-path",
                Text,
                "",
                Sets("server.http_tls_config.cert_file"),
                "certificate for HTTPS (PEM file)",
            ),
            flag(
                "server.http-tls-key-path",
                Text,
                "",
                Sets("server.http_tls_config.key_file"),
                "private key for HTTPS (PEM file)",
            ),
            flag(
                "server.http-tls-client-auth",
                Text,
                "",
                Sets("server.http_tls_config.client_auth_type"),
                "whether clients need a certificate",
            ),
            flag(
                "server.http-tls-ca-path",
                Text,
                "",
                Sets("server.http_tls_config.client_ca_file"),
                "CA of clients' certificates (PEM file)",
            ),
        ],
    },
];

const GRPC: Effect = Ignored("fantail has no gRPC listener");
const REQUEST_LOG: Effect = Ignored("fantail does not log requests");
const NOT_HERE: Effect = Ignored("fantail's HTTP server has no such feature");

const fn ignored(name: &'static str, kind: Kind, effect: Effect) -> Flag {
    flag(name, kind, "", effect, "")
}

/// Flags of Promtail that `-help` only lists by name. Most have no effect.
pub(crate) const IGNORED: &[Flag] = &[
    flag("max-streams", Int, "0", Sets("limits_config.max_streams"), ""),
    flag("tracing.enabled", Bool, "true", Sets("tracing.enabled"), ""),
    flag("server.profiling_enabled", Bool, "false", Sets("server.profiling_enabled"), ""),
    flag("server.http-read-timeout", Duration, "10s", Sets("server.http_server_read_timeout"), ""),
    flag("server.http-read-header-timeout", Duration, "0", Sets("server.http_server_read_header_timeout"), ""),
    flag("server.http-write-timeout", Duration, "30s", Sets("server.http_server_write_timeout"), ""),
    flag("server.http-idle-timeout", Duration, "2m0s", Sets("server.http_server_idle_timeout"), ""),
    flag("server.http-conn-limit", Int, "0", Sets("server.http_listen_conn_limit"), ""),
    flag("server.tls-min-version", Text, "", Sets("server.tls_min_version"), ""),
    flag("server.tls-cipher-suites", Text, "", Sets("server.tls_cipher_suites"), ""),
    ignored("server.grpc-listen-address", Text, GRPC),
    ignored("server.grpc-listen-port", Int, GRPC),
    ignored("server.grpc-listen-network", Text, GRPC),
    ignored("server.grpc-conn-limit", Int, GRPC),
    ignored("server.grpc-max-recv-msg-size-bytes", Int, GRPC),
    ignored("server.grpc-max-send-msg-size-bytes", Int, GRPC),
    ignored("server.grpc-max-concurrent-streams", Int, GRPC),
    ignored("server.grpc-collect-max-streams-by-conn", Bool, GRPC),
    ignored("server.grpc.keepalive.max-connection-idle", Duration, GRPC),
    ignored("server.grpc.keepalive.max-connection-age", Duration, GRPC),
    ignored("server.grpc.keepalive.max-connection-age-grace", Duration, GRPC),
    ignored("server.grpc.keepalive.time", Duration, GRPC),
    ignored("server.grpc.keepalive.timeout", Duration, GRPC),
    ignored("server.grpc.keepalive.min-time-between-pings", Duration, GRPC),
    ignored("server.grpc.keepalive.ping-without-stream-allowed", Bool, GRPC),
    ignored("server.grpc.num-workers", Int, GRPC),
    ignored("server.grpc.stats-tracking-enabled", Bool, GRPC),
    ignored("server.grpc.recv-buffer-pools-enabled", Bool, GRPC),
    ignored("server.grpc.read-buffer-size-bytes", Int, GRPC),
    ignored("server.grpc.write-buffer-size-bytes", Int, GRPC),
    ignored("server.grpc-tls-cert-path", Text, GRPC),
    ignored("server.grpc-tls-key-path", Text, GRPC),
    ignored("server.grpc-tls-client-auth", Text, GRPC),
    ignored("server.grpc-tls-ca-path", Text, GRPC),
    ignored("server.report-grpc-codes-in-instrumentation-label-enabled", Bool, GRPC),
    ignored("server.cluster-validation.grpc.enabled", Bool, GRPC),
    ignored("server.cluster-validation.grpc.soft-validation", Bool, GRPC),
    ignored("server.cluster-validation.label", Text, NOT_HERE),
    ignored("server.cluster-validation.http.enabled", Bool, NOT_HERE),
    ignored("server.cluster-validation.http.soft-validation", Bool, NOT_HERE),
    ignored("server.cluster-validation.http.excluded-paths", Text, NOT_HERE),
    ignored("server.cluster-validation.http.excluded-user-agents", Text, NOT_HERE),
    ignored("server.proxy-protocol-enabled", Bool, NOT_HERE),
    ignored("server.throughput.latency-cutoff", Duration, NOT_HERE),
    ignored("server.throughput.unit", Text, NOT_HERE),
    ignored("server.trace-request-headers", Bool, NOT_HERE),
    ignored("server.trace-request-headers-exclude-list", Text, NOT_HERE),
    ignored("server.log-source-ips-enabled", Bool, REQUEST_LOG),
    ignored("server.log-source-ips-full", Bool, REQUEST_LOG),
    ignored("server.log-source-ips-header", Text, REQUEST_LOG),
    ignored("server.log-source-ips-regex", Text, REQUEST_LOG),
    ignored("server.log-request-headers", Bool, REQUEST_LOG),
    ignored("server.log-request-headers-exclude-list", Text, REQUEST_LOG),
    ignored("server.log-request-at-info-level-enabled", Bool, REQUEST_LOG),
    ignored("server.http-log-closed-connections-without-response-enabled", Bool, REQUEST_LOG),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_flag_is_there_once_and_says_what_it_does() {
        let mut seen = HashSet::new();
        for flag in all() {
            assert!(seen.insert(flag.name), "{} is there twice", flag.name);
        }
        for flag in GROUPS.iter().flat_map(|group| group.flags) {
            assert!(!flag.help.is_empty() && !matches!(flag.effect, Ignored(_)), "{}", flag.name);
        }
    }
}

#[cfg(test)]
mod page;
