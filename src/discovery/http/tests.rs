use super::*;
use crate::discovery::testing::{Listener, Reply, Server};
use crate::discovery::{Config as Discovery, Lists};

fn parse(yaml: &str) -> Result<Config, String> {
    let config = crate::yaml::from_str::<Config>(yaml).map_err(|e| e.to_string())?;
    config.validate().map_err(|e| e.to_string())?;
    Ok(config)
}

fn discovery(yaml: &str) -> Discovery {
    Discovery { http: vec![parse(yaml).expect(yaml)], ..Discovery::default() }
}

const LIST: &str =
    r#"[{"targets": ["a:1", "b:2"], "labels": {"env": "prod", "__path__": "/x"}}, {"targets": ["c:3"]}]"#;

#[test]
fn configs_that_are_refused_and_why() {
    for (yaml, why) in [
        ("{}", "url: is required"),
        ("url: inventory:80/x", "url: "),
        ("url: ftp://inventory/x", "starts with http:// or https://"),
        ("{url: 'http://h', refresh_interval: 0s}", "refresh_interval: must be more than 0"),
        ("{url: 'http://h', bearer_token: x, basic_auth: {username: y}}", "at most one"),
        ("{url: 'http://h', http_headers: {Authorization: {values: [x]}}}", "http_headers.Authorization: is reserved"),
        ("{url: 'http://h', tls_config: {cert_file: x}}", "tls_config"),
        ("{url: 'http://h', refresh: 1s}", "refresh"),
    ] {
        let error = parse(yaml).expect_err(yaml);
        assert!(error.contains(why), "{yaml}: {error}");
    }
}

#[test]
fn no_secret_is_shown() {
    let config = parse(
        "{url: 'http://me:hunter2@h/x?token=hunter2', authorization: {credentials: hunter2}, \
         http_headers: {X-A: {values: [hunter2]}}}",
    );
    let config = config.expect("a config");
    let shown = serde_yaml::to_string(&config).expect("yaml") + &format!("{config:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[tokio::test]
async fn the_targets_of_a_list_and_the_request_for_it() {
    let server = Server::new(|_| Reply::json(LIST)).await;
    let url = format!("http://{}/targets?a=b", server.address);
    let mut listener = Listener::start(
        discovery(&format!(
            "{{url: '{url}', refresh_interval: 1500ms, basic_auth: {{username: u, password: p}}, \
             http_headers: {{X-Tenant: {{values: [t]}}}}}}"
        )),
        &Lists::default(),
    );
    listener.until(|listener| listener.synced).await;
    assert_eq!(listener.addresses(), ["a:1", "b:2", "c:3"]);
    let (first, last) = (&listener.told.values().next().expect("a group")[0], listener.told.values().last());
    let of = |name: &str| first.get(name).map(String::as_str);
    assert_eq!((of("env"), of("__path__")), (Some("prod"), Some("/x")));
    let shown = url.trim_end_matches("?a=b");
    assert!(listener.told.values().flatten().all(|labels| labels["__meta_url"] == shown), "{:?}", listener.told);
    assert_eq!(last.map(|labels| labels[0].len()), Some(2));
    let request = server.asked()[0].clone();
    let head = request.head.to_ascii_lowercase();
    assert_eq!(request.path, "/targets?a=b");
    for line in [
        "accept: application/json\r\n",
        "x-prometheus-refresh-interval-seconds: 1.5\r\n",
        "authorization: basic dtpw\r\n",
        "x-tenant: t\r\n",
        "user-agent: fantail/",
    ] {
        assert!(head.contains(line), "{line:?} in {head}");
    }
}

#[tokio::test]
async fn whatever_is_wrong_with_a_list_the_last_good_one_stays() {
    let server = Server::new(|_| Reply::json(LIST)).await;
    let url = format!("http://{}/", server.address);
    let mut listener =
        Listener::start(discovery(&format!("{{url: '{url}', refresh_interval: 10ms}}")), &Lists::default());
    listener.until(|listener| listener.synced).await;
    let typed = |kind: &str, body: &str| Reply::Is(200, format!("Content-Type: {kind}\r\n"), body.into());
    let to = |location: &str| Reply::Is(302, format!("Location: {location}\r\n"), String::new());
    let targets = |count: usize| format!("[{{\"targets\": [{}\"z\"]}}]", "\"h:1\",".repeat(count));
    for (reply, why) in [
        (Reply::Is(503, String::new(), "come  back\nlater".into()), "status 503: come back later"),
        (Reply::Is(403, String::new(), String::new()), "status 403: check the credentials"),
        (Reply::Is(204, String::new(), String::new()), "status 204"),
        (typed("text/html", LIST), "the Content-Type of the list is \"text/html\""),
        (typed("application/json; charset=latin1", LIST), "but must be application/json"),
        (Reply::json("[{\"targets\": [\"a\""), "cannot understand the list"),
        (Reply::json("{\"targets\": [\"a\"]}"), "cannot understand the list"),
        (Reply::json("[{\"target\": [\"a\"]}]"), "unknown field"),
        (Reply::json("[{\"targets\": [\"a\"], \"labels\": {\"\": \"x\"}}]"), "not a valid label name"),
        (Reply::json("[null]"), "cannot understand the list"),
        (Reply::json("[".repeat(100_000)), "cannot understand the list"),
        (Reply::json(targets(100_000)), "more than 10000 targets"),
        (Reply::json(" ".repeat(LARGEST + 1)), "more than 16777216 bytes"),
        (to("/"), "too many redirects"),
        (to("http://127.0.0.2:1/"), "redirects to another host or port"),
        (Reply::Breaks, ""),
    ] {
        let before = listener.counted("prometheus_sd_refresh_failures_total");
        server.now(move |_| reply.clone());
        listener.until(|listener| listener.failure().is_some_and(|failure| failure.contains(why))).await;
        assert!(listener.failure().is_some_and(|failure| failure.starts_with(&url)), "{:?}", listener.failure());
        assert!(listener.counted("prometheus_sd_refresh_failures_total") > before);
        assert_eq!(listener.addresses(), ["a:1", "b:2", "c:3"], "{why}");
        server.now(|_| Reply::json(LIST));
        listener.until(|listener| listener.failure().is_none()).await;
    }
    assert!(listener.counted("prometheus_sd_http_failures_total") > 0.0);
    // A list without targets is a list.
    server.now(|_| typed_list("application/json; charset=UTF-8", "[]"));
    listener.until(|listener| listener.told.is_empty()).await;
}

fn typed_list(kind: &str, body: &str) -> Reply {
    Reply::Is(200, format!("Content-Type: {kind}\r\n"), body.into())
}

#[tokio::test]
async fn a_redirect_on_the_same_server_is_followed_unless_the_config_says_no() {
    let server = Server::new(|request| match request.path.as_str() {
        "/old" => Reply::Is(301, "Location: /new\r\n".into(), String::new()),
        _ => Reply::json(LIST),
    })
    .await;
    let of = |more: &str| discovery(&format!("{{url: 'http://{}/old', refresh_interval: 10ms{more}}}", server.address));
    let mut follows = Listener::start(of(""), &Lists::default());
    follows.until(|listener| listener.synced).await;
    assert_eq!(follows.addresses().len(), 3);
    let mut stays = Listener::start(of(", follow_redirects: false"), &Lists::default());
    stays.until(|listener| listener.failure().is_some()).await;
    assert!(stays.failure().is_some_and(|failure| failure.contains("follow_redirects is false")));
    assert!(!stays.synced);
}

/// The clock of the test moves on by itself while nothing happens.
#[tokio::test]
async fn a_server_that_hangs_is_not_waited_for() {
    let server = Server::new(|_| Reply::json(LIST)).await;
    let yaml = format!("{{url: 'http://{}/', refresh_interval: 10ms}}", server.address);
    let mut listener = Listener::start(discovery(&yaml), &Lists::default());
    listener.until(|listener| listener.synced).await;
    server.now(|_| Reply::Hangs);
    tokio::time::pause();
    listener.until(|listener| listener.failure().is_some()).await;
    assert!(listener.failure().is_some_and(|failure| failure.contains("no answer within")), "{:?}", listener.failure());
    assert_eq!(listener.addresses().len(), 3);
}

#[tokio::test]
async fn after_a_reload_the_last_list_is_there_although_the_server_is_away() {
    let (lists, server) = (Lists::default(), Server::new(|_| Reply::json(LIST)).await);
    let yaml = format!("{{url: 'http://{}/', refresh_interval: 10ms}}", server.address);
    let mut before = Listener::start(discovery(&yaml), &lists);
    before.until(|listener| listener.synced).await;
    server.now(|_| Reply::Is(500, String::new(), String::new()));
    for _ in 0..2 {
        let mut after = Listener::start(discovery(&yaml), &lists);
        after.until(|listener| listener.synced && listener.failure().is_some()).await;
        assert_eq!(after.addresses(), ["a:1", "b:2", "c:3"]);
    }
    let mut changed = Listener::start(discovery(&yaml.replace("10ms", "20ms")), &lists);
    changed.until(|listener| listener.failure().is_some()).await;
    assert!(changed.addresses().is_empty() && !changed.synced, "the list of another config is not its list");
}
