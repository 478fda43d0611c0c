//! Types that all other modules share. This module opens no files or sockets and starts no tasks.

mod abort_on_panic;
mod account;
pub mod bounded;
mod clock;
mod config_error;
mod counted;
mod entry;
mod explanation;
pub mod gonumber;
mod key_path;
mod labels;
mod ledger;
mod live_tail;
mod nearest;
pub mod nesting;
mod position;
mod reason;
mod records;
mod report;
mod rfc3339;
mod seeded;
mod source;
mod start_at;
mod target;
pub mod terminal;
mod text;
pub mod units;

pub use abort_on_panic::AbortOnPanic;
pub use account::{Account, Weight};
pub use clock::{Clock, later, next_time};
pub use config_error::ConfigError;
pub use counted::counted;
pub use entry::{AckRef, Entry, MAX_LINE, MAX_TENANT, Origin, Structured};
pub use explanation::{
    About, Change, ExplainedClient, ExplainedEntry, ExplainedFile, ExplainedTarget, Explanation, LineTrace, Outcome,
    Question, RuleStep, StageStep,
};
pub use key_path::{KeyPath, Step};
pub use labels::{LabelMap, LabelSet, Labels, is_valid_label_name, loki_label_name, quote_go};
pub use ledger::{Ack, ChunkAck, Ledger, Progress};
pub use live_tail::{LiveFilter, LiveLine, LiveTail, Side, Viewer};
pub use nearest::nearest;
pub use position::{FileId, Fingerprint, Mark, Position};
pub use reason::Reason;
pub use records::{Record, RecordList, RecordRef};
pub use report::{
    AccountReport, AskedToExplain, ClientReport, DiscoveredReport, DiscoverySummary, DropReason, Explained, FileReport,
    NotReadReport, Report, TargetReport,
};
pub use rfc3339::{Rfc3339, rfc3339};
pub use seeded::SeededMap;
pub use source::{Checkpoint, Chunk, Read, Source, View, Views, Wake};
pub use start_at::StartAt;
pub use target::{
    FOUND_BY, FROM_CACHE, FROM_NOWHERE, FROM_PATH, HELD, LeftOut, NO_TARGETS, Owner, Streams, Target, TargetGroup,
    TargetLabels, Update, container, pod,
};
pub use text::{Encoding, Lines};
