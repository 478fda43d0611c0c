//! Shows and changes saved positions while no agent uses them.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::journal::{self, Place};
use super::state::{Entry, slots_of};
use super::{Config, Error, Key, LogName, PositionId, Positions, Vanished, yaml};
use crate::model::Clock;

/// A saved position, for display.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The path of the file, or the name of a log that is not a file.
    pub log: String,
    /// The offset in bytes, or the cursor.
    pub at: String,
    /// None: the position is Promtail's, which belongs to all clients and jobs.
    pub reader: Option<(Arc<str>, Arc<str>)>,
    /// The device and inode of the file.
    pub file: Option<(u64, u64)>,
}

impl Positions {
    /// Opens positions to show or change them. The time at which an agent last looked for logs stays as it is: an agent
    /// that starts later must still read what was rotated since then.
    pub fn open_to_edit(config: Config) -> Result<Self, Error> {
        let alive = journal::read(&journal::path(&config.filename)).ok().and_then(|contents| contents.alive);
        let nanos = |time: SystemTime| i64::try_from(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos());
        let clock = match alive.and_then(|alive| nanos(alive).ok()) {
            Some(alive) => Clock::standing(alive),
            None => Clock::default(),
        };
        Self::open_at(config, clock)
    }

    /// All saved positions, sorted by the name of the log.
    pub fn list(&self) -> Vec<Listed> {
        let state = self.lock();
        let own = state.records.values().filter_map(|entry| {
            let record = entry.saved.as_ref()?;
            let at = match &record.place {
                Place::File(position, _) => position.offset.to_string(),
                Place::Cursor(cursor) => cursor.to_string(),
            };
            let reader = Some(entry.key.reader());
            let file = record.position().map(|position| (position.file.device, position.file.inode));
            Some(Listed { log: entry.key.log.to_string(), at, reader, file })
        });
        let foreign = state.foreign.iter();
        let foreign = foreign.map(|(log, at)| Listed { log: log.clone(), at: at.clone(), reader: None, file: None });
        let mut all: Vec<Listed> = own.chain(foreign).collect();
        all.sort_by(|a, b| (&a.log, &a.reader).cmp(&(&b.log, &b.reader)));
        all
    }

    /// The positions in Promtail's format.
    pub fn promtail(&self) -> String {
        yaml::text(&self.lock().yaml(&Vanished::default()))
    }

    /// Forgets the positions of a log, for all clients and jobs. Returns their number.
    pub fn reset(&self, log: &str) -> usize {
        let mut state = self.lock();
        let slots: Vec<PositionId> =
            names(log).flat_map(|name| slots_of(&state.by_name, name).collect::<Vec<_>>()).collect();
        let had =
            slots.iter().filter(|slot| state.records.get(slot).is_some_and(|entry| entry.saved.is_some())).count();
        slots.into_iter().for_each(|slot| state.forget(slot));
        had + usize::from(state.foreign.remove(log).is_some())
    }

    /// Gives the positions of a log to another name, for all clients and jobs. Returns their number. Positions that the
    /// new name had are replaced.
    pub fn rename(&self, from: &str, to: &str) -> usize {
        let mut state = self.lock();
        let mut moved = 0;
        for slot in slots_of(&state.by_name, LogName::File(Path::new(from).into())).collect::<Vec<_>>() {
            let Some(entry) = state.records.get(&slot).cloned() else { continue };
            let Entry { key, saved: Some(record), times, left, .. } = *entry else { continue };
            let key = Key { log: LogName::File(Path::new(to).into()), ..Key::clone(&key) };
            state.forget(slot);
            let new = state.slot(key);
            state.save(new, Some(record));
            state.records.entry(new).and_modify(|known| known.times = times);
            left.iter().for_each(|end| state.leave(new, *end));
            moved += 1;
        }
        if let Some(offset) = state.foreign.remove(from) {
            state.foreign.insert(to.to_string(), offset);
            moved += 1;
        }
        moved
    }

    /// Writes the changed positions.
    pub fn persist(&self) -> io::Result<()> {
        self.lock().journal.require_rewrite();
        self.save(&Vanished::default())
    }
}

/// The names that a log written like this may have.
fn names(log: &str) -> impl Iterator<Item = LogName> {
    [LogName::File(Path::new(log).into()), LogName::Other(log.into())].into_iter()
}
