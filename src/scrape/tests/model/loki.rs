//! A Loki that remembers what was stored, how often, and in which order.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use tokio::sync::mpsc::UnboundedReceiver;

use super::disk::Disk;
use crate::batch::{Batch, StreamKey};
use crate::scrape::tests::rig::{Stored, decode};

/// `max_wait_time` of the multiline stage, in nanoseconds.
const MAX_WAIT: i64 = 3_000_000_000;

type Tenant = Option<Arc<str>>;
type Entry = (Tenant, Stored);

/// The Loki of one client. It outlives the agents.
#[derive(Default)]
pub(super) struct Loki {
    entries: HashSet<Entry>,
    /// Where each line was stored.
    pub lines: HashMap<usize, Vec<Entry>>,
    /// By stream: the line and time that came last.
    heads: HashMap<(Tenant, String), (usize, i64)>,
    /// Entries with text that nobody wrote like this, with the line they begin with.
    pub torn: Vec<(usize, Entry)>,
    /// Agents died, or were stopped with answers outstanding.
    pub interrupted: bool,
    /// A power cut lost read times, so lines without timestamps may be stored under other times.
    pub forgot: bool,
    /// The last lines of entries that were stored so late that no stage had to wait for a continuation.
    waited: HashSet<usize>,
    /// The agent is being stopped: blocks of quiet logs count as complete.
    pub stopping: bool,
    /// How often entries were stored, including duplicates.
    pub pushes: usize,
}

/// Loki's answer to a push, and whether the answer arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Stored,
    /// Stored, but the answer is lost. The push is sent again.
    Lost,
    /// 429 or 5xx: nothing is stored. The push is sent again.
    Refused,
    /// Refused as a whole. Its older half is stored when sent alone.
    Halved,
    /// One stream is refused and sent apart from now on. The others are sent again.
    Apart,
}

/// The pushes of a client that are in flight, oldest first in each lane.
pub(super) struct Road {
    pub batches: UnboundedReceiver<Vec<Batch>>,
    lanes: Vec<(Lane, VecDeque<Batch>)>,
}

/// Lanes as the client sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lane {
    Shared(u64),
    Apart(StreamKey),
}

impl Road {
    pub fn new(batches: UnboundedReceiver<Vec<Batch>>) -> Self {
        Self { batches, lanes: Vec::new() }
    }

    /// Takes the batches that the reader hands out.
    pub fn fill(&mut self) {
        let batches: Vec<Batch> = std::iter::from_fn(|| self.batches.try_recv().ok()).flatten().collect();
        for batch in batches {
            self.lane(Lane::Shared(batch.lane())).push_back(batch);
        }
    }

    fn lane(&mut self, lane: Lane) -> &mut VecDeque<Batch> {
        let at = self.lanes.iter().position(|(other, _)| *other == lane).unwrap_or_else(|| {
            self.lanes.push((lane, VecDeque::new()));
            self.lanes.len() - 1
        });
        &mut self.lanes[at].1
    }

    /// Moves streams that are sent apart to their own lanes. Returns the rest.
    fn sort(&mut self, batch: Batch) -> Option<Batch> {
        let apart: Vec<StreamKey> = self
            .lanes
            .iter()
            .filter(|(_, waiting)| !waiting.is_empty())
            .filter_map(|(lane, _)| match lane {
                Lane::Apart(key) => Some(*key),
                Lane::Shared(_) => None,
            })
            .collect();
        let (rest, parts) = batch.take_apart(|key| apart.contains(&key));
        parts.into_iter().for_each(|part| self.set_apart(part));
        rest
    }

    fn set_apart(&mut self, mut batch: Batch) {
        batch.set_apart();
        let key = batch.stream_keys().next().expect("a batch has a stream");
        self.lane(Lane::Apart(key)).push_back(batch);
    }

    pub fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// Takes everything in flight, for tests that answer themselves.
    pub fn take(&mut self) -> Vec<Batch> {
        self.lanes.iter_mut().flat_map(|(_, lane)| lane.drain(..)).collect()
    }

    /// Bytes in flight per stream, and the longest entry among them.
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

    /// Answers the oldest push of a lane. Returns whether there was one.
    pub fn answer(&mut self, lane: usize, answer: Answer, loki: &mut Loki, disk: &Disk) -> Result<bool, String> {
        let of = self.lanes[lane].0;
        let Some(mut batch) = self.lanes[lane].1.pop_front() else {
            return Ok(false);
        };
        if let Lane::Shared(_) = of {
            match self.sort(batch) {
                Some(rest) => batch = rest,
                None => return Ok(true),
            }
        }
        if let (Lane::Shared(_), Answer::Apart) = (of, answer) {
            let nth = loki.pushes % batch.streams();
            let key = batch.stream_keys().nth(nth);
            let (rest, parts) = batch.take_apart(|other| Some(other) == key);
            parts.into_iter().for_each(|part| self.set_apart(part));
            if let Some(rest) = rest {
                self.lanes[lane].1.push_front(rest);
            }
            return Ok(true);
        }
        let lane = &mut self.lanes[lane].1;
        match answer {
            Answer::Stored => {
                loki.store(&batch, disk)?;
                batch.close();
            }
            Answer::Lost => {
                loki.store(&batch, disk)?;
                lane.push_front(batch);
            }
            Answer::Refused | Answer::Apart => lane.push_front(batch),
            Answer::Halved => match batch.split() {
                (older, Some(younger)) => {
                    lane.push_front(younger);
                    loki.store(&older, disk)?;
                    older.close();
                }
                (single, None) => lane.push_front(single),
            },
        }
        Ok(true)
    }
}

impl Loki {
    pub fn has(&self, line: usize) -> bool {
        self.lines.contains_key(&line)
    }

    fn store(&mut self, batch: &Batch, disk: &Disk) -> Result<(), String> {
        self.pushes += 1;
        let written = &disk.lines;
        for entry in decode(batch) {
            let stream = (batch.tenant().cloned(), entry.labels.clone());
            let entry = (batch.tenant().cloned(), entry);
            if self.entries.contains(&entry) {
                continue; // Folded.
            }
            self.entries.insert(entry.clone());
            let time = entry.1.timestamp;
            self.note_end(&entry.1.line, disk);
            for (at, text) in entry.1.line.split('\n').enumerate() {
                let line = number(text).ok_or_else(|| format!("stored what nobody wrote: {:?}", entry.1))?;
                if written.get(line).is_none_or(|l| l.text != text) {
                    self.torn.push((line, entry.clone()));
                    continue;
                }
                let again = self.has(line);
                let may_differ = again && self.may_differ(line, &entry, disk);
                let all = self.lines.entry(line).or_default();
                all.push(entry.clone());
                if again && !may_differ {
                    return Err(format!("line {line} is stored twice: {all:?}"));
                }
                let head = self.heads.get(&stream).copied();
                if let Some((last, then)) = head
                    && !again
                    && !written[line].raced
                    && !written[line].late
                    // The batches of a stream are sorted by time, and these times are those of a clock that was set back.
                    && (disk.put_back == 0 || !written[line].identical)
                    && !disk.times_go_back
                    && (line < last || at == 0 && time < then)
                {
                    return Err(format!("line {line} ({time}) came after line {last} ({then}) in {stream:?}"));
                }
                if !written[line].late && head.is_none_or(|(last, _)| line > last) {
                    self.heads.insert(stream.clone(), (line, time));
                }
            }
        }
        Ok(())
    }

    fn note_end(&mut self, entry: &str, disk: &Disk) {
        let last = entry.rsplit('\n').next().and_then(number);
        let begun = last.and_then(|last| Some(disk.lines.get(last)?.begun));
        if self.stopping || begun.is_some_and(|begun| disk.clock.monotonic() >= begun + MAX_WAIT) {
            self.waited.extend(last);
        }
    }

    /// Whether a stored line may come again with a difference, for one of the reasons in ARCHITECTURE.md.
    fn may_differ(&self, line: usize, entry: &Entry, disk: &Disk) -> bool {
        let own = &disk.lines[line];
        let no_time = !own.identical && self.forgot;
        // Files were read in another order, or one of them under its new name, so another line followed.
        let is_block = |entry: &Entry| entry.1.line.contains('\n');
        let is_mixed = (disk.put_back > 0 && own.raced || own.renamed)
            && (is_block(entry) || self.lines[&line].iter().any(is_block));
        // The journal does not say any more under which name it was read.
        let renamed =
            own.renamed && self.forgot && self.lines[&line].iter().any(|before| before.1.labels != entry.1.labels);
        self.interrupted && (renamed || no_time || is_mixed || self.was_cut(line, disk))
    }

    /// Whether the block of a line may have another shape when sent again: it was released before it was complete, or
    /// its start is gone, or was gone until a copy was found.
    fn was_cut(&self, line: usize, disk: &Disk) -> bool {
        let block = disk.block(line);
        let (_, cuts) = block.split_last().expect("the line itself");
        cuts.iter().any(|end| self.waited.contains(end) || disk.lines[*end].gone || disk.lines[*end].raced)
    }
}

/// The number of the line with this text. None: it has no number.
fn number(text: &str) -> Option<usize> {
    text.trim_start().strip_prefix('<')?.split_once(':')?.0.parse().ok()
}
