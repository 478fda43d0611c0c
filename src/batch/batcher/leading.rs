//! Chooses the lane of a stream.
//!
//! Each tenant has a lane that its streams share. A stream gets a lane of its own, which it leads, if its rate is high,
//! if it is catching up, or if its entries may be too old. It returns to the shared lane when its rate is low again.
//! The reason: Loki answers 204 to a push with several streams even if it dropped entries of one of them, unless that
//! stream is the last.
//!
//! Other streams of the same log (stderr, other levels) follow the leader, in front of it in each push, because the log
//! waits for both anyway. This applies to streams with a low rate and to those with a much lower rate than the leader.
//! The leader meets any rate limit long before such a follower does, and Loki reports the leader's refusals.

use super::super::stream::StreamState;
use super::{Batcher, LANE_COST};
use crate::model::Entry;

/// Loki drops entries that are more than an hour older than the newest of their stream. An entry half as old makes its
/// stream lead a lane.
const BEHIND: i64 = 30 * 60 * 1_000_000_000;

/// A stream whose rate is lower than the leader's by this factor may follow it, whatever its rate. Any factor above 1
/// would do if rates were constant.
const LESS: f64 = 1.5;

impl Batcher {
    pub(super) fn choose_lane(&mut self, index: usize, entry: &Entry<'_>) {
        let window = self.much();
        let stream = &mut self.streams[index];
        // For a stream that is new here, the newest entry in Loki is unknown.
        let is_new = stream.newest == i64::MIN;
        let head = if is_new { self.clock.unix_nanos() } else { stream.newest };
        let is_late = entry.timestamp < head.saturating_sub(BEHIND);
        if is_late {
            stream.rate.set_hot(window);
        }
        let is_idle = stream.in_flight.bytes() == 0;
        // A stream with a late entry changes lanes even with entries in flight, unless it leads already.
        if !is_idle && (!is_late || stream.leads) {
            return;
        }
        let log = entry.origin.log;
        match (self.streams[index].leads, self.streams[index].rate.is_hot(window)) {
            (true, _) if self.streams[index].rate.is_cold(window) => self.dissolve(self.streams[index].lane),
            (true, _) if is_late => {}
            (true, _) => self.give_way(index, log),
            (false, true) if is_late => self.lead(index, log),
            (false, true) => match self.leader_lane(index, log).filter(|lane| self.is_minor(index, *lane)) {
                Some(lane) => self.follow(index, lane),
                None => self.lead(index, log),
            },
            (false, false) if !self.led.is_empty() => {
                if let Some(lane) = self.leader_lane(index, log) {
                    self.follow(index, lane);
                }
            }
            _ => {}
        }
    }

    /// Whether its rate is so high that it should lead a lane but does not yet.
    pub(super) fn is_to_lead(&self, stream: &StreamState) -> bool {
        let follows = || {
            let leader = self.lanes[stream.lane].led_by.map(|leader| &self.streams[leader]);
            leader.is_some_and(|leader| is_minor(stream, leader))
        };
        !stream.leads && stream.rate.is_hot(self.much()) && !follows()
    }

    /// Removes a lane whose leader's rate is low. Its streams return to the tenant's shared lane. Does nothing while
    /// the lane has anything waiting or in flight.
    pub(super) fn dissolve(&mut self, lane: usize) {
        if !self.lanes[lane].is_empty() || self.lanes[lane].outstanding() > 0 {
            return;
        }
        let gone = *self.lanes.remove(lane);
        self.busy.remove(&lane);
        for index in gone.followers.into_iter().chain(gone.led_by) {
            if let Some(stream) = self.streams.get_mut(index).filter(|stream| stream.lane == lane) {
                stream.lane = self.tenants[stream.tenant].lane;
                stream.leads = false;
            }
        }
        for log in gone.logs {
            if self.led.get(&log) == Some(&lane) {
                self.led.remove(&log);
            }
        }
        self.cost -= LANE_COST;
    }

    fn lead(&mut self, index: usize, log: u64) {
        let lane = self.new_lane(self.streams[index].tenant);
        self.lanes[lane].led_by = Some(index);
        (self.streams[index].lane, self.streams[index].leads) = (lane, true);
        self.cost += LANE_COST;
        if self.leader_lane(index, log).is_none_or(|first| !self.is_minor(index, first)) {
            self.lead_log(log, lane);
        }
    }

    fn follow(&mut self, index: usize, lane: usize) {
        self.streams[index].lane = lane;
        self.lanes[lane].followers.insert(index);
    }

    /// Other streams of the log may follow this lane's leader from now on.
    fn lead_log(&mut self, log: u64, lane: usize) {
        self.led.insert(log, lane);
        self.lanes[lane].logs.insert(log);
    }

    /// One leader per log is enough if the others have a much lower rate and Loki has refused nothing of them. (Loki
    /// would not report refusals of followers.)
    fn give_way(&mut self, index: usize, log: u64) {
        let lane = self.streams[index].lane;
        let Some(first) = self.leader_lane(index, log).filter(|first| *first != lane) else {
            return;
        };
        if self.is_minor(index, first) && !self.lanes[lane].was_refused() {
            self.dissolve(lane);
            if !self.streams[index].leads {
                self.follow(index, first);
            }
        } else if self.lanes[first].led_by.is_some_and(|other| is_minor(&self.streams[other], &self.streams[index])) {
            self.lead_log(log, lane);
        }
    }

    /// The lane that this log's streams follow, if it belongs to the stream's tenant.
    fn leader_lane(&self, index: usize, log: u64) -> Option<usize> {
        let tenant = self.streams[index].tenant;
        let of_tenant = |lane: &usize| self.lanes[*lane].led_by.is_some_and(|l| self.streams[l].tenant == tenant);
        self.led.get(&log).copied().filter(of_tenant)
    }

    fn is_minor(&self, index: usize, lane: usize) -> bool {
        let leader = self.lanes[lane].led_by;
        leader.is_some_and(|leader| is_minor(&self.streams[index], &self.streams[leader]))
    }
}

fn is_minor(stream: &StreamState, leader: &StreamState) -> bool {
    stream.rate.is_less(LESS, &leader.rate)
}
