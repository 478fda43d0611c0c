//! Flags override the file.

use super::*;

#[test]
fn a_flag_wins_over_the_file() {
    let case = Case::new(&format!("{CLIENT}positions: {{filename: /file, sync_period: 3s}}\ntarget_config:\n"));
    let (config, _) = case
        .with("positions.file", "positions.filename", Scalar::Text("/flag".into()))
        .with("target.sync-period", "target_config.sync_period", Scalar::Text("5s".into()))
        .with("max-line-size", "limits_config.max_line_size", Scalar::Text("2kb".into()))
        .with("limit.readline-rate", "limits_config.readline_rate", Scalar::Float(1.5))
        .load()
        .expect("flags");
    assert_eq!(
        (config.positions.filename.as_str(), config.positions.sync_period.to_string()),
        ("/flag", "3s".to_string())
    );
    assert_eq!(config.target_config.sync_period.to_string(), "5s");
    assert_eq!((config.limits_config.max_line_size, config.limits_config.readline_rate), (ByteSize(2048), 1.5));
}

#[test]
fn a_flag_that_is_wrong_is_named() {
    let message =
        Case::new(CLIENT).with("server.http-listen-port", "server.http_listen_port", Scalar::Int(70_000)).refused();
    assert!(message.starts_with("-server.http-listen-port: expected"), "{message}");
    let message =
        Case::new(CLIENT).with("target.sync-period", "target_config.sync_period", Scalar::Text("0s".into())).refused();
    assert_eq!(message, "-target.sync-period: must be longer than 0");
    let message = Case::new("server: 5").with("server.disable", "server.disable", Scalar::Bool(true)).refused();
    assert_eq!(message, "f.yaml:1:1: server: expected a mapping, got 5");
}

#[test]
fn client_flags() {
    let url = || Scalar::Text("http://flag".into());
    let (config, warnings) = Case::new("").with("client.url", "client.url", url()).load().expect("a client");
    assert_eq!((config.clients.len(), warnings.len()), (1, 0));
    let case = Case::new(CLIENT).with("client.url", "client.url", url());
    let (config, _) = case.with("client.tenant-id", "client.tenant_id", Scalar::Text("t".into())).load().expect("two");
    assert_eq!(config.clients.len(), 2);
    assert_eq!((config.clients[0].tenant_id.as_str(), config.clients[1].tenant_id.as_str()), ("", "t"));
    // Without a client these flags have no effect, which is a warning.
    let tenant = |case: Case| case.with("client.tenant-id", "client.tenant_id", Scalar::Text("t".into()));
    let (config, warnings) = tenant(Case::new(CLIENT)).load().expect("one client");
    assert_eq!((config.clients.len(), config.clients[0].tenant_id.as_str()), (1, ""));
    assert!(warnings.len() == 1 && warnings[0].starts_with("-client.tenant-id has no effect"), "{warnings:?}");
    let (config, _) = tenant(Case::new("client: {url: 'http://old'}")).load().expect("the block");
    assert_eq!(config.clients[0].tenant_id, "t");
}

#[test]
fn external_labels_of_the_command_line_go_to_every_client() {
    let mut case = Case::new(
        "clients:\n- {url: 'http://a', external_labels: {cluster: file}}\n- {url: 'http://b', external_labels: }\nclient: {url: 'http://c'}",
    );
    case.request.external_labels =
        [("cluster", "flag"), ("zone", "z")].map(|(n, v)| (n.to_string(), v.to_string())).into();
    let (config, _) = case.load().expect("labels");
    let clusters: Vec<_> = config.clients.iter().map(|c| c.external_labels["cluster"].as_str()).collect();
    assert_eq!(clusters, ["file", "flag", "flag"]);
    assert!(config.clients.iter().all(|c| c.external_labels["zone"] == "z"));
}
