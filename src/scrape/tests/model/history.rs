//! One history and its events.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::agent::{Agent, Settings};
use super::chance::Chance;
use super::disk::Disk;
use super::loki::{Answer, Loki};
use super::verdict::within_window;
use super::writer::{Manner, Writer};
use crate::model::Clock;

/// How Loki behaves for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Well,
    /// It answers nothing.
    Away,
    /// It answers some pushes, in varying ways.
    Odd,
}

pub(super) struct History {
    pub disk: Disk,
    pub settings: Settings,
    pub writers: Vec<Writer>,
    pub agent: Option<Agent>,
    pub lokis: Vec<Loki>,
    pub moods: Vec<Mood>,
    /// By client: lines that are lost, because their file is gone and nobody had seen it.
    pub lost: Vec<BTreeSet<usize>>,
    /// Lines that lost their end while nothing was written after them.
    pub torn: BTreeSet<(usize, usize)>,
    /// The directory of the positions, and their last contents.
    pub home: PathBuf,
    pub offsets: HashMap<String, u64>,
    pub truncated: HashSet<u64>,
    /// Bytes of the journal that are durable.
    pub durable: u64,
    /// When the agent last looked everywhere.
    pub looked: Instant,
    pub told: Arc<Mutex<Vec<String>>>,
    /// See [`rough`](super::rough).
    pub is_rough: bool,
    /// The agent has not looked yet.
    pub is_new: bool,
}

pub(super) type Check = Result<(), String>;

impl History {
    pub fn begin(seed: u64, root: &Path, told: Arc<Mutex<Vec<String>>>) -> Self {
        let mut chance = Chance::new(seed, u64::MAX);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        // No file is older than the first start.
        let clock = Clock::standing(now.as_nanos() as i64 + 1_000_000_000);
        let mut disk = Disk::new(root.join("logs"), clock);
        let settings = Settings {
            clients: 1 + usize::from(chance.one_in(4)),
            window: chance.pick(&[1 << 10, 4 << 10, 64 << 10]),
            batchsize: chance.pick(&[1 << 10, 8 << 10, 1 << 20]),
        };
        let is_rough = seed >= super::ROUGH;
        let count = 1 + chance.below(3);
        let writers: Vec<Writer> = (0..count).map(|id| Writer::new(id, &mut disk, &mut chance, is_rough)).collect();
        let home = root.join("home");
        fs::create_dir_all(&home).expect("made");
        // The Loki of a second client is always down.
        let moods = (0..settings.clients).map(|client| if client == 0 { Mood::Well } else { Mood::Away }).collect();
        let mut history = Self {
            disk,
            settings,
            writers,
            agent: None,
            lokis: (0..settings.clients).map(|_| Loki::default()).collect(),
            moods,
            lost: vec![BTreeSet::new(); settings.clients],
            torn: BTreeSet::new(),
            home,
            offsets: HashMap::new(),
            truncated: HashSet::new(),
            durable: 0,
            looked: Instant::now(),
            told,
            is_rough,
            is_new: true,
        };
        history.tell(format!("{settings:?}"));
        for (id, writer) in history.writers.iter().enumerate() {
            history.tell(format!("writer {id}: {:?} {:?} {}", writer.format, writer.manner, writer.live.display()));
        }
        // Lines rotated away before the very first start are not read.
        history.start();
        history
    }

    pub fn tell(&self, what: String) {
        self.told.lock().expect("not poisoned").push(what);
    }

    pub fn tell_positions(&self) {
        let journal = fs::read_to_string(self.journal()).unwrap_or_default();
        self.tell(format!("the journal says: {}", journal.replace('\n', "\n    ")));
        for name in self.disk.names.keys() {
            self.tell(format!("{}: inode {}, {} bytes", name.display(), inode(name), size(name)));
        }
    }

    /// Runs one event.
    pub fn step(&mut self, mut chance: Chance) -> Check {
        let writer = chance.below(self.writers.len());
        if self.is_rough && self.rough_step(writer, &mut chance)? {
            self.forfeit();
            return self.check();
        }
        match chance.below(100) {
            0..30 => self.write(writer, &mut chance),
            30..50 => {
                let time = Duration::from_millis(chance.pick(&[0, 60, 300, 1_100]));
                self.tell(format!("{time:?} pass"));
                self.pass(time, &mut chance)?;
            }
            50..58 => self.look(false, &mut chance)?,
            58..61 => self.look(true, &mut chance)?,
            61..72 => self.rotate(writer, &mut chance),
            72..77 => self.change_mood(&mut chance),
            77..83 => self.answer(&mut chance)?,
            83..87 => self.crash(&mut chance),
            87..89 => self.stop(&mut chance)?,
            89..91 => self.sync(),
            91..93 => self.rest(&mut chance)?,
            93 => self.delete_oldest(writer),
            94 => self.restart_container(writer, &mut chance),
            95 => self.delete_all(writer),
            96 => self.write_late(writer, &mut chance),
            97 => self.reload(&mut chance)?,
            _ if self.agent.is_none() => self.start(),
            _ => self.write(writer, &mut chance),
        }
        self.forfeit();
        self.check()
    }

    fn write(&mut self, writer: usize, chance: &mut Chance) {
        let own = &mut self.writers[writer];
        if self.disk.is_away(own.dir()) {
            return;
        }
        if own.raced && self.agent.is_some() {
            return; // A race of copytruncate with readers and writers is not tested here.
        }
        let first = self.disk.lines.len();
        for _ in 0..1 + chance.below(8) {
            own.write(&mut self.disk, chance);
        }
        self.tell(format!("writer {writer} writes lines from {first} to before {}", self.disk.lines.len()));
    }

    fn rotate(&mut self, writer: usize, chance: &mut Chance) {
        let own = &mut self.writers[writer];
        if own.raced && self.agent.is_some() || self.disk.is_away(own.dir()) {
            return;
        }
        if own.manner == Manner::Copied {
            self.truncated.insert(inode(&own.live));
            self.race(writer);
        }
        if self.writers[writer].manner == Manner::Linked {
            let live = self.writers[writer].live.clone();
            self.writers[writer].complete(&live, &mut self.disk);
            // The program makes a file when it has something to write.
            if self.disk.file(&live).size == 0 {
                return;
            }
            self.lose_track(writer);
        }
        let own = &mut self.writers[writer];
        own.rotate(&mut self.disk, chance);
        self.tell(format!("writer {writer} rotates"));
    }

    fn delete_oldest(&mut self, writer: usize) {
        let own = &mut self.writers[writer];
        if !own.old.is_empty() && !self.disk.is_away(own.dir()) {
            let oldest = own.old.remove(0);
            self.disk.remove(&oldest);
            self.tell(format!("{} is deleted", oldest.display()));
        }
    }

    fn restart_container(&mut self, writer: usize, _: &mut Chance) {
        if self.writers[writer].manner == Manner::Kubelet && !self.disk.is_away(self.writers[writer].dir()) {
            self.writers[writer].restart(&mut self.disk);
            self.tell(format!("the container of writer {writer} is started again"));
        }
    }

    fn delete_all(&mut self, writer: usize) {
        if self.disk.is_away(self.writers[writer].dir()) {
            return;
        }
        self.writers[writer].delete_all(&mut self.disk);
        self.tell(format!("all that writer {writer} wrote is deleted"));
    }

    /// Writes into a file right after it was renamed.
    fn write_late(&mut self, writer: usize, chance: &mut Chance) {
        let own = &mut self.writers[writer];
        if own.manner == Manner::Renamed && !self.disk.is_away(own.dir()) {
            own.rotate_and_write_late(&mut self.disk, chance);
            self.tell(format!("writer {writer} rotates and writes to the old file once more"));
        }
    }

    fn change_mood(&mut self, chance: &mut Chance) {
        self.moods[0] = chance.pick(&[Mood::Well, Mood::Well, Mood::Away, Mood::Odd]);
        self.tell(format!("Loki is {:?}", self.moods[0]));
    }

    fn answer(&mut self, chance: &mut Chance) -> Check {
        let Some(agent) = &mut self.agent else {
            return Ok(());
        };
        let road = &mut agent.roads[0];
        if road.lanes() == 0 {
            return Ok(());
        }
        let lane = chance.below(road.lanes());
        let answer = any_answer(chance);
        if road.answer(lane, answer, &mut self.lokis[0], &self.disk)? {
            self.tell(format!("lane {lane}: {answer:?}"));
        }
        Ok(())
    }

    pub fn start(&mut self) {
        self.disk.none_seen();
        self.disk.clock.advance(Duration::from_millis(100));
        self.is_new = true;
        self.lose_order();
        self.agent = Some(Agent::start(&self.disk, &self.home, self.settings));
        self.durable = size(&self.journal());
        self.overlook();
        self.looked = self.disk.clock.now();
        self.tell("the agent starts".into());
    }

    fn sync(&mut self) {
        if let Some(agent) = &self.agent {
            agent.sync();
            self.durable = size(&self.journal());
            self.tell("positions are synced".into());
        }
    }

    pub fn journal(&self) -> PathBuf {
        self.home.join("positions.yaml.journal")
    }

    /// A longer quiet time. Lines that were begun are completed, because no writer takes minutes for that.
    fn rest(&mut self, chance: &mut Chance) -> Check {
        for writer in &mut self.writers {
            let live = writer.live.clone();
            if !self.disk.is_away(&live) {
                writer.complete(&live, &mut self.disk);
            }
        }
        let time = Duration::from_secs(chance.pick(&[4, 70, 400]));
        // If no agent runs until the clock has caught up, nothing shows that it was put back.
        if self.disk.put_back > 0 && self.agent.is_none() {
            return Ok(());
        }
        // The parts of a CRI line that are read more than five minutes apart are not joined.
        if time > Duration::from_secs(300) {
            self.let_go();
        }
        self.tell(format!("{time:?} of silence"));
        for _ in 0..12 {
            self.pass(time / 12, chance)?;
        }
        Ok(())
    }

    /// Time passes, and the agent does what is due.
    pub fn pass(&mut self, time: Duration, chance: &mut Chance) -> Check {
        self.disk.clock.advance(time);
        // The target manager's safety net.
        if self.agent.is_some() && self.disk.clock.now() >= self.looked + Duration::from_secs(60) {
            self.look(true, chance)?;
        }
        for _ in 0..3 {
            self.turn(chance)?;
        }
        Ok(())
    }

    /// The agent gets the file events and looks.
    pub fn look(&mut self, everywhere: bool, chance: &mut Chance) -> Check {
        let Some(agent) = &mut self.agent else {
            self.start();
            return Ok(());
        };
        agent.hear(&mut self.disk, everywhere);
        self.turn(chance)?;
        self.turn(chance)?;
        if std::mem::take(&mut self.is_new) {
            self.lose_order();
        }
        // A log of which a call hangs is not looked at, and others of its device may not be either.
        if self.agent.as_ref().is_some_and(|agent| agent.hung() == 0) {
            self.disk.all_seen();
            self.writers.iter_mut().for_each(|writer| writer.raced = false);
        }
        self.overlook();
        self.looked = self.disk.clock.now();
        self.tell(format!("the agent looks{}", if everywhere { " everywhere" } else { "" }));
        Ok(())
    }

    /// The readers take a turn, and Loki answers as it currently does.
    pub fn turn(&mut self, chance: &mut Chance) -> Check {
        let Some(agent) = &mut self.agent else {
            return Ok(());
        };
        agent.turn(self.disk.clock.now());
        for (client, road) in agent.roads.iter_mut().enumerate() {
            within_window(self.settings, client, road)?;
            for lane in 0..road.lanes() {
                let (loki, disk) = (&mut self.lokis[client], &self.disk);
                match self.moods[client] {
                    Mood::Well => while road.answer(lane, Answer::Stored, loki, disk)? {},
                    Mood::Odd if chance.one_in(2) => drop(road.answer(lane, any_answer(chance), loki, disk)?),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

fn any_answer(chance: &mut Chance) -> Answer {
    chance.pick(&[Answer::Stored, Answer::Stored, Answer::Lost, Answer::Refused, Answer::Halved, Answer::Apart])
}

pub(super) fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |meta| meta.len())
}

fn inode(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).map_or(0, |meta| meta.ino())
}
