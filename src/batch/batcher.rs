//! When a batch is full, old or urgent enough to go.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::{Batch, Outstanding};
use crate::model::{Entry, Labels};

/// Batches of a lane that may be on their way or waiting: one goes out while the next is compressed.
const MAX_OUTSTANDING: usize = 2;

/// What of a client's config batching needs.
#[derive(Clone, Debug)]
pub struct Config {
    pub batchsize: usize,
    pub batchwait: Duration,
    pub tenant_id: Option<Arc<str>>,
    pub external_labels: Labels,
    pub limits: Limits,
}

/// `limits_config.max_line_size`, applied to the line as the pipeline left it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// 0: none.
    pub max_line_size: usize,
    pub truncate: bool,
}

/// What became of an entry that was added.
#[derive(Debug)]
pub enum Outcome<'c> {
    /// It travels in this lane.
    Batched(Lane),
    /// The same, less so many bytes.
    Truncated(Lane, usize),
    /// It is longer than `max_line_size`.
    TooLong(Entry<'c>),
}

/// Names a lane of a [`Batcher`]: one per tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lane(usize);

/// Collects the entries of one client into batches, a lane per tenant.
#[derive(Debug)]
pub struct Batcher {
    config: Config,
    external: Vec<(String, String)>,
    lanes: Vec<LaneState>,
    by_tenant: HashMap<Option<Arc<str>>, usize>,
    /// The lane used last: entries of one tenant tend to follow each other.
    last: usize,
}

#[derive(Debug)]
struct LaneState {
    open: Batch,
    opened: Option<Instant>,
    /// Someone cannot go on before this batch has been answered.
    urgent: bool,
    full: Vec<Batch>,
    outstanding: Arc<AtomicUsize>,
}

impl Batcher {
    pub fn new(config: Config) -> Self {
        let external = config.external_labels.iter().map(|(n, v)| (n.clone(), v.clone())).collect();
        Self { config, external, lanes: Vec::new(), by_tenant: HashMap::new(), last: 0 }
    }

    pub fn add<'c>(&mut self, mut entry: Entry<'c>, now: Instant) -> Outcome<'c> {
        let mut cut = 0;
        let limit = self.config.limits.max_line_size;
        if limit > 0 && entry.line.len() > limit {
            if !self.config.limits.truncate {
                return Outcome::TooLong(entry);
            }
            cut = entry.line.len() - truncate(&mut entry, limit);
        }
        let lane = self.lane(entry.tenant.as_ref());
        let state = &mut self.lanes[lane.0];
        if !state.open.is_empty() && state.open.bytes() + entry.line.len() > self.config.batchsize {
            state.cut();
        }
        if state.open.is_empty() {
            state.opened = Some(now);
        }
        state.open.push(entry, &self.external);
        if cut > 0 { Outcome::Truncated(lane, cut) } else { Outcome::Batched(lane) }
    }

    /// Whether a lane should not be given more for now.
    pub fn is_full(&self, lane: Lane) -> bool {
        self.lanes[lane.0].is_full(self.config.batchsize)
    }

    /// Whether that is so of any lane.
    pub fn has_full_lane(&self) -> bool {
        self.lanes.iter().any(|lane| lane.is_full(self.config.batchsize))
    }

    /// Somebody whose entries are in this lane cannot read on before they are answered: do not wait for `batchwait`.
    pub fn hurry(&mut self, lane: Lane) {
        self.lanes[lane.0].urgent = true;
    }

    /// The next batch that is due and has room on the way. `flush` makes every batch due.
    pub fn next(&mut self, now: Instant, flush: bool) -> Option<Batch> {
        let wait = self.config.batchwait;
        self.lanes.iter_mut().find_map(|lane| lane.next(now, wait, flush))
    }

    /// When the next open batch comes of age.
    pub fn next_due(&self) -> Option<Instant> {
        self.lanes
            .iter()
            .filter(|lane| !lane.open.is_empty() && lane.has_room())
            .filter_map(|lane| lane.opened)
            .min()
            .map(|opened| opened + self.config.batchwait)
    }

    /// Whether nothing waits here to be sent.
    pub fn is_empty(&self) -> bool {
        self.lanes.iter().all(|lane| lane.open.is_empty() && lane.full.is_empty())
    }

    /// Batches that were handed out and have not come to their end.
    pub fn outstanding(&self) -> usize {
        self.lanes.iter().map(|lane| lane.outstanding.load(Ordering::Relaxed)).sum()
    }

    fn lane(&mut self, tenant: Option<&Arc<str>>) -> Lane {
        let tenant = tenant.or(self.config.tenant_id.as_ref());
        if self.lanes.get(self.last).is_some_and(|lane| lane.open.tenant() == tenant) {
            return Lane(self.last);
        }
        let lanes = &mut self.lanes;
        let lane = *self.by_tenant.entry(tenant.cloned()).or_insert_with(|| {
            lanes.push(LaneState {
                open: Batch::new(tenant.cloned()),
                opened: None,
                urgent: false,
                full: Vec::new(),
                outstanding: Arc::default(),
            });
            lanes.len() - 1
        });
        self.last = lane;
        Lane(lane)
    }
}

impl LaneState {
    fn is_full(&self, batchsize: usize) -> bool {
        let waiting = self.full.len() + self.outstanding.load(Ordering::Relaxed);
        waiting >= MAX_OUTSTANDING && (!self.full.is_empty() || self.open.bytes() >= batchsize)
    }

    fn has_room(&self) -> bool {
        self.outstanding.load(Ordering::Relaxed) < MAX_OUTSTANDING
    }

    fn cut(&mut self) {
        let tenant = self.open.tenant().cloned();
        self.full.push(std::mem::replace(&mut self.open, Batch::new(tenant)));
        self.opened = None;
        self.urgent = false;
    }

    fn next(&mut self, now: Instant, wait: Duration, flush: bool) -> Option<Batch> {
        if !self.has_room() {
            return None;
        }
        let due = self.urgent || flush || self.opened.is_some_and(|opened| now >= opened + wait);
        if self.full.is_empty() && due && !self.open.is_empty() {
            self.cut();
        }
        if self.full.is_empty() {
            return None;
        }
        let mut batch = self.full.remove(0);
        batch._outstanding = Some(Outstanding::of(&self.outstanding));
        Some(batch)
    }
}

/// Cuts the line to at most `limit` bytes at a character's boundary; gives what is left.
fn truncate(entry: &mut Entry<'_>, limit: usize) -> usize {
    let end = entry.line.floor_char_boundary(limit);
    match &mut entry.line {
        std::borrow::Cow::Borrowed(line) => *line = &line[..end],
        std::borrow::Cow::Owned(line) => line.truncate(end),
    }
    end
}
