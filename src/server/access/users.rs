//! `basic_auth_users`: who knows a password.
//!
//! A bcrypt hash takes 50 ms and more to check, on purpose. So it is checked on a thread of its own, one at a time, and the
//! password that was right last is remembered for each user as a SHA-256 that is salted with the hash: a probe or a scrape costs
//! no bcrypt, and waits for none, however many guess.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use crate::model::Vital;

/// A check of cost 14 takes more than a second; each further one doubles that.
const HIGHEST_COST: u32 = 14;

/// Checks that one address may have under way, so that nobody's guesses keep others waiting.
const EACH: usize = 4;
/// And all addresses: with cost 10, who is the last to wait does so for about 2 s.
const ALL: usize = 32;

/// How long an answer to a wrong password takes at least; its place stays taken meanwhile.
const WRONG: Duration = Duration::from_secs(1);

pub(in super::super) struct Users {
    users: BTreeMap<String, User>,
    /// One check at a time: guesses take one core at most.
    checking: Arc<Semaphore>,
    under_way: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

struct User {
    hash: String,
    /// Of the password that was right last.
    right: Mutex<Option<[u8; 32]>>,
}

#[derive(Debug, PartialEq)]
pub(in super::super) enum Verdict {
    Right,
    Wrong,
    /// Too many passwords are being checked.
    Later,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Users {
    /// Those who are as they were in `before` need not be checked again, and what is under way there counts here.
    pub(super) fn new(hashes: &BTreeMap<String, String>, before: Option<&Self>) -> Result<Self, String> {
        let mut users = BTreeMap::new();
        for (name, hash) in hashes {
            let wrong = |what: &str| format!("basic_auth_users: {name}: {what}");
            let parts: bcrypt::HashParts = hash.parse().map_err(|_| {
                wrong("is not a bcrypt hash: write what `htpasswd -nBC 10 NAME` prints behind the colon")
            })?;
            if parts.get_cost() > HIGHEST_COST {
                return Err(wrong("the cost of the hash is above 14, a check would take seconds: use 10"));
            }
            let same = before.and_then(|before| before.users.get(name)).filter(|user| user.hash == *hash);
            let right = Mutex::new(same.and_then(|user| *lock(&user.right)));
            users.insert(name.clone(), User { hash: hash.clone(), right });
        }
        let checking = before.map_or_else(|| Arc::new(Semaphore::new(1)), |before| before.checking.clone());
        let under_way = before.map_or_else(Arc::default, |before| before.under_way.clone());
        Ok(Self { users, checking, under_way })
    }

    /// Whether `authorization`, the value of that header, names a user and the right password.
    pub(in super::super) async fn check(&self, peer: IpAddr, authorization: Option<&[u8]>) -> Verdict {
        let Some((name, password)) = authorization.and_then(decode) else { return Verdict::Wrong };
        let user = self.users.get(&name);
        if let Some(user) = user
            && lock(&user.right).is_some_and(|right| same(&right, &digest(&user.hash, &password)))
        {
            return Verdict::Right;
        }
        let Some(place) = Place::take(&self.under_way, peer) else { return Verdict::Later };
        // Whoever is unknown costs the same time as somebody who is known.
        let Some(asked) = user.or(self.users.values().next()) else { return Verdict::Wrong };
        let (hash, given) = (asked.hash.clone(), password.clone());
        let Ok(turn) = self.checking.clone().acquire_owned().await else { return Verdict::Later };
        let checked = tokio::task::spawn_blocking(move || {
            let _vital = Vital;
            let right = bcrypt::verify(&given, &hash).unwrap_or(false);
            // Kept until here although the client may have left: else guesses would run beside each other.
            drop(turn);
            right
        });
        match (checked.await, user) {
            (Ok(true), Some(user)) => {
                *lock(&user.right) = Some(digest(&user.hash, &password));
                Verdict::Right
            }
            _ => {
                tokio::time::sleep(WRONG).await;
                drop(place);
                Verdict::Wrong
            }
        }
    }
}

/// `Basic` and user:password in base64.
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

/// Takes the same time wherever they differ.
fn same(one: &[u8; 32], other: &[u8; 32]) -> bool {
    std::hint::black_box(one.iter().zip(other).fold(0, |differs, (a, b)| differs | (a ^ b))) == 0
}

/// One of the checks that may be under way.
struct Place {
    under_way: Arc<Mutex<HashMap<IpAddr, usize>>>,
    peer: IpAddr,
}

impl Place {
    fn take(under_way: &Arc<Mutex<HashMap<IpAddr, usize>>>, peer: IpAddr) -> Option<Self> {
        let mut all = lock(under_way);
        if all.values().sum::<usize>() >= ALL || all.get(&peer).is_some_and(|own| *own >= EACH) {
            return None;
        }
        *all.entry(peer).or_default() += 1;
        Some(Self { under_way: under_way.clone(), peer })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = lock(&self.under_way);
        if let Some(own) = all.get_mut(&self.peer) {
            *own -= 1;
            if *own == 0 {
                all.remove(&self.peer);
            }
        }
    }
}
