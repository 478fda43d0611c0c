//! The terminal: messages, a line of figures about once a second, and keys.

use std::fmt::Display;
use std::io::{self, IsTerminal, Read, Write};
use std::thread;
use std::time::Duration;

use rustix::process::getpgrp;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::figures::Figures;
use super::shared::Shared;
use crate::model::AbortOnPanic;

/// How often the figures are shown.
const SHOW_EVERY: Duration = Duration::from_secs(1);

/// Moves to the start of the line and clears it.
const CLEAR: &str = "\r\x1b[2K";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// `k`.
    Kill,
    /// `q`.
    Quit,
}

pub(super) struct Terminal {
    is_terminal: bool,
    /// None: keys are not read.
    keys: Option<mpsc::Receiver<Key>>,
    /// The settings to restore.
    before: Option<Termios>,
    shown: Option<Instant>,
    has_figures: bool,
}

impl Terminal {
    pub fn open() -> Self {
        let before = raw();
        let keys = before.is_some().then(read_keys);
        Self { is_terminal: io::stdout().is_terminal(), keys, before, shown: None, has_figures: false }
    }

    pub fn has_keys(&self) -> bool {
        self.keys.is_some()
    }

    /// The next key. Never resolves if keys are not read.
    pub async fn key(&mut self) -> Key {
        if let Some(keys) = &mut self.keys {
            if let Some(key) = keys.recv().await {
                return key;
            }
            self.keys = None;
        }
        std::future::pending().await
    }

    /// Prints a message. Ignores errors: the reader may be gone.
    pub fn say(&mut self, text: impl Display) {
        let clear = if std::mem::take(&mut self.has_figures) { CLEAR } else { "" };
        let mut out = io::stdout().lock();
        let _ = writeln!(out, "{clear}{text}").and_then(|()| out.flush());
    }

    /// Shows the figures in the last line of the terminal, if it is time.
    pub fn show(&mut self, begun: Instant, shared: &Shared) {
        if !self.is_terminal || self.shown.is_some_and(|shown| shown.elapsed() < SHOW_EVERY) {
            return;
        }
        self.shown = Some(Instant::now());
        self.has_figures = true;
        let (figures, kills) = {
            let mut counts = shared.counts();
            (counts.total(Instant::now()), counts.kills())
        };
        let Figures { written, arrived, missing, doubled, rotations, .. } = figures;
        let seconds = begun.elapsed().as_secs();
        let mut out = io::stdout().lock();
        let _ = write!(
            out,
            "{CLEAR}{seconds} s: {written} written, {arrived} arrived, {missing} missing, {doubled} doubled, {kills} kills, {rotations} rotations"
        )
        .and_then(|()| out.flush());
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}

/// Makes the terminal hand over each key at once. Returns its settings before. None: there is no terminal, or it belongs
/// to another process group, as that of a job in the background does.
fn raw() -> Option<Termios> {
    let stdin = io::stdin();
    if !stdin.is_terminal() || tcgetpgrp(&stdin).ok()? != getpgrp() {
        return None;
    }
    let before = tcgetattr(&stdin).ok()?;
    let mut wanted = before.clone();
    wanted.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
    tcsetattr(&stdin, OptionalActions::Now, &wanted).ok()?;
    Some(before)
}

/// The thread ends with the process: nothing can interrupt its read.
fn read_keys() -> mpsc::Receiver<Key> {
    let (keys, receiver) = mpsc::channel(8);
    let thread = thread::Builder::new().name("keys".into());
    // Without the thread, only the keys are missing.
    let _ = thread.spawn(move || {
        let _abort_on_panic = AbortOnPanic;
        for byte in io::stdin().lock().bytes() {
            let key = match byte {
                Ok(b'k' | b'K') => Key::Kill,
                Ok(b'q' | b'Q') => Key::Quit,
                Ok(_) => continue,
                Err(_) => return,
            };
            if keys.blocking_send(key).is_err() {
                return;
            }
        }
    });
    receiver
}
