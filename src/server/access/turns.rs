//! Decides whose password is checked next. Only one check runs at a time, so guesses use at most one core. Addresses
//! take turns, so guesses from one address delay another address by at most one check.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

use super::lock;

/// The most checks of one address that may run or wait.
const EACH: usize = 4;
/// The most checks of all addresses. With hashes of cost 10, the last one waits about 2 s.
const ALL: usize = 32;

#[derive(Default)]
pub(super) struct Turns(Mutex<State>);

#[derive(Default)]
struct State {
    /// Whether a check runs.
    taken: bool,
    /// Waiting checks in order of arrival. At most [`ALL`].
    waiting: Vec<(IpAddr, oneshot::Sender<Turn>)>,
    /// Addresses with at least one check.
    addresses: BTreeMap<IpAddr, Address>,
    /// Counts arrivals of addresses, and turns.
    clock: u64,
}

struct Address {
    places: usize,
    /// The clock at the address's last turn, or at its arrival.
    since: u64,
}

/// The right to run a check, now or later. At most [`ALL`] exist.
pub(super) struct Place {
    turns: Arc<Turns>,
    peer: IpAddr,
}

/// The right to run a check now. Dropping it gives the turn to the next check.
pub(super) struct Turn {
    turns: Arc<Turns>,
    peer: IpAddr,
}

impl Turns {
    /// None: the address, or all addresses together, have too many checks.
    pub(super) fn place(self: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        let mut state = lock(&self.0);
        let taken: usize = state.addresses.values().map(|address| address.places).sum();
        if taken >= ALL || state.addresses.get(&peer).is_some_and(|own| own.places >= EACH) {
            return None;
        }
        state.clock += 1;
        let since = state.clock;
        state.addresses.entry(peer).or_insert(Address { places: 0, since }).places += 1;
        Some(Place { turns: self.clone(), peer })
    }

    /// The next check: the first one of the address that has waited longest.
    fn next(&self, done: IpAddr) -> Option<(IpAddr, oneshot::Sender<Turn>)> {
        let state = &mut *lock(&self.0);
        state.clock += 1;
        if let Some(own) = state.addresses.get_mut(&done) {
            own.since = state.clock;
        }
        let since = |peer: &IpAddr| state.addresses.get(peer).map_or(0, |address| address.since);
        let next = state.waiting.iter().enumerate().min_by_key(|(_, (peer, _))| since(peer)).map(|(at, _)| at);
        state.taken = next.is_some();
        next.map(|at| state.waiting.remove(at))
    }
}

impl Place {
    /// Waits for this check's turn. None only if the runtime ends.
    pub(super) async fn turn(&self) -> Option<Turn> {
        let turn = {
            let mut state = lock(&self.turns.0);
            if !state.taken {
                state.taken = true;
                return Some(Turn { turns: self.turns.clone(), peer: self.peer });
            }
            let (give, turn) = oneshot::channel();
            state.waiting.push((self.peer, give));
            turn
        };
        turn.await.ok()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = lock(&self.turns.0);
        if let Some(own) = state.addresses.get_mut(&self.peer) {
            own.places -= 1;
            if own.places == 0 {
                state.addresses.remove(&self.peer);
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some((peer, give)) = self.turns.next(self.peer) {
            // If the receiver is gone, the turn is dropped and passes on.
            let _ = give.send(Turn { turns: self.turns.clone(), peer });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u8) -> IpAddr {
        [10, 0, 0, n].into()
    }

    /// Queues checks from `peers` in this order, and returns the order of their turns.
    async fn order(peers: &[u8]) -> Vec<u8> {
        let turns = Arc::new(Turns::default());
        let first = turns.place(address(peers[0])).expect("a place");
        let turn = first.turn().await.expect("it is free");
        let served = Arc::new(Mutex::new(vec![peers[0]]));
        let mut tasks = Vec::new();
        for peer in &peers[1..] {
            let (place, served, peer) = (turns.place(address(*peer)).expect("a place"), served.clone(), *peer);
            tasks.push(tokio::spawn(async move {
                let turn = place.turn().await.expect("a turn");
                lock(&served).push(peer);
                drop(turn);
                // A check of a wrong password keeps its place.
                std::future::pending::<()>().await;
                drop(place);
            }));
            // Lets all earlier checks start to wait.
            tokio::task::yield_now().await;
        }
        drop(turn);
        while lock(&served).len() < peers.len() {
            tokio::task::yield_now().await;
        }
        tasks.iter().for_each(|task| task.abort());
        lock(&served).clone()
    }

    #[tokio::test]
    async fn one_address_delays_another_by_one_check() {
        for (came, expected) in [
            (vec![1, 1, 1, 1, 2], vec![1, 2, 1, 1, 1]),
            (vec![1, 1, 1, 2, 2, 2, 3], vec![1, 2, 3, 1, 2, 1, 2]),
            (vec![1, 2, 2, 2, 2, 1, 3], vec![1, 2, 3, 1, 2, 2, 2]),
            (vec![1, 1, 1], vec![1, 1, 1]),
        ] {
            assert_eq!(order(&came).await, expected, "{came:?}");
        }
    }

    #[tokio::test]
    async fn who_does_not_wait_any_more_is_passed_over() {
        let turns = Arc::new(Turns::default());
        let places: Vec<_> = (0..4).map(|n| turns.place(address(n)).expect("a place")).collect();
        let turn = places[0].turn().await;
        for gone in &places[1..3] {
            let mut waits = Box::pin(gone.turn());
            let waker = std::task::Waker::noop();
            assert!(waits.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_pending());
        }
        drop(turn);
        assert!(places[3].turn().await.is_some());
        assert!(turns.place(address(9)).expect("a place").turn().await.is_some(), "and it is free again");
    }

    #[test]
    fn places_are_few() {
        let turns = Arc::new(Turns::default());
        let own: Vec<_> = (0..EACH).map(|_| turns.place(address(0)).expect("a place")).collect();
        assert!(turns.place(address(0)).is_none());
        let all: Vec<_> = (1..).map_while(|n| turns.place(address(n))).collect();
        assert_eq!(own.len() + all.len(), ALL);
        drop(own);
        assert!(turns.place(address(0)).is_some());
    }
}
