//! A Loki that remembers: what was stored, whether it was stored twice, whether it came in order.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use tokio::sync::mpsc::UnboundedReceiver;

use super::STRICT;
use super::disk::Line;
use crate::batch::Batch;
use crate::scrape::tests::rig::{Stored, decode};

type Tenant = Option<Arc<str>>;
type Entry = (Tenant, Stored);

/// What one client's Loki holds; it outlives the agents.
#[derive(Default)]
pub(super) struct Loki {
    entries: HashSet<Entry>,
    /// Where each line went.
    pub lines: HashMap<usize, Vec<Entry>>,
    /// Of each stream the line and the time that came last.
    heads: HashMap<(Tenant, String), (usize, i64)>,
    /// Entries that hold what nobody wrote as it stands there, with the line they begin with.
    pub torn: Vec<(usize, Entry)>,
    /// Agents have died, or were stopped with answers outstanding.
    pub interrupted: bool,
    /// A power cut took read times with it, which are what lines without times of their own are stored under.
    pub forgot: bool,
    /// How often something was stored, or would have been if it had not been there already.
    pub pushes: usize,
}

/// What Loki says to a push, and what of that arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Stored,
    /// Stored; the answer never arrives, and the push is sent again.
    Lost,
    /// 429, 5xx: nothing is stored, and the push is sent again.
    Refused,
    /// Refused as a whole; its older half is stored when it comes alone.
    Halved,
}

/// The pushes of a client that are on their way, oldest first in each lane.
pub(super) struct Road {
    pub batches: UnboundedReceiver<Batch>,
    lanes: Vec<(u64, VecDeque<Batch>)>,
}

impl Road {
    pub fn new(batches: UnboundedReceiver<Batch>) -> Self {
        Self { batches, lanes: Vec::new() }
    }

    /// Takes what the reader hands out.
    pub fn fill(&mut self) {
        while let Ok(batch) = self.batches.try_recv() {
            match self.lanes.iter_mut().find(|(number, _)| *number == batch.lane()) {
                Some((_, lane)) => lane.push_back(batch),
                None => self.lanes.push((batch.lane(), VecDeque::from([batch]))),
            }
        }
    }

    pub fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// All that is on its way, for a test that answers itself.
    pub fn take(&mut self) -> Vec<Batch> {
        self.lanes.iter_mut().flat_map(|(_, lane)| lane.drain(..)).collect()
    }

    /// Bytes on their way per stream, and the longest entry among them.
    pub fn in_flight(&self) -> (HashMap<(Tenant, String), usize>, usize) {
        let (mut sums, mut longest) = (HashMap::new(), 0);
        for batch in self.lanes.iter().flat_map(|(_, lane)| lane) {
            for entry in decode(batch) {
                longest = longest.max(entry.line.len());
                *sums.entry((batch.tenant().cloned(), entry.labels)).or_default() += entry.line.len();
            }
        }
        (sums, longest)
    }

    /// Loki answers the oldest push of a lane; gives whether there was one.
    pub fn answer(&mut self, lane: usize, answer: Answer, loki: &mut Loki, written: &[Line]) -> Result<bool, String> {
        let (_, lane) = &mut self.lanes[lane];
        let Some(batch) = lane.pop_front() else {
            return Ok(false);
        };
        match answer {
            Answer::Stored => {
                loki.store(&batch, written)?;
                batch.close();
            }
            Answer::Lost => {
                loki.store(&batch, written)?;
                lane.push_front(batch);
            }
            Answer::Refused => lane.push_front(batch),
            Answer::Halved => match batch.split() {
                Ok((older, younger)) => {
                    lane.push_front(younger);
                    loki.store(&older, written)?;
                    older.close();
                }
                Err(single) => lane.push_front(single),
            },
        }
        Ok(true)
    }
}

impl Loki {
    pub fn has(&self, line: usize) -> bool {
        self.lines.contains_key(&line)
    }

    fn store(&mut self, batch: &Batch, written: &[Line]) -> Result<(), String> {
        self.pushes += 1;
        for entry in decode(batch) {
            let stream = (batch.tenant().cloned(), entry.labels.clone());
            let entry = (batch.tenant().cloned(), entry);
            if self.entries.contains(&entry) {
                continue; // folded
            }
            self.entries.insert(entry.clone());
            let time = entry.1.timestamp;
            for (at, text) in entry.1.line.split('\n').enumerate() {
                let line = number(text).ok_or_else(|| format!("stored what nobody wrote: {:?}", entry.1))?;
                if written.get(line).is_none_or(|l| l.text != text) {
                    self.torn.push((line, entry.clone()));
                    continue;
                }
                let before = self.lines.entry(line).or_default();
                before.push(entry.clone());
                let again = before.len() > 1;
                // It got the label of its new name.
                let renamed = written[line].renamed && before.iter().any(|b| b.1.labels != before[0].1.labels);
                let may_differ = renamed || !written[line].identical && (self.forgot || !*STRICT);
                if again && !(may_differ && self.interrupted) {
                    return Err(format!("line {line} is stored twice: {before:?}"));
                }
                let head = self.heads.get(&stream).copied();
                if let Some((last, then)) = head
                    && !again
                    && !written[line].raced
                    && (line < last || at == 0 && time < then)
                {
                    return Err(format!("line {line} ({time}) came after line {last} ({then}) in {stream:?}"));
                }
                if head.is_none_or(|(last, _)| line > last) {
                    self.heads.insert(stream.clone(), (line, time));
                }
            }
        }
        Ok(())
    }
}

/// Which line a text says it is.
fn number(text: &str) -> Option<usize> {
    text.trim_start().strip_prefix('<')?.split_once(':')?.0.parse().ok()
}
