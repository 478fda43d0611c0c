use super::*;
use crate::yaml;

fn read(yaml: &str) -> Config {
    yaml::from_str(yaml).expect(yaml)
}

#[test]
fn what_cannot_be_honoured_is_refused_by_name() {
    for (yaml, named) in [
        ("http_tls_config: {cert_file: a.pem}", "http_tls_config: key_file"),
        ("http_tls_config: {client_auth_type: RequireAndVerifyClientCert}", "http_tls_config: cert_file"),
        ("http_tls_config: {cert_file: a, cert: b, key_file: a}", "cert and cert_file"),
        ("http_tls_config: {cert_file: a, key_file: a, client_auth_type: Some}", "unknown client_auth_type"),
        ("http_tls_config: {cert_file: a, key_file: a, client_auth_type: VerifyClientCertIfGiven}", "client_ca_file"),
        ("http_tls_config: {cert_file: a, key_file: a, client_ca_file: a}", "client_auth_type"),
        (
            "http_tls_config: {cert_file: a, key_file: a, client_ca: a, client_auth_type: RequestClientCert}",
            "has no effect",
        ),
        ("tls_min_version: VersionSSL30\nhttp_tls_config: {cert_file: a, key_file: a}", "min_version"),
        ("web_config_file: w\nhttp_tls_config: {cert_file: a, key_file: a}", "web_config_file"),
        ("http_listen_network: unix", "http_listen_network"),
        ("http_path_prefix: /{id}", "http_path_prefix"),
        ("http_path_prefix: '/a b'", "http_path_prefix"),
        ("external_url: \"http://a/\\r\\nx\"", "external_url"),
    ] {
        let error = read(yaml).validate().expect_err(yaml).to_string();
        assert!(error.contains(named), "{yaml}: {error}");
    }
    for bad in [
        "http_listen_prot: 80",
        "http_listen_port: 70000",
        "log_level: loud",
        "http_tls_config: {x: y}",
        "http_pages: some",
    ] {
        assert!(yaml::from_str::<Config>(bad).is_err(), "{bad}");
    }
}

#[test]
fn what_has_no_effect_is_named() {
    for (yaml, named) in [
        ("grpc_listen_port: 9096", "server.grpc_listen_port"),
        ("grpc_server_max_recv_msg_size: 1", "server.grpc_server_max_recv_msg_size"),
        ("tls_cipher_suites: TLS_AES_128_GCM_SHA256", "server.tls_cipher_suites"),
        ("profiling_enabled: true", "server.profiling_enabled"),
        ("cluster_validation: {label: x}", "server.cluster_validation"),
        ("grpc_tls_config: {key: hunter2}", "server.grpc_tls_config"),
    ] {
        let config = read(yaml);
        config.validate().expect(yaml);
        let warnings: Vec<_> = config.warnings().into_iter().map(|w| w.within("server").to_string()).collect();
        assert!(warnings.len() == 1 && warnings[0].contains(named), "{yaml}: {warnings:?}");
    }
}

#[test]
fn defaults_written_out_are_no_news() {
    for yaml in [
        "{}",
        "grpc_listen_port: 0",
        "enable_runtime_reload: true",
        "grpc_listen_port:\ngrpc_listen_address: ''\nprofiling_enabled: false",
        "http_server_read_timeout: 30s\ngrpc_server_max_recv_msg_size: 4194304",
        "http_tls_config: {}\ngrpc_tls_config:\n  cert_file: ''\ncluster_validation:\n  label: ''\n  grpc: {}",
    ] {
        let config = read(yaml);
        config.validate().expect(yaml);
        assert_eq!(config.warnings(), [], "{yaml}");
    }
}

#[test]
fn keys_without_a_value_keep_their_default() {
    let config = read(
        "http_listen_port:\nhealth_check_target:\nregister_instrumentation: ~\ngraceful_shutdown_timeout:\nlog_level:",
    );
    assert_eq!((config.http_listen_port, config.log_level), (80, LogLevel::Info));
    assert!(config.health_check_target && config.register_instrumentation);
    assert_eq!(config.graceful_shutdown_timeout, DEFAULT_GRACE);
    assert!(!read("health_check_target: no").health_check_target);
}

#[test]
fn prefixes_are_made_of_what_people_write() {
    for (yaml, prefix, external) in [
        ("{}", "", ""),
        ("http_path_prefix: /", "", ""),
        ("http_path_prefix: logs/", "/logs", "/logs"),
        ("http_path_prefix: /logs\nexternal_url: https://host:8443/a/b/", "/logs", "/a/b"),
        ("external_url: http://host", "", ""),
        ("external_url: /a", "", "/a"),
    ] {
        let config = read(yaml);
        assert_eq!((config.prefix().as_str(), config.external_prefix().as_str()), (prefix, external), "{yaml}");
    }
}

#[test]
fn printed_it_reads_back_and_shows_no_secret() {
    let tls = "http_tls_config: {cert: x, key: hunter2}\ngrpc_tls_config: {key: hunter2}";
    let config = read(&format!("http_listen_port: 3101\ngrpc_listen_port: 0\n{tls}"));
    let printed = serde_yaml::to_string(&config).expect("it prints");
    assert!(!printed.contains("hunter2") && printed.contains("<secret>"), "{printed}");
    assert_eq!(read(&printed).http_listen_port, 3101);
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn timeouts_are_the_users() {
    for (yaml, idle, asking, answering) in [
        ("{}", 120, 10, 30),
        ("http_server_read_timeout:\nhttp_server_write_timeout:", 120, 10, 30),
        ("http_server_read_timeout: 30s\nhttp_server_write_timeout: 1m\nhttp_server_idle_timeout: 5s", 5, 30, 60),
        ("http_server_read_timeout: 0\nhttp_server_write_timeout: 0s\nhttp_server_idle_timeout: 0", 120, 10, 30),
        ("http_server_read_header_timeout: 2s", 120, 2, 30),
        ("http_server_read_header_timeout: 20s", 120, 10, 30),
    ] {
        let timeouts = read(yaml).timeouts();
        let seconds = [timeouts.idle, timeouts.asking, timeouts.answering].map(|timeout| timeout.as_secs());
        assert_eq!(seconds, [idle, asking, answering], "{yaml}");
    }
}
