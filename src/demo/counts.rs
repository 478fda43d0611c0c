//! Counts the lines that were written and those that arrived.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::figures::Figures;

/// A line that was written longer ago than this and did not arrive is missing.
const LATE: Duration = Duration::from_secs(10);

/// An entry as it arrived.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    /// Its label `pod`.
    pub pod: String,
    /// The number of the line in its pod. None: no pod writes such a line.
    pub number: Option<usize>,
    /// A hash of its labels, its time and its text. Loki stores entries that are equal in these once.
    pub identity: u64,
}

#[derive(Debug)]
pub(super) struct Counts {
    pods: Vec<Pod>,
    kills: u64,
    foreign: u64,
    first: Option<Instant>,
    last: Option<Instant>,
}

#[derive(Debug, Default)]
struct Pod {
    name: String,
    lines: Vec<Line>,
    figures: Figures,
    /// All lines before this one arrived.
    settled: usize,
    /// How many lines were written at these times.
    marks: VecDeque<(Instant, usize)>,
    /// The lines before this one were written longer ago than [`LATE`].
    old: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Line {
    /// None: it did not arrive.
    identity: Option<u64>,
    is_doubled: bool,
}

impl Counts {
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        let pods = names.into_iter().map(|name| Pod { name, ..Pod::default() }).collect();
        Self { pods, kills: 0, foreign: 0, first: None, last: None }
    }

    /// Notes that the pod writes `count` further lines. Returns the number of the first one.
    pub fn write(&mut self, pod: usize, count: usize, now: Instant) -> usize {
        let Some(pod) = self.pods.get_mut(pod) else { return 0 };
        let first = pod.lines.len();
        pod.lines.resize(first + count, Line::default());
        pod.figures.written += count as u64;
        pod.marks.push_back((now, pod.lines.len()));
        pod.age(now);
        first
    }

    pub fn rotated(&mut self, pod: usize) {
        if let Some(pod) = self.pods.get_mut(pod) {
            pod.figures.rotations += 1;
        }
    }

    pub fn killed(&mut self) {
        self.kills += 1;
    }

    pub fn kills(&self) -> u64 {
        self.kills
    }

    /// Entries that no pod wrote, such as a part of a line.
    pub fn foreign(&self) -> u64 {
        self.foreign
    }

    pub fn arrive(&mut self, arrivals: &[Arrival], now: Instant) {
        for arrival in arrivals {
            let pod = self.pods.iter_mut().find(|pod| pod.name == arrival.pod);
            let line = pod.and_then(|pod| Some((pod.lines.get_mut(arrival.number?)?, &mut pod.figures)));
            let Some((line, figures)) = line else {
                self.foreign += 1;
                continue;
            };
            match line.identity {
                None => {
                    line.identity = Some(arrival.identity);
                    figures.arrived += 1;
                    self.first.get_or_insert(now);
                    self.last = Some(now);
                }
                Some(identity) if identity == arrival.identity => figures.again += 1,
                Some(_) => {
                    line.is_doubled = true;
                    figures.doubled += 1;
                }
            }
        }
    }

    /// When the first line arrived.
    pub fn first(&self) -> Option<Instant> {
        self.first
    }

    /// When a line was written or arrived last.
    pub fn last_progress(&self, begun: Instant) -> Instant {
        let written = self.pods.iter().filter_map(|pod| Some(pod.marks.back()?.0)).max();
        self.last.max(written).unwrap_or(begun)
    }

    pub fn is_complete(&self) -> bool {
        self.pods.iter().all(|pod| pod.figures.arrived == pod.figures.written)
    }

    /// The name, the figures and the states of the last lines of each pod.
    pub fn pods(&mut self, now: Instant, recent: usize) -> impl Iterator<Item = (&str, Figures, String)> {
        self.pods.iter_mut().map(move |pod| {
            let figures = pod.figures(now);
            (pod.name.as_str(), figures, pod.recent(recent))
        })
    }

    pub fn total(&mut self, now: Instant) -> Figures {
        self.pods.iter_mut().map(|pod| pod.figures(now)).fold(Figures::default(), Figures::add)
    }

    /// The figures when nothing arrives any more.
    pub fn final_figures(&self) -> Figures {
        let figures = |pod: &Pod| Figures { missing: pod.figures.written - pod.figures.arrived, ..pod.figures };
        self.pods.iter().map(figures).fold(Figures::default(), Figures::add)
    }
}

impl Pod {
    fn age(&mut self, now: Instant) {
        while let Some((_, lines)) = self.marks.front().filter(|(then, _)| now.duration_since(*then) > LATE) {
            self.old = *lines;
            self.marks.pop_front();
        }
    }

    fn figures(&mut self, now: Instant) -> Figures {
        self.age(now);
        while self.lines.get(self.settled).is_some_and(|line| line.identity.is_some()) {
            self.settled += 1;
        }
        let old = self.lines.get(self.settled..self.old).unwrap_or_default();
        Figures { missing: old.iter().filter(|line| line.identity.is_none()).count() as u64, ..self.figures }
    }

    /// A letter for each of the last lines: `w` waiting, `a` arrived, `m` missing, `d` doubled.
    fn recent(&self, most: usize) -> String {
        let first = self.lines.len().saturating_sub(most);
        let letter = |(number, line): (usize, &Line)| match line {
            Line { is_doubled: true, .. } => 'd',
            Line { identity: Some(_), .. } => 'a',
            _ if number < self.old => 'm',
            _ => 'w',
        };
        self.lines.iter().enumerate().skip(first).map(letter).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival(pod: &str, number: Option<usize>, identity: u64) -> Arrival {
        Arrival { pod: pod.into(), number, identity }
    }

    #[test]
    fn each_line_is_counted_once_and_each_fault_is_found() {
        let now = Instant::now();
        let mut counts = Counts::new(["a".to_string(), "b".to_string()]);
        assert_eq!((counts.write(0, 2, now), counts.write(0, 2, now), counts.write(1, 1, now)), (0, 2, 0));
        counts.rotated(1);
        counts.arrive(&[arrival("a", Some(0), 1), arrival("a", Some(2), 3), arrival("b", Some(0), 4)], now);
        assert!(!counts.is_complete());
        // Exactly the same, then with another time, then what no pod wrote.
        counts.arrive(&[arrival("a", Some(0), 1), arrival("a", Some(2), 9)], now);
        counts.arrive(&[arrival("a", None, 1), arrival("c", Some(0), 1), arrival("b", Some(1), 1)], now);
        let want = Figures { written: 5, arrived: 3, missing: 0, doubled: 1, again: 1, rotations: 1 };
        assert_eq!((counts.total(now), counts.foreign()), (want, 3));
        let recent = |counts: &mut Counts, now| counts.pods(now, 3).next().map(|(_, _, recent)| recent);
        assert_eq!(recent(&mut counts, now).as_deref(), Some("wdw"));

        let later = now + LATE + Duration::from_secs(1);
        assert_eq!(counts.total(later), Figures { missing: 2, ..want });
        assert_eq!(recent(&mut counts, later).as_deref(), Some("mdm"));
        assert!(!counts.final_figures().is_good());
        counts.arrive(&[arrival("a", Some(1), 2), arrival("a", Some(3), 5)], later);
        assert!(counts.is_complete());
        assert_eq!(counts.final_figures(), Figures { arrived: 5, missing: 0, ..want });
        assert!(!counts.final_figures().is_good(), "a line is doubled");
    }

    #[test]
    fn a_demo_without_lines_shows_nothing() {
        assert!(!Counts::new(["a".to_string()]).final_figures().is_good());
    }
}
