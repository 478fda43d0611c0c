//! A scrape on its own files. The test itself is Loki.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::batch::Limits;
use crate::model::{Labels, TargetGroup, Update};
use crate::positions;
use crate::scrape::messages::{Commands, Events};
use crate::scrape::target_manager::TargetManager;
use crate::scrape::*;

/// An entry as Loki would store it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Stored {
    pub(super) labels: String,
    pub(super) timestamp: i64,
    pub(super) line: String,
}

/// The scrape of one client. Its batches come here instead of to Loki.
pub(super) struct Rig {
    pub(super) scrape: Option<Scrape>,
    pub(super) batches: UnboundedReceiver<Vec<Batch>>,
    pub(super) stored: Vec<Stored>,
    /// Batches that Loki has not answered yet.
    pub(super) unanswered: Vec<Batch>,
    pub(super) answer: bool,
    /// Loki does not answer batches with a leader.
    pub(super) ignore_led: bool,
    /// Lines that a stage should hold at the end.
    pub(super) held: u64,
}

/// A target manager without file events. The test sends them, and acts as the reader.
pub(super) struct ManagerRig {
    pub(super) dir: Dir,
    pub(super) target_manager: Arc<Supervised<TargetManager>>,
    pub(super) events: Arc<Events>,
    pub(super) commands: Arc<Commands>,
    pub(super) status: Arc<Status>,
}

impl ManagerRig {
    pub(super) fn new(dir: Dir) -> Self {
        let (events, status) = (Arc::new(Events::default()), Arc::new(Status::default()));
        let commands = Arc::new(Commands::new(Arc::default()));
        let metrics = crate::scrape::metrics::Metrics::register(&Registry::new(), status.clone());
        let (jobs, readers, positions) = (vec![job("job", "[]")].into(), vec![commands.clone()], dir.positions());
        let target_manager =
            TargetManager::new(config(), jobs, readers, positions, metrics, status.clone(), events.clone());
        Self { dir, target_manager: Supervised::new(target_manager.deaf(), || {}).0, events, commands, status }
    }
}

pub(super) struct Dir(pub(super) tempfile::TempDir);

impl Dir {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(super) fn append(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        let mut file = OpenOptions::new().create(true).append(true).open(path).expect("opened");
        file.write_all(text.as_ref()).expect("written");
    }

    /// Appends the numbered lines `from..to`.
    pub(super) fn number(&self, name: &str, from: usize, to: usize) {
        self.append(name, (from..to).map(|n| format!("line {n} {}\n", "x".repeat(100))).collect::<String>());
    }

    pub(super) fn positions(&self) -> Arc<Positions> {
        let config = positions::Config {
            filename: self.path("positions.yaml"),
            ignore_invalid_yaml: false,
            read_only: false,
            readers: Default::default(),
        };
        Arc::new(Positions::open(config).expect("positions"))
    }

    pub(super) fn scrape(&self, glob: &str, stages: &str) -> Rig {
        self.scrape_with(glob, stages, |_| {})
    }

    pub(super) fn scrape_with(&self, glob: &str, stages: &str, change: impl FnOnce(&mut Config)) -> Rig {
        let (outlet, batches) = outlet("loki");
        self.start(glob, stages, change, vec![outlet], batches)
    }

    /// Nobody answers the second client's batches.
    pub(super) fn scrape_for_two(&self, glob: &str) -> (Rig, UnboundedReceiver<Vec<Batch>>) {
        let ((outlet, batches), (other, dead)) = (outlet("loki"), self::outlet("dead"));
        (self.start(glob, "[]", |_| {}, vec![outlet, other], batches), dead)
    }

    pub(super) fn start(
        &self,
        glob: &str,
        stages: &str,
        change: impl FnOnce(&mut Config),
        outlets: Vec<Outlet>,
        batches: UnboundedReceiver<Vec<Batch>>,
    ) -> Rig {
        self.start_job(glob, job("job", stages), change, outlets, batches)
    }

    pub(super) fn start_ruled(
        &self,
        glob: &str,
        rules: Rules,
        change: impl FnOnce(&mut Config),
        outlets: Vec<Outlet>,
        batches: UnboundedReceiver<Vec<Batch>>,
    ) -> Rig {
        self.start_job(glob, Job { rules, ..job("job", "[]") }, change, outlets, batches)
    }

    pub(super) fn start_job(
        &self,
        glob: &str,
        job: Job,
        change: impl FnOnce(&mut Config),
        outlets: Vec<Outlet>,
        batches: UnboundedReceiver<Vec<Batch>>,
    ) -> Rig {
        let mut config = config();
        change(&mut config);
        let jobs = vec![job];
        let scrape = Scrape::start(
            config,
            jobs,
            outlets,
            self.positions(),
            &Metrics::register(&Registry::new()),
            OpenLogs::default(),
        )
        .expect("started");
        let path = self.path(glob).to_str().expect("text").to_string();
        tell(&scrape, "static", &[&[("app", "a"), ("__path__", &path)]]);
        Rig {
            scrape: Some(scrape),
            batches,
            stored: Vec::new(),
            unanswered: Vec::new(),
            answer: true,
            ignore_led: false,
            held: 0,
        }
    }
}

pub(super) fn config() -> Config {
    Config {
        hostname: "here".into(),
        sync_period: Duration::from_secs(1),
        positions_sync_period: Duration::from_secs(1),
        min_poll: Duration::from_millis(10),
        max_poll: Some(Duration::from_millis(20)),
        rate: None,
        close_idle_after: Duration::ZERO,
        deleted_files_limit: 1 << 30,
        pod_logs: None,
        files: 2000,
        logs: 1000,
        link_roots: Vec::new(),
        rotated_dirs: vec!["old".into()],
        dry_run: false,
        stdin: None,
        receivers: Vec::new(),
    }
}

pub(super) fn job(name: &str, stages: &str) -> Job {
    let stages: Vec<serde_yaml::Value> = serde_yaml::from_str(stages).expect("yaml");
    Job {
        name: name.into(),
        rules: Rules::compile(&[]).expect("no rules"),
        program: Some(crate::stages::compile(&stages).expect("stages")),
        options: tail::Options {
            grace: Duration::from_millis(50),
            late: Duration::from_secs(5),
            last_line: tail::LastLine::Anywhere,
            ..tail::Options::default()
        },
        journal: None,
        has_containers: false,
        initial_delay: Duration::ZERO,
        start_at: Default::default(),
        unreadable: None,
    }
}

pub(super) fn outlet(client: &str) -> (Outlet, UnboundedReceiver<Vec<Batch>>) {
    let (sender, batches) = unbounded_channel();
    let batch = batch::Config {
        batchsize: 1 << 20,
        batchwait: Duration::from_millis(20),
        tenant_id: None,
        external_labels: Labels::new(),
        limits: Limits::default(),
        replay_window: 64 << 10,
        buffer: 16 << 20,
    };
    let counters = ClientCounters { refused: Box::new(|_, _| {}), truncated: Box::new(|_| {}) };
    (Outlet { client: client.into(), batch, batches: sender, counters }, batches)
}

pub(super) fn tell(scrape: &Scrape, group: &str, targets: &[&[(&str, &str)]]) {
    tell_job(scrape, "job", group, targets);
}

pub(super) fn tell_job(scrape: &Scrape, job: &str, group: &str, targets: &[&[(&str, &str)]]) {
    let labels =
        |pairs: &&[(&str, &str)]| pairs.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect::<Labels>();
    let group = TargetGroup::new(group.into(), targets.iter().map(labels));
    scrape.events.send(messages::Event::Update(Update::Group { job: job.into(), group }));
}

impl Rig {
    /// Takes entries until `enough` is true.
    #[track_caller]
    pub(super) fn until(&mut self, enough: impl Fn(&[Stored]) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !enough(&self.stored) {
            assert!(Instant::now() < deadline, "waited in vain; there is: {:?}", self.lines());
            match self.batches.try_recv() {
                Ok(batches) => batches.into_iter().for_each(|batch| self.take(batch)),
                Err(_) => std::thread::park_timeout(Duration::from_millis(2)),
            }
        }
    }

    #[track_caller]
    pub(super) fn until_lines(&mut self, want: &[&str]) {
        self.until(|stored| stored.len() >= want.len());
        assert_eq!(self.lines(), want);
    }

    pub(super) fn lines(&self) -> Vec<&str> {
        self.stored.iter().map(|s| s.line.as_str()).collect()
    }

    pub(super) fn take(&mut self, batch: Batch) {
        self.stored.extend(decode(&batch));
        match self.answer && !(self.ignore_led && batch.is_led()) {
            true => batch.close(),
            false => self.unanswered.push(batch),
        }
        self.wake();
    }

    pub(super) fn wake(&self) {
        self.scrape.as_ref().expect("running").waker(0).wake();
    }

    /// Answers all unanswered batches.
    pub(super) fn answer(&mut self) {
        self.answer = true;
        for batch in self.unanswered.drain(..) {
            batch.close();
        }
        self.wake();
    }

    /// Waits until everything is read and answered, stops, and returns all stored entries.
    pub(super) fn rest(mut self) -> Vec<Stored> {
        let report = self.scrape.as_ref().expect("running").report();
        self.until(|_| {
            let files: Vec<_> = report.targets().into_iter().flat_map(|t| t.files).collect();
            !files.is_empty() && files.iter().all(|f| f.lag_bytes == 0 && f.unacknowledged_bytes == 0)
        });
        for file in report.targets().into_iter().flat_map(|target| target.files) {
            let account = file.account;
            let mut ended = account.delivered;
            account.discarded.values().for_each(|weight| ended += *weight);
            assert_eq!(account.under_way.lines, self.held, "{}", file.path);
            ended += account.under_way;
            assert_eq!(account.read, ended, "{}", file.path);
        }
        self.stop()
    }

    /// Stops as on SIGTERM, and returns all stored entries.
    pub(super) fn stop(mut self) -> Vec<Stored> {
        let scrape = self.scrape.take().expect("running");
        scrape.stop(Duration::from_secs(5));
        let waker = scrape.waker(0);
        for batch in std::iter::from_fn(|| self.batches.blocking_recv()).flatten() {
            self.stored.extend(decode(&batch));
            if self.answer {
                batch.close();
            }
            waker.wake_by_ref();
        }
        scrape.join();
        self.stored
    }
}

/// Uses prost, an independent implementation of the wire format.
pub(super) fn decode(batch: &Batch) -> Vec<Stored> {
    #[derive(prost::Message)]
    struct Push {
        #[prost(message, repeated, tag = "1")]
        streams: Vec<Stream>,
    }
    #[derive(prost::Message)]
    struct Stream {
        #[prost(string, tag = "1")]
        labels: String,
        #[prost(message, repeated, tag = "2")]
        entries: Vec<Line>,
    }
    #[derive(prost::Message)]
    struct Line {
        #[prost(message, optional, tag = "1")]
        timestamp: Option<Time>,
        #[prost(string, tag = "2")]
        line: String,
    }
    #[derive(prost::Message)]
    struct Time {
        #[prost(int64, tag = "1")]
        seconds: i64,
        #[prost(int32, tag = "2")]
        nanos: i32,
    }
    let body = batch.body();
    let plain = snap::raw::Decoder::new().decompress_vec(body).expect("snappy");
    let push = <Push as prost::Message>::decode(plain.as_slice()).expect("protobuf");
    let mut stored = Vec::new();
    for stream in push.streams {
        for entry in stream.entries {
            let time = entry.timestamp.unwrap_or_default();
            let timestamp = time.seconds * 1_000_000_000 + i64::from(time.nanos);
            stored.push(Stored { labels: stream.labels.clone(), timestamp, line: entry.line });
        }
    }
    stored
}

/// The values of a counter family, in the order of its labels.
pub(super) fn samples(registry: &crate::metrics::Registry, name: &str) -> Vec<f64> {
    let families = registry.gather();
    let family = families.iter().find(|family| family.name() == name).expect(name);
    family.get_metric().iter().map(|metric| metric.get_counter().get_value()).collect()
}
