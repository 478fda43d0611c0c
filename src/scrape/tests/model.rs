//! A model test: random histories of files, agents and Lokis, in which each line must arrive exactly once.
//!
//! Files, reader, ledgers, stages, batches and positions are the real ones. Only the clock and Loki are the test's. A
//! failing history is reduced as far as possible and printed with its seed.

mod agent;
mod chance;
mod disk;
mod endings;
mod found;
mod found_names;
mod found_rough;
mod hanging;
mod history;
mod loki;
mod rough;
mod verdict;
mod writer;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use chance::Chance;
use history::{Check, History};
use rough::ROUGH;

/// Steps per history.
const STEPS: u64 = 60;

/// Stop after this many failures. They show what the failures have in common.
const ENOUGH: usize = 8;

#[test]
fn three_thousand_histories_in_which_every_line_arrives_once() {
    let seeds = number("FANTAIL_SEEDS").unwrap_or(3_000);
    play_all(0, seeds);
}

#[test]
fn three_hundred_rough_histories_in_which_every_line_arrives_once() {
    let seeds = number("FANTAIL_SEEDS").unwrap_or(300);
    play_all(ROUGH + number("FANTAIL_FIRST").unwrap_or(0), seeds);
}

fn play_all(first: u64, seeds: u64) {
    let next = AtomicU64::new(first);
    let failed: Mutex<Vec<(u64, String)>> = Mutex::default();
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while failed.lock().expect("not poisoned").len() < ENOUGH {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds {
                        break;
                    }
                    if let Err((wrong, _)) = play(seed, &all_steps()) {
                        failed.lock().expect("not poisoned").push((seed, wrong));
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().expect("not poisoned");
    failed.sort();
    let Some((first, _)) = failed.first() else {
        return;
    };
    for (seed, wrong) in &failed {
        eprintln!("seed {seed}: {wrong}");
    }
    explain(*first);
}

#[test]
fn one_history() {
    let seed = number("FANTAIL_SEED").unwrap_or(1);
    if play(seed, &all_steps()).is_err() {
        explain(seed);
    }
}

fn all_steps() -> Vec<u64> {
    (0..STEPS).collect()
}

/// Runs these steps of a history. An error has the problem and the log of events.
fn play(seed: u64, steps: &[u64]) -> Result<(), (String, Vec<String>)> {
    let told = Arc::new(Mutex::new(Vec::new()));
    let played = catch_unwind(AssertUnwindSafe(|| -> Check {
        let dir = directory();
        let mut history = History::begin(seed, dir.path(), told.clone());
        let mut check = Ok(());
        for step in steps {
            check = check.and_then(|()| history.step(Chance::new(seed, *step)));
        }
        check = check.and_then(|()| history.end(Chance::new(seed, STEPS)));
        if check.is_err() {
            history.tell_positions();
        }
        check
    }));
    let wrong = match played {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(wrong)) => wrong,
        Err(panic) => match panic.downcast::<String>() {
            Ok(text) => format!("panic: {text}"),
            Err(panic) => format!("panic: {:?}", panic.downcast_ref::<&str>()),
        },
    };
    Err((wrong, std::mem::take(&mut told.lock().expect("not poisoned"))))
}

/// Reduces a failing history to the steps it needs, and prints it.
fn explain(seed: u64) {
    let mut steps = all_steps();
    let mut failure = play(seed, &steps).expect_err("it failed before");
    let mut at = steps.len();
    while at > 0 {
        at -= 1;
        let mut fewer = steps.clone();
        fewer.remove(at);
        if let Err(again) = play(seed, &fewer) {
            (steps, failure) = (fewer, again);
        }
    }
    let (wrong, told) = failure;
    panic!(
        "{wrong}\n\nThe shortest history of seed {seed} in which that happens:\n  {}\n\n\
         To play it again: FANTAIL_SEED={seed} cargo test --lib one_history -- --nocapture\n",
        told.join("\n  ")
    );
}

/// In memory if possible: histories test order, not disks.
fn directory() -> tempfile::TempDir {
    match Path::new("/dev/shm").is_dir() {
        true => tempfile::tempdir_in("/dev/shm").expect("a directory"),
        false => tempfile::tempdir().expect("a directory"),
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}
