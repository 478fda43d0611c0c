//! Whose password is checked next. There is one check at a time, so that guesses take one core at most. Addresses take
//! turns: what one of them guesses delays another by one check.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

use super::lock;

/// Checks that one address may have under way.
const EACH: usize = 4;
/// And all addresses: with cost 10, who is the last to wait does so for about 2 s.
const ALL: usize = 32;

#[derive(Default)]
pub(super) struct Turns(Mutex<State>);

#[derive(Default)]
struct State {
    /// Somebody has the turn.
    taken: bool,
    /// Those of one address in the order in which they came. At most [`ALL`].
    waiting: Vec<(IpAddr, oneshot::Sender<Turn>)>,
    /// Addresses that have a place.
    addresses: BTreeMap<IpAddr, Address>,
    /// Counts arrivals of addresses, and turns.
    clock: u64,
}

struct Address {
    places: usize,
    /// When it had its last turn, or came.
    since: u64,
}

/// One of the checks that may be under way.
pub(super) struct Place {
    turns: Arc<Turns>,
    peer: IpAddr,
}

/// Gives way to the next when it is dropped.
pub(super) struct Turn {
    turns: Arc<Turns>,
    peer: IpAddr,
}

impl Turns {
    /// None: the address has too many places, or all have.
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

    /// The one whose address waits for longest.
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
    /// Waits until it is this one's turn. None only if the runtime ends.
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
            // Whoever does not wait any more drops it, and it goes to the next.
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

    /// Lets those who come, in this order, wait behind a first of `peers[0]`, and says in which order they had their turns.
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
                // A wrong one keeps its place.
                std::future::pending::<()>().await;
                drop(place);
            }));
            // All before it wait.
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
