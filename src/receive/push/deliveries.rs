//! Remembers pushes that are being delivered, by a hash of their content. A sender without an answer in time sends the
//! same push again. It then waits for the first delivery, so that no line is taken twice. A delivered push is remembered
//! for a while, for a sender that did not get the answer.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Mutex as AsyncMutex;
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::scrape::Ticket;

/// The most pushes that are remembered or being delivered.
const MOST: usize = 4_096;

/// A hash of the content of a push.
pub(super) type Id = u128;

/// The progress of a push.
#[derive(Debug, Default)]
pub(super) struct Delivery {
    /// The tickets of the parcels that were handed in.
    pub tickets: Vec<Ticket>,
    /// The number of entries in these parcels.
    pub taken: usize,
    /// All entries were handed in, or dropped by a rule.
    pub is_whole: bool,
}

impl Delivery {
    /// Whether no part of it is being delivered. Its sender may send it again.
    fn is_over(&self) -> bool {
        self.tickets.iter().all(Ticket::is_settled)
    }
}

/// Shared by all requests with the same push. The request that holds the lock works on it.
pub(super) type Shared = Arc<AsyncMutex<Delivery>>;

#[derive(Debug)]
pub(super) struct Deliveries {
    /// The seed of the hash is random, so a sender cannot make a push that has the id of another.
    seed: u64,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    by_id: HashMap<Id, Shared>,
    /// Oldest first.
    order: VecDeque<Id>,
}

impl Deliveries {
    pub fn new() -> Self {
        Self { seed: RandomState::new().build_hasher().finish(), known: Mutex::default() }
    }

    /// Knows the pushes that are in a spool. `seed` is that of their ids.
    pub fn delivered(seed: u64, ids: Vec<Id>) -> Self {
        let deliveries = Self { seed, known: Mutex::default() };
        for id in ids {
            if let Some(Ok(mut delivery)) = deliveries.of(id).map(AsyncMutex::try_lock_owned) {
                delivery.is_whole = true;
            }
        }
        deliveries
    }

    /// `context` has everything that matters besides the body: the tenant, the form.
    pub fn id(&self, context: impl Hash, body: &[u8]) -> Id {
        let mut hasher = xxhash_rust::xxh3::Xxh3::with_seed(self.seed);
        context.hash(&mut hasher);
        xxh3_128_with_seed(body, hasher.finish())
    }

    /// The push with this id, or a new one. None: too many pushes are being delivered.
    pub fn of(&self, id: Id) -> Option<Shared> {
        let mut known = self.lock();
        if let Some(delivery) = known.by_id.get(&id) {
            return Some(delivery.clone());
        }
        if known.by_id.len() >= MOST {
            let is_over = |shared: &Shared| {
                Arc::strong_count(shared) == 1 && shared.try_lock().is_ok_and(|delivery| delivery.is_over())
            };
            let Known { by_id, order } = &mut *known;
            let at = order.iter().position(|id| by_id.get(id).is_none_or(is_over))?;
            if let Some(id) = order.remove(at) {
                by_id.remove(&id);
            }
        }
        let delivery = Shared::default();
        known.by_id.insert(id, delivery.clone());
        known.order.push_back(id);
        Some(delivery)
    }

    /// Forgets a push of which nothing was handed in, or that will never be committed.
    pub fn forget(&self, id: Id, delivery: &Shared) {
        let mut known = self.lock();
        if known.by_id.get(&id).is_some_and(|one| Arc::ptr_eq(one, delivery)) {
            known.by_id.remove(&id);
            known.order.retain(|other| *other != id);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_push_is_one_delivery_and_another_is_another() {
        let deliveries = Deliveries::new();
        let id = |context: &str, body: &str| deliveries.id(context, body.as_bytes());
        let first = deliveries.of(id("", "a")).expect("room");
        assert!(Arc::ptr_eq(&first, &deliveries.of(id("", "a")).expect("room")));
        for (context, body) in [("", "b"), ("t", "a")] {
            assert!(!Arc::ptr_eq(&first, &deliveries.of(id(context, body)).expect("room")));
        }
        deliveries.forget(id("", "a"), &first);
        assert!(!Arc::ptr_eq(&first, &deliveries.of(id("", "a")).expect("room")));
    }

    #[test]
    fn so_many_are_known_and_what_is_over_makes_room() {
        let deliveries = Deliveries::new();
        let held: Vec<Shared> = (0..MOST as Id).map(|id| deliveries.of(id).expect("room")).collect();
        assert!(deliveries.of(MOST as Id).is_none(), "somebody works on each of them");
        assert!(deliveries.of(7).is_some());
        drop(held);
        for id in MOST as Id..3 * MOST as Id {
            assert!(deliveries.of(id).is_some());
        }
        let known = deliveries.lock();
        assert_eq!((known.by_id.len(), known.order.len()), (MOST, MOST));
    }
}
