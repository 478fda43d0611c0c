use super::*;

/// The headers of one push with this config.
async fn headers(more: &str) -> Push {
    let loki = FakeLoki::start(|_, _| Reply::Status(204));
    let mut running = start(&config(&loki, more));
    running.push("a", &["one"]);
    running.settled().await;
    loki.pushes().remove(0)
}

#[tokio::test]
async fn each_way_to_say_who_one_is() {
    for (yaml, expected) in [
        ("basic_auth: {username: user, password: pass}", Some("Basic dXNlcjpwYXNz")),
        ("bearer_token: t0", Some("Bearer t0")),
        ("authorization: {credentials: t1}", Some("Bearer t1")),
        ("authorization: {type: Token, credentials: t2}", Some("Token t2")),
        ("authorization: {type: Token}", None),
        ("headers: {Authorization: own}\nbasic_auth: {username: user}", Some("own")),
        ("", None),
    ] {
        assert_eq!(headers(yaml).await.header("authorization"), expected, "{yaml}");
    }
}

#[tokio::test]
async fn the_user_in_the_url_counts() {
    let loki = FakeLoki::start(|_, _| Reply::Status(204));
    let url = loki.url().replace("http://", "http://user:p%40ss@");
    let mut running = start(&Config { url: Url::new(url), ..config(&loki, "bearer_token: no") });
    running.push("a", &["one"]);
    running.settled().await;
    assert_eq!(loki.pushes()[0].header("authorization"), Some("Basic dXNlcjpwQHNz"));
    assert_eq!(running.status.report().url, loki.url());
}

#[tokio::test]
async fn own_headers_go_along_and_change_none_of_ours() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("key");
    std::fs::write(&file, "from-file\n").expect("written");
    let push = headers(&format!(
        "tenant_id: acme\nheaders: {{X-Own: a, Content-Type: text/plain, User-Agent: me, X-Scope-OrgID: other,\n\
         Host: h}}\n\
         http_headers: {{X-Http: {{values: [b], secrets: [c]}}, X-File: {{files: [{}]}}}}",
        file.display()
    ))
    .await;
    for (name, value) in [
        ("x-own", "a"),
        ("content-type", "application/x-protobuf"),
        ("x-scope-orgid", "acme"),
        ("x-http", "b"),
        ("x-file", "from-file"),
    ] {
        assert_eq!(push.header(name), Some(value), "{name}");
    }
    assert!(push.head.contains("x-http: c"));
    assert!(push.header("user-agent").is_some_and(|agent| agent.starts_with("fantail/")));
    assert_eq!(headers("headers: {X-Scope-OrgID: own}").await.header("x-scope-orgid"), Some("own"));
}

#[tokio::test]
async fn a_wrong_password_costs_no_logs() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("password");
    let loki = FakeLoki::start(|push, _| match push.header("authorization") {
        Some("Basic dXNlcjpwYXNz") => Reply::Status(204),
        _ => Reply::Status(401),
    });
    let yaml = format!("basic_auth: {{username: user, password_file: {}}}", file.display());
    let mut running = start(&config(&loki, &yaml));
    running.push("a", &["one"]);
    until("the missing file is said", || running.status.report().state.contains("basic_auth.password_file")).await;
    assert!(loki.pushes().is_empty());
    std::fs::write(&file, "wrong").expect("written");
    until("the refusal is said", || running.status.report().state.contains("401, unauthorized: check basic_auth"))
        .await;
    std::fs::write(&file, "pass\n").expect("written");
    running.settled().await;
    assert_eq!((loki.stored().len(), running.dropped("ingester_error")), (1, 0));
}

#[tokio::test]
async fn oauth2_fetches_a_token_keeps_it_and_renews_it_when_it_is_refused() {
    // A token server that expects credentials in the form, and numbers its tokens.
    let tokens = FakeLoki::start(|push, before| match String::from_utf8_lossy(&push.body) {
        form if form.contains("client_id=id&client_secret=s%26cret") && form.contains("scope=x+y") => Reply::Full {
            status: 200,
            headers: "Content-Type: application/json\r\n",
            body: format!(r#"{{"access_token":"t{before}","expires_in":3600}}"#),
        },
        _ => Reply::Status(401),
    });
    let loki = FakeLoki::start(|push, before| match (before, push.header("authorization")) {
        (0 | 1, Some("Bearer t1")) | (3, Some("Bearer t2")) => Reply::Status(204),
        _ => Reply::Status(401),
    });
    let mut running = start(&config(
        &loki,
        &format!("oauth2: {{client_id: id, client_secret: s&cret, scopes: [x, y], token_url: '{}'}}", tokens.url()),
    ));
    for line in ["one", "two", "three"] {
        running.push("a", &[line]);
        running.settled().await;
    }
    assert_eq!((loki.pushes().len(), loki.stored().len()), (4, 3));
    // One request by header, which is refused, and two by form.
    assert_eq!(tokens.pushes().len(), 3);
}

const LANES: usize = 12;

/// Runs a token server that fails `fails` times and numbers its tokens, a Loki that accepts tokens from number `first`
/// on, and a client that sends a push for each of many tenants at once. Returns the number of requests to both until
/// all are settled.
async fn pushes_at_once(fails: usize, first: usize, expires_in: u64) -> (usize, usize) {
    let tokens = FakeLoki::start(move |_, before| match before.checked_sub(fails) {
        Some(number) => Reply::Full {
            status: 200,
            headers: "",
            body: format!(r#"{{"access_token":"{number}","expires_in":{expires_in}}}"#),
        },
        None => Reply::Status(500),
    });
    let loki = FakeLoki::start(move |push, _| {
        let number = push.header("authorization").and_then(|value| value.strip_prefix("Bearer ")?.parse().ok());
        Reply::Status(if number.is_some_and(|number: usize| number >= first) { 204 } else { 401 })
    });
    let url = tokens.url();
    let mut running =
        start(&config(&loki, &format!("oauth2: {{client_id: id, client_secret: s, token_url: '{url}'}}")));
    for tenant in 0..LANES {
        running.push(&format!("{tenant}/a"), &["line"]);
    }
    running.settled().await;
    assert_eq!(loki.stored().len(), LANES);
    (tokens.pushes().len(), loki.pushes().len())
}

#[tokio::test]
async fn many_pushes_at_once_share_one_token() {
    assert_eq!(pushes_at_once(0, 0, 3600).await, (1, LANES));
    // A token that expires at once is still used by the pushes that waited for it.
    assert_eq!(pushes_at_once(0, 0, 0).await, (1, LANES));
    // A token with a lifetime that overflows the clock.
    assert_eq!(pushes_at_once(0, 0, u64::MAX).await, (1, LANES));
}

#[tokio::test]
async fn many_pushes_that_are_refused_at_once_renew_the_token_once() {
    let (tokens, pushes) = pushes_at_once(0, 1, 3600).await;
    assert_eq!(tokens, 2);
    assert!((LANES + 1..=2 * LANES).contains(&pushes), "{pushes}");
}

#[tokio::test]
async fn a_token_server_that_fails_is_asked_again_after_a_pause_not_by_each_push() {
    // By header and by form. Then after a second, although each push tries every few milliseconds.
    assert_eq!(pushes_at_once(2, 0, 3600).await, (3, LANES));
}

#[tokio::test]
async fn a_proxy_is_used_where_it_is_set_and_not_where_no_proxy_says() {
    let loki = FakeLoki::start(|_, _| Reply::Status(204));
    let proxy = FakeLoki::start(|_, _| Reply::Status(204));
    let at = proxy.url();
    for (yaml, through) in
        [(format!("proxy_url: '{at}'"), true), (format!("proxy_url: '{at}'\nno_proxy: 127.0.0.1"), false)]
    {
        let before = proxy.pushes().len();
        let mut running = start(&config(&loki, &yaml));
        running.push("a", &["one"]);
        running.settled().await;
        assert_eq!(proxy.pushes().len() > before, through, "{yaml}");
    }
    assert_eq!(proxy.pushes()[0].path, loki.url());
}
