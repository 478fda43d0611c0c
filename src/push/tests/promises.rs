//! Retries, pauses and the end of a client.

use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use super::*;

const LIMIT: &str = "maximum active stream limit exceeded when trying to create stream {app=\"x\"}, reduce the number of \
                     active streams (reduce labels or reduce label values)";

fn full(status: u16, headers: &'static str, body: &str) -> Reply {
    Reply::Full { status, headers, body: body.to_string() }
}

fn names(push: &Push, word: &str) -> bool {
    push.streams.iter().any(|(labels, _)| labels.contains(word))
}

#[tokio::test]
async fn parting_uses_up_no_retries_of_streams_that_are_taken() {
    let loki = FakeLoki::start(|push, _| match names(push, "bad") {
        true => full(429, "", LIMIT),
        false => Reply::Status(204),
    });
    let mut config = config(&loki, "");
    config.backoff_config = crate::yaml::from_str("{min_period: 1ms, max_period: 20ms, max_retries: 3}").unwrap();
    let mut running = start(&config);
    for n in 0..31 {
        running.add(&format!("good-{n}"), &["taken"]);
    }
    running.add("bad", &["refused"]);
    running.flush();
    until("everything is settled", || running.ledger.is_settled()).await;
    let gone = running.metric("promtail_dropped_entries_total", &[]);
    assert_eq!((running.sent(), gone), (31, 1));
}

#[tokio::test]
async fn one_refused_line_costs_its_neighbours_nothing_with_promtails_max_retries() {
    let loki = FakeLoki::start(|push, _| match push.lines().iter().any(|l| l.contains("poison")) {
        true => full(400, "", "no, and no reason either"),
        false => Reply::Status(204),
    });
    let mut config = config(&loki, "");
    config.backoff_config = crate::yaml::from_str("{min_period: 1ms, max_period: 20ms, max_retries: 10}").unwrap();
    let mut running = start(&config);
    let text: Vec<String> = (0..4000).map(|n| if n == 2345 { "poison".into() } else { format!("line {n}") }).collect();
    running.push("only", &text.iter().map(String::as_str).collect::<Vec<_>>());
    until("everything is settled", || running.ledger.is_settled()).await;
    let gone = running.metric("promtail_dropped_entries_total", &[]);
    assert_eq!((running.sent(), gone), (3999, 1));
}

#[tokio::test]
async fn a_stream_whose_retries_are_used_up_leaves_no_trouble_behind() {
    let well = Arc::new(AtomicBool::new(false));
    let switch = well.clone();
    let loki = FakeLoki::start(move |push, _| match names(push, "bad") && !switch.load(Ordering::Relaxed) {
        true => full(429, "", LIMIT),
        false => Reply::Status(204),
    });
    let mut config = config(&loki, "");
    config.backoff_config = crate::yaml::from_str("{min_period: 1ms, max_period: 20ms, max_retries: 5}").unwrap();
    let mut running = start(&config);
    running.add("good", &["taken"]);
    running.push("bad", &["refused"]);
    until("everything is settled", || running.ledger.is_settled()).await;
    well.store(true, Ordering::Relaxed);
    running.push("good", &["taken"]);
    running.push("bad", &["taken"]);
    running.settled().await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(running.status.report().state, "ok");
}

#[tokio::test]
async fn a_gateway_that_refuses_all_but_one_push_discards_nothing() {
    for until_push in [40, 100, 300] {
        let loki = FakeLoki::start(move |_, before| match before {
            1 => Reply::Status(204),
            n if n < until_push => full(400, "", "bad request"),
            _ => Reply::Status(204),
        });
        let mut running = start(&config(&loki, ""));
        running.add("g", &["g0"]);
        running.add("k", &["k0"]);
        running.add("g", &["g1"]);
        running.flush();
        running.add("g", &["g2"]);
        running.add("k", &["k1", "k2", "k3", "k4", "k5"]);
        running.flush();
        until("everything is settled", || running.ledger.is_settled()).await;
        let gone = running.metric("promtail_dropped_entries_total", &[]);
        assert_eq!(gone, 0, "{until_push}: {:?}", loki.stored());
    }
}

#[tokio::test]
async fn an_outage_while_a_refused_line_is_looked_for_discards_nothing_more() {
    let outage = Arc::new(AtomicUsize::new(0));
    let count = outage.clone();
    let loki = FakeLoki::start(move |push, before| {
        if push.lines().iter().any(|l| l.contains("poison")) {
            return full(400, "", "no");
        }
        if before > 1 && count.fetch_add(1, Ordering::Relaxed) < 100 {
            return full(400, "", "no");
        }
        Reply::Status(204)
    });
    let mut running = start(&config(&loki, ""));
    let text: Vec<String> = (0..300).map(|n| if n == 299 { "poison".into() } else { format!("line {n}") }).collect();
    running.push("only", &text.iter().map(String::as_str).collect::<Vec<_>>());
    let dropped = running.traffic_until_dropped().await;
    assert_eq!(dropped, 1, "only the poison");
}

#[tokio::test]
async fn what_is_set_apart_last_is_still_delivered() {
    let loki = FakeLoki::start(|push, before| match names(push, "bad") && before < 6 {
        true => full(429, "", LIMIT),
        false => Reply::Status(204),
    });
    let mut running = start(&config(&loki, ""));
    running.add("good", &["taken"]);
    running.push("bad", &["late"]);
    let running = running.finish().await;
    assert!(running.ledger.is_settled(), "{:?}", loki.stored());
}

#[tokio::test]
async fn retry_after_is_waited_for_though_another_batch_waits() {
    let times = Arc::new(Mutex::new(Vec::new()));
    let t = times.clone();
    let loki = FakeLoki::start(move |_, before| {
        t.lock().unwrap().push(Instant::now());
        match before {
            0 => full(503, "Retry-After: 2\r\n", "overloaded"),
            _ => Reply::Status(204),
        }
    });
    let mut running = start(&config(&loki, ""));
    running.push("a", &["one"]);
    running.push("a", &["two"]);
    running.settled().await;
    let times = times.lock().unwrap();
    assert!(times[1] - times[0] >= Duration::from_secs(2), "{:?}", times[1] - times[0]);
}

#[tokio::test]
async fn retry_after_is_waited_for_by_a_stream_that_is_set_apart() {
    let times = Arc::new(Mutex::new(Vec::new()));
    let t = times.clone();
    let loki = FakeLoki::start(move |push, _| {
        t.lock().unwrap().push(Instant::now());
        match names(push, "bad") {
            true => full(429, "Retry-After: 2\r\n", LIMIT),
            _ => Reply::Status(204),
        }
    });
    let mut running = start(&config(&loki, ""));
    running.push("bad", &["one"]);
    until("two", || loki.pushes().len() >= 2).await;
    let times = times.lock().unwrap();
    assert!(times[1] - times[0] >= Duration::from_secs(2), "{:?}", times[1] - times[0]);
}

#[tokio::test]
async fn a_stop_does_not_wait_for_turns() {
    let loki = FakeLoki::start(|push, _| match names(push, "bad") {
        true => full(429, "", LIMIT),
        false => Reply::Status(204),
    });
    let mut config = config(&loki, "");
    config.backoff_config = crate::yaml::from_str("{min_period: 500ms, max_period: 1s}").unwrap();
    let mut running = start(&config);
    for n in 0..30 {
        running.add(&format!("bad-{n}"), &["refused"]);
    }
    running.push("good", &["taken"]);
    until("all are apart", || running.status.refused_streams() == 30).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before = loki.pushes().len();
    running.stop.send(Stop::Drain).unwrap();
    let began = Instant::now();
    let _ = running.finish().await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?} {}", began.elapsed(), loki.pushes().len() - before);
}

#[tokio::test]
async fn a_stream_that_is_taken_again_does_not_wait_for_those_that_are_not() {
    let well = Arc::new(AtomicBool::new(false));
    let switch = well.clone();
    let loki = FakeLoki::start(move |push, _| {
        match names(push, "bad") || (names(push, "was") && !switch.load(Ordering::Relaxed)) {
            true => full(429, "", LIMIT),
            false => Reply::Status(204),
        }
    });
    let mut config = config(&loki, "");
    config.backoff_config = crate::yaml::from_str("{min_period: 50ms, max_period: 100ms}").unwrap();
    let mut running = start(&config);
    for n in 0..30 {
        running.add(&format!("bad-{n}"), &["refused"]);
    }
    running.push("was", &["0"]);
    until("all are apart", || running.status.refused_streams() == 31).await;
    for n in 1..8 {
        running.push("was", &[&n.to_string()]);
        until("lane has room", || running.batcher.outstanding() == 0).await;
    }
    well.store(true, Ordering::Relaxed);
    until("first", || !loki.stored().is_empty()).await;
    let began = Instant::now();
    until("the rest", || loki.stored().len() >= 8).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_tenant_that_is_blocked_is_not_parted_at_full_speed() {
    let body = "ingestion blocked for user fake until '2027-01-01T00:00:00Z' with status code '260'";
    let loki = FakeLoki::start(move |_, _| full(260, "", body));
    let mut config = config(&loki, "");
    config.backoff_config = crate::yaml::from_str("{min_period: 500ms, max_period: 5m}").unwrap();
    let mut running = start(&config);
    for n in 0..100 {
        running.add(&format!("s-{n}"), &["refused"]);
    }
    running.flush();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(loki.pushes().len() < 20, "{}", loki.pushes().len());
}

#[tokio::test]
async fn what_is_set_apart_is_waited_for_at_the_end() {
    let loki = FakeLoki::start(|push, before| match names(push, "bad") && before < 8 {
        true => full(429, "", LIMIT),
        false => Reply::Status(204),
    });
    let mut running = start(&config(&loki, ""));
    running.add("good", &["taken"]);
    running.push("bad", &["late"]);
    until("nothing is outstanding", || !running.batcher.has_on_its_way()).await;
    assert!(running.ledger.is_settled(), "the reader would end here, and the agent abort: {:?}", loki.stored());
}
