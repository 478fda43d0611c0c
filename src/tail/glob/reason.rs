//! Explains why a path matches nothing, by recognising common mistakes.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Glob, is_wild, names_of, unescape};

impl Glob {
    /// Why no file matches, and what to do. None: no mistake was recognised.
    pub fn why_nothing(&self) -> Option<String> {
        self.typing().or_else(|| self.place())
    }

    /// Mistakes in the text of the path.
    fn typing(&self) -> Option<String> {
        let text = &*self.text;
        if text.starts_with('~') {
            return Some("~ is not replaced: write the whole path of the home directory".into());
        }
        if text.contains("${") {
            return Some("variables are replaced with -config.expand-env=true only".into());
        }
        if text.contains(['\u{2018}', '\u{2019}', '\u{201c}', '\u{201d}']) {
            return Some("the path has typographic quotes: write plain quotes, or none".into());
        }
        if text.trim() != text {
            return Some("the path begins or ends with a space, which is part of the name".into());
        }
        if !text.contains('{') && text.split(',').filter(|part| part.trim_start().starts_with('/')).count() > 1 {
            return Some("a comma does not separate paths: write {/one.log,/other.log}, or several targets".into());
        }
        None
    }

    /// The part of the path that does not exist.
    fn place(&self) -> Option<String> {
        let [pattern] = &*self.patterns else {
            return None;
        };
        let pattern: Vec<&str> = names_of(pattern).collect();
        let relative = match Path::new(&*self.text).is_relative() {
            true => format!(" (the path is relative, and means {})", self.path().display()),
            false => String::new(),
        };
        let mut at = PathBuf::from("/");
        for (i, component) in pattern.iter().enumerate() {
            if is_wild(component) {
                break;
            }
            at.push(unescape(component));
            let is_last = i + 1 == pattern.len();
            let shown = at.display();
            return Some(match fs::metadata(&at) {
                Ok(meta) if meta.is_dir() && is_last => {
                    format!("{shown} is a directory: write {shown}/*.log for the files in it{relative}")
                }
                Ok(meta) if meta.is_dir() || is_last => continue,
                Ok(_) => format!("{shown} is a file, not a directory{relative}"),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => match is_last {
                    true => format!("there is no file {shown}{relative}"),
                    false => {
                        format!("there is no directory {shown}: check the mounts and the spelling{relative}")
                    }
                },
                Err(e) => format!("{shown}: {e}: give the agent's user permission to list it{relative}"),
            });
        }
        (!relative.is_empty()).then(|| format!("no file matches{relative}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_where_it_shows() {
        let dir = tempfile::tempdir().expect("a directory");
        let base = dir.path().display();
        fs::write(dir.path().join("file"), "").expect("written");
        for (path, why) in [
            (format!("{base}/*.log"), "nothing shows"),
            (format!("{base}/a.log"), "there is no file"),
            (format!("{base}/there/not/*.log"), "/there: check the mounts"),
            (format!("{base}"), "is a directory: write"),
            (format!("{base}/file/*.log"), "/file is a file, not a directory"),
            ("~/logs/*.log".into(), "home directory"),
            ("logs/none/*.log".into(), "the path is relative"),
            (format!("{base}/${{APP}}/*.log"), "-config.expand-env=true"),
            (format!("\u{201c}{base}/*.log\u{201d}"), "typographic"),
            (format!("{base}/a.log, {base}/b.log"), "a comma does not separate"),
            (format!("{base}/*.log "), "a space"),
            (format!("{{{base}/a.log,{base}/b.log}}"), "nothing shows"),
        ] {
            let said = Glob::new(&path).expect("a glob").why_nothing().unwrap_or("nothing shows".into());
            assert!(said.contains(why), "{path}: {said}");
        }
    }
}
