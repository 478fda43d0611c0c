//! Which files of a target are not read and why, for the status pages and the log. The log reports changes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use crate::tail::Skip;

/// The most file names in one log line.
const NAMED: usize = 3;

/// The most unread files of a target that are listed. The rest are only counted.
const REMEMBERED: usize = 1000;

/// Why a match is not read as a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Why {
    Skipped(Skip),
    /// The walk stopped there, for this reason. Later paths were not visited.
    Cut(String),
    /// The directory or file cannot be accessed, with the system's error.
    Denied(String),
    Excluded,
    /// It is in the log directory of another pod.
    Foreign,
    /// It waits until another log ends, because the limit on open logs, given here, is reached.
    Beyond(usize),
    /// It is read as an older generation of this log.
    Older(PathBuf),
    /// It is the file of this path, in the same directory under another name.
    Same(PathBuf),
}

impl Why {
    /// Reasons of the same kind share one log line.
    fn kind(&self) -> u8 {
        match self {
            Why::Denied(_) => 0,
            Why::Skipped(Skip::Unreachable) => 1,
            Why::Skipped(Skip::Special) => 2,
            Why::Skipped(Skip::BrokenLink) => 3,
            Why::Skipped(Skip::Directory) => 4,
            Why::Skipped(Skip::Outside) => 8,
            Why::Excluded => 5,
            Why::Older(_) => 6,
            Why::Foreign => 8,
            Why::Cut(_) => 7,
            Why::Beyond(_) => 9,
            Why::Same(_) => 10,
        }
    }

    /// All values that [`Why::trouble`] can return.
    pub const TROUBLES: [&str; 6] = ["beyond", "denied", "special", "outside", "foreign", "cut"];

    /// The label of `fantail_unread_files{reason}`. None: it is intended.
    pub fn trouble(&self) -> Option<&'static str> {
        match self {
            Why::Denied(_) | Why::Skipped(Skip::Unreachable) => Some("denied"),
            Why::Skipped(Skip::Special) => Some("special"),
            Why::Skipped(Skip::Outside) => Some("outside"),
            Why::Foreign => Some("foreign"),
            Why::Cut(_) => Some("cut"),
            Why::Beyond(_) => Some("beyond"),
            Why::Skipped(Skip::BrokenLink | Skip::Directory) | Why::Excluded | Why::Older(_) | Why::Same(_) => None,
        }
    }

    /// Changes with each rotation, so that the names are not news. Only the fact is logged.
    fn is_routine(&self) -> bool {
        matches!(self, Why::Excluded | Why::Older(_) | Why::Same(_) | Why::Beyond(_))
    }

    fn advice(&self) -> &'static str {
        match self {
            Why::Denied(_) | Why::Skipped(Skip::Unreachable) => {
                "give the agent's user permission to list and read it; the agent tries again"
            }
            Why::Skipped(Skip::Special) => "only regular files can be read: exclude this one with __path_exclude__",
            Why::Skipped(Skip::Outside) => {
                "if this is intended, add the directory of the link's target to target_config.link_roots"
            }
            Why::Skipped(Skip::BrokenLink) => "the agent reads it as soon as the link's target exists",
            Why::Skipped(Skip::Directory) => {
                "add /*.log for the files in the directory, or /**/*.log for files in its subdirectories too"
            }
            Why::Cut(_) => {
                "the rest of the tree is not read: make __path__ narrower, or write several targets; the agent tries again"
            }
            Why::Excluded => "nothing to do, if __path_exclude__ is correct",
            Why::Foreign => {
                "if this is not an attack, make __path__ name the pod's own directory by namespace, name and uid, or allow \
                 it with target_config.foreign_pod_logs"
            }
            Why::Beyond(_) => {
                "raise target_config.logs_limit (and the limit of open files: ulimit -n, or LimitNOFILE of a service), or make \
                 __path__ narrower; the agent reads it when other logs have ended"
            }
            Why::Same(_) => "nothing to do: each file is read once",
            Why::Older(_) => {
                "nothing to do, if it is a rotated file; otherwise, give it a name unlike a rotated file's, or its own job"
            }
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Skipped(skip) => skip.fmt(f),
            Why::Cut(why) => write!(f, "the search for __path__ ended here: {why}"),
            Why::Denied(error) => f.write_str(error),
            Why::Excluded => f.write_str("excluded by __path_exclude__"),
            Why::Foreign => {
                f.write_str("the pod's target leads to it, but it is not in the directory of this pod's logs")
            }
            Why::Beyond(limit) => write!(f, "{limit} logs of this target are open, and no more are allowed"),
            Why::Older(live) => write!(f, "read as an older generation of {}", live.display()),
            Why::Same(first) => write!(f, "read as {}, which is in the same directory", first.display()),
        }
    }
}

/// The unread files of one target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Unread {
    pub files: BTreeMap<PathBuf, Why>,
    /// How many more there are.
    pub more: usize,
    /// How many of all of them wait until other logs end.
    pub beyond: usize,
    /// Why no file at all is read. None: files are read.
    pub nothing: Option<String>,
}

/// A line for the log.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub is_trouble: bool,
    pub reason: String,
    pub files: String,
    pub count: usize,
    pub advice: &'static str,
}

impl Unread {
    pub fn add(&mut self, path: &Path, why: Why) {
        self.beyond += usize::from(matches!(why, Why::Beyond(_)));
        if self.files.len() < REMEMBERED {
            self.files.insert(path.into(), why);
        } else if !self.files.contains_key(path) {
            self.more += 1;
        }
    }

    /// Whether another walk finds the same files as long as its directories do not change. What an error is about, the
    /// target of a link, the size of a file or the number of open logs may change without that.
    pub fn depends_on_directories_only(&self) -> bool {
        let is_by_name = |(path, why): (&PathBuf, &Why)| match why {
            Why::Excluded | Why::Foreign => true,
            // What a link leads to may become a file without a change of the link.
            Why::Skipped(Skip::Directory | Skip::Special) => !path.is_symlink(),
            _ => false,
        };
        self.files.len() < REMEMBERED && self.files.iter().all(is_by_name)
    }

    /// How many directories of other pods are new since `before`.
    pub fn newly_foreign(&self, before: &Self) -> usize {
        let is_known = |path| before.files.get(path) == Some(&Why::Foreign);
        self.files.iter().filter(|(path, why)| **why == Why::Foreign && !is_known(*path)).count()
    }

    /// The changes since `before`, one line for each reason.
    pub fn news(&self, before: &Self) -> Vec<Line> {
        let was: BTreeSet<u8> = before.files.values().map(Why::kind).collect();
        let mut new: BTreeMap<u8, Vec<(&PathBuf, &Why)>> = BTreeMap::new();
        for (path, why) in &self.files {
            let is_known = match why.is_routine() {
                true => was.contains(&why.kind()),
                false => before.files.get(path).is_some_and(|known| known.kind() == why.kind()),
            };
            if !is_known {
                new.entry(why.kind()).or_default().push((path, why));
            }
        }
        let line = |files: Vec<(&PathBuf, &Why)>| {
            let (_, why) = files.first()?;
            let names: Vec<String> = files.iter().take(NAMED).map(|(path, _)| path.display().to_string()).collect();
            let rest = files.len().saturating_sub(NAMED);
            let rest = if rest > 0 { format!(" and {rest} more") } else { String::new() };
            Some(Line {
                is_trouble: why.trouble().is_some(),
                reason: why.to_string(),
                files: names.join(", ") + &rest,
                count: files.len(),
                advice: why.advice(),
            })
        };
        new.into_values().filter_map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unread(files: &[(&str, Why)]) -> Unread {
        let mut unread = Unread::default();
        files.iter().for_each(|(path, why)| unread.add(Path::new(path), why.clone()));
        unread
    }

    fn said(now: &Unread, before: &Unread) -> Vec<String> {
        now.news(before).into_iter().map(|line| format!("{}: {}", line.files, line.reason)).collect()
    }

    #[test]
    fn what_begins_is_said_once_and_what_is_routine_for_all_of_its_kind() {
        let (special, older) = (|| Why::Skipped(Skip::Special), || Why::Older("/a".into()));
        let none = Unread::default();
        let one = unread(&[("/p", special()), ("/a.1", older())]);
        assert_eq!(said(&one, &none), ["/p: it is not a regular file", "/a.1: read as an older generation of /a"]);
        assert_eq!(said(&one, &one), [""; 0], "each sync finds the same");
        let two = unread(&[("/p", special()), ("/q", special()), ("/a.1", older()), ("/a.2", older())]);
        assert_eq!(said(&two, &one), ["/q: it is not a regular file"], "another one, and another rotation");
        assert_eq!(said(&unread(&[("/p", Why::Excluded)]), &two), ["/p: excluded by __path_exclude__"]);
        assert_eq!(said(&two, &none).len(), 2, "it was over, and begins again");
        let many: Vec<(String, Why)> = (0..5_000).map(|n| (format!("/{n:04}"), special())).collect();
        let many: Vec<(&str, Why)> = many.iter().map(|(path, why)| (path.as_str(), why.clone())).collect();
        let many = unread(&many);
        assert_eq!((many.files.len(), many.more), (REMEMBERED, 4_000));
        assert_eq!(said(&many, &none), ["/0000, /0001, /0002 and 997 more: it is not a regular file"]);
    }
}
