//! Recovery after an outage of Loki.

use super::*;

#[tokio::test]
async fn a_wait_that_is_asked_for_has_an_end() {
    let config = Config::default();
    let pause =
        config.backoff_config.pause(1, super::super::backoff::Pace::Backoff, Some(Duration::from_secs(86_400)), 0.99);
    assert!(pause <= Duration::from_secs(36), "{pause:?}");
}

/// The pauses have grown to minutes, but a probe succeeds long before.
#[tokio::test]
async fn after_a_long_outage_lines_flow_within_seconds() {
    let loki = FakeLoki::start(|_, before| if before < 4 { Reply::Reset } else { Reply::Status(204) });
    let mut config = config(&loki, "");
    config.backoff_config = crate::yaml::from_str("{min_period: 10ms, max_period: 10m}").expect("a backoff");
    let mut running = start(&config);
    running.push("a", &["one"]);
    running.push("other/b", &["two"]);
    until("the first attempts are made", || loki.pushes().len() >= 4).await;
    let began = Instant::now();
    running.settled().await;
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

/// Repeated attempts of refused streams must not prevent probes for other tenants.
#[tokio::test]
async fn streams_that_are_refused_keep_nobody_from_recovering() {
    let failures = Arc::new(AtomicUsize::new(0));
    let count = failures.clone();
    let loki = FakeLoki::start(move |push, _| match push.header("x-scope-orgid") {
        Some("away") if count.fetch_add(1, Ordering::Relaxed) < 6 => Reply::Status(503),
        _ if push.streams.iter().any(|(labels, _)| labels.contains("bad")) => Reply::Status(260),
        _ => Reply::Status(204),
    });
    let mut config = config(&loki, "");
    config.backoff_config = crate::yaml::from_str("{min_period: 10ms, max_period: 10m}").expect("a backoff");
    let mut running = start(&config);
    running.add("well/bad", &["refused"]);
    running.push("well/good", &["taken"]);
    until("it is set apart", || running.status.refused_streams() == 1).await;
    running.push("away/a", &["late"]);
    until("the pauses grow", || failures.load(Ordering::Relaxed) >= 6).await;
    let began = Instant::now();
    until("the other tenant's line is stored", || loki.stored().iter().any(|line| line == "late")).await;
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

/// `max_retries` only counts attempts that are due, so it lasts as long as in Promtail.
#[tokio::test]
async fn attempts_before_their_turn_do_not_use_up_max_retries() {
    let loki = FakeLoki::start(|push, _| match push.header("x-scope-orgid") {
        Some("a") => Reply::Status(500),
        _ => Reply::Status(204),
    });
    let mut config = config(&loki, "");
    config.backoff_config =
        crate::yaml::from_str("{min_period: 400ms, max_period: 10m, max_retries: 2}").expect("a backoff");
    let mut running = start(&config);
    let began = Instant::now();
    running.push("a/one", &["one"]);
    let of_a = |loki: &FakeLoki| loki.pushes().iter().filter(|push| push.header("x-scope-orgid") == Some("a")).count();
    until("it is refused", || of_a(&loki) == 1).await;
    // Another tenant succeeds, so this one is tried at once.
    running.push("b/two", &["two"]);
    until("it is asked about again", || of_a(&loki) == 2).await;
    assert_eq!(running.dropped("ingester_error"), 0);
    running.settled().await;
    assert!(began.elapsed() >= Duration::from_millis(400), "{:?}", began.elapsed());
    assert_eq!((of_a(&loki), running.dropped("ingester_error")), (3, 1));
}

#[tokio::test]
async fn what_two_lanes_say_of_one_tenant_does_not_flap() {
    let loki = FakeLoki::start(|push, _| match push.header("x-scope-orgid") {
        Some("angry") => Reply::Status(500),
        _ => Reply::Status(204),
    });
    let mut running = start(&config(&loki, ""));
    running.push("angry/a", &["n"]);
    until("it fails", || running.status.report().state.starts_with("tenant angry failing")).await;
    for n in 0..20 {
        running.push("well/a", &[&format!("w{n}")]);
        until("the push is stored", || loki.stored().len() == n + 1).await;
        assert!(running.status.report().state.starts_with("tenant angry failing for"));
    }
}
