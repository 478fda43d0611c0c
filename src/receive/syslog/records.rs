//! Turns syslog messages into records, with their labels and times.

use std::sync::Arc;

use super::Config;
use super::frames::{Frame, Frames};
use super::message::Message;
use super::parse::parse;
use crate::model::{Encoding, Labels, Rfc3339};
use crate::receive::labels::{Labeller, Outcome};
use crate::receive::live::{Current, Live};
use crate::receive::metrics::Metrics;
use crate::receive::time::{Arrival, now};
use crate::scrape::Parcel;

/// The state that the tasks of a receiver share.
#[derive(Clone, Debug)]
pub(in crate::receive) struct Shared {
    pub(super) job: Arc<str>,
    pub(super) config: Arc<Config>,
    arrival: Arc<Arrival>,
    pub(super) metrics: Metrics,
}

impl Shared {
    pub(in crate::receive) fn new(job: Arc<str>, config: Config, metrics: Metrics) -> Self {
        Self { job, config: Arc::new(config), arrival: Arc::default(), metrics }
    }
}

/// No more records are expected than messages of this length in bytes.
const SHORT: usize = 64;

/// Reads the frames of one sender.
#[derive(Debug)]
pub(super) struct Records {
    shared: Shared,
    /// The address of the sender.
    peer: String,
    live: Arc<Live>,
    reads: Vec<Part>,
    key: Vec<u8>,
    times: Rfc3339,
    /// When the messages came that are added next, in Unix nanoseconds.
    now: i64,
    pub parcel: Parcel,
    /// How many records the last parcel had.
    usual: usize,
}

impl Records {
    pub fn new(shared: Shared, peer: String, current: &Current) -> Self {
        let live = current.now();
        let reads = reads(&live);
        Self {
            shared,
            peer,
            live,
            reads,
            key: Vec::new(),
            times: Rfc3339::default(),
            now: now(),
            parcel: Parcel::default(),
            usual: 0,
        }
    }

    /// The records since the last call, if there are any. Later records follow the rules that are in use then.
    pub fn take(&mut self, current: &Current) -> Option<Parcel> {
        let live = current.now();
        if !Arc::ptr_eq(&live, &self.live) {
            self.reads = reads(&live);
            self.live = live;
        }
        self.usual = self.parcel.len();
        self.shared.metrics.syslog.entries(self.usual);
        (!self.parcel.is_empty()).then(|| std::mem::take(&mut self.parcel).fitted())
    }

    /// The messages that are added next have come now.
    pub fn came_now(&mut self) {
        self.now = now();
    }

    /// Adds the messages that are whole. `is_last`: nothing follows, so the last message may have no newline. False: the
    /// connection has to be closed.
    pub fn add(&mut self, frames: &mut Frames, is_last: bool) -> bool {
        let live = self.live.clone();
        // One lock for all messages of a read.
        let mut labeller = live.labeller();
        let (held, mut goes_on) = (frames.held(), true);
        while let Some(frame) = frames.take() {
            if self.parcel.is_empty() {
                self.parcel.reserve(self.usual.min(held / SHORT), held);
            }
            goes_on &= self.frame(frame, &mut labeller);
        }
        if is_last && let Some(frame) = frames.end() {
            goes_on &= self.frame(frame, &mut labeller);
        }
        goes_on
    }

    fn frame(&mut self, frame: Frame<'_>, labeller: &mut Labeller) -> bool {
        match frame {
            Frame::Message { bytes, is_cut } => {
                if is_cut {
                    self.shared.metrics.syslog.cut(&self.shared.job);
                }
                self.message(Encoding::Utf8.decode(bytes).trim_end_matches(['\r', '\n', '\0']), labeller);
                true
            }
            Frame::Bad => {
                self.shared.metrics.syslog.parsing_error();
                true
            }
            Frame::Broken => {
                self.shared.metrics.syslog.parsing_error();
                false
            }
        }
    }

    fn message(&mut self, whole: &str, labeller: &mut Labeller) {
        let Shared { job, config, arrival, metrics } = &self.shared;
        let Some(message) = parse(whole, self.now, &mut self.times) else {
            return metrics.syslog.parsing_error();
        };
        if message.text.chars().all(char::is_whitespace) {
            return metrics.syslog.empty_message();
        }
        self.key.clear();
        for part in &self.reads {
            add_to_key(&mut self.key, part.of(&self.peer, &message).unwrap_or_default());
        }
        let data = || message.data.iter().filter(|_| config.label_structured_data);
        for (id, name, value) in data() {
            [*id, *name, &**value].into_iter().for_each(|value| add_to_key(&mut self.key, value));
        }
        let labels = || {
            let value = |part: &Part| Some((part.name().to_string(), part.of(&self.peer, &message)?.to_string()));
            let known = self.reads.iter().filter_map(value);
            let data = data().map(|(id, name, value)| {
                // The name as in Promtail. If it is still there after the rules, it becomes a name that Loki accepts.
                (format!("__syslog_message_sd_{}_{name}", id.replace('@', "_")), value.to_string())
            });
            Ok::<Labels, ()>(known.chain(data).collect())
        };
        let Ok(Outcome::Keep { labels, tenant }) = labeller.decide(&self.key, labels) else {
            return metrics.dropped(1, 0);
        };
        let time = match (config.use_incoming_timestamp, message.time) {
            (true, Some(time)) => time,
            (true, None) => {
                metrics.syslog.no_time(job);
                arrival.next(self.now)
            }
            (false, _) => arrival.next(self.now),
        };
        let text = if config.use_rfc5424_message { whole } else { message.text };
        self.parcel.push_to(text, Some(time), Vec::new(), (Some(labels), tenant.as_ref()));
    }
}

/// Adds a value with its length, since it may have any character.
fn add_to_key(key: &mut Vec<u8>, value: &str) {
    key.extend_from_slice(&value.len().to_le_bytes());
    key.extend_from_slice(value.as_bytes());
}

/// A part of a message that becomes a label before the rules are applied.
#[derive(Clone, Copy, Debug)]
enum Part {
    Address,
    Severity,
    Facility,
    Hostname,
    AppName,
    ProcId,
    MsgId,
}

impl Part {
    const ALL: [Self; 7] =
        [Self::Address, Self::Severity, Self::Facility, Self::Hostname, Self::AppName, Self::ProcId, Self::MsgId];

    fn name(self) -> &'static str {
        match self {
            Self::Address => "__syslog_connection_ip_address",
            Self::Severity => "__syslog_message_severity",
            Self::Facility => "__syslog_message_facility",
            Self::Hostname => "__syslog_message_hostname",
            Self::AppName => "__syslog_message_app_name",
            Self::ProcId => "__syslog_message_proc_id",
            Self::MsgId => "__syslog_message_msg_id",
        }
    }

    /// None: the message does not have it.
    fn of<'m>(self, peer: &'m str, message: &Message<'m>) -> Option<&'m str> {
        match self {
            Self::Address => Some(peer),
            Self::Severity => Some(message.severity_name()),
            Self::Facility => Some(message.facility_name()),
            Self::Hostname => message.hostname,
            Self::AppName => message.app_name,
            Self::ProcId => message.proc_id,
            Self::MsgId => message.msg_id,
        }
    }
}

/// The parts that rules read. Other parts do not matter, and would only fill the cache of decisions.
fn reads(live: &Live) -> Vec<Part> {
    Part::ALL.into_iter().filter(|part| live.reads.reads(part.name())).collect()
}
