//! A limit on the memory of all requests that are being worked on.
//!
//! All requests share a pool. A request that finds the pool empty waits for its *turn*: the requests wait in the order
//! in which they came, and one at a time has the turn until it is done. That request takes its memory from a reserve
//! that is large enough for any request, so it never waits for another one. So requests that all hold a part of the
//! pool cannot block each other.
//!
//! The requests of one address have half of the pool at most. So one that sends many requests slowly, or never to their end,
//! leaves the other half to the others.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

/// Bytes per permit.
const UNIT: usize = 1 << 10;

#[derive(Debug)]
pub struct Budget {
    pool: Arc<Semaphore>,
    turn: Arc<Semaphore>,
    /// The units of the pool that the requests of each address have.
    taken: Mutex<HashMap<IpAddr, usize>>,
    /// The most of them, in units.
    share: usize,
    /// The most that one request may have, in units. The reserve has as much.
    most: usize,
}

/// Why a reservation cannot grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// Other requests have the memory. The request has to wait for its turn.
    Busy,
    /// It is more than one request may have.
    TooLarge,
}

impl Budget {
    /// `pool` bytes for all requests, and `most` bytes for the one that has the turn.
    pub fn new(pool: usize, most: usize) -> Self {
        let units = |bytes: usize| bytes.div_ceil(UNIT).clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        let (taken, share) = (Mutex::default(), units(pool).div_ceil(2));
        let (pool, turn) = (Arc::new(Semaphore::new(units(pool))), Arc::new(Semaphore::new(1)));
        Self { pool, turn, taken, share, most: units(most) }
    }

    /// A reservation of nothing yet, for a request of the address `peer`. It waits for its turn for at most `patience` in all.
    pub fn reserve(self: &Arc<Self>, peer: IpAddr, patience: Duration) -> Reservation {
        Reservation { budget: self.clone(), peer, pooled: None, turn: None, units: 0, patience }
    }

    /// Takes units of the pool for a request of `peer`. None: it has its share, or the pool is empty.
    fn take(&self, peer: IpAddr, units: usize) -> Option<OwnedSemaphorePermit> {
        let mut taken = self.taken();
        let of_peer = taken.get(&peer).copied().unwrap_or_default() + units;
        if of_peer > self.share {
            return None;
        }
        // At most `share` units, which fit into the number of permits.
        let permit = self.pool.clone().try_acquire_many_owned(units as u32).ok()?;
        taken.insert(peer, of_peer);
        Some(permit)
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Memory that a request may use. It is given back when this is dropped.
#[derive(Debug)]
pub struct Reservation {
    budget: Arc<Budget>,
    peer: IpAddr,
    pooled: Option<OwnedSemaphorePermit>,
    turn: Option<OwnedSemaphorePermit>,
    units: usize,
    /// How long it may still wait.
    patience: Duration,
}

impl Reservation {
    /// Makes it at least this many bytes.
    pub fn grow_to(&mut self, bytes: usize) -> Result<(), Full> {
        let units = bytes.div_ceil(UNIT);
        if units > self.budget.most {
            return Err(Full::TooLarge);
        }
        let Some(more) = units.checked_sub(self.units).filter(|more| *more > 0) else { return Ok(()) };
        if self.turn.is_none() {
            let permit = self.budget.take(self.peer, more).ok_or(Full::Busy)?;
            match &mut self.pooled {
                Some(pooled) => pooled.merge(permit),
                None => self.pooled = Some(permit),
            }
        }
        self.units = units;
        Ok(())
    }

    /// Like [`grow_to`](Self::grow_to), and waits if other requests have the memory.
    pub async fn wait_and_grow_to(&mut self, bytes: usize) -> Result<(), Full> {
        match self.grow_to(bytes) {
            Err(Full::Busy) => self.wait().await.and_then(|()| self.grow_to(bytes)),
            outcome => outcome,
        }
    }

    /// Waits until this request has the turn. Afterwards no growth is [`Full::Busy`].
    pub async fn wait(&mut self) -> Result<(), Full> {
        if self.turn.is_none() {
            let begun = Instant::now();
            let turn = timeout(self.patience, self.budget.turn.clone().acquire_owned()).await;
            self.patience = self.patience.saturating_sub(begun.elapsed());
            self.turn = Some(turn.ok().and_then(Result::ok).ok_or(Full::Busy)?);
        }
        Ok(())
    }

    /// Gives the reservation away, and keeps one of nothing.
    pub fn hand_over(&mut self) -> Reservation {
        let nothing = self.budget.reserve(self.peer, Duration::ZERO);
        std::mem::replace(self, nothing)
    }

    pub fn has_turn(&self) -> bool {
        self.turn.is_some()
    }

    /// How long the request may still wait, for this or for anything else.
    pub fn patience(&self) -> Duration {
        self.patience
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let Some(units) = self.pooled.as_ref().map(OwnedSemaphorePermit::num_permits) else { return };
        let mut taken = self.budget.taken();
        if let Some(of_peer) = taken.get_mut(&self.peer) {
            *of_peer -= units;
            if *of_peer == 0 {
                taken.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(8);
    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const OTHER: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);

    #[tokio::test]
    async fn requests_of_one_address_leave_half_of_the_pool_to_others() {
        let budget = Arc::new(Budget::new(10 << 10, 20 << 10));
        let mut slow: Vec<_> = (0..5).map(|_| budget.reserve(ONE, PATIENCE)).collect();
        slow.iter_mut().for_each(|one| assert_eq!(one.grow_to(1 << 10), Ok(())));
        assert_eq!(
            (slow[0].grow_to(2 << 10), budget.reserve(ONE, PATIENCE).grow_to(1)),
            (Err(Full::Busy), Err(Full::Busy))
        );
        let mut other = budget.reserve(OTHER, PATIENCE);
        assert_eq!((other.grow_to(5 << 10), other.grow_to(6 << 10)), (Ok(()), Err(Full::Busy)));
        // Nobody waits for the slow ones: each can have the turn.
        assert_eq!(other.wait_and_grow_to(20 << 10).await, Ok(()));
        let held = other.hand_over();
        assert_eq!(other.wait_and_grow_to(20 << 10).now_or_never(), None, "the turn is given away");
        drop((held, slow));
        assert_eq!((budget.pool.available_permits(), budget.taken().len()), (10, 0));
    }

    #[tokio::test]
    async fn what_one_has_another_has_not() {
        let third = IpAddr::from([10, 0, 0, 1]);
        let budget = Arc::new(Budget::new(10 << 10, 10 << 10));
        let [mut first, mut second, mut third] = [ONE, OTHER, third].map(|peer| budget.reserve(peer, PATIENCE));
        for (bytes, want) in [(1, Ok(())), (4 << 10, Ok(())), (3 << 10, Ok(())), ((10 << 10) + 1, Err(Full::TooLarge))]
        {
            assert_eq!(first.grow_to(bytes), want, "{bytes}");
        }
        assert_eq!(second.grow_to(3 << 10), Ok(()));
        assert_eq!(third.grow_to(4 << 10), Err(Full::Busy));
        assert_eq!(third.grow_to(3 << 10), Ok(()));
        drop(first);
        assert_eq!(third.grow_to(5 << 10), Ok(()));
        drop((second, third));
        assert_eq!(budget.pool.available_permits(), 10);
    }

    /// Each of them holds a part, and all of them need more: they finish one after the other, in their order.
    #[tokio::test(start_paused = true)]
    async fn requests_that_all_hold_a_part_finish_in_turn() {
        let budget = Arc::new(Budget::new(10 << 10, 20 << 10));
        let mut all: Vec<_> = (0..5).map(|n| budget.reserve([10, 0, 0, n].into(), PATIENCE)).collect();
        all.iter_mut().for_each(|one| assert_eq!(one.grow_to(2 << 10), Ok(())));
        let mut waiting: Vec<_> = all
            .into_iter()
            .map(|mut one| {
                Box::pin(async move {
                    let grown = one.wait_and_grow_to(20 << 10).await;
                    (one, grown)
                })
            })
            .collect();
        let mut done = Vec::new();
        waiting.iter_mut().for_each(|one| done.extend(one.as_mut().now_or_never()));
        assert!(matches!(done[..], [(_, Ok(()))]), "the first has the turn, and the others wait");
        for rest in 1..waiting.len() {
            done.clear();
            let (mut one, grown) = waiting[rest].as_mut().now_or_never().expect("it is next");
            assert_eq!((grown, one.grow_to((20 << 10) + 1)), (Ok(()), Err(Full::TooLarge)));
            assert!(waiting.get_mut(rest + 1).is_none_or(|next| next.as_mut().now_or_never().is_none()));
            done.push((one, grown));
        }
        drop(done);
        assert_eq!((budget.pool.available_permits(), budget.turn.available_permits()), (10, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_longer_than_its_patience() {
        let budget = Arc::new(Budget::new(1 << 10, 4 << 10));
        let (mut first, mut second) = (budget.reserve(ONE, PATIENCE), budget.reserve(ONE, PATIENCE));
        assert_eq!(first.wait_and_grow_to(4 << 10).await, Ok(()));
        let begun = Instant::now();
        assert_eq!(second.wait_and_grow_to(2 << 10).await, Err(Full::Busy));
        assert_eq!((begun.elapsed().as_secs(), second.patience()), (PATIENCE.as_secs(), Duration::ZERO));
        // Whoever fits into the pool does not wait for the turn.
        assert_eq!(second.wait_and_grow_to(1 << 10).await, Ok(()));
    }
}
