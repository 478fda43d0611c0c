//! What has to hold in a history, and what may be lost in it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::agent::{Agent, Settings, positions};
use super::chance::Chance;
use super::history::{Check, History, Mood};
use super::loki::{Loki, Road};

/// What of a stream may be on its way without an answer: the window, which grows up to a batch, the line that did not fit
/// into it any more, and what a stage held back and let go with it.
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
    /// Within a file a position only ever goes forward.
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

    /// What cannot be had any more is not asked for.
    pub fn forfeit(&mut self) {
        let gone: BTreeSet<usize> = self.disk.gone().into_iter().collect();
        gone.iter().for_each(|line| self.disk.lines[*line].gone = true);
        for (client, (lost, loki)) in self.lost.iter_mut().zip(&self.lokis).enumerate() {
            let unstored = gone.iter().filter(|line| !loki.has(**line) && !lost.contains(line));
            let (parts, whole): (Vec<usize>, Vec<usize>) = unstored.partition(|line| self.disk.lines[**line].parts > 1);
            self.torn.extend(parts.iter().map(|line| (client, *line)));
            lost.extend(parts.into_iter().chain(whole));
        }
        // What comes after a line whose end is lost is taken for its end.
        self.torn.retain(|(client, line)| {
            let next = self.disk.after(*line, &gone);
            if let Some(next) = next {
                self.disk.lines[next].raced = true;
                self.lost[*client].insert(next);
            }
            !next.is_some_and(|next| self.lokis[*client].has(next))
        });
    }

    /// Of a file that is copied and cut the copy is known by its head, if an agent that runs has read that before.
    pub fn race(&mut self, writer: usize) {
        if self.agent.is_none() {
            return;
        }
        let holds = self.disk.file(&self.writers[writer].live).holds.clone();
        // The end of a line may be lost whose beginning is not.
        let ends_one = holds.first().is_some_and(|(_, part)| *part > 0) && !self.writers[writer].is_within_a_line();
        for (client, (lost, loki)) in self.lost.iter_mut().zip(&self.lokis).enumerate() {
            if !holds.iter().any(|(line, _)| loki.has(*line)) {
                lost.extend(holds.iter().map(|(line, _)| *line));
                holds.iter().for_each(|(line, _)| self.disk.lines[*line].raced = true);
                self.torn.extend(holds.last().filter(|_| ends_one).map(|(line, _)| (client, *line)));
            }
        }
    }

    /// Nothing more is written, Loki is well, and in the end everything has to be as it was promised.
    pub fn end(&mut self, mut chance: Chance) -> Check {
        if self.agent.is_none() {
            self.start();
        }
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
        // Torn lines are those of which a part is lost.
        for (loki, lost) in self.lokis.iter().zip(&self.lost) {
            if let Some((line, entry)) = loki.torn.iter().find(|(line, _)| !lost.contains(line)) {
                return Err(format!("line {line} is stored torn: {entry:?}"));
            }
        }
        Ok(())
    }

    /// After a stop in which all was answered, a start has nothing to send.
    fn rest_is_silence(&mut self, chance: &mut Chance) -> Check {
        let all_stored = |(lost, loki): (&BTreeSet<usize>, &Loki)| lost.iter().all(|line| loki.has(*line));
        if !self.lost.iter().zip(&self.lokis).all(all_stored) {
            return Ok(()); // a start may find what was raced away from the agent before
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

    fn missing(&self) -> Option<String> {
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
