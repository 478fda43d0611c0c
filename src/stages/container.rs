//! The default stage for pods without `pipeline_stages`: detects and parses the container runtime's format.

use std::time::Instant;

use super::cri::Cri;
use super::docker::Docker;
use super::{Due, Flow, Stage, Surroundings, Work};

pub(super) fn start(around: &Surroundings) -> Box<dyn Stage> {
    Box::new(Container { cri: Cri::plain(around), docker: Docker::plain(around) })
}

#[derive(Debug)]
struct Container {
    cri: Cri,
    docker: Docker,
}

impl Stage for Container {
    fn process(&mut self, work: &mut Work<'_>, released: &mut Vec<Work<'static>>) -> Flow {
        // A CRI time never begins with a brace, and a JSON object never with a digit.
        match work.entry.line.starts_with('{') {
            true => self.docker.process(work, released),
            false => self.cri.process(work, released),
        }
    }

    fn release(&mut self, due: Due, released: &mut Vec<Work<'static>>) {
        self.cri.release(due, released);
        self.docker.release(due, released);
    }

    fn next_due(&self) -> Option<Instant> {
        [self.cri.next_due(), self.docker.next_due()].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Program;
    use super::super::testing::{Seen, run};

    #[test]
    fn both_formats_are_told_apart_by_line() {
        let lines = [
            r#"{"log":"a\n","stream":"stdout","time":"1970-01-01T00:00:00.000000001Z"}"#.to_string(),
            "1970-01-01T00:00:00.000000002Z stderr F {b}".to_string(),
            "c".to_string(),
        ];
        let seen = |timestamp, labels: &str, line: &str| Seen { timestamp, labels: labels.into(), line: line.into() };
        assert_eq!(
            run(&Program::container_format(), &lines),
            [
                seen(1, "{app=\"x\", stream=\"stdout\"}", "a\n"),
                seen(2, "{app=\"x\", stream=\"stderr\"}", "{b}"),
                seen(Seen::READ, "{app=\"x\"}", "c"),
            ]
        );
    }
}
