//! A limit on the memory of all requests that are being worked on.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes per permit.
const UNIT: usize = 1 << 10;

#[derive(Debug)]
pub(super) struct Budget {
    permits: Arc<Semaphore>,
    /// In units.
    all: usize,
}

/// Why a reservation cannot grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// Other requests have the memory. It may be there later.
    Busy,
    /// It is more than the whole budget.
    TooLarge,
}

impl Budget {
    pub fn new(bytes: usize) -> Self {
        let all = bytes.div_ceil(UNIT).clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        Self { permits: Arc::new(Semaphore::new(all)), all }
    }

    /// A reservation of nothing yet.
    pub fn reserve(self: &Arc<Self>) -> Reservation {
        Reservation { budget: self.clone(), held: Vec::new(), units: 0 }
    }
}

/// Memory that a request may use. It is given back when this is dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    budget: Arc<Budget>,
    held: Vec<OwnedSemaphorePermit>,
    units: usize,
}

impl Reservation {
    /// Makes it at least this many bytes.
    pub fn grow_to(&mut self, bytes: usize) -> Result<(), Full> {
        let units = bytes.div_ceil(UNIT);
        if units > self.budget.all {
            return Err(Full::TooLarge);
        }
        let Some(more) = units.checked_sub(self.units).filter(|more| *more > 0) else { return Ok(()) };
        // Within the whole budget, so it fits into the number of permits.
        let permit = self.budget.permits.clone().try_acquire_many_owned(more as u32).map_err(|_| Full::Busy)?;
        self.units = units;
        match self.held.last_mut() {
            Some(held) => held.merge(permit),
            None => self.held.push(permit),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_has_another_has_not() {
        let budget = Arc::new(Budget::new(10 << 10));
        let (mut first, mut second) = (budget.reserve(), budget.reserve());
        for (bytes, want) in [(1, Ok(())), (6 << 10, Ok(())), (3 << 10, Ok(())), ((10 << 10) + 1, Err(Full::TooLarge))]
        {
            assert_eq!(first.grow_to(bytes), want, "{bytes}");
        }
        assert_eq!(second.grow_to(5 << 10), Err(Full::Busy));
        assert_eq!(second.grow_to(4 << 10), Ok(()));
        drop(first);
        assert_eq!(second.grow_to(10 << 10), Ok(()));
        drop(second);
        assert_eq!(budget.permits.available_permits(), budget.all);
    }
}
