//! Accounts for the lines that were read. Each line is counted once, where it ends: lines read = lines delivered +
//! lines discarded (by reason) + lines in flight.

use std::ops::{AddAssign, Sub};

use serde::Serialize;

use super::Reason;

/// A number of lines, and the bytes that they take in their file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Weight {
    pub lines: u64,
    pub bytes: u64,
}

impl Weight {
    pub fn line(bytes: usize) -> Self {
        Self { lines: 1, bytes: bytes as u64 }
    }

    /// The share of `part` in `whole`, rounded down. The caller gives the remainder to the other part.
    pub fn share(self, part: usize, whole: usize) -> Self {
        let (part, whole) = (part as u128, whole.max(1) as u128);
        let of = |n: u64| (u128::from(n) * part.min(whole) / whole) as u64;
        Self { lines: of(self.lines), bytes: of(self.bytes) }
    }
}

impl AddAssign for Weight {
    fn add_assign(&mut self, other: Self) {
        self.lines += other.lines;
        self.bytes += other.bytes;
    }
}

impl Sub for Weight {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self { lines: self.lines.saturating_sub(other.lines), bytes: self.bytes.saturating_sub(other.bytes) }
    }
}

/// The account of one log, or the sum over many logs, since the agent started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    pub read: Weight,
    pub delivered: Weight,
    pub discarded: Vec<(Reason, Weight)>,
    /// Bytes that were not read and cannot be read any more, by reason.
    pub lost: Vec<(&'static str, u64)>,
}

impl Account {
    pub fn discard(&mut self, reason: &Reason, weight: Weight) {
        match self.discarded.iter_mut().find(|(known, _)| known == reason) {
            Some((_, sum)) => *sum += weight,
            None => self.discarded.push((reason.clone(), weight)),
        }
    }

    pub fn lose(&mut self, reason: &'static str, bytes: u64) {
        match self.lost.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, sum)) => *sum += bytes,
            None => self.lost.push((reason, bytes)),
        }
    }

    pub fn discarded_in_all(&self) -> Weight {
        let mut sum = Weight::default();
        self.discarded.iter().for_each(|(_, weight)| sum += *weight);
        sum
    }

    pub fn lost_in_all(&self) -> u64 {
        self.lost.iter().map(|(_, bytes)| bytes).sum()
    }

    /// Lines that are neither delivered nor discarded yet: in a stage, in a batch or in flight.
    pub fn under_way(&self) -> Weight {
        self.read - self.delivered - self.discarded_in_all()
    }

    pub fn add(&mut self, other: &Account) {
        self.read += other.read;
        self.delivered += other.delivered;
        other.discarded.iter().for_each(|(reason, weight)| self.discard(reason, *weight));
        other.lost.iter().for_each(|(reason, bytes)| self.lose(reason, *bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_to_the_whole() {
        let whole = Weight { lines: 7, bytes: 1_001 };
        for part in 0..=9 {
            let share = whole.share(part, 7);
            let mut sum = share;
            sum += whole - share;
            assert_eq!(sum, whole);
        }
        assert_eq!(whole.share(3, 7).lines, 3);
        assert_eq!(whole.share(1, 0), whole);
    }

    #[test]
    fn what_is_not_ended_is_under_way() {
        let mut account = Account { read: Weight { lines: 10, bytes: 100 }, ..Account::default() };
        account.delivered += Weight { lines: 3, bytes: 30 };
        account.discard(&Reason::LineTooLong, Weight::line(10));
        account.discard(&Reason::LineTooLong, Weight::line(10));
        account.discard(&Reason::IngesterError, Weight::line(10));
        assert_eq!(account.under_way(), Weight { lines: 4, bytes: 40 });
        let mut both = account.clone();
        both.add(&account);
        assert_eq!(both.discarded_in_all(), Weight { lines: 6, bytes: 60 });
        assert_eq!(both.discarded.len(), 2);
    }
}
