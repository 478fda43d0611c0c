use std::sync::mpsc::{Receiver as Answers, Sender as Questions, channel};

use super::*;

/// Adds numbers. The call for 0 hangs until the test lets it return.
struct Sum {
    sum: u64,
    todo: Vec<u64>,
    hanging: Vec<u64>,
    most: usize,
    begun: Questions<u64>,
    end: Option<Answers<()>>,
    waits: Arc<(Mutex<bool>, std::sync::Condvar)>,
}

impl Duty for Sum {
    type Outcome = u64;

    const NAME: &'static str = "sum";

    fn work(held: &mut Held<'_, Self>) -> Option<u64> {
        while let Some(number) = held.todo.pop() {
            held.begun.send(number).expect("heard");
            let end = if number == 0 { held.end.take() } else { None };
            let number = held.blocking(number, || end.map_or(number, |end| end.recv().map(|()| 1_000).unwrap_or(0)));
            held.sum += number;
            if !held.is_current() {
                return None;
            }
        }
        // Work is over when nothing hangs any more.
        while !held.hanging.is_empty() {
            let waits = held.waits.clone();
            held.wait(|| {
                let woken = waits.0.lock().expect("well");
                drop(waits.1.wait_while(woken, |woken| !*woken).expect("well"));
            });
        }
        Some(held.sum)
    }

    fn hangs(&mut self, subject: u64) -> bool {
        self.hanging.push(subject);
        self.hanging.len() <= self.most
    }

    fn returned(&mut self, subject: u64) {
        self.hanging.retain(|hanging| *hanging != subject);
    }

    fn wake(&self) {
        *self.waits.0.lock().expect("well") = true;
        self.waits.1.notify_all();
    }
}

fn sum(most: usize) -> (Arc<Supervised<Sum>>, Answers<u64>, Answers<u64>, Questions<()>) {
    let ((begun, heard), (let_go, end)) = (channel(), channel());
    let sum =
        Sum { sum: 0, todo: vec![3, 2, 0, 1], hanging: Vec::new(), most, begun, end: Some(end), waits: Arc::default() };
    let (sum, outcome) = Supervised::new(sum, || {});
    sum.start().expect("started");
    (sum, outcome, heard, let_go)
}

/// Checks until the thread is in the call that hangs and another check has found it there.
fn check(sum: &Arc<Supervised<Sum>>, seen: &mut Seen, is_enough: impl Fn(Found) -> bool) {
    let begun = Instant::now();
    while !is_enough(sum.clone().check(seen, Instant::now())) {
        assert!(begun.elapsed() < Duration::from_secs(20), "waited in vain");
        std::thread::yield_now();
    }
}

#[test]
fn another_thread_goes_on_and_the_first_one_adds_its_part() {
    let (sum, outcome, heard, let_go) = sum(1);
    let mut seen = Seen::new(Instant::now());
    assert_eq!([heard.recv(), heard.recv()], [Ok(1), Ok(0)]);
    let begun = Instant::now();
    let mut next = None;
    while next.is_none() {
        assert!(begun.elapsed() < Duration::from_secs(20), "nobody takes over");
        sum.clone().check(&mut seen, Instant::now());
        next = heard.try_recv().ok();
    }
    assert_eq!((next, heard.recv()), (Some(2), Ok(3)));
    assert!(outcome.try_recv().is_err(), "the call has not returned");
    let_go.send(()).expect("it waits");
    assert_eq!(outcome.recv(), Ok(1_006));
    check(&sum, &mut seen, |found| found == Found::Over);
}

#[test]
fn a_thread_that_must_not_be_replaced_is_said_to_stand_still() {
    let (sum, outcome, _heard, let_go) = sum(0);
    let mut seen = Seen::new(Instant::now());
    check(&sum, &mut seen, |found| matches!(found, Found::Still(time) if !time.is_zero()));
    // In this order: nobody wakes a thread that has begun to wait for the end of what hangs.
    sum.hold_as(u64::MAX).hanging.clear();
    let_go.send(()).expect("it waits");
    assert_eq!(outcome.recv(), Ok(1_006));
}

#[test]
fn a_call_that_goes_on_is_not_taken_for_hanging_until_it_stands_still() {
    let (sum, outcome, heard, let_go) = sum(1);
    let mut seen = Seen::new(Instant::now());
    assert_eq!([heard.recv(), heard.recv()], [Ok(1), Ok(0)]);
    let steps = sum.hold_as(u64::MAX).steps();
    for _ in 0..100 {
        steps.fetch_add(1, Ordering::Relaxed);
        sum.clone().check(&mut seen, Instant::now());
    }
    assert_eq!(sum.lock().thread, 0, "it was replaced");
    check(&sum, &mut seen, |_| sum.lock().thread == 1);
    let_go.send(()).expect("it waits");
    assert_eq!(outcome.recv(), Ok(1_006));
}
