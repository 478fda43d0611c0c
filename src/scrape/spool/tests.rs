//! Reads, rewinds, commits and kills in random order: each record is committed once, in order.

use super::*;
use crate::metrics::Registry;
use crate::model::units::ByteSize;
use crate::model::{Record, RecordList};
use crate::spool::{Config, Spools, Transaction};

struct Rng(u64);

impl Rng {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

struct World {
    dir: tempfile::TempDir,
    spool: Arc<Spool>,
    /// Of each client.
    cursors: [Option<Arc<str>>; 2],
    written: usize,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let spool = open(&dir);
        Self { dir, spool, cursors: [None, None], written: 0 }
    }

    fn kill(&mut self) {
        self.spool = open(&self.dir);
    }

    fn write(&mut self, parcels: u64, rng: &mut Rng) {
        let parcels: Vec<(String, RecordList)> = (0..parcels)
            .map(|_| {
                let (mut text, mut records) = (String::new(), RecordList::default());
                for _ in 0..=rng.below(5) {
                    text.push_str(&format!("{}{}\n", self.written, "x".repeat(rng.below(9) as usize)));
                    self.written += 1;
                    let labels = Some(LabelSet::new([("n", rng.below(3).to_string())]));
                    records.push(Record {
                        end: text.len(),
                        time: Some(self.written as i64),
                        labels,
                        ..Record::default()
                    });
                }
                (text, records)
            })
            .collect();
        let transaction = Transaction::new(None, parcels.iter().map(|(text, records)| (&**text, records)));
        self.spool.reserve(transaction.size()).expect("room");
        self.spool.append(&[transaction]).expect("written");
    }
}

fn open(dir: &tempfile::TempDir) -> Arc<Spool> {
    let config = Config { max_size: ByteSize(64 << 20) };
    let spool = Spools::default().open("job", &config, &dir.path().join("positions.yaml")).expect("opened");
    spool.begin_run(2);
    spool
}

fn source(world: &World, client: usize) -> Spooled {
    let reader = Reader::open(world.spool.clone(), client, world.cursors[client].as_deref(), Waker::noop().clone());
    Spooled::new(reader, Waker::noop().clone(), Metrics::register(&Registry::new(), Arc::default()))
}

#[test]
fn whatever_happens_each_record_is_committed_once() {
    for seed in 0..400 {
        let (mut rng, mut world) = (Rng(seed), World::new());
        let mut sources = [source(&world, 0), source(&world, 1)];
        // Of each client: what was read and is not committed, with the mark behind it; how many are committed.
        let (mut read, mut done) = ([Vec::<(Mark, usize)>::new(), Vec::new()], [0, 0]);
        for _ in 0..80 {
            let i = rng.below(2) as usize;
            match rng.below(10) {
                0..=2 => {
                    let parcels = 1 + rng.below(3);
                    world.write(parcels, &mut rng);
                }
                3..=6 => {
                    let mut chunk = Chunk::default();
                    if let Read::Records { .. } =
                        sources[i].read(rng.below(40) as usize, Instant::now(), &mut chunk).expect("read")
                    {
                        let mut at = 0;
                        for record in chunk.records.iter().flatten() {
                            let number = record.time.expect("a time") as usize - 1;
                            let text = std::str::from_utf8(&chunk.bytes[at..record.end]).expect("text");
                            assert!(text.starts_with(&number.to_string()) && record.labels.is_some(), "{seed}: {text}");
                            assert_eq!(number, read[i].last().map_or(done[i], |(_, last)| last + 1), "{seed}");
                            at = record.end;
                            read[i].push((chunk.start.after(at as u64), number));
                        }
                    }
                }
                7 => {
                    let count = rng.below(read[i].len() as u64 + 1) as usize;
                    if let Some((mark, last)) = read[i].drain(..count).next_back() {
                        let saved = sources[i].committed(mark);
                        let Some(Checkpoint::Cursor(cursor)) = saved else { panic!("{seed}: {saved:?}") };
                        (world.cursors[i], done[i]) = (Some(cursor), last + 1);
                    }
                }
                8 => {
                    let at = rng.below(read[i].len() as u64 + 1) as usize;
                    if let Some(before) = at.checked_sub(1).map(|at| read[i][at].0) {
                        sources[i].rewind(before);
                        read[i].truncate(at);
                    }
                }
                _ if rng.below(4) == 0 => {
                    world.kill();
                    sources = [source(&world, 0), source(&world, 1)];
                    read = [Vec::new(), Vec::new()];
                }
                _ => {}
            }
        }
        for (i, source) in sources.iter_mut().enumerate() {
            let mut chunk = Chunk::default();
            let mut last = read[i].last().map_or(done[i], |(_, last)| last + 1);
            while let Read::Records { .. } = source.read(1 << 20, Instant::now(), &mut chunk).expect("read") {
                last += chunk.records.as_ref().map_or(0, RecordList::len);
                source.committed(chunk.start.after(chunk.len as u64));
            }
            assert_eq!(last, world.written, "{seed}");
        }
        assert_eq!(world.spool.used(), 0, "{seed}: all is committed");
    }
}
