//! Handles times of container runtimes that are invalid.

use super::labelling::Known;
use crate::model::LabelSet;

/// Promtail's `fudge`: an invalid time becomes the last time of its stream plus one nanosecond.
#[derive(Debug, Default)]
pub(super) struct Fudge {
    last: Known<i64>,
}

impl Fudge {
    pub fn settle(&mut self, labels: &LabelSet, parsed: Option<i64>, read: i64) -> i64 {
        if let Some(last) = self.last.get_mut(labels) {
            *last = parsed.unwrap_or(*last + 1);
            return *last;
        }
        let Some(time) = parsed else {
            return read;
        };
        self.last.insert(labels, time);
        time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fudging_follows_the_stream() {
        let mut fudge = Fudge::default();
        let (a, b) = (LabelSet::new([("a", "1")]), LabelSet::new([("b", "1")]));
        assert_eq!(fudge.settle(&a, None, 99), 99);
        assert_eq!(fudge.settle(&a, Some(10), 99), 10);
        assert_eq!(fudge.settle(&a, None, 99), 11);
        assert_eq!(fudge.settle(&a, None, 99), 12);
        assert_eq!(fudge.settle(&b, None, 99), 99);
        assert_eq!(fudge.settle(&a, Some(5), 99), 5);
    }
}
