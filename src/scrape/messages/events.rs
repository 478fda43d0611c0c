//! The queue of events for the target manager: from discovery, the file watch, the readers and stop requests.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::{Event, StopRequest};
use crate::model::Update;
use crate::scrape::given::GivenSource;
use crate::scrape::watch::Heard;

/// The most updates from discovery that may wait. Beyond that discovery waits.
const UPDATES: usize = 1024;

/// The most file names that may wait. Beyond that all paths are checked, which costs less.
const NAMES: usize = 4096;

#[derive(Debug)]
pub(in crate::scrape) struct Events {
    told: Mutex<Told>,
    is_told: Condvar,
    room: Semaphore,
}

/// Pending events. Updates and names are bounded by number. Of all others there is at most one per reader and log.
#[derive(Debug, Default)]
struct Told {
    stop: Option<StopRequest>,
    updates: VecDeque<Update>,
    finished: BTreeSet<(usize, u64)>,
    names: BTreeSet<PathBuf>,
    everything: bool,
    stopped: BTreeSet<usize>,
    /// By number: a source to give, or None to take it back.
    sources: BTreeMap<u64, Option<Arc<GivenSource>>>,
    /// Take names next, if there are updates as well.
    names_next: bool,
}

impl Default for Events {
    fn default() -> Self {
        Self { told: Mutex::default(), is_told: Condvar::new(), room: Semaphore::new(UPDATES) }
    }
}

impl Events {
    /// Never blocks.
    pub fn send(&self, event: Event) {
        let mut told = self.lock();
        match event {
            Event::Update(update) => told.updates.push_back(update),
            Event::Heard(Heard::Everything) => told.hear_everything(),
            Event::Heard(Heard::Names(_)) if told.everything => {}
            Event::Heard(Heard::Names(names)) => {
                told.names.extend(names);
                if told.names.len() > NAMES {
                    told.hear_everything();
                }
            }
            Event::Finished { reader, log } => drop(told.finished.insert((reader, log))),
            Event::Stopped { reader } => drop(told.stopped.insert(reader)),
            Event::Stop(ending) => told.stop = Some(ending.and(told.stop)),
            Event::Give(id, source) => drop(told.sources.insert(id, Some(source))),
            Event::TakeBack(id) => told.take_back(id),
        }
        self.is_told.notify_one();
    }

    /// Returns the next event, or None after waiting `at_most`.
    pub fn next(&self, at_most: Duration) -> Option<Event> {
        let deadline = Instant::now() + at_most;
        let mut told = self.lock();
        loop {
            if let Some(event) = told.next() {
                if matches!(event, Event::Update(_)) && self.room.available_permits() < UPDATES {
                    self.room.add_permits(1);
                }
                return Some(event);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            told = self.is_told.wait_timeout(told, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    /// A source that no reader has yet is forgotten, unless it is an intake's: its records must be read.
    fn take_back(&mut self, id: u64) {
        match self.sources.get(&id) {
            Some(Some(source)) if source.position.is_some() => drop(self.sources.remove(&id)),
            Some(Some(_)) => {}
            _ => drop(self.sources.insert(id, None)),
        }
    }

    fn hear_everything(&mut self) {
        self.everything = true;
        self.names = BTreeSet::new();
    }

    /// Returns events that cannot repeat without end first, so they are handled whatever else happens. A reader counts
    /// as stopped after all its earlier events were taken. Then updates and names take turns, because either may never
    /// end.
    fn next(&mut self) -> Option<Event> {
        if let Some(ending) = self.stop.take() {
            return Some(Event::Stop(ending));
        }
        if let Some((id, source)) = self.sources.pop_first() {
            return Some(source.map_or(Event::TakeBack(id), |source| Event::Give(id, source)));
        }
        if let Some((reader, log)) = self.finished.pop_first() {
            return Some(Event::Finished { reader, log });
        }
        if let Some(reader) = self.stopped.pop_first() {
            return Some(Event::Stopped { reader });
        }
        self.names_next = !self.names_next;
        match self.names_next {
            true => self.heard().or_else(|| self.updates.pop_front().map(Event::Update)),
            false => self.updates.pop_front().map(Event::Update).or_else(|| self.heard()),
        }
    }

    fn heard(&mut self) -> Option<Event> {
        if std::mem::take(&mut self.everything) {
            return Some(Event::Heard(Heard::Everything));
        }
        let names = std::mem::take(&mut self.names);
        (!names.is_empty()).then(|| Event::Heard(Heard::Names(names.into_iter().collect())))
    }
}

/// The channel for updates from discovery.
#[derive(Clone, Debug)]
pub struct Updates(pub(in crate::scrape) Arc<Events>);

impl Updates {
    /// Waits while too many updates are pending, so discovery is no faster than the handling of its updates.
    pub async fn tell(&self, update: Update) {
        // The semaphore is never closed.
        if let Ok(permit) = self.0.room.acquire().await {
            permit.forget();
        }
        self.0.send(Event::Update(update));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TargetGroup;

    fn all(events: &Events) -> Vec<Event> {
        std::iter::from_fn(|| events.next(Duration::ZERO)).collect()
    }

    fn stop(seconds: u64) -> Event {
        Event::Stop(StopRequest { within: Duration::from_secs(seconds), reads_on: true })
    }

    fn names(range: std::ops::Range<usize>) -> Event {
        Event::Heard(Heard::Names(range.map(|n| format!("/logs/{n}").into()).collect()))
    }

    #[test]
    fn what_is_told_often_is_kept_once() {
        let events = Events::default();
        for _ in 0..1_000 {
            events.send(names(0..2));
            events.send(Event::Finished { reader: 1, log: 7 });
            events.send(stop(25));
        }
        events.send(stop(0));
        events.send(stop(9));
        let told = [stop(0), Event::Finished { reader: 1, log: 7 }, names(0..2)];
        assert_eq!(all(&events), told);
    }

    #[test]
    fn more_names_than_can_wait_become_a_look_at_everything() {
        let events = Events::default();
        for n in 0..NAMES {
            events.send(names(n..n + 1));
        }
        assert_eq!(all(&events), [names_sorted(NAMES)]);
        for n in 0..3 * NAMES {
            events.send(names(n..n + 1));
        }
        assert_eq!(all(&events), [Event::Heard(Heard::Everything)]);
        events.send(names(0..1));
        assert_eq!(all(&events), [names(0..1)]);
    }

    fn names_sorted(count: usize) -> Event {
        let sorted: BTreeSet<PathBuf> = (0..count).map(|n| format!("/logs/{n}").into()).collect();
        Event::Heard(Heard::Names(sorted.into_iter().collect()))
    }

    #[test]
    fn who_is_never_silent_keeps_nobody_from_being_heard() {
        let events = Events::default();
        let update = || Event::Update(Update::Synced { job: "job".into() });
        events.send(Event::Stopped { reader: 0 });
        events.send(Event::Finished { reader: 0, log: 1 });
        let mut taken = Vec::new();
        for n in 0..6 {
            events.send(names(n..n + 1));
            events.send(update());
            taken.extend(events.next(Duration::ZERO));
        }
        assert_eq!(taken[..2], [Event::Finished { reader: 0, log: 1 }, Event::Stopped { reader: 0 }]);
        let updates = taken.iter().filter(|event| **event == update()).count();
        let heard = taken.iter().filter(|event| matches!(event, Event::Heard(_))).count();
        assert_eq!((updates, heard), (2, 2), "{taken:?}");
    }

    #[tokio::test]
    async fn discovery_waits_while_too_much_of_it_waits() {
        let events = Arc::new(Events::default());
        let updates = Updates(events.clone());
        let update = |n: usize| Update::Group { job: "job".into(), group: TargetGroup::gone(n.to_string()) };
        for n in 0..UPDATES {
            updates.tell(update(n)).await;
        }
        let mut one_more = std::pin::pin!(updates.tell(update(UPDATES)));
        assert!(futures::poll!(&mut one_more).is_pending());
        assert_eq!(events.next(Duration::ZERO), Some(Event::Update(update(0))), "the oldest first");
        one_more.await;
        assert_eq!(all(&events).len(), UPDATES);
        assert_eq!(events.room.available_permits(), UPDATES);
    }

    #[test]
    fn a_source_that_is_taken_back_before_it_was_given_is_not_given() {
        let source = |position: Option<&str>| {
            let open = |_| Err(std::io::Error::other("not opened"));
            let name = ("job".into(), "name".into());
            Arc::new(GivenSource::new(name, Default::default(), position.map(Into::into), open))
        };
        let events = Events::default();
        events.send(Event::Give(1, source(Some("cursor"))));
        events.send(Event::Give(2, source(None)));
        (1..=3).for_each(|id| events.send(Event::TakeBack(id)));
        // The records of an intake have no other place, so its source is read to its end.
        assert_eq!(all(&events), [Event::Give(2, source(None)), Event::TakeBack(3)]);
    }
}
