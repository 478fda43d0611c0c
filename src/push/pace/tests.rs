use super::*;
use governor::clock::FakeRelativeClock;

struct World {
    paces: Paces<FakeRelativeClock>,
    clock: FakeRelativeClock,
    start: Instant,
    passed: Duration,
}

impl World {
    fn new(limits: &str) -> Self {
        let limits = crate::yaml::from_str(limits).expect(limits);
        let clock = FakeRelativeClock::default();
        let paces = Paces::with_clock(limits, 1 << 20, clock.clone());
        Self { paces, clock, start: Instant::now(), passed: Duration::ZERO }
    }

    fn now(&self) -> Instant {
        self.start + self.passed
    }

    fn pass(&mut self, time: Duration) {
        self.clock.advance(time);
        self.passed += time;
    }

    /// The MiB that stream 1 sends in this many seconds, if Loki accepts everything.
    fn sends(&mut self, seconds: u64) -> f64 {
        let (end, mut sent) = (self.passed + Duration::from_secs(seconds), 0);
        let mut unpaid = vec![None, Some(1)];
        while self.passed < end {
            let of = *unpaid.last().expect("it is refilled");
            match self.paces.charge(&None, of, 64 << 10, self.now()) {
                None if of.is_some() => drop(unpaid.pop()),
                None => {
                    unpaid.push(Some(1));
                    sent += 64 << 10;
                    let now = self.now();
                    self.paces.accepted(&None, Some(1), now);
                    self.pass(Duration::from_millis(1));
                }
                Some(wait) => self.pass(wait.min(end - self.passed)),
            }
        }
        f64::from(sent) / f64::from(MIB)
    }

    fn refused(&mut self, of: Limit, named: Option<u64>) -> u32 {
        let now = self.now();
        self.paces.refused(&None, Some(1), Refusal { of, named }, now)
    }
}

#[test]
fn what_the_user_wrote_is_kept_to() {
    let mut world =
        World::new("{per_stream_rate_limit: 1MB, per_stream_rate_limit_burst: 2MB, ingestion_rate_mb: 100}");
    let sent = world.sends(10);
    assert!((11.9..=12.1).contains(&sent), "{sent} MiB in 10 s at 1 MiB/s with a burst of 2 MiB");
    let mut world = World::new("{ingestion_rate_mb: 2, per_stream_rate_limit: 100MB}");
    let sent = world.sends(10);
    assert!((22.9..=23.1).contains(&sent), "{sent} MiB in 10 s at 2 MiB/s with a burst in proportion, 3 MiB");
}

#[test]
fn where_loki_takes_more_more_is_sent() {
    let mut world = World::new("{}");
    // The most that this test can send is 62.5 MiB/s.
    assert!(world.sends(5) > 250.0);
}

#[test]
fn a_refusal_sets_the_pace_to_what_it_names() {
    let mut world = World::new("{}");
    world.sends(1);
    assert_eq!(world.refused(Limit::Stream, Some(1 << 20)), 1 << 20);
    let sent = world.sends(10);
    assert!((9.8..=11.0).contains(&sent), "{sent} MiB in 10 s at 1 MiB/s");
    // Another stream of the tenant starts with the same limit.
    let now = world.now();
    let mut other = 0;
    while world.paces.charge(&None, Some(2), 64 << 10, now).is_none() {
        other += 64 << 10;
    }
    assert!(other <= 1 << 20, "{other}");
}

#[test]
fn a_refusal_that_names_nothing_means_the_default() {
    let mut world = World::new("{}");
    world.sends(1);
    assert_eq!(world.refused(Limit::Ingestion, None), 4 << 20);
    let sent = world.sends(10);
    assert!((39.0..=42.0).contains(&sent), "{sent} MiB in 10 s at 4 MiB/s");
}

#[test]
fn a_limit_that_is_shared_is_approached_from_below() {
    let mut world = World::new("{}");
    let full = world.refused(Limit::Ingestion, Some(4 << 20));
    // Answers to pushes that were in flight change nothing.
    assert_eq!(world.refused(Limit::Ingestion, Some(4 << 20)), full);
    world.pass(Duration::from_secs(2));
    assert_eq!(world.refused(Limit::Ingestion, Some(4 << 20)), full / 4 * 3);
    for _ in 0..100 {
        world.pass(Duration::from_secs(2));
        world.refused(Limit::Ingestion, Some(4 << 20));
    }
    assert_eq!(world.refused(Limit::Ingestion, Some(4 << 20)), LEAST);
    world.sends(300);
    assert_eq!(world.paces.tenant(&None, world.start).bucket.pace.terms.rate, full);
}

#[test]
fn a_stream_that_is_refused_again_and_again_does_not_slow_down_the_others() {
    let mut world = World::new("{}");
    world.sends(1);
    for _ in 0..100 {
        let now = world.now();
        let refusal = Refusal { of: Limit::Stream, named: Some(3 << 20) };
        world.paces.charge(&None, Some(2), 64 << 10, now);
        world.paces.refused(&None, Some(2), refusal, now);
        world.pass(Duration::from_secs(2));
    }
    assert_eq!(world.paces.tenants[&None].streams[&2].pace.terms.rate, LEAST);
    assert_eq!(world.paces.tenants[&None].stream.terms.rate, 3 << 20);
    assert!(world.sends(10) > 25.0);
}

#[test]
fn after_a_refusal_nothing_is_left_of_the_burst() {
    let mut world = World::new("{}");
    world.refused(Limit::Ingestion, Some(256 << 10));
    let now = world.now();
    let wait = world.paces.charge(&None, None, 1 << 20, now).expect("the bucket is empty");
    assert!(wait > Duration::from_millis(3_900), "{wait:?}");
}

#[test]
fn what_the_user_wrote_holds_again_when_a_refusal_is_long_ago() {
    let mut world = World::new("{per_stream_rate_limit: 100MB, ingestion_rate_mb: 10}");
    world.refused(Limit::Ingestion, Some(1 << 20));
    assert!(world.sends(10) < 11.0);
    world.pass(TRUE_FOR);
    assert!(world.sends(10) > 95.0);
}

#[test]
fn high_rates_are_kept_to_as_well() {
    let mut world = World::new("{ingestion_rate_mb: 200, ingestion_burst_size_mb: 1}");
    let (mut sent, end) = (0, Duration::from_secs(10));
    while world.passed < end {
        let now = world.now();
        match world.paces.charge(&None, None, 1 << 20, now) {
            None => sent += 1,
            Some(wait) => world.pass(wait),
        }
    }
    assert!((1_990..=2_010).contains(&sent), "{sent} MiB in 10 s at 200 MiB/s");
}

#[test]
fn a_named_limit_is_believed_for_a_while() {
    let mut world = World::new("{}");
    world.refused(Limit::Stream, Some(1 << 20));
    assert!(world.sends(10) < 11.5);
    world.pass(TRUE_FOR);
    assert!(world.sends(10) > 100.0);
}

#[test]
fn tenants_and_streams_made_of_lines_do_not_add_up() {
    let mut world = World::new("{}");
    for n in 0..10 * MANY as u64 {
        let (tenant, now) = (Some(Arc::from(n.to_string())), world.now());
        world.paces.charge(&tenant, None, 100, now);
        world.paces.charge(&None, Some(n), 100, now);
        world.pass(Duration::from_secs(3));
    }
    assert!(world.paces.tenants.len() <= MANY + 1, "{}", world.paces.tenants.len());
    assert!(world.paces.tenants[&None].streams.len() <= MANY + 1);
}

#[test]
fn a_limit_that_was_named_is_not_forgotten_because_of_other_tenants() {
    let mut world = World::new("{}");
    world.refused(Limit::Stream, Some(1 << 20));
    for n in 0..5 * MANY as u64 {
        let (tenant, now) = (Some(Arc::from(n.to_string())), world.now());
        world.paces.charge(&tenant, None, 100, now);
        world.pass(Duration::from_millis(50));
    }
    assert!(world.paces.tenants.len() < 3 * MANY, "{}", world.paces.tenants.len());
    assert!(world.sends(10) < 11.5);
}

#[test]
fn what_would_never_get_through_is_refused() {
    for limits in [
        "{per_stream_rate_limit: 1KB}",
        "{ingestion_rate_mb: 0}",
        "{ingestion_rate_mb: .nan}",
        "{ingestion_burst_size_mb: -1}",
    ] {
        let limits: RateLimits = crate::yaml::from_str(limits).expect(limits);
        assert!(limits.validate().is_err(), "{limits:?}");
    }
    assert_eq!(RateLimits::default().validate(), Ok(()));
}

#[test]
fn tenants_and_streams_without_end_are_not_all_remembered() {
    let World { mut paces, start, .. } = World::new("{}");
    for n in 0..5 * MOST as u64 {
        // Some arrive at the same time.
        let now = start + Duration::from_micros(n / 3);
        paces.charge(&Some(format!("t{n}").into()), Some(n), 10, now);
        paces.charge(&None, Some(n), 10, now);
        assert!(paces.tenants.len() <= MOST + 1 && paces.tenants[&None].streams.len() <= MOST + 1, "{n}");
    }
    // The last ones are kept.
    assert!(paces.tenants.contains_key(&Some(format!("t{}", 5 * MOST - 1).into())));
    let last = 5 * MOST as u64 - MOST as u64 / 4..5 * MOST as u64;
    assert!(last.into_iter().all(|n| paces.tenants[&None].streams.contains_key(&n)));
}

#[test]
fn streams_that_were_busy_once_are_forgotten_while_others_send() {
    let mut world = World::new("{}");
    for n in 0..3 * MANY as u64 {
        let now = world.now();
        world.paces.charge(&None, Some(n), 100, now);
    }
    assert_eq!(world.paces.tenants[&None].streams.len(), 3 * MANY);
    for _ in 0..2 {
        world.pass(RECOVERY);
        let now = world.now();
        world.paces.charge(&None, None, 100, now);
    }
    let streams = &world.paces.tenants[&None].streams;
    assert_eq!((streams.len(), streams.capacity()), (0, 0));
}
