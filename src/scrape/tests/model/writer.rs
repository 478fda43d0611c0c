//! Programs that write and rotate logs, each like a real one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::chance::Chance;
use super::disk::{Disk, Line, added, ending};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Plain,
    Cri,
    Multiline,
    /// CRI lines of two tenants.
    Tenants,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// `0.log.<time>`, all compressed except the newest; `1.log` after a restart.
    Kubelet,
    /// logrotate's `app.log.1`, `.2.gz`: compressed at once or one rotation later.
    Numbered { delay: bool, compress: bool },
    /// logrotate's copytruncate.
    Copied,
    /// logrotate's dateext.
    Dated { compress: bool },
    /// A program that gives its old log a name that the glob matches.
    Renamed,
    /// A program with a new file each time, to which a link leads. Only the link matches the glob.
    Linked,
}

/// How many rotated files are kept.
const KEPT: usize = 4;

/// How long after its last byte another process may write to a rotated file, in nanoseconds: a little less than the
/// default of `late_writer_period`.
const LATE: i64 = 50_000_000_000;

pub(super) struct Writer {
    pub format: Format,
    pub manner: Manner,
    pub live: PathBuf,
    dir: PathBuf,
    id: usize,
    /// Rotated files, oldest first.
    pub old: Vec<PathBuf>,
    restarts: usize,
    /// An unfinished line: its number, its parts, and how many parts were written.
    pending: Option<(usize, Vec<String>, u8)>,
    /// The file was truncated, and the running agent has not seen that yet: later writes race with copytruncate.
    pub raced: bool,
}

impl Format {
    pub const ALL: [Format; 4] = [Format::Plain, Format::Cri, Format::Multiline, Format::Tenants];

    pub fn job(self) -> &'static str {
        match self {
            Format::Plain => "plain",
            Format::Cri => "cri",
            Format::Multiline => "multiline",
            Format::Tenants => "tenants",
        }
    }

    pub fn stages(self) -> &'static str {
        match self {
            Format::Plain => "[]",
            Format::Cri => "[{cri: {}}]",
            Format::Multiline => "[{multiline: {firstline: '^<'}}]",
            Format::Tenants => "[{cri: {}}, {regex: {expression: '^<[^>]*(?P<team>[ab])>'}}, {tenant: {source: team}}]",
        }
    }
}

impl Writer {
    pub fn new(id: usize, disk: &mut Disk, chance: &mut Chance, links: bool) -> Self {
        let format = chance.pick(&Format::ALL);
        let manner = match chance.below(7) {
            0 | 1 => Manner::Kubelet,
            2 | 3 => Manner::Numbered { delay: chance.one_in(2), compress: !chance.one_in(4) },
            4 => Manner::Copied,
            5 => Manner::Dated { compress: chance.one_in(2) },
            _ => Manner::Renamed,
        };
        let manner = if links && chance.one_in(4) { Manner::Linked } else { manner };
        let dir = disk.root.join(format.job()).join(format!("w{id}"));
        let live = dir.join(if manner == Manner::Kubelet { "0.log" } else { "app.log" });
        begin_file(disk, &live, manner);
        Self { format, manner, live, dir, id, old: Vec::new(), restarts: 0, pending: None, raced: false }
    }

    /// Writes one line, or a part of one.
    pub fn write(&mut self, disk: &mut Disk, chance: &mut Chance) {
        let live = self.live.clone();
        self.write_to(&live, disk, chance);
    }

    pub fn write_to(&mut self, path: &Path, disk: &mut Disk, chance: &mut Chance) {
        if self.pending.is_none() {
            self.begin_line(disk, chance);
        }
        self.write_part(path, disk);
        if chance.one_in(3) {
            self.complete(path, disk);
        }
    }

    /// Another process, which was not told of a rotation, writes one line to the newest rotated file. Returns whether there
    /// is such a file.
    pub fn write_as_another(&mut self, disk: &mut Disk, chance: &mut Chance) -> bool {
        let Some(path) = self.old.last().filter(|path| ending(path).is_none()).cloned() else {
            return false;
        };
        // Such a process writes whole lines. A copy is no file that it has open.
        let fits = self.format == Format::Plain && !matches!(self.manner, Manner::Copied | Manner::Kubelet);
        let since = disk.clock.monotonic() - disk.file(&path).written;
        let is_known = self.manner != Manner::Linked || disk.file(&path).seen && !disk.file(&path).lost_track;
        if !fits || !is_known || since > LATE {
            return false;
        }
        self.begin_line(disk, chance);
        disk.lines.last_mut().expect("just begun").late = true;
        self.complete(&path, disk);
        true
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes the rest of an unfinished line.
    pub fn complete(&mut self, path: &Path, disk: &mut Disk) {
        while self.pending.is_some() {
            self.write_part(path, disk);
        }
    }

    pub fn is_within_a_line(&self) -> bool {
        self.pending.is_some()
    }

    fn begin_line(&mut self, disk: &mut Disk, chance: &mut Chance) {
        let number = disk.lines.len();
        let length = if chance.one_in(12) { 600 + chance.below(2_500) } else { chance.below(120) };
        let indent = if self.format == Format::Multiline && chance.one_in(2) { " " } else { "" };
        let team = chance.pick(&["a", "b"]);
        let cri = matches!(self.format, Format::Cri | Format::Tenants);
        let count = if cri && chance.one_in(4) { 2 + chance.below(3) } else { 1 };
        let part = format!("{indent}<{number}:{}{team}> {}|", self.id, "x".repeat(length / count));
        let parts = vec![part; count];
        disk.lines.push(Line {
            text: parts.concat(),
            parts: count as u8,
            writer: self.id,
            log: self.live.clone(),
            begun: disk.clock.monotonic(),
            identical: cri,
            renamed: self.manner == Manner::Renamed,
            raced: false,
            gone: false,
            late: false,
        });
        if disk.mixed_up.remove(&self.id) {
            disk.excused.insert(number);
        }
        self.pending = Some((number, parts, 0));
    }

    fn write_part(&mut self, path: &Path, disk: &mut Disk) {
        let Some((number, parts, at)) = &mut self.pending else {
            return;
        };
        let text = &parts[*at as usize];
        let is_last = *at as usize + 1 == parts.len();
        let bytes = match self.format {
            Format::Plain | Format::Multiline => format!("{text}\n"),
            Format::Cri | Format::Tenants => {
                let flag = if is_last { "F" } else { "P" };
                // Each line has its own time, as is nearly always true for a runtime's nanoseconds.
                let time = disk.clock.unix_nanos() + *number as i64;
                format!("{} stdout {flag} {text}\n", rfc3339(time))
            }
        };
        let part = (*number, *at);
        *at += 1;
        if is_last {
            self.pending = None;
        }
        disk.append(path, bytes.as_bytes(), part);
    }

    /// Rotates in its own manner.
    pub fn rotate(&mut self, disk: &mut Disk, chance: &mut Chance) {
        // So that names with a time differ.
        disk.clock.advance(Duration::from_millis(1_001));
        // The clock was set back. A program would not take a name that is there, so it waits.
        while disk.names.keys().any(|name| {
            let stamp = stamp(disk.clock.unix_nanos());
            name.starts_with(&self.dir) && name.to_string_lossy().contains(&stamp)
        }) {
            disk.clock.advance(Duration::from_millis(1_001));
        }
        match self.manner {
            Manner::Kubelet => {
                let rotated = added(&self.live, &format!(".{}", stamp(disk.clock.unix_nanos())));
                self.compress_all(disk, false);
                self.give_up_oldest(disk);
                disk.rename(&self.live, &rotated);
                self.old.push(rotated);
                disk.create(&self.live);
            }
            Manner::Numbered { delay, compress } => {
                self.give_up_oldest(disk);
                self.renumber(disk);
                let rotated = added(&self.live, ".1");
                if compress && delay {
                    self.compress_all(disk, true);
                }
                disk.rename(&self.live, &rotated);
                self.old.push(rotated.clone());
                // The writer has not noticed yet.
                if chance.one_in(3) {
                    self.write_to(&rotated, disk, chance);
                }
                disk.create(&self.live);
                if compress && !delay {
                    self.compress_all(disk, true);
                }
            }
            Manner::Copied => {
                self.give_up_oldest(disk);
                self.renumber(disk);
                let copy = added(&self.live, ".1");
                disk.copy(&self.live, &copy);
                disk.truncate(&self.live);
                self.old.push(copy);
                self.raced = true;
            }
            Manner::Dated { compress } => {
                self.give_up_oldest(disk);
                let rotated = added(&self.live, &format!("-{}", stamp(disk.clock.unix_nanos())));
                disk.rename(&self.live, &rotated);
                self.old.push(rotated);
                disk.create(&self.live);
                if compress {
                    self.compress_all(disk, true);
                }
            }
            Manner::Renamed => {
                // The program rotates itself, between two lines.
                self.complete(&self.live.clone(), disk);
                self.give_up_oldest(disk);
                let rotated = self.dir.join(format!("app-at-{}.log", stamp(disk.clock.unix_nanos())));
                disk.rename(&self.live, &rotated);
                self.old.push(rotated);
                disk.create(&self.live);
            }
            Manner::Linked => {
                self.complete(&self.live.clone(), disk);
                self.give_up_oldest(disk);
                self.old.push(disk.links[&self.live].clone());
                begin_file(disk, &self.live, self.manner);
            }
        }
    }

    /// Rotates, and writes to the old file once more before the agent can notice.
    pub fn rotate_and_write_late(&mut self, disk: &mut Disk, chance: &mut Chance) {
        self.rotate(disk, chance);
        if let Some(newest) = self.old.last().cloned() {
            self.write_to(&newest, disk, chance);
            self.complete(&newest, disk);
        }
    }

    /// Restarts the container, which gets a new log.
    pub fn restart(&mut self, disk: &mut Disk) {
        self.complete(&self.live.clone(), disk);
        self.restarts += 1;
        self.live = self.dir.join(format!("{}.log", self.restarts));
        self.old.clear();
        disk.create(&self.live);
    }

    /// Deletes all its logs and starts again.
    pub fn delete_all(&mut self, disk: &mut Disk) {
        self.complete(&self.live.clone(), disk);
        let names: Vec<PathBuf> = disk.names.keys().filter(|name| name.starts_with(&self.dir)).cloned().collect();
        names.iter().for_each(|name| disk.remove(name));
        self.old.clear();
        begin_file(disk, &self.live, self.manner);
    }

    fn give_up_oldest(&mut self, disk: &mut Disk) {
        if self.old.len() >= KEPT {
            disk.remove(&self.old.remove(0));
        }
    }

    /// `.1` becomes `.2` and so on, oldest first.
    fn renumber(&mut self, disk: &mut Disk) {
        let count = self.old.len();
        for (at, name) in self.old.iter_mut().enumerate() {
            let ending = ending(name).map_or(String::new(), |ending| format!(".{ending}"));
            let to = added(&self.live, &format!(".{}{ending}", count + 1 - at));
            disk.rename(name, &to);
            *name = to;
        }
    }

    fn compress_all(&mut self, disk: &mut Disk, keep_time: bool) {
        for name in &mut self.old {
            if ending(name).is_none() {
                *name = disk.pack(name, keep_time);
            }
        }
    }
}

/// Makes the live file of a log.
fn begin_file(disk: &mut Disk, live: &Path, manner: Manner) {
    if manner != Manner::Linked {
        return disk.create(live);
    }
    let file = live.with_file_name(format!("app-{}.out", stamp(disk.clock.unix_nanos())));
    disk.create(&file);
    disk.link(live, &file);
}

fn rfc3339(nanos: i64) -> String {
    let (date, clock) = (date(nanos), nanos.rem_euclid(86_400_000_000_000));
    let (seconds, fraction) = (clock / 1_000_000_000, clock % 1_000_000_000);
    let (y, m, d) = date;
    format!("{y}-{m:02}-{d:02}T{:02}:{:02}:{:02}.{fraction:09}Z", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// The time format in rotated names.
fn stamp(nanos: i64) -> String {
    let text = rfc3339(nanos);
    format!("{}-{}", text[..10].replace('-', ""), text[11..19].replace(':', ""))
}

/// Year, month and day since 1970, computed with years that begin in March.
fn date(nanos: i64) -> (i64, i64, i64) {
    let days = nanos.div_euclid(86_400_000_000_000) + 719_468;
    let day_of_era = days % 146_097;
    let year = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let in_january_or_february = i64::from(month >= 10);
    (
        year + days / 146_097 * 400 + in_january_or_february,
        if month < 10 { month + 3 } else { month - 9 },
        day_of_year - (153 * month + 2) / 5 + 1,
    )
}
