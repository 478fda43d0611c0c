use super::*;

fn full(status: u16, headers: &'static str, body: &str) -> Reply {
    Reply::Full { status, headers, body: body.to_string() }
}

fn has(push: &Push, word: &str) -> bool {
    push.lines().iter().any(|line| line.contains(word))
}

#[tokio::test]
async fn delivers_and_closes() {
    let loki = FakeLoki::start(|_, _| Reply::Status(204));
    let mut running = start(&config(&loki, "tenant_id: acme\nexternal_labels: {cluster: c}"));
    running.push("a", &["one", "two"]);
    running.settled().await;
    let push = loki.pushes().remove(0);
    assert_eq!(push.path, "/loki/api/v1/push");
    assert_eq!(push.header("content-type"), Some("application/x-protobuf"));
    assert_eq!(push.header("x-scope-orgid"), Some("acme"));
    assert!(push.header("user-agent").is_some_and(|agent| agent.starts_with("fantail/")));
    assert_eq!(push.header("accept-encoding"), None);
    assert_eq!(push.streams, [(r#"{app="a", cluster="c"}"#.to_string(), vec!["one".to_string(), "two".to_string()])]);

    let running = running.finish().await;
    assert!(running.wakes.0.load(Ordering::Relaxed) > 0);
    assert_eq!((running.sent(), running.status.report().state.as_str()), (2, "ok"));
    let host = format!("127.0.0.1:{}", loki.port);
    let labels = [("host", host.as_str())];
    assert_eq!(running.metric("promtail_sent_bytes_total", &labels), push.body.len() as u64);
    assert_eq!(running.metric("promtail_encoded_bytes_total", &labels), push.body.len() as u64);
    assert_eq!(running.metric("promtail_request_duration_seconds", &[("status_code", "204")]), 1);
    for reason in ["ingester_error", "rate_limited", "stream_limited", "line_too_long"] {
        let labels = [("tenant", "acme"), ("reason", reason)];
        assert_eq!(running.metric("promtail_dropped_entries_total", &labels), 0);
    }
}

#[tokio::test]
async fn tries_again_until_it_is_well_and_bit_for_bit() {
    let loki = FakeLoki::start(|_, before| match before {
        0 => Reply::Status(500),
        1 => Reply::Reset,
        2 => Reply::LoseAnswer,
        3 => full(429, "Retry-After: 0\r\n", "ingestion rate limit exceeded"),
        4 => Reply::Status(408),
        _ => Reply::Status(204),
    });
    let mut running = start(&config(&loki, ""));
    running.push("a", &["one"]);
    running.settled().await;
    let running = running.finish().await;
    let pushes = loki.pushes();
    assert!(pushes.iter().all(|push| push.body == pushes[0].body));
    assert_eq!((running.sent(), running.dropped("ingester_error")), (1, 0));
    assert!(running.metric("promtail_batch_retries_total", &[]) >= 5);
    assert!(running.metric("promtail_request_duration_seconds", &[("status_code", "failed")]) >= 2);
    let report = running.status.report();
    assert_eq!((report.state.as_str(), report.last_error.as_deref()), ("ok", Some("status 408")));
}

#[tokio::test]
async fn a_hanging_loki_is_asked_again_after_the_timeout() {
    let loki = FakeLoki::start(|_, before| if before == 0 { Reply::Hang } else { Reply::Status(204) });
    let mut running = start(&config(&loki, "timeout: 100ms"));
    running.push("a", &["one"]);
    running.settled().await;
    assert_eq!(running.status.report().last_error.as_deref(), Some("no answer within timeout"));
}

#[tokio::test]
async fn retry_after_is_waited_for() {
    let loki = FakeLoki::start(|_, before| match before {
        0 => full(503, "Retry-After: 1\r\n", ""),
        _ => Reply::Status(204),
    });
    let mut running = start(&config(&loki, ""));
    let began = Instant::now();
    running.push("a", &["one"]);
    running.settled().await;
    assert!(began.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_poisoned_entry_costs_its_neighbours_nothing() {
    let loki = FakeLoki::start(|push, _| match has(push, "poison") {
        true => full(400, "", "no, and no reason either"),
        false => Reply::Status(204),
    });
    let mut running = start(&config(&loki, ""));
    running.add("a", &["a1", "a2"]);
    running.add("b", &["b1", "poison", "b3", "b4", "b5"]);
    running.push("c", &["c1"]);
    assert_eq!(running.traffic_until_dropped().await, 1);
    // The stream is set apart, so the one behind it does not wait.
    let mut stored = loki.stored();
    stored.retain(|line| line != "tick");
    assert_eq!(stored, ["a1", "a2", "c1", "b1", "b3", "b4", "b5"]);
}

#[tokio::test]
async fn refused_entries_that_are_listed_are_counted_and_the_rest_is_stored() {
    let loki = FakeLoki::start(|push, _| match push.streams.len() {
        1 if has(push, "late") => full(
            400,
            "",
            "entry with timestamp 2024-01-18 ignored, reason: 'entry too far behind',\ntotal ignored: 2 out of 5 for \
             stream: {app=\"a\"}",
        ),
        1 => Reply::Status(204),
        _ => full(400, "", "entry too far behind"),
    });
    let mut running = start(&config(&loki, ""));
    running.add("a", &["1", "late", "2", "late", "3"]);
    running.push("b", &["4"]);
    running.settled().await;
    assert_eq!((running.sent(), running.dropped("ingester_error")), (4, 2));
    // Both, and each of the streams alone.
    assert_eq!(loki.pushes().len(), 3);
    assert_eq!(
        running.status.report().last_error.as_deref(),
        Some("entries discarded: status 400, entry too far behind")
    );
}

#[tokio::test]
async fn too_large_a_push_is_halved_in_order() {
    let loki = FakeLoki::start(|push, _| match push.lines().iter().map(|line| line.len()).sum::<usize>() {
        0..=20 => Reply::Status(204),
        _ => Reply::Status(413),
    });
    let mut running = start(&config(&loki, ""));
    let huge = "x".repeat(30);
    running.push("a", &["0123456789", "1123456789", "2123456789", &huge, "3123456789"]);
    running.settled().await;
    assert_eq!(loki.stored(), ["0123456789", "1123456789", "2123456789", "3123456789"]);
    assert_eq!(running.dropped("ingester_error"), 1);
}

#[tokio::test]
async fn a_push_over_the_rate_limits_burst_gets_through_in_parts() {
    let loki = FakeLoki::start(|push, _| match push.lines().iter().map(|line| line.len()).sum::<usize>() {
        0..=200_000 => Reply::Status(204),
        _ => full(429, "", "Per stream rate limit exceeded"),
    });
    let mut running = start(&config(&loki, ""));
    let line = "x".repeat(50_000);
    running.push("a", &[line.as_str(); 8]);
    running.settled().await;
    assert_eq!((loki.stored().len(), running.dropped("rate_limited")), (8, 0));
}

#[tokio::test]
async fn rate_limited_batches_are_discarded_on_request_only() {
    let loki = FakeLoki::start(|_, _| Reply::Status(429));
    let mut running = start(&config(&loki, "drop_rate_limited_batches: true"));
    running.push("a", &["one", "two"]);
    running.settled().await;
    assert_eq!((running.sent(), running.dropped("rate_limited"), loki.pushes().len()), (0, 2, 1));
}

#[tokio::test]
async fn max_retries_is_the_users_word() {
    let loki = FakeLoki::start(|_, _| Reply::Status(500));
    let more = Config {
        backoff_config: BackoffConfig { max_retries: Some(3), ..config(&loki, "").backoff_config },
        ..config(&loki, "")
    };
    let mut running = start(&more);
    running.push("a", &["one", "two"]);
    running.settled().await;
    assert_eq!((running.dropped("ingester_error"), loki.pushes().len()), (2, 3));
    assert!(running.status.report().state.starts_with("failing for"));
}

#[tokio::test]
async fn a_dead_tenant_costs_the_others_nothing() {
    let loki = FakeLoki::start(|push, _| match push.header("x-scope-orgid") {
        Some("dead") => Reply::Hang,
        Some("angry") => Reply::Status(500),
        _ => Reply::Status(204),
    });
    let mut running = start(&config(&loki, ""));
    running.add("dead/a", &["d"]);
    running.add("angry/a", &["n"]);
    for n in 0..20 {
        running.push("well/a", &[&format!("w{n}")]);
        until("the push is stored", || loki.stored().len() == n + 1).await;
    }
    until("only the two are on their way", || running.batcher.outstanding() == 2).await;
    let state = running.status.report().state;
    assert!(state.starts_with("tenant angry failing for"), "{state}");
}

#[tokio::test]
async fn a_tenant_that_no_header_can_carry_is_discarded() {
    let loki = FakeLoki::start(|_, _| Reply::Status(204));
    let mut running = start(&config(&loki, ""));
    running.push("a\nb/a", &["one"]);
    running.settled().await;
    assert_eq!((running.dropped("ingester_error"), loki.pushes().len()), (1, 0));
}

#[tokio::test]
async fn draining_delivers_what_is_there() {
    let loki = FakeLoki::start(|_, _| Reply::Status(204));
    let mut running = start(&config(&loki, ""));
    running.stop.send_replace(Stop::Drain);
    running.push("a", &["one"]);
    running.push("x/b", &["two"]);
    let running = running.finish().await;
    assert!(running.ledger.is_settled());
    assert_eq!(running.batcher.outstanding(), 0);
}

#[tokio::test]
async fn draining_does_not_wait_for_a_loki_that_fails() {
    let loki = FakeLoki::start(|push, _| match push.header("x-scope-orgid") {
        Some("well") => Reply::Status(204),
        _ => Reply::Status(503),
    });
    let mut slow = config(&loki, "");
    slow.backoff_config.min_period = "1m".parse().expect("a duration");
    slow.backoff_config.max_period = "1m".parse().expect("a duration");
    let mut running = start(&slow);
    running.push("a", &["one"]);
    until("the first attempt is made", || !loki.pushes().is_empty()).await;
    running.push("a", &["two"]);
    running.stop.send_replace(Stop::Drain);
    until("the lane is given up", || running.batcher.outstanding() == 0).await;
    // Nothing overtakes what was given up; another tenant's lane is open.
    running.push("a", &["three"]);
    running.push("well/a", &["four"]);
    let running = running.finish().await;
    assert_eq!(loki.pushes().iter().filter(|push| has(push, "t")).count(), 0);
    assert_eq!(loki.stored(), ["four"]);
    assert_eq!(running.ledger.committed(), None);
    assert_eq!((running.batcher.outstanding(), running.dropped("ingester_error")), (0, 0));
}

#[tokio::test]
async fn an_abort_ends_it_at_once_and_closes_nothing() {
    let loki = FakeLoki::start(|_, _| Reply::Hang);
    let mut running = start(&config(&loki, ""));
    running.push("a", &["one"]);
    running.push("a", &["two"]);
    until("the push is on its way", || !loki.pushes().is_empty()).await;
    let wakes = running.wakes.0.load(Ordering::Relaxed);
    running.stop.send_replace(Stop::Abort);
    let task = std::mem::replace(&mut running.task, tokio::spawn(async {}));
    tokio::time::timeout(Duration::from_secs(5), task).await.expect("it ends").expect("without a panic");
    assert_eq!((running.ledger.committed(), running.ledger.is_settled()), (None, false));
    assert_eq!(running.batcher.outstanding(), 0);
    assert!(running.wakes.0.load(Ordering::Relaxed) > wakes);
}

#[tokio::test]
async fn only_redirects_that_keep_the_push_are_followed() {
    for (status, follow, stored) in [(307, true, true), (308, true, true), (308, false, false), (302, true, false)] {
        let loki = FakeLoki::start(move |push, _| match push.path.as_str() {
            "/there" => Reply::Status(204),
            _ => full(status, "Location: /there\r\n", ""),
        });
        let mut running = start(&config(&loki, &format!("follow_redirects: {follow}")));
        running.push("a", &["one"]);
        until("it is stored or refused", || {
            loki.stored().len() == 1 || running.status.report().state.contains("the redirect")
        })
        .await;
        assert_eq!(loki.stored().len(), usize::from(stored), "{status} {follow}");
        let methods = loki.pushes().iter().all(|push| push.head.starts_with("POST"));
        assert!(methods, "{status} {follow}");
    }
}

/// The lines, the tenant and the configured headers are for the host that the config names.
#[tokio::test]
async fn a_redirect_to_another_host_is_not_followed() {
    let other = FakeLoki::start(|_, _| Reply::Status(204));
    for host in ["127.0.0.1", "localhost", "127.0.0.2"] {
        // Another port of the same host is another's as well.
        let location = format!("Location: http://{host}:{}/there\r\n", other.port).leak();
        let loki = FakeLoki::start(|_, _| full(307, location, ""));
        let mut running = start(&config(&loki, "tenant_id: acme\nheaders: {X-Key: secret}"));
        running.push("a", &["one"]);
        until("it is refused", || running.status.report().state.contains("the redirect is not followed")).await;
        assert!(other.pushes().is_empty(), "{host}");
    }
}

#[tokio::test]
async fn who_waits_long_hears_of_whoever_gets_through() {
    let loki = FakeLoki::start(|push, before| match has(push, "late") || before > 8 {
        true => Reply::Status(204),
        false => Reply::Status(500),
    });
    let mut config = config(&loki, "");
    config.backoff_config = crate::yaml::from_str("{min_period: 5ms, max_period: 10m}").expect("a backoff");
    let mut running = start(&config);
    running.push("a/one", &["early"]);
    until("pauses are long", || loki.pushes().len() > 8).await;
    let began = Instant::now();
    // Of another tenant, whose lane never failed.
    running.push("b/two", &["late"]);
    running.settled().await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}
