//! Turns syslog messages into records, with their labels and times.

use std::sync::Arc;

use super::Config;
use super::frames::Frame;
use super::message::Message;
use super::parse::parse;
use crate::model::{Encoding, Labels, Rfc3339};
use crate::receive::labels::Outcome;
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

/// Reads the frames of one sender.
#[derive(Debug)]
pub(super) struct Records {
    shared: Shared,
    /// The address of the sender.
    peer: String,
    live: Arc<Live>,
    reads: [bool; PARTS],
    key: Vec<u8>,
    times: Rfc3339,
    /// When the messages came that are added next, in Unix nanoseconds.
    now: i64,
    pub parcel: Parcel,
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
        }
    }

    /// The records since the last call, if there are any. Later records follow the rules that are in use then.
    pub fn take(&mut self, current: &Current) -> Option<Parcel> {
        let live = current.now();
        if !Arc::ptr_eq(&live, &self.live) {
            self.reads = reads(&live);
            self.live = live;
        }
        self.shared.metrics.syslog.entries(self.parcel.len());
        (!self.parcel.is_empty()).then(|| std::mem::take(&mut self.parcel))
    }

    /// The messages that are added next have come now.
    pub fn came_now(&mut self) {
        self.now = now();
    }

    /// Adds a frame. False: the connection has to be closed.
    pub fn add(&mut self, frame: Frame<'_>) -> bool {
        match frame {
            Frame::Message { bytes, is_cut } => {
                if is_cut {
                    self.shared.metrics.syslog.cut(&self.shared.job);
                }
                self.message(Encoding::Utf8.decode(bytes).trim_end_matches(['\r', '\n', '\0']));
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

    fn message(&mut self, whole: &str) {
        let Shared { job, config, arrival, metrics } = &self.shared;
        let Some(message) = parse(whole, self.now, &mut self.times) else {
            return metrics.syslog.parsing_error();
        };
        if message.text.trim().is_empty() {
            return metrics.syslog.empty_message();
        }
        let parts = parts(&self.peer, &message, &self.reads);
        self.key.clear();
        let data = || message.data.iter().filter(|_| config.label_structured_data);
        let read = parts.iter().zip(self.reads).filter(|(_, is_read)| *is_read);
        let values = read.map(|((_, value), _)| value.unwrap_or_default());
        let pairs = data().flat_map(|(id, name, value)| [*id, *name, &**value]);
        for value in values.chain(pairs) {
            add_to_key(&mut self.key, value);
        }
        let labels = || {
            let known = parts.iter().filter_map(|(name, value)| Some((name.to_string(), value.as_ref()?.to_string())));
            let data = data().map(|(id, name, value)| {
                // The name as in Promtail. If it is still there after the rules, it becomes a name that Loki accepts.
                (format!("__syslog_message_sd_{}_{name}", id.replace('@', "_")), value.to_string())
            });
            Ok::<Labels, ()>(known.chain(data).collect())
        };
        let mut labeller = self.live.labeller();
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

const PARTS: usize = 7;

const NAMES: [&str; PARTS] = [
    "__syslog_connection_ip_address",
    "__syslog_message_severity",
    "__syslog_message_facility",
    "__syslog_message_hostname",
    "__syslog_message_app_name",
    "__syslog_message_proc_id",
    "__syslog_message_msg_id",
];

/// The parts that rules read. Other parts do not matter, and would only fill the cache of decisions.
fn reads(live: &Live) -> [bool; PARTS] {
    NAMES.map(|name| live.reads.reads(name))
}

/// The parts of a message that rules read, with their labels.
fn parts<'m>(peer: &'m str, message: &Message<'m>, reads: &[bool; PARTS]) -> [(&'static str, Option<&'m str>); PARTS] {
    let values = [
        Some(peer),
        Some(message.severity_name()),
        Some(message.facility_name()),
        message.hostname,
        message.app_name,
        message.proc_id,
        message.msg_id,
    ];
    std::array::from_fn(|i| (NAMES[i], values[i].filter(|_| reads[i])))
}
