//! An agent without threads: the test runs the target manager and the readers in turn.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use super::disk::Disk;
use super::hanging::{self, Fate, Hung};
use super::loki::Road;
use super::writer::Format;
use crate::batch::Limits;
use crate::metrics::{Dropped, Registry};
use crate::model::{Labels, TargetGroup, Update};
use crate::positions::{self, Positions};
use crate::scrape::messages::{Commands, Event, Events, StopRequest};
use crate::scrape::metrics::Metrics;
use crate::scrape::open_logs::ReaderLogs;
use crate::scrape::parker::Parker;
use crate::scrape::reader::{Parts, Reader};
use crate::scrape::status::Status;
use crate::scrape::supervised::Supervised;
use crate::scrape::target_manager::TargetManager;
use crate::scrape::watch::Heard;
use crate::scrape::*;

/// The settings of a history.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub clients: usize,
    pub window: usize,
    pub batchsize: usize,
}

pub(super) struct Agent {
    target_manager: Arc<Supervised<TargetManager>>,
    events: Arc<Events>,
    /// None: the reader has stopped.
    readers: Vec<Option<Arc<Supervised<Reader>>>>,
    pub roads: Vec<Road>,
    positions: Arc<Positions>,
    status: Arc<Status>,
    /// The open logs of readers that were told to hand over.
    left: Vec<ReaderLogs>,
    /// The next turn of this reader hangs at its call with this number.
    will_hang: Option<(usize, usize)>,
    hung: Vec<Hung>,
}

/// Compiled once for all histories.
static JOBS: LazyLock<Arc<[Job]>> = LazyLock::new(|| {
    let job = |format: &Format| {
        let stages: Vec<serde_yaml::Value> = serde_yaml::from_str(format.stages()).expect("yaml");
        Job {
            name: format.job().into(),
            rules: Rules::compile(&[]).expect("no rules"),
            program: Some(crate::stages::compile(&stages).expect("stages")),
            options: tail::Options::default(),
            journal: None,
            has_containers: false,
            initial_delay: Duration::ZERO,
            start_at: Default::default(),
            unreadable: None,
        }
    };
    Format::ALL.iter().map(job).collect()
});

impl Agent {
    pub fn start(disk: &Disk, home: &Path, settings: Settings) -> Self {
        Self::start_as("a", disk, home, settings)
    }

    /// With this value of the target's label.
    pub fn start_as(label: &str, disk: &Disk, home: &Path, settings: Settings) -> Self {
        let positions = Positions::open_at(Self::positions(home, settings), disk.clock.clone());
        let positions = Arc::new(positions.expect("positions"));
        Self::run(label, disk, settings, positions, OpenLogs::default())
    }

    /// The next scrape of the process, with the open logs of the previous readers.
    pub fn start_again(self, label: &str, disk: &Disk, home: &Path, settings: Settings) -> Self {
        let open_logs = OpenLogs::new(self.left);
        let readers = Self::positions(home, settings).readers;
        self.positions.begin_run(readers, disk.clock.system_time(), open_logs.has_looked());
        let mut next = Self::run(label, disk, settings, self.positions, open_logs);
        next.hung = self.hung;
        next
    }

    fn positions(home: &Path, settings: Settings) -> positions::Config {
        let filename = home.join("positions.yaml");
        let clients: Vec<Arc<str>> = (0..settings.clients).map(|client| format!("client {client}").into()).collect();
        let jobs = Format::ALL.map(|format| Arc::from(format.job()));
        let readers = clients.iter().flat_map(|client| jobs.clone().map(|job| (client.clone(), job))).collect();
        positions::Config { filename, ignore_invalid_yaml: false, read_only: false, readers }
    }

    fn run(label: &str, disk: &Disk, settings: Settings, positions: Arc<Positions>, open_logs: OpenLogs) -> Self {
        let clients: Vec<Arc<str>> = (0..settings.clients).map(|client| format!("client {client}").into()).collect();
        let config = Config {
            hostname: "here".into(),
            sync_period: Duration::from_secs(10),
            positions_sync_period: Duration::from_secs(10),
            min_poll: Duration::from_millis(250),
            max_poll: None,
            close_idle_after: Duration::ZERO,
            deleted_files_limit: 1 << 30,
            pod_logs: None,
            files: 2000,
            logs: 1000,
            link_roots: Vec::new(),
            rotated_dirs: vec!["old".into()],
            rate: None,
            dry_run: false,
            stdin: None,
            receivers: Vec::new(),
        };
        let events = Arc::new(Events::default());
        let (registry, status) = (Registry::new(), Arc::new(Status::default()));
        let (metrics, dropped) = (Metrics::register(&registry, status.clone()), Dropped::register(&registry));
        let (mut readers, mut roads, mut queues) = (Vec::new(), Vec::new(), Vec::new());
        for (index, open_logs) in open_logs.share_out(&clients).into_iter().enumerate() {
            let (batches, road) = tokio::sync::mpsc::unbounded_channel();
            let commands = Arc::new(Commands::new(Arc::new(Parker::default())));
            let parts = Parts {
                clock: disk.clock.clone(),
                index,
                config: config.clone(),
                jobs: JOBS.clone(),
                outlet: outlet(index, settings, batches),
                positions: positions.clone(),
                commands: commands.clone(),
                target_manager: events.clone(),
                metrics: metrics.clone(),
                dropped: dropped.clone(),
                custom: None,
                live_tail: None,
                status: status.clone(),
                open_logs,
                quiet: crate::tail::QuietFiles::none(),
            };
            readers.push(Some(Supervised::new(Reader::new(parts), || {}).0));
            roads.push(Road::new(road));
            queues.push(commands);
        }
        let told = events.clone();
        let target_manager =
            TargetManager::new(config, JOBS.clone(), queues, positions.clone(), metrics, status.clone(), told).deaf();
        for format in Format::ALL {
            let glob = disk.root.join(format.job()).join("*/*.log").display().to_string();
            let target = Labels::from([("app".into(), label.into()), ("__path__".into(), glob)]);
            let group = TargetGroup::new("static".into(), [target]);
            events.send(Event::Update(Update::Group { job: format.job().into(), group }));
        }
        let agent = Self {
            target_manager: Supervised::new(target_manager, || {}).0,
            events,
            readers,
            roads,
            positions,
            status,
            left: Vec::new(),
            will_hang: None,
            hung: Vec::new(),
        };
        agent.target_manager.hold().step();
        agent.target_manager.hold().settle();
        agent
    }

    /// Sends the file events, or `Everything`.
    pub fn hear(&mut self, disk: &mut Disk, everywhere: bool) {
        let names = std::mem::take(&mut disk.unheard);
        let heard = if everywhere { Heard::Everything } else { Heard::Names(names.into_iter().collect()) };
        self.events.send(Event::Heard(heard));
        self.target_manager.hold().step();
    }

    /// Runs one turn of each reader. Returns when the next one is due.
    pub fn turn(&mut self, now: Instant) -> Instant {
        let mut due = now + Duration::from_secs(1);
        let will_hang = self.will_hang.take();
        for (index, (place, road)) in self.readers.iter_mut().zip(&mut self.roads).enumerate() {
            if let Some((_, call)) = will_hang.filter(|(reader, _)| *reader == index)
                && let Some(reader) = place
            {
                self.hung.extend(hanging::turn(reader, call));
            }
            match place.as_mut().map(|reader| reader.hold().turn()) {
                Some(Some(next)) => due = due.min(next),
                Some(None) => {
                    if let Some(reader) = place.take() {
                        self.left.extend(reader.hold().finish());
                    }
                }
                None => {}
            }
            road.fill();
        }
        self.target_manager.hold().step();
        due
    }

    /// A call of this reader's next turn hangs, if the turn has so many.
    pub fn hang(&mut self, reader: usize, call: usize) {
        self.will_hang = Some((reader, call));
    }

    pub fn hung(&self) -> usize {
        self.hung.len()
    }

    /// The calls that hang return, or else the agent is killed while they hang.
    pub fn let_go(&mut self, fate: Fate) {
        self.will_hang = None;
        self.hung.drain(..).for_each(|hung| hung.end(fate));
    }

    pub fn tell_to_stop(&mut self) {
        self.events.send(Event::Stop(StopRequest { within: Duration::from_secs(20), reads_on: true }));
        self.target_manager.hold().step();
    }

    pub fn tell_to_hand_over(&mut self) {
        self.events.send(Event::Stop(StopRequest { within: Duration::from_secs(20), reads_on: false }));
        self.target_manager.hold().step();
    }

    pub fn has_stopped(&self) -> bool {
        self.readers.iter().all(Option::is_none)
    }

    pub fn sync(&self) {
        self.positions.sync().expect("positions are written");
    }

    /// Whether everything that was read has been answered.
    pub fn is_settled(&self) -> bool {
        let all_answered = self.status.unacknowledged().values().all(|bytes| *bytes == 0);
        all_answered && self.status.files().iter().all(|file| file.ledger.is_settled())
    }

    pub fn troubles(&self) -> Vec<String> {
        let files = self.status.files();
        files.iter().filter_map(|f| Some(format!("{}: {}", f.path.display(), f.error.as_ref()?))).collect()
    }
}

fn outlet(index: usize, settings: Settings, batches: tokio::sync::mpsc::UnboundedSender<Vec<Batch>>) -> Outlet {
    let batch = batch::Config {
        batchsize: settings.batchsize,
        batchwait: Duration::from_millis(200),
        tenant_id: None,
        external_labels: Labels::new(),
        limits: Limits::default(),
        replay_window: settings.window,
        buffer: 16 << 20,
    };
    let counters = ClientCounters { refused: Box::new(|_, _| {}), truncated: Box::new(|_| {}) };
    Outlet { client: format!("client {index}").into(), batch, batches, counters }
}

/// The last offsets in the journal: by log, inode and, if the same file may begin again, its head.
pub(super) fn positions(home: &Path, begins_again: impl Fn(u64) -> bool) -> HashMap<String, u64> {
    let text = fs::read_to_string(home.join("positions.yaml.journal")).unwrap_or_default();
    let (mut logs, mut offsets) = (HashMap::new(), HashMap::new());
    // A torn line is ignored.
    for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
        let fields: Vec<&str> = line.split(' ').collect();
        match fields[..] {
            ["k", slot, _, _, ..] => drop(logs.insert(slot, fields[3..fields.len() - 1].join(" "))),
            ["p", slot, _, inode, length, head, offset, _, _, ..] => {
                let head = if begins_again(inode.parse().unwrap_or(0)) { [length, head] } else { ["", ""] };
                let log = logs.get(slot).map_or("?", |l| l);
                let place = format!("{log} inode {inode} {}", head.join(" "));
                offsets.insert(place, offset.parse().unwrap_or(0));
            }
            _ => {}
        }
    }
    offsets
}
