//! The windows of streams: how much of each may be in flight.

use std::time::Instant;

use super::{Batcher, needed};
use crate::batch::stream::StreamId;

impl Batcher {
    /// How many bytes of this stream may be read now. None: the stream is unknown, or was forgotten.
    pub(in crate::batch) fn room(&mut self, id: StreamId, now: Instant) -> Option<usize> {
        let window = self.much();
        self.known(id)?;
        self.streams[id.index].rate.cool(now, window);
        let stream = &self.streams[id.index];
        let in_flight = stream.in_flight.bytes();
        // The stream changes lanes once it has nothing in flight. Otherwise later entries could arrive earlier.
        let moves = in_flight > 0 && self.is_to_lead(stream);
        Some(if moves { 0 } else { stream.limit.saturating_sub(in_flight) })
    }

    /// The window of an unknown stream, in bytes.
    pub(in crate::batch) fn replay_window(&self) -> usize {
        self.config.replay_window
    }

    /// The window of this stream, in bytes. None: the stream is unknown.
    pub(in crate::batch) fn window(&self, id: StreamId) -> Option<usize> {
        self.known(id).map(|stream| stream.limit)
    }

    /// Adapts the window to `rate`, the bytes per second written to a file of this stream. The window grows while the
    /// round trip is too long to acknowledge that rate.
    pub(in crate::batch) fn fit_window(&mut self, id: StreamId, rate: f64) {
        let Some(stream) = self.known(id) else {
            return;
        };
        let round_trip = self.lanes[stream.lane].round_trip();
        let base = self.config.replay_window;
        let most = self.config.batchsize.max(base);
        let spare = self.buffered.bytes() < self.config.buffer / 2;
        let stream = &mut self.streams[id.index];
        let wanted = needed(rate, round_trip).clamp(base, most);
        stream.limit = if spare { wanted } else { wanted.min(stream.limit) };
        stream.is_wide = false;
    }

    /// Makes the window as large as a batch, for a stream of which a crash makes the agent send nothing again. If the buffer
    /// is half full, it is as small as the others.
    pub(in crate::batch) fn widen(&mut self, id: StreamId) {
        let (base, spare) = (self.config.replay_window, self.buffered.bytes() < self.config.buffer / 2);
        let limit = if spare { self.config.batchsize.max(base) } else { base };
        if self.known(id).is_some() {
            (self.streams[id.index].limit, self.streams[id.index].is_wide) = (limit, true);
        }
    }

    /// Takes that back, because lines of a file come into the stream too.
    pub(in crate::batch) fn narrow(&mut self, id: StreamId) {
        if self.known(id).is_some_and(|stream| stream.is_wide) {
            (self.streams[id.index].limit, self.streams[id.index].is_wide) = (self.config.replay_window, false);
        }
    }
}
