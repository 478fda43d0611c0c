//! Turns the entries of a push into parcels.

use std::borrow::Cow;
use std::sync::Arc;

use super::{LABELS, Malformed, PAIR_BYTES, PAIRS, Refused, Visit, malformed};
use crate::model::{LabelSet, Labels, MAX_LINE, Structured};
use crate::receive::budget::Reservation;
use crate::receive::labels::{Outcome, TENANT};
use crate::receive::live::Live;
use crate::receive::time::{Arrival, now};
use crate::scrape::Parcel;

/// A parcel is complete when it takes this many bytes of memory: an eighth of an inbox.
const PARCEL: usize = 512 << 10;

/// Within each [`STEP`] of memory the reservation grows once.
const STEP: usize = 64 << 10;

/// The settings for the entries of a push.
#[derive(Clone, Copy)]
pub(super) struct Settings<'b> {
    pub live: &'b Live,
    pub arrival: &'b Arrival,
    pub use_incoming_timestamp: bool,
    /// The tenant that the sender named.
    pub tenant: Option<&'b str>,
    /// Bytes that are reserved for the body.
    pub held: usize,
    /// Entries that were handed in when the same push came earlier.
    pub skip: usize,
}

pub(super) struct Builder<'b> {
    settings: Settings<'b>,
    /// When it came, in Unix nanoseconds.
    now: i64,
    reservation: &'b mut Reservation,
    /// Bytes of finished parcels.
    cost: usize,
    reserved: usize,
    stream: Outcome,
    key: String,
    parcel: Parcel,
    built: Built,
}

/// A push, ready to be handed in.
#[derive(Debug, Default)]
pub(super) struct Built {
    /// The parcels, each with what there is up to its end.
    pub parcels: Vec<(Parcel, Counts)>,
    pub all: Counts,
}

/// The entries of a push up to a place.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub entries: usize,
    /// Lines that a rule drops. Those among the skipped entries were counted when these were handed in.
    pub dropped: usize,
    /// Lines that are longer than the agent holds.
    pub too_long: usize,
}

impl<'b> Builder<'b> {
    pub fn new(settings: Settings<'b>, reservation: &'b mut Reservation) -> Self {
        Self {
            settings,
            now: now(),
            reservation,
            cost: 0,
            reserved: 0,
            stream: Outcome::Drop,
            key: String::new(),
            parcel: Parcel::default(),
            built: Built::default(),
        }
    }

    /// Adds lines of text, one record each. They have only the labels of the config, and no rule is applied.
    pub fn lines(mut self, text: &str, labels: LabelSet) -> Result<Built, Refused> {
        self.settings.use_incoming_timestamp = false;
        self.stream = Outcome::Keep { labels, tenant: self.settings.tenant.map(Arc::from) };
        for line in text.split('\n').map(|line| line.trim_end_matches('\r')).filter(|line| !line.trim().is_empty()) {
            self.entry(0, line, &[])?;
        }
        Ok(self.finish())
    }

    /// The memory of a parcel with this cost, beside that of the finished ones.
    #[inline]
    fn reserve(&mut self, cost: usize) -> Result<(), Refused> {
        if self.cost + cost > self.reserved {
            let reserved = self.cost + cost + STEP;
            self.reservation.grow_to(self.settings.held + reserved)?;
            self.reserved = reserved;
        }
        Ok(())
    }

    pub fn finish(mut self) -> Built {
        if !self.parcel.is_empty() {
            self.built.parcels.push((self.parcel.fitted(), self.built.all));
        }
        self.built
    }
}

impl Visit for Builder<'_> {
    fn stream(&mut self, text: &str, parse: fn(&str) -> Result<Labels, Malformed>) -> Result<(), Refused> {
        if text.len() > LABELS {
            return Err(malformed(format!("the labels of a stream are longer than {LABELS} bytes")));
        }
        self.key.clear();
        self.key.push_str(self.settings.tenant.unwrap_or_default());
        self.key.push('\n');
        self.key.push_str(text);
        let sender = self.settings.tenant;
        let mut labeller = self.settings.live.labeller();
        let outcome = labeller.decide(self.key.as_bytes(), || {
            let mut labels = parse(text)?;
            // A label of the stream is not the header.
            labels.remove(TENANT);
            labels.extend(sender.map(|tenant| (TENANT.to_string(), tenant.to_string())));
            Ok::<_, Malformed>(labels)
        })?;
        self.stream = outcome.clone();
        Ok(())
    }

    /// Makes room for the entries at once, so that it does not grow step by step. If there is not so much memory, the
    /// entries decide how much is needed.
    fn expect(&mut self, entries: usize, bytes: usize) {
        if self.settings.skip > 0 || matches!(self.stream, Outcome::Drop) {
            return;
        }
        let (before, all) = (self.parcel.cost(), Parcel::cost_of(entries, bytes).max(1));
        // What is behind the end of the parcel goes into the next one.
        let part = all.min((PARCEL + STEP).saturating_sub(before));
        if self.reserve(before + part).is_ok() {
            self.parcel.reserve(entries * part / all, bytes * part / all);
        }
    }

    fn entry(&mut self, time: i64, line: &str, metadata: &[(Cow<'_, str>, Cow<'_, str>)]) -> Result<(), Refused> {
        let bytes: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
        if metadata.len() > PAIRS || bytes > PAIR_BYTES {
            let most = format!("{PAIRS} pairs of structured metadata, or than {PAIR_BYTES} bytes of it");
            return Err(malformed(format!("an entry has more than {most}")));
        }
        self.built.all.entries += 1;
        if self.built.all.entries <= self.settings.skip {
            return Ok(());
        }
        let Outcome::Keep { labels, tenant } = &self.stream else {
            self.built.all.dropped += 1;
            return Ok(());
        };
        if line.len() > MAX_LINE {
            self.built.all.too_long += 1;
            return Ok(());
        }
        let time = if self.settings.use_incoming_timestamp { time } else { self.settings.arrival.next(self.now) };
        let pair = |(name, value): &(Cow<'_, str>, Cow<'_, str>)| Structured {
            name: Arc::from(&**name),
            value: Cow::Owned(value.to_string()),
        };
        let metadata = metadata.iter().map(pair).collect();
        self.parcel.push_to(line, Some(time), metadata, (Some(labels), tenant.as_ref()));
        let cost = self.parcel.cost();
        self.reserve(cost)?;
        if cost > PARCEL {
            self.cost += cost;
            self.built.parcels.push((std::mem::take(&mut self.parcel).fitted(), self.built.all));
        }
        Ok(())
    }
}
