//! The queue of commands to a reader. For each log it keeps only the final state that the reader must reach, so its
//! size is bounded by the number of logs, however long the reader is busy.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Assignment, Command, SourceAssignment, StopRequest};
use crate::model::Target;
use crate::scrape::parker::Parker;

#[derive(Debug)]
pub(in crate::scrape) struct Commands {
    waiting: Mutex<Waiting>,
    pub parker: Arc<Parker>,
}

#[derive(Debug, Default)]
struct Waiting {
    logs: HashMap<u64, Log>,
    /// Logs in the order in which they were first mentioned.
    order: Vec<u64>,
    settle: bool,
    stop: Option<StopRequest>,
}

/// The pending commands for one log, in the order of execution.
#[derive(Debug, Default)]
struct Log {
    add: Option<Assignment>,
    open: Option<SourceAssignment>,
    relabel: Option<Arc<Target>>,
    retire: bool,
    look: bool,
    written: bool,
}

impl Commands {
    pub fn new(parker: Arc<Parker>) -> Self {
        Self { waiting: Mutex::default(), parker }
    }

    /// Never blocks.
    pub fn send(&self, command: Command) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).send(command);
        self.parker.ring();
    }

    pub fn take(&self) -> Vec<Command> {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        waiting.commands()
    }
}

impl Waiting {
    fn send(&mut self, command: Command) {
        match command {
            // A reader gets a log that it does not have, so earlier commands are about a previous life of the log.
            Command::Add(assignment) => {
                let log = self.log(assignment.log);
                *log = Log { add: Some(assignment), ..Log::default() };
            }
            Command::Open(given) => {
                let log = self.log(given.log);
                log.open = Some(given);
            }
            Command::Relabel(log, target) => {
                let log = self.log(log);
                log.retire = false;
                match &mut log.add {
                    Some(assignment) => assignment.target = target,
                    None => log.relabel = Some(target),
                }
            }
            Command::Retire(log) => self.log(log).retire = true,
            Command::Look(log) => self.log(log).look = true,
            Command::Written(log) => self.log(log).written = true,
            Command::Settle => self.settle = true,
            Command::Stop(ending) => self.stop = Some(ending.and(self.stop)),
        }
    }

    fn log(&mut self, log: u64) -> &mut Log {
        self.logs.entry(log).or_insert_with(|| {
            self.order.push(log);
            Log::default()
        })
    }

    fn commands(mut self) -> Vec<Command> {
        let mut commands = Vec::new();
        for log in self.order {
            let Some(Log { add, open, relabel, retire, look, written }) = self.logs.remove(&log) else {
                continue;
            };
            commands.extend(add.map(Command::Add));
            commands.extend(open.map(Command::Open));
            commands.extend(relabel.map(|target| Command::Relabel(log, target)));
            commands.extend(retire.then_some(Command::Retire(log)));
            commands.extend(look.then_some(Command::Look(log)));
            commands.extend(written.then_some(Command::Written(log)));
        }
        commands.extend(self.settle.then_some(Command::Settle));
        commands.extend(self.stop.map(Command::Stop));
        commands
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::model::LabelSet;

    fn target(name: &str) -> Arc<Target> {
        Arc::new(Target::new("job".into(), LabelSet::new([("app", name)]), "/logs/*.log"))
    }

    fn add(log: u64, name: &str) -> Command {
        let path = std::path::PathBuf::from(format!("/logs/{log}.log")).into();
        Command::Add(Assignment {
            log,
            folder: Path::new("/logs").into(),
            path,
            target: target(name),
            allowed: Default::default(),
            job: 0,
            from_oldest: false,
            start: None,
        })
    }

    fn stop(seconds: u64) -> Command {
        Command::Stop(StopRequest { within: Duration::from_secs(seconds), reads_on: true })
    }

    fn words(commands: &[Command]) -> Vec<String> {
        let word = |command: &Command| match command {
            Command::Add(a) => format!("add {} {}", a.log, a.target.labels),
            Command::Open(given) => format!("open {}", given.log),
            Command::Relabel(log, target) => format!("relabel {log} {}", target.labels),
            Command::Retire(log) => format!("retire {log}"),
            Command::Look(log) => format!("look {log}"),
            Command::Written(log) => format!("written {log}"),
            Command::Settle => "settle".into(),
            Command::Stop(ending) => format!("stop {}", ending.within.as_secs()),
        };
        commands.iter().map(word).collect()
    }

    #[test]
    fn of_each_log_there_is_what_it_has_to_come_to() {
        let (a, b) = (|| target("a"), || target("b"));
        type Told = Vec<Command>;
        let cases: [(&str, Told, &[&str]); 7] = [
            ("a look is a look", (0..1_000).map(|_| Command::Look(1)).collect(), &["look 1"]),
            ("order is kept", vec![Command::Look(2), add(1, "a"), Command::Look(2)], &["look 2", "add 1 {app=\"a\"}"]),
            (
                "the last labels count",
                vec![Command::Relabel(1, a()), Command::Relabel(1, b())],
                &["relabel 1 {app=\"b\"}"],
            ),
            (
                "what comes back is not gone",
                (0..1_000).flat_map(|_| [Command::Retire(1), Command::Relabel(1, b())]).collect(),
                &["relabel 1 {app=\"b\"}"],
            ),
            (
                "its last lines have its last labels",
                vec![Command::Relabel(1, b()), Command::Retire(1)],
                &["relabel 1 {app=\"b\"}", "retire 1"],
            ),
            (
                "it is added as it is by now",
                vec![add(1, "a"), Command::Retire(1), Command::Relabel(1, b())],
                &["add 1 {app=\"b\"}"],
            ),
            ("sooner is sooner", vec![stop(25), stop(0), Command::Look(1)], &["look 1", "stop 0"]),
        ];
        for (what, told, want) in cases {
            let commands = Commands::new(Arc::default());
            told.into_iter().for_each(|command| commands.send(command));
            assert_eq!(words(&commands.take()), want, "{what}");
            assert!(commands.take().is_empty(), "{what}");
        }
    }
}
