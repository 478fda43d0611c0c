//! `basic_auth_users`: checks users and passwords.
//!
//! A bcrypt check takes 50 ms or more, by design. So checks run one at a time, on their own thread, and for each user
//! the last correct password is remembered as a SHA-256 salted with the hash. Probes and scrapes therefore need no
//! bcrypt and never wait, however many clients guess passwords. A check is completed even if its client disconnects, so
//! a client with a short timeout succeeds the next time.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

use super::lock;
use super::turns::{Place, Turns};
use crate::model::AbortOnPanic;

/// A check with cost 14 takes more than a second. Each further step doubles the time.
const HIGHEST_COST: u32 = 14;

/// The minimum time until a wrong password is answered. The check keeps its place during this time.
const WRONG: Duration = Duration::from_secs(1);

pub(in super::super) struct Users {
    users: BTreeMap<String, User>,
    turns: Arc<Turns>,
}

#[derive(Clone)]
struct User {
    hash: String,
    /// The salted SHA-256 of the last correct password.
    right: Arc<Mutex<Option<[u8; 32]>>>,
}

impl User {
    fn remembers(&self, password: &[u8]) -> bool {
        lock(&self.right).is_some_and(|right| same(&right, &digest(&self.hash, password)))
    }
}

#[derive(Debug, PartialEq)]
pub(in super::super) enum Verdict {
    Right,
    Wrong,
    /// There are too many checks.
    Later,
}

impl Users {
    /// Users with the same hash as in `before` keep their remembered passwords and their running checks.
    pub(super) fn new(hashes: &BTreeMap<String, String>, before: Option<&Self>) -> Result<Self, String> {
        let mut users = BTreeMap::new();
        for (name, hash) in hashes {
            let wrong = |what: &str| format!("basic_auth_users: {name}: {what}");
            let parts: bcrypt::HashParts = hash.parse().map_err(|_| {
                wrong("is not a bcrypt hash: write the text that `htpasswd -nBC 10 NAME` prints after the colon")
            })?;
            if parts.get_cost() > HIGHEST_COST {
                return Err(wrong("the cost of the hash is above 14, so a check would take seconds: use 10"));
            }
            let same = before.and_then(|before| before.users.get(name)).filter(|user| user.hash == *hash);
            let new = || User { hash: hash.clone(), right: Arc::default() };
            users.insert(name.clone(), same.cloned().unwrap_or_else(new));
        }
        let turns = before.map_or_else(Arc::default, |before| before.turns.clone());
        Ok(Self { users, turns })
    }

    /// Checks the value of the `Authorization` header.
    pub(in super::super) async fn check(&self, peer: IpAddr, authorization: Option<&[u8]>) -> Verdict {
        let Some((name, password)) = authorization.and_then(decode) else { return Verdict::Wrong };
        let user = self.users.get(&name);
        if user.is_some_and(|user| user.remembers(&password)) {
            return Verdict::Right;
        }
        // An unknown user takes the same time as a known one.
        let Some(asked) = user.or(self.users.values().next()) else { return Verdict::Wrong };
        let Some(place) = self.turns.place(peer) else { return Verdict::Later };
        // A separate task, because the server drops this one when the client disconnects.
        let (user, known) = (asked.clone(), user.is_some());
        let checked = tokio::spawn(async move {
            let _abort_on_panic = AbortOnPanic;
            check(place, user, known, password).await
        });
        checked.await.unwrap_or(Verdict::Later)
    }
}

async fn check(place: Place, user: User, known: bool, password: Vec<u8>) -> Verdict {
    let Some(turn) = place.turn().await else { return Verdict::Later };
    // The check before may have been for the same password.
    if known && user.remembers(&password) {
        return Verdict::Right;
    }
    let (hash, given) = (user.hash.clone(), password.clone());
    let verified = tokio::task::spawn_blocking(move || {
        let _abort_on_panic = AbortOnPanic;
        bcrypt::verify(&given, &hash).unwrap_or(false)
    });
    if verified.await.unwrap_or(false) && known {
        *lock(&user.right) = Some(digest(&user.hash, &password));
        return Verdict::Right;
    }
    drop(turn);
    tokio::time::sleep(WRONG).await;
    drop(place);
    Verdict::Wrong
}

/// Decodes `Basic` and user:password in base64.
fn decode(header: &[u8]) -> Option<(String, Vec<u8>)> {
    let (scheme, coded) = header.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let both = BASE64_STANDARD.decode(coded.trim_ascii()).ok()?;
    let colon = both.iter().position(|byte| *byte == b':')?;
    Some((String::from_utf8(both[..colon].to_vec()).ok()?, both[colon + 1..].to_vec()))
}

fn digest(hash: &str, password: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(hash).chain_update([0]).chain_update(password).finalize().into()
}

/// Compares in constant time.
fn same(one: &[u8; 32], other: &[u8; 32]) -> bool {
    std::hint::black_box(one.iter().zip(other).fold(0, |differs, (a, b)| differs | (a ^ b))) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(password: &str) -> Users {
        let hash = bcrypt::hash(password, 4).expect("a hash");
        Users::new(&BTreeMap::from([("ann".to_string(), hash)]), None).expect("users")
    }

    fn ann(password: &str) -> Vec<u8> {
        format!("Basic {}", BASE64_STANDARD.encode(format!("ann:{password}"))).into_bytes()
    }

    /// Polls a check once and drops it, like a probe that times out.
    async fn leave(users: &Users, peer: IpAddr, given: &[u8]) {
        tokio::select! {
            biased;
            verdict = users.check(peer, Some(given)) => panic!("{verdict:?} without a check"),
            () = std::future::ready(()) => {}
        }
    }

    #[tokio::test]
    async fn who_leaves_before_the_check_ends_is_known_afterwards() {
        let (users, peer) = (users("right"), IpAddr::from([10, 0, 0, 1]));
        leave(&users, peer, &ann("right")).await;
        // Waits until that check has ended.
        while !users.users["ann"].remembers(b"right") {
            let place = users.turns.place([10, 0, 0, 2].into()).expect("a place");
            tokio::task::yield_now().await;
            drop(place.turn().await);
        }
        let _other = users.turns.place([10, 0, 0, 3].into()).expect("a place");
        let given = ann("right");
        let checked = users.check(peer, Some(&given));
        tokio::select! {
            biased;
            verdict = checked => assert_eq!(verdict, Verdict::Right),
            () = std::future::ready(()) => panic!("one that is remembered waits for nothing"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_guesses_and_leaves_keeps_the_places_of_the_guesses() {
        let (users, evil) = (users("right"), IpAddr::from([10, 0, 0, 1]));
        for n in 0..4 {
            leave(&users, evil, &ann(&n.to_string())).await;
        }
        assert_eq!(users.check(evil, Some(&ann("5"))).await, Verdict::Later);
        // Another address has its own places.
        assert_eq!(users.check([10, 0, 0, 2].into(), Some(&ann("right"))).await, Verdict::Right);
        assert_eq!(users.check(evil, Some(&ann("right"))).await, Verdict::Right, "what is remembered needs no place");
        let begun = tokio::time::Instant::now();
        while users.check(evil, Some(&ann("6"))).await == Verdict::Later {
            tokio::time::advance(Duration::from_millis(50)).await;
        }
        assert!(begun.elapsed() >= WRONG, "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn a_check_under_way_counts_for_the_list_that_is_read_meanwhile() {
        let before = users("right");
        let hashes = before.users.iter().map(|(name, user)| (name.clone(), user.hash.clone())).collect();
        leave(&before, [10, 0, 0, 1].into(), &ann("right")).await;
        let after = Users::new(&hashes, Some(&before)).expect("users");
        drop(before);
        assert_eq!(after.check([10, 0, 0, 1].into(), Some(&ann("right"))).await, Verdict::Right);
        assert!(after.users["ann"].remembers(b"right"));
    }
}
