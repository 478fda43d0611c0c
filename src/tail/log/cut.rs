//! The live file was cut in place. What was not read of it may be in the copy that copytruncate made.

use std::io;

use super::opening::{find, open_unseen};
use super::{Drained, Log, Look, inode};
use crate::model::Position;
use crate::tail::copies::is_within;
use crate::tail::generation::Generation;
use crate::tail::siblings::{Sibling, relatives};

impl Log {
    pub(super) fn truncate(&mut self) -> io::Result<Look> {
        let last = self.generations.len() - 1;
        let live = &mut self.generations[last];
        let (old, number) = (live.position(), live.number);
        let (end, ahead) = (live.seen_end(), live.seen_ahead());
        let (written, mark) = (live.written(), self.marks.next);
        let goes_on = old.offset > 0 && live.is_plain() && live.holds(&old)?;
        let live_path = self.allowed.resolve(&self.path)?;
        let older = relatives(&live_path, &self.path, &self.folders)?;
        // A copy that has all that was seen.
        let whole = match end {
            Some(end) => find(&older, &end)?,
            None => None,
        };
        let live = &mut self.generations[last];
        // It was made shorter, but not so short that bytes are gone which were read: they are not read again.
        if goes_on && whole.is_none() {
            self.lost.cut += live.forget_end();
            return Ok(Look::Same);
        }
        live.restart()?;
        if last == 0 {
            self.skipping = None;
        }
        if old.offset > 0 {
            self.leave(Drained::at(old, mark, written));
        }
        let found = match old.file.fingerprint.len {
            0 => Ok((Vec::new(), ahead)),
            _ => self.copies(&older, whole, &old, ahead),
        };
        // After an error nobody looks for the copy again, because the file is not cut any more.
        let (copies, missing) = found.inspect_err(|_| self.lost.cut += ahead)?;
        self.lost.cut += missing;
        let mut copies = copies.into_iter();
        if let Some(mut copy) = copies.next() {
            copy.continue_at(&old);
            // The copy contains what was read of the file before it was truncated.
            copy.number = number;
            self.new_files.push(inode(&copy));
            self.generations.insert(last, copy);
        }
        for (at, copy) in copies.enumerate() {
            self.new_files.push(inode(&copy));
            self.generations.insert(last + 1 + at, copy);
        }
        Ok(Look::Truncated)
    }

    /// The copy of the live file as it was, and the copies that were made since and that nobody has seen. `whole` is the copy
    /// that has all that was seen. Also returns how many bytes of the file, of which `ahead` were not read, are in no copy.
    fn copies(
        &mut self,
        older: &[Sibling],
        whole: Option<(usize, Generation)>,
        old: &Position,
        ahead: u64,
    ) -> io::Result<(Vec<Generation>, u64)> {
        // Or else one that has what was read.
        let found = match whole {
            Some(found) => Some(found),
            None => find(older, old)?,
        };
        // It is read under its own name.
        if found.as_ref().is_some_and(|(at, _)| older[*at].is_log) {
            return Ok((Vec::new(), 0));
        }
        // One that was read before only begins alike. But its inode may be that of a file which was read and deleted since.
        let was_read = |copy: &mut Generation| {
            let ends = self.drained.iter().filter(|drained| drained.end.file.has_inode_of(&copy.id()));
            let mut ends = ends.map(|drained| drained.end).collect::<Vec<_>>().into_iter();
            self.has(inode(copy)) || ends.any(|end| copy.holds(&end).unwrap_or(false))
        };
        let Some((at, copy)) = found.and_then(|(at, mut copy)| (!was_read(&mut copy)).then_some((at, copy))) else {
            return Ok((Vec::new(), ahead));
        };
        let missing = match copy.is_plain() {
            true => (old.offset + ahead).saturating_sub(copy.metadata()?.len().max(old.offset)),
            false => 0,
        };
        let mut copies = vec![copy];
        let younger: Vec<&Sibling> = older[at + 1..].iter().take_while(|s| s.is_named_like(&older[at])).collect();
        let last = self.generations.len() - 1;
        let live = &mut self.generations[last];
        // A copy that is just being made has what is still in the live file.
        for mut copy in open_unseen(&younger) {
            let is_begun = match copy.is_short() && copy.is_plain() {
                true => copy.id().fingerprint.len == 0 || live.is(&copy.id())?,
                false => is_within(&mut copy, live)?,
            };
            if !is_begun {
                copies.push(copy);
            }
        }
        copies[1..].iter_mut().for_each(Generation::rest);
        Ok((copies, missing))
    }
}
