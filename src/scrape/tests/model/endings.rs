//! How agents end: by a crash, a stop, or a reload.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::agent::Agent;
use super::chance::Chance;
use super::hanging::Fate;
use super::history::{Check, History, Mood, size};
use super::loki::Answer;

impl History {
    /// kill -9. Pushes in flight are abandoned, and their outcome is unknown.
    pub fn crash(&mut self, chance: &mut Chance) {
        let Some(mut agent) = self.agent.take() else {
            return self.start();
        };
        let mut stored = Vec::new();
        for (client, road) in agent.roads.iter_mut().enumerate() {
            for lane in 0..road.lanes() {
                if self.moods[client] != Mood::Away && chance.one_in(3) {
                    let was = road.answer(lane, Answer::Lost, &mut self.lokis[client], &self.disk);
                    stored.extend(was.unwrap_or_default().then_some(lane));
                }
            }
        }
        agent.let_go(Fate::Dies);
        drop(agent);
        self.gone();
        let unsynced = size(&self.journal()).saturating_sub(self.durable);
        let torn = if chance.one_in(3) { unsynced.min(1 + chance.below(200) as u64) } else { 0 };
        cut(&self.journal(), torn);
        self.tell(format!("crash; stored without an answer: {stored:?}; journal torn by {torn} bytes"));
        if torn > 0 {
            self.disk.files.iter_mut().for_each(|file| file.known = false);
            self.disk.times_go_back |= self.disk.put_back > 0;
            self.lokis.iter_mut().for_each(|loki| loki.forgot = true);
            self.offsets.clear();
        }
    }

    pub fn stop(&mut self, chance: &mut Chance) -> Check {
        let Some(agent) = &mut self.agent else {
            self.start();
            return Ok(());
        };
        self.disk.unheard.clear();
        agent.tell_to_stop();
        self.lokis.iter_mut().for_each(|loki| loki.stopping = true);
        self.tell("the agent is told to stop".into());
        let mut agent = self.until_it_has_stopped(200, chance)?;
        agent.sync();
        agent.let_go(Fate::Dies);
        drop(agent);
        self.lokis.iter_mut().for_each(|loki| loki.stopping = false);
        self.gone();
        self.tell("the agent has stopped".into());
        Ok(())
    }

    /// Lets the agent work for at most this many turns, until it has stopped.
    fn until_it_has_stopped(&mut self, turns: usize, chance: &mut Chance) -> Result<Agent, String> {
        for _ in 0..turns {
            self.turn(chance)?;
            if self.agent.as_ref().is_none_or(Agent::has_stopped) {
                break;
            }
            self.disk.clock.advance(Duration::from_millis(200));
        }
        let agent = self.agent.take().expect("it runs");
        agent.has_stopped().then_some(agent).ok_or_else(|| format!("it has not stopped after {turns} turns"))
    }

    /// The next scrape of the process, with the open logs of this one. The outcome of abandoned pushes is unknown.
    pub fn reload(&mut self, chance: &mut Chance) -> Check {
        let Some(agent) = &mut self.agent else {
            self.start();
            return Ok(());
        };
        agent.tell_to_hand_over();
        let mut agent = self.until_it_has_stopped(50, chance)?;
        for (client, road) in agent.roads.iter_mut().enumerate() {
            for lane in 0..road.lanes() {
                if self.moods[client] != Mood::Away && chance.one_in(3) {
                    road.answer(lane, Answer::Lost, &mut self.lokis[client], &self.disk)?;
                }
            }
        }
        self.lokis.iter_mut().for_each(|loki| loki.interrupted = true);
        // The log of a call that hangs is not handed over.
        if agent.hung() > 0 {
            self.disk.none_unnamed();
        }
        self.agent = Some(agent.start_again("a", &self.disk, &self.home, self.settings));
        self.overlook();
        self.tell("the config is reloaded".into());
        Ok(())
    }

    /// The agent's memory is lost.
    fn gone(&mut self) {
        self.lose_old_links();
        self.lokis.iter_mut().for_each(|loki| loki.interrupted = true);
        self.disk.none_seen();
        self.disk.unheard.clear();
        self.writers.iter_mut().for_each(|writer| writer.raced = false);
    }
}

/// Removes the last bytes of a file, as a power cut may.
fn cut(path: &Path, bytes: u64) {
    if bytes > 0 {
        let file = fs::OpenOptions::new().write(true).open(path).expect("opened");
        file.set_len(size(path) - bytes).expect("cut");
    }
}
