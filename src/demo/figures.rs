//! The figures of a pod, or of all pods.

use serde::Serialize;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Figures {
    /// Lines that were written.
    pub written: u64,
    /// Different lines that arrived.
    pub arrived: u64,
    /// Lines that were written long ago and did not arrive.
    pub missing: u64,
    /// Lines that arrived once more with another time or other labels. Loki would show them twice.
    pub doubled: u64,
    /// Lines that arrived once more, exactly the same. Loki stores them once.
    pub again: u64,
    pub rotations: u64,
}

impl Figures {
    pub fn is_good(&self) -> bool {
        self.written > 0 && self.arrived == self.written && self.missing == 0 && self.doubled == 0
    }

    pub fn add(self, other: Self) -> Self {
        Self {
            written: self.written + other.written,
            arrived: self.arrived + other.arrived,
            missing: self.missing + other.missing,
            doubled: self.doubled + other.doubled,
            again: self.again + other.again,
            rotations: self.rotations + other.rotations,
        }
    }
}
