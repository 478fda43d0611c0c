//! Takes over positions of an earlier agent from another place (`positions.import_from`). This happens once, at the
//! first start, so that nothing is sent again or skipped.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Config, Error, journal, safe, yaml};

/// The longest positions file in bytes. Anything longer is not a positions file.
const LONGEST: u64 = 256 << 20;

/// Copies the first of `from` that exists, with its journal, to the agent's own positions. Does nothing if these exist
/// already. The copied files are not changed.
pub fn take_over(config: &Config, from: &[PathBuf]) -> Result<(), Error> {
    let own = &config.filename;
    // The journal is written first and is complete on its own. So a journal without a yaml comes from a copy that did
    // not finish.
    if config.read_only || exists(own) || exists(&journal::path(own)) {
        return Ok(());
    }
    let Some(earlier) = from.iter().find(|file| exists(file) || exists(&journal::path(file))) else {
        return Ok(());
    };
    let fail = |path: &Path, message: String| Error {
        path: path.into(),
        message: format!("{message}; to start without these positions, remove the file from positions.import_from"),
    };
    if let Some(who) = safe::locked_by(earlier) {
        return Err(fail(earlier, format!("another agent uses the file ({who:?}): stop that agent first")));
    }
    yaml::read(earlier).map_err(|e| fail(earlier, e.text().into()))?;
    for (earlier, copy) in [(journal::path(earlier), journal::path(own)), (earlier.clone(), own.clone())] {
        match read(&earlier) {
            Ok(Some(content)) => {
                safe::replace(&copy, &content)
                    .map_err(|e| fail(&earlier, format!("cannot copy to {}: {e}", copy.display())))?;
            }
            Ok(None) => {}
            Err(e) => return Err(fail(&earlier, e.to_string())),
        }
    }
    tracing::info!(from = %earlier.display(), to = %own.display(), "positions taken over");
    Ok(())
}

/// None if the file does not exist.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::metadata(path) {
        Ok(meta) if meta.len() > LONGEST => Err(io::Error::other(format!("it is longer than {LONGEST} bytes"))),
        Ok(_) => fs::read(path).map(Some),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// True also if the file cannot be checked: reading it then gives the error.
pub(super) fn exists(path: &Path) -> bool {
    !matches!(fs::metadata(path), Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const PROMTAILS: &str = "positions:\n  /var/log/pods/a/0.log: \"17\"\n";

    fn config(own: &Path) -> Config {
        Config { filename: own.into(), ignore_invalid_yaml: false, read_only: false, readers: BTreeSet::new() }
    }

    struct Node {
        dir: tempfile::TempDir,
    }

    impl Node {
        fn new() -> Node {
            let dir = tempfile::tempdir().expect("a folder");
            for name in ["promtail", "before", "own"] {
                fs::create_dir(dir.path().join(name)).expect("made");
            }
            Node { dir }
        }

        fn at(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.at(name), text).expect("written");
        }

        fn own(&self, name: &str) -> Option<String> {
            fs::read_to_string(self.at("own").join(name)).ok()
        }

        fn start(&self) -> Result<(), String> {
            let from = ["promtail/positions.yaml", "before/positions.yaml"].map(|name| self.at(name));
            take_over(&config(&self.at("own/positions.yaml")), &from).map_err(|e| e.to_string())
        }
    }

    #[test]
    fn the_first_that_is_there_is_taken_once() {
        let node = Node::new();
        assert_eq!(node.start(), Ok(()));
        assert_eq!(node.own("positions.yaml"), None, "nothing is there to be taken");

        node.write("before/positions.yaml", "positions: {}\n");
        node.write("promtail/positions.yaml", PROMTAILS);
        assert_eq!(node.start(), Ok(()));
        assert_eq!(node.own("positions.yaml").as_deref(), Some(PROMTAILS));

        node.write("promtail/positions.yaml", "positions: {}\n");
        assert_eq!(node.start(), Ok(()));
        assert_eq!(node.own("positions.yaml").as_deref(), Some(PROMTAILS), "once");
    }

    #[test]
    fn nothing_is_taken_from_an_agent_that_is_at_work() {
        let node = Node::new();
        node.write("before/positions.yaml", PROMTAILS);
        let lock = safe::lock(&node.at("before/positions.yaml")).expect("free").expect("locked");
        let error = node.start().expect_err("it is locked");
        assert!(error.contains("another agent uses the file") && error.contains("before/positions.yaml"), "{error}");
        assert_eq!(node.own("positions.yaml"), None);
        drop(lock);
        assert_eq!(node.start(), Ok(()));
        assert_eq!(node.own("positions.yaml").as_deref(), Some(PROMTAILS));
    }

    #[test]
    fn a_journal_comes_along() {
        let node = Node::new();
        node.write("before/positions.yaml.journal", "what it says");
        assert_eq!(node.start(), Ok(()));
        assert_eq!(node.own("positions.yaml"), None);
        assert_eq!(node.own("positions.yaml.journal").as_deref(), Some("what it says"));
        // Either the copy did not finish or there was nothing more: it is not repeated.
        node.write("before/positions.yaml", PROMTAILS);
        assert_eq!(node.start(), Ok(()));
        assert_eq!(node.own("positions.yaml"), None);
    }

    #[test]
    fn what_is_no_positions_file_stops_the_start() {
        let node = Node::new();
        node.write("promtail/positions.yaml", "positions: [");
        let said = node.start().expect_err("refused");
        assert!(said.contains("promtail/positions.yaml") && said.contains("positions.import_from"), "{said}");
        assert_eq!(node.own("positions.yaml"), None);
    }

    #[test]
    fn a_dry_run_takes_nothing() {
        let node = Node::new();
        node.write("promtail/positions.yaml", PROMTAILS);
        let own = node.at("own/positions.yaml");
        let config = Config { read_only: true, ..config(&own) };
        assert!(take_over(&config, &[node.at("promtail/positions.yaml")]).is_ok());
        assert_eq!(node.own("positions.yaml"), None);
    }

    /// If both settings name the same file, nothing is taken over.
    #[test]
    fn own_positions_are_not_taken_from_themselves() {
        let node = Node::new();
        node.write("promtail/positions.yaml", PROMTAILS);
        let own = node.at("promtail/positions.yaml");
        assert!(take_over(&config(&own), std::slice::from_ref(&own)).is_ok());
        assert_eq!(fs::read_to_string(own).expect("there"), PROMTAILS);
    }
}
