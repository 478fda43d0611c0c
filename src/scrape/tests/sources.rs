//! A source that is not a file: records with their own times and labels, and a saved cursor.

use std::collections::BTreeSet;
use std::time::Instant;

use super::rig::{self, Dir, Stored, decode, outlet};
use crate::model::{Checkpoint, Chunk, Encoding, Mark, Position, Progress, Read, Record, RecordList, Source, Wake};
use crate::scrape::given::{GivenSource, Opening};
use crate::scrape::messages::{Command, Commands, Events, SourceAssignment};
use crate::scrape::parker::Parker;
use crate::scrape::reader::{Parts, Reader};
use crate::scrape::supervised::Supervised;
use crate::scrape::*;

/// A thousand records. Its cursor is the number of the first uncommitted record.
#[derive(Debug)]
struct Numbers {
    /// The number of the first record since it was opened.
    first: usize,
    /// The end marks of the records that it gave.
    ends: Vec<Mark>,
    next: usize,
}

const ALL: usize = 1_000;

fn text(n: usize) -> String {
    format!("record {n} {}", "x".repeat(n % 300))
}

/// Some records have their own labels. All have a time, which does not always increase.
fn stored(n: usize) -> Stored {
    let labels = if n.is_multiple_of(3) { r#"{unit="third"}"# } else { r#"{app="numbers"}"# };
    let timestamp = 1_700_000_000_000_000_000 + (n / 2) as i64;
    Stored { labels: labels.into(), timestamp, line: text(n) }
}

impl Numbers {
    fn open(cursor: Option<Arc<str>>) -> Self {
        let first = cursor.map_or(0, |cursor| cursor.parse().expect("its own cursor"));
        Self { first, ends: Vec::new(), next: first }
    }

    fn mark(&self, number: usize) -> Mark {
        number.checked_sub(self.first + 1).map_or(Mark(0), |before| self.ends[before])
    }
}

impl Source for Numbers {
    fn read(&mut self, room: usize, _now: Instant, chunk: &mut Chunk) -> std::io::Result<Read> {
        if self.next == ALL {
            return Ok(Read::Idle);
        }
        let mut records = RecordList::default();
        chunk.bytes.clear();
        chunk.start = self.mark(self.next);
        while self.next < ALL && chunk.bytes.len() < room {
            chunk.bytes.extend_from_slice(format!("{}\n", text(self.next)).as_bytes());
            let want = stored(self.next);
            let labels = want.labels.contains("unit").then(|| LabelSet::new([("unit", "third")]));
            records.push(Record { end: chunk.bytes.len(), time: Some(want.timestamp), labels, ..Record::default() });
            if self.ends.len() == self.next - self.first {
                self.ends.push(chunk.start.after(chunk.bytes.len() as u64));
            }
            self.next += 1;
        }
        chunk.len = chunk.bytes.len();
        chunk.records = Some(records);
        chunk.encoding = Encoding::Utf8;
        chunk.place = Position { offset: chunk.start.0, ..Position::default() };
        Ok(Read::Records { more: self.next < ALL })
    }

    fn rewind(&mut self, to: Mark) -> u64 {
        let given = self.ends.partition_point(|end| *end <= to);
        assert_eq!(self.mark(self.first + given), to, "the beginning of a record");
        self.next = self.first + given;
        0
    }

    fn committed(&mut self, to: Mark) -> Option<Checkpoint> {
        let done = self.first + self.ends.partition_point(|end| *end <= to);
        Some(Checkpoint::Cursor(done.to_string().into()))
    }

    fn wake(&self) -> Wake {
        Wake::Poll
    }

    fn note_progress(&self, progress: &mut Progress) {
        progress.unread = (ALL - self.next) as u64;
    }
}

/// A reader that is about to open this source, and the batches that it sends.
pub(super) fn reader(
    dir: &Dir,
    source: GivenSource,
    open_logs: OpenLogs,
    clock: Clock,
) -> (Supervision, Arc<Commands>, Batches) {
    let (outlet, batches) = outlet("loki");
    let (registry, status) = (Registry::new(), Arc::new(Status::default()));
    let commands = Arc::new(Commands::new(Arc::new(Parker::default())));
    let target = Arc::new(source.target());
    commands.send(Command::Open(SourceAssignment { log: 1, target, source: Arc::new(source) }));
    let reader = Reader::new(Parts {
        clock,
        index: 0,
        config: rig::config(),
        jobs: vec![rig::job("numbers", "[]")].into(),
        outlet,
        positions: dir.positions(),
        commands: commands.clone(),
        target_manager: Arc::new(Events::default()),
        metrics: metrics::Metrics::register(&registry, status.clone()),
        dropped: Dropped::register(&registry),
        custom: None,
        live_tail: None,
        status,
        open_logs: open_logs.share_out(&["loki".into()]).remove(0),
        quiet: crate::tail::QuietFiles::none(),
    });
    (Supervised::new(reader, || {}).0, commands, batches)
}

pub(super) type Supervision = Arc<Supervised<Reader>>;

pub(super) type Batches = tokio::sync::mpsc::UnboundedReceiver<Vec<Batch>>;

fn numbers() -> GivenSource {
    let open = |opening: Opening| Ok(Box::new(Numbers::open(opening.cursor)) as Box<dyn Source>);
    let labels = LabelSet::new([("app", "numbers")]);
    GivenSource::new(("numbers".into(), "numbers".into()), labels, Some("cursor-numbers".into()), open)
}

/// One run of a reader, which is killed after Loki has stored `until` records.
fn run(dir: &Dir, until: usize) -> (Vec<Stored>, Vec<Stored>) {
    let clock = Clock::standing(0);
    let (reader, _, mut batches) = reader(dir, numbers(), OpenLogs::default(), clock.clone());
    let (mut taken, mut sent) = (Vec::new(), Vec::new());
    // Loki does not answer these, so they stay in flight until the end.
    let mut unanswered = Vec::new();
    for _ in 0..1_000 {
        let due = reader.hold().turn().expect("it was not told to stop");
        clock.advance(due.saturating_duration_since(clock.now()).max(Duration::from_millis(1)));
        for batch in std::iter::from_fn(|| batches.try_recv().ok()).flatten() {
            let entries = decode(&batch);
            sent.extend(entries.clone());
            if taken.len() + entries.len() <= until {
                taken.extend(entries);
                batch.close();
            } else {
                unanswered.push(batch);
            }
        }
        if taken.len() == ALL {
            reader.hold().turn();
            break;
        }
    }
    (taken, sent)
}

#[test]
fn a_source_goes_on_at_its_cursor_and_gives_each_record_as_it_is() {
    let dir = Dir::new();
    let mut all: Vec<Stored> = Vec::new();
    let mut again = 0;
    for until in [100, 350, 0, 5, ALL] {
        let (taken, sent) = run(&dir, until);
        assert!(sent.len() >= taken.len());
        again += taken.iter().filter(|entry| all.contains(entry)).count();
        all.extend(taken);
    }
    // One of two streams may be ahead of the common commit.
    assert!(again < 300, "{again} records were taken twice");
    let lines = |entries: &[Stored]| entries.iter().map(|e| e.line.clone()).collect::<BTreeSet<_>>();
    let want: Vec<Stored> = (0..ALL).map(stored).collect();
    assert_eq!(lines(&all).len(), ALL);
    for entry in &all {
        assert!(want.contains(entry), "{entry:?}");
    }
    // Nothing is left for another run.
    assert_eq!(run(&dir, ALL).1, []);
}

/// A receiver has told its sender that the records are taken, so the agent must not lose them when it is reloaded.
#[tokio::test]
async fn records_in_an_inbox_outlive_a_reload() {
    let (dir, clock) = (Dir::new(), Clock::standing(0));
    let received = |name: &str| {
        let parker = Arc::new(Parker::default());
        GivenSource::received(("numbers".into(), name.into()), LabelSet::new([("app", "pushed")]), [&parker])
    };
    let (intake, source) = received("first");
    let (before, commands, mut batches) = reader(&dir, source, OpenLogs::default(), clock.clone());
    let mut parcel = Parcel::default();
    (0..100).for_each(|n| parcel.push(&format!("record {n}"), Some(n), None));
    let ticket = intake.offer(parcel).expect("there is room");
    let sent = |reader: &Supervision, batches: &mut Batches| {
        let mut sent = Vec::new();
        for _ in 0..100 {
            let Some(due) = reader.hold().turn() else { break };
            clock.advance(due.saturating_duration_since(clock.now()).max(Duration::from_millis(1)));
            sent.extend(std::iter::from_fn(|| batches.try_recv().ok()).flatten());
        }
        sent
    };
    // Loki does not answer until the config is reloaded.
    let unanswered = sent(&before, &mut batches);
    assert_eq!(unanswered.iter().flat_map(decode).count(), 100);
    commands.send(Command::Stop(messages::StopRequest { within: Duration::from_secs(3), reads_on: false }));
    let unanswered = (unanswered, sent(&before, &mut batches));
    let logs = OpenLogs::new(vec![before.hold().finish().expect("it is the only thread")]);
    drop((unanswered, intake));

    let (other, source) = received("second");
    let (after, commands, mut batches) = reader(&dir, source, logs, clock.clone());
    commands.send(Command::Settle);
    let batches = sent(&after, &mut batches);
    let lines: Vec<String> = batches.iter().flat_map(decode).map(|entry| entry.line).collect();
    assert_eq!(lines, (0..100).map(|n| format!("record {n}")).collect::<Vec<_>>());
    batches.into_iter().for_each(Batch::close);
    sent(&after, &mut tokio::sync::mpsc::unbounded_channel().1);
    assert_eq!(ticket.committed().await, Ok(()));
    drop(other);
}
