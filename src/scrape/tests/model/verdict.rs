//! Checks what must hold in a history, and which losses are allowed.

use std::collections::BTreeSet;
use std::time::Duration;

use super::agent::{Agent, Settings, positions};
use super::chance::Chance;
use super::history::{Check, History, Mood};
use super::loki::{Loki, Road};

/// The most bytes of a stream in flight: the window, which may grow up to a batch, the line that no longer fits into
/// it, and a line that a stage held and released with it.
fn most_in_flight(settings: Settings, longest: usize) -> usize {
    settings.window.max(settings.batchsize) + 2 * longest
}

pub(super) fn within_window(settings: Settings, client: usize, road: &Road) -> Check {
    let (sums, longest) = road.in_flight();
    match sums.iter().find(|(_, bytes)| **bytes > most_in_flight(settings, longest)) {
        Some((stream, bytes)) => Err(format!(
            "client {client}: {bytes} bytes of {stream:?} are on their way, and the longest entry has {longest}"
        )),
        None => Ok(()),
    }
}

impl History {
    /// Within a file, a position only moves forward.
    pub fn check(&mut self) -> Check {
        let offsets = positions(&self.home, |inode| self.truncated.contains(&inode));
        for (place, offset) in &offsets {
            if let Some(before) = self.offsets.get(place)
                && before > offset
            {
                return Err(format!("the position of {place} went back from {before} to {offset}"));
            }
        }
        self.offsets.extend(offsets);
        Ok(())
    }

    /// Lost lines are not required to arrive.
    pub fn forfeit(&mut self) {
        let gone: BTreeSet<usize> = self.disk.gone().into_iter().collect();
        gone.iter().for_each(|line| self.disk.lines[*line].gone = true);
        for (client, (lost, loki)) in self.lost.iter_mut().zip(&self.lokis).enumerate() {
            let unstored = gone.iter().filter(|line| !loki.has(**line) && !lost.contains(line));
            let (parts, whole): (Vec<usize>, Vec<usize>) = unstored.partition(|line| self.disk.lines[**line].parts > 1);
            self.torn.extend(parts.iter().map(|line| (client, *line)));
            lost.extend(parts.into_iter().chain(whole));
        }
        // The line after one that lost its end is taken for that end.
        self.torn.retain(|(client, line)| {
            let next = self.disk.after(*line, &gone);
            if let Some(next) = next {
                self.disk.lines[next].raced = true;
                self.lost[*client].insert(next);
            }
            !next.is_some_and(|next| self.lokis[*client].has(next))
        });
    }

    /// The copy of a file that is copied and truncated is recognised by its head, if the running agent has read that
    /// before.
    pub fn race(&mut self, writer: usize) {
        if self.agent.is_none() {
            return;
        }
        let holds = self.disk.file(&self.writers[writer].live).holds.clone();
        // A line may lose its end but not its start.
        let ends_one = holds.first().is_some_and(|(_, part)| *part > 0) && !self.writers[writer].is_within_a_line();
        for (client, (lost, loki)) in self.lost.iter_mut().zip(&self.lokis).enumerate() {
            if !holds.iter().any(|(line, _)| loki.has(*line)) {
                lost.extend(holds.iter().map(|(line, _)| *line));
                holds.iter().for_each(|(line, _)| self.disk.lines[*line].raced = true);
                self.torn.extend(holds.last().filter(|_| ends_one).map(|(line, _)| (client, *line)));
            }
        }
    }

    /// Nothing more is written, Loki answers, and all promises must hold in the end.
    pub fn end(&mut self, mut chance: Chance) -> Check {
        if self.agent.is_none() {
            self.start();
        }
        self.smooth()?;
        for writer in &mut self.writers {
            writer.raced = false;
            let live = writer.live.clone();
            writer.complete(&live, &mut self.disk);
        }
        self.forfeit();
        self.moods.fill(Mood::Well);
        self.tell("the end: Loki is well, nobody writes".into());
        for round in 0..400 {
            if round < 100 && round % 20 == 0 {
                self.look(round % 40 == 0, &mut chance)?;
            }
            self.pass(Duration::from_millis(if round < 100 { 300 } else { 3_000 }), &mut chance)?;
            if round > 60 && self.missing().is_none() && self.agent.as_ref().is_some_and(Agent::is_settled) {
                break;
            }
        }
        if let Some(missing) = self.missing() {
            let troubles = self.agent.as_ref().map(Agent::troubles);
            return Err(format!("{missing}; {troubles:?}"));
        }
        if !self.agent.as_ref().is_some_and(Agent::is_settled) {
            return Err("a ledger is not settled".into());
        }
        self.check()?;
        self.rest_is_silence(&mut chance)?;
        // A line is torn if a part of it was lost.
        for (loki, lost) in self.lokis.iter().zip(&self.lost) {
            if let Some((line, entry)) = loki.torn.iter().find(|(line, _)| !lost.contains(line)) {
                return Err(format!("line {line} is stored torn: {entry:?}"));
            }
        }
        Ok(())
    }

    /// After a stop with everything answered, a start has nothing to send.
    fn rest_is_silence(&mut self, chance: &mut Chance) -> Check {
        let all_stored = |(lost, loki): (&BTreeSet<usize>, &Loki)| lost.iter().all(|line| loki.has(*line));
        if !self.lost.iter().zip(&self.lokis).all(all_stored) {
            return Ok(()); // A start may find lines that were raced away from the agent before.
        }
        let pushes = |history: &Self| history.lokis.iter().map(|loki| loki.pushes).sum::<usize>();
        let before = pushes(self);
        self.stop(chance)?;
        self.start();
        self.look(true, chance)?;
        for _ in 0..10 {
            self.pass(Duration::from_millis(700), chance)?;
        }
        match pushes(self) - before {
            0 => Ok(()),
            pushes => Err(format!("{pushes} pushes after a restart with nothing left to send")),
        }
    }

    pub fn missing(&self) -> Option<String> {
        for (client, (loki, lost)) in self.lokis.iter().zip(&self.lost).enumerate() {
            let all = 0..self.disk.lines.len();
            let missing: Vec<usize> = all.filter(|line| !loki.has(*line) && !lost.contains(line)).collect();
            if !missing.is_empty() {
                return Some(format!("client {client} has not got the lines {missing:?}"));
            }
        }
        None
    }
}
