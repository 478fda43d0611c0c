//! What disks, mounts and clocks of real machines do as well: devices get other numbers, processes write to rotated files,
//! links move, directories come and go, clocks are set, system calls hang.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, UNIX_EPOCH};

use xxhash_rust::xxh3::xxh3_64;

use super::chance::Chance;
use super::hanging::Fate;
use super::history::{Check, History};
use super::writer::Manner;

/// Seeds from here on are those of rough histories.
pub(super) const ROUGH: u64 = 1 << 32;

/// The kinds of lines of the journal that contain a device.
const WITH_DEVICE: [&str; 3] = ["p", "r", "l"];

const SECOND: i64 = 1_000_000_000;

impl History {
    /// Runs an event of this kind, or returns false.
    pub fn rough_step(&mut self, writer: usize, chance: &mut Chance) -> Result<bool, String> {
        match chance.below(40) {
            0..3 if has("late") => self.write_late_lines(writer, chance),
            3 if has("away") => self.take_away(writer),
            4..6 => self.bring_all_back(),
            6 | 7 if has("clock") => self.set_clock(chance),
            8 | 9 if has("hang") => self.hang(chance),
            10 | 11 => self.let_go(),
            12 if has("mount") => self.mount_again(chance),
            13.. => return Ok(false),
            _ => {}
        }
        Ok(true)
    }

    fn write_late_lines(&mut self, writer: usize, chance: &mut Chance) {
        let own = &mut self.writers[writer];
        if self.disk.is_away(own.dir()) {
            return;
        }
        let first = self.disk.lines.len();
        for _ in 0..1 + chance.below(3) {
            own.write_as_another(&mut self.disk, chance);
        }
        let end = self.disk.lines.len();
        if end > first {
            self.tell(format!("another process of writer {writer} writes lines from {first} to before {end}"));
        }
    }

    fn take_away(&mut self, writer: usize) {
        let dir = self.writers[writer].dir().to_path_buf();
        // If a file was compressed just before, and the agent has not looked since, then the file is gone for it.
        let is_unheard = self.disk.unheard.iter().any(|name| name.starts_with(&dir));
        let may_go = self.agent.is_none() || !is_unheard;
        if may_go && !self.disk.is_away(&dir) {
            self.disk.take_away(&dir);
            self.tell(format!("{} is away", dir.display()));
        }
    }

    pub fn bring_all_back(&mut self) {
        let away: Vec<PathBuf> = self.disk.away.keys().cloned().collect();
        for dir in away {
            self.disk.bring_back(&dir);
            self.tell(format!("{} is back", dir.display()));
        }
    }

    fn set_clock(&mut self, chance: &mut Chance) {
        let seconds: i64 = chance.pick(&[-7_200, -400, -200, -50, -50, -1, 1, 50, 400, 7_200, 86_400]);
        // Nobody can know that files were written in between, unless an agent saw them, and delivered them before it ended.
        if seconds > 0 && self.disk.put_back > 0 && (self.agent.is_none() || self.missing().is_some()) {
            return;
        }
        if seconds < 0 {
            self.disk.put_back += seconds.unsigned_abs();
            self.disk.times_go_back |= self.disk.put_back >= 300;
            // Only the dates of these files say in which order they were written.
            for line in self.disk.unseen_lines() {
                self.disk.lines[line].raced = true;
                // The parts of a line may be in two files, and an end is joined to what was read before.
                if self.disk.lines[line].identical {
                    self.lost.iter_mut().for_each(|lost| lost.extend([line]));
                }
            }
        }
        if seconds > 0 {
            // The agent saves that it was active at a time that is later than these lines.
            let lines = self.disk.unknown_lines(|_| true);
            self.excuse(&lines);
        }
        self.disk.clock.set_by(seconds * SECOND);
        self.tell(format!("the clock is set by {seconds} s"));
    }

    fn hang(&mut self, chance: &mut Chance) {
        let (reader, call) = (chance.below(self.settings.clients), 1 + chance.below(12));
        if let Some(agent) = self.agent.as_mut().filter(|agent| agent.hung() < 2) {
            agent.hang(reader, call);
            self.tell(format!("call {call} of the next turn of reader {reader} hangs"));
        }
    }

    pub fn let_go(&mut self) {
        if let Some(agent) = &mut self.agent {
            let hung = agent.hung();
            agent.let_go(Fate::Returns);
            if hung > 0 {
                self.tell(format!("{hung} calls return"));
            }
        }
    }

    /// The file system gets another device number, which can only happen while no process has a file of it open. The files
    /// of a test keep theirs, so the saved ones change instead.
    fn mount_again(&mut self, chance: &mut Chance) {
        if self.agent.is_some() {
            self.crash(chance);
        }
        change_devices(&self.journal());
        self.tell("the file system is mounted again".into());
    }

    /// A link moves on. Files to which it led are generations of its log once one of them was read. So what is in the file to
    /// which it leads now need not be read if the agent saw neither this file nor the one before.
    pub fn lose_track(&mut self, writer: usize) {
        let own = &self.writers[writer];
        let before = own.old.last().is_some_and(|path| self.disk.names.contains_key(path) && self.disk.file(path).seen);
        let file = self.disk.file(&own.live);
        if file.seen || before && self.disk.put_back == 0 {
            return;
        }
        let lines: Vec<usize> = file.holds.iter().map(|(line, _)| *line).collect();
        let file = self.disk.names[&self.disk.links[&own.live]];
        self.disk.files[file].lost_track = true;
        self.excuse(&lines);
    }

    /// These lines need not arrive, or arrive in another order.
    fn excuse(&mut self, lines: &[usize]) {
        lines.iter().for_each(|line| self.disk.lines[*line].raced = true);
        self.lost.iter_mut().for_each(|lost| lost.extend(lines));
    }

    /// The agent looks while directories are away. It says then that it has looked. What was written before to a log of which
    /// it has no position is not read after a rotation: nothing tells it from what was there before the first start.
    pub fn overlook(&mut self) {
        let lines = self.disk.unknown_lines(|name| self.disk.is_away(name));
        self.excuse(&lines);
    }

    /// An agent comes to files that it has not seen, and the clock was put back.
    pub fn lose_order(&mut self) {
        if self.disk.put_back == 0 {
            return;
        }
        for at in 0..self.writers.len() {
            let dir = self.writers[at].dir();
            let names = self.disk.names.keys().filter(|name| name.starts_with(dir) && self.is_unseen(name));
            let (live, rotated): (Vec<PathBuf>, Vec<PathBuf>) = names
                .cloned()
                .partition(|name| name.extension().is_some_and(|end| end == "log") || self.is_linked(name));
            let shows = self.shows_put_back(&rotated);
            for path in &rotated {
                let lines: Vec<usize> = self.disk.file(path).holds.iter().map(|(line, _)| *line).collect();
                // Only dates and times say in which order they were written.
                lines.iter().for_each(|line| self.disk.lines[*line].raced = true);
                if !shows {
                    // Nothing says that a file with an older date is a younger one.
                    self.excuse(&lines);
                }
            }
            // The parts of a line may be in two files, and an end is joined to what was read before.
            for path in rotated.iter().chain(&live) {
                let holds = &self.disk.file(path).holds;
                let ends = [holds.first(), holds.last()].into_iter().flatten().map(|(line, _)| *line);
                let ends: Vec<usize> = ends.filter(|line| self.disk.lines[*line].identical).collect();
                self.excuse(&ends);
                if !ends.is_empty() {
                    self.disk.mixed_up.insert(at);
                }
            }
        }
    }

    fn is_linked(&self, path: &PathBuf) -> bool {
        self.disk.links.values().any(|to| to == path)
    }

    fn is_unseen(&self, path: &Path) -> bool {
        !self.disk.is_away(path) && !self.disk.file(path).seen
    }

    /// Whether an agent that begins now can know that the clock was put back: one of these files, or the last agent, is ahead
    /// of it.
    fn shows_put_back(&self, rotated: &[PathBuf]) -> bool {
        let now = self.disk.clock.system_time();
        let modified = |path: &PathBuf| fs::metadata(path).and_then(|meta| meta.modified());
        let journal = fs::read_to_string(self.journal()).unwrap_or_default();
        let alive =
            journal.lines().filter_map(|line| line.strip_prefix("a ")?.split(' ').next()?.parse().ok()).next_back();
        let alive = alive.map(|millis| UNIX_EPOCH + Duration::from_millis(millis));
        alive.is_some_and(|alive| alive > now)
            || rotated.iter().any(|path| modified(path).is_ok_and(|at| at > now + Duration::from_secs(2)))
    }

    /// The agent ends. What it did not deliver of files to which a link led before need not be found by the next one.
    pub fn lose_old_links(&mut self) {
        for writer in self.writers.iter().filter(|writer| writer.manner == Manner::Linked) {
            for path in &writer.old {
                let lines: Vec<usize> = self.disk.file(path).holds.iter().map(|(line, _)| *line).collect();
                lines.iter().for_each(|line| self.disk.lines[*line].raced = true);
                self.lost.iter_mut().for_each(|lost| lost.extend(&lines));
                let file = self.disk.names[path];
                self.disk.files[file].lost_track = true;
            }
        }
    }

    /// No more of that.
    pub fn smooth(&mut self) -> Check {
        self.let_go();
        self.bring_all_back();
        Ok(())
    }
}

/// Whether histories have this kind of event. To find which of them matters, others can be left out.
fn has(kind: &str) -> bool {
    static WITHOUT: LazyLock<String> = LazyLock::new(|| std::env::var("FANTAIL_WITHOUT").unwrap_or_default());
    !WITHOUT.split(',').any(|without| without == kind)
}

/// Gives the files that this journal knows another device number.
pub(super) fn change_devices(journal: &Path) {
    let Ok(text) = fs::read_to_string(journal) else {
        return;
    };
    let changed: Vec<String> =
        text.split_inclusive('\n').map(|line| other_device(line).unwrap_or_else(|| line.into())).collect();
    fs::write(journal, changed.concat()).expect("written");
}

/// A line of the journal with another device. None: it has none, or is torn.
fn other_device(line: &str) -> Option<String> {
    let (fields, _) = line.strip_suffix('\n')?.rsplit_once(' ')?;
    let mut parts: Vec<String> = fields.split(' ').map(str::to_string).collect();
    if !WITH_DEVICE.contains(&&*parts[0]) {
        return None;
    }
    let device: u64 = parts.get(2)?.parse().ok()?;
    parts[2] = (device + 1).to_string();
    let mut changed = parts.join(" ");
    let sum = xxh3_64(changed.as_bytes()) as u32;
    writeln!(changed, " {sum:08x}").ok()?;
    Some(changed)
}
