//! Which files a `__path__` means, and which directories have to be watched to notice new ones.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use fast_glob::glob_match;

/// As deep as `**` goes: far beyond any real tree, short of a loop of links.
const MAX_DEPTH: usize = 32;

/// A path with doublestar's wildcards: `*`, `**`, `?`, `[…]`, `{a,b}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    path: PathBuf,
    /// Alternatives, each split at its slashes.
    patterns: Vec<Vec<String>>,
}

/// What a walk found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walk {
    pub files: BTreeSet<PathBuf>,
    /// Directories in which a new name could be a match, or lead to one.
    pub directories: BTreeSet<PathBuf>,
    /// What could not be looked into, and why.
    pub errors: Vec<(PathBuf, String)>,
}

impl Glob {
    /// `path` is absolute, or made so from the working directory.
    pub fn new(path: &str) -> Result<Self, String> {
        if path.is_empty() {
            return Err("the path is empty".into());
        }
        let absolute = std::path::absolute(path).map_err(|e| format!("path {path:?}: {e}"))?;
        let text = absolute.to_str().ok_or_else(|| format!("path {path:?} is not text"))?;
        let patterns: Vec<Vec<String>> = expand_braces(text).iter().map(|p| components(p)).collect();
        for component in patterns.iter().flatten() {
            fast_glob::validate(component).map_err(|e| format!("path {path:?}: {component:?}: {e}"))?;
        }
        Ok(Self { path: absolute, patterns })
    }

    /// Whether `path` is the path as written, or matches it.
    pub fn matches(&self, path: &Path) -> bool {
        let text = path.to_string_lossy();
        path == self.path || self.patterns.iter().any(|p| glob_match(format!("/{}", p.join("/")), text.as_bytes()))
    }

    /// Whether something at or beneath `path` could match.
    pub fn may_lead_to(&self, path: &Path) -> bool {
        let names: Vec<&[u8]> = path.iter().skip(1).map(|n| n.as_encoded_bytes()).collect();
        self.path.starts_with(path)
            || self.patterns.iter().any(|pattern| {
                let fixed = pattern.iter().position(|c| c == "**").unwrap_or(pattern.len());
                let mut pairs = pattern[..fixed].iter().zip(&names);
                (names.len() <= pattern.len() || fixed < pattern.len())
                    && pairs.all(|(component, name)| matches_name(component, name))
            })
    }

    pub fn walk(&self) -> Walk {
        let mut walk = Walk::default();
        // A file whose name has brackets in it is meant as it is written.
        if fs::metadata(&self.path).is_ok_and(|m| m.is_file()) {
            walk.files.insert(self.path.clone());
            walk.directories.extend(self.path.parent().map(Path::to_path_buf));
            return walk;
        }
        for pattern in &self.patterns {
            descend(Path::new("/"), pattern, 0, &mut walk);
        }
        walk
    }
}

fn descend(dir: &Path, pattern: &[String], depth: usize, walk: &mut Walk) {
    let Some((component, rest)) = pattern.split_first() else {
        return;
    };
    if component == "**" {
        // None included: `a/**/b` matches `a/b`.
        if rest.is_empty() {
            for_each(dir, walk, |path, is_dir, walk| {
                if is_dir && depth < MAX_DEPTH {
                    descend(&path, pattern, depth + 1, walk);
                } else if !is_dir {
                    walk.files.insert(path);
                }
            });
            return;
        }
        descend(dir, rest, depth, walk);
        for_each(dir, walk, |path, is_dir, walk| {
            if is_dir && depth < MAX_DEPTH {
                descend(&path, pattern, depth + 1, walk);
            }
        });
        return;
    }
    if !is_wild(component) {
        let path = dir.join(unescape(component));
        match fs::metadata(&path) {
            Ok(meta) if rest.is_empty() && meta.is_file() => {
                walk.directories.insert(dir.into());
                walk.files.insert(path);
            }
            Ok(meta) if meta.is_dir() && !rest.is_empty() => descend(&path, rest, depth, walk),
            Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => walk.errors.push((path, e.to_string())),
            // It may come: its parent is where that would show.
            _ => {
                walk.directories.insert(dir.into());
            }
        }
        return;
    }
    for_each(dir, walk, |path, is_dir, walk| {
        let matches = path.file_name().is_some_and(|n| matches_name(component, n.as_encoded_bytes()));
        if matches && rest.is_empty() && !is_dir {
            walk.files.insert(path);
        } else if matches && is_dir && !rest.is_empty() {
            descend(&path, rest, depth, walk);
        }
    });
}

/// Calls `f` for each name in `dir`, links followed; anything but directories and regular files is left out.
fn for_each(dir: &Path, walk: &mut Walk, mut f: impl FnMut(PathBuf, bool, &mut Walk)) {
    walk.directories.insert(dir.into());
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) => {
            if e.kind() != std::io::ErrorKind::NotFound {
                walk.errors.push((dir.into(), e.to_string()));
            }
            return;
        }
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let kind = match entry.file_type() {
            Ok(kind) if kind.is_symlink() => match fs::metadata(&path) {
                Ok(meta) => meta.file_type(),
                Err(_) => continue, // a link to nothing
            },
            Ok(kind) => kind,
            Err(_) => continue,
        };
        if kind.is_dir() || kind.is_file() {
            f(path, kind.is_dir(), walk);
        }
    }
}

fn matches_name(pattern: &str, name: &[u8]) -> bool {
    // To fast-glob a `!` in front negates; to doublestar it is a character.
    match pattern.strip_prefix('!') {
        Some(rest) => glob_match(format!("\\!{rest}"), name),
        None => glob_match(pattern, name),
    }
}

fn is_wild(component: &str) -> bool {
    let mut escaped = false;
    component.chars().any(|c| {
        let wild = !escaped && matches!(c, '*' | '?' | '[' | '{');
        escaped = !escaped && c == '\\';
        wild
    })
}

fn unescape(component: &str) -> String {
    let mut out = String::with_capacity(component.len());
    let mut chars = component.chars();
    while let Some(c) = chars.next() {
        out.push(if c == '\\' { chars.next().unwrap_or('\\') } else { c });
    }
    out
}

fn components(pattern: &str) -> Vec<String> {
    pattern.split('/').filter(|c| !c.is_empty()).map(str::to_string).collect()
}

/// `{a/b,c}` reaches across slashes, so such braces are written out before the pattern is split at them.
fn expand_braces(pattern: &str) -> Vec<String> {
    let Some((start, end)) = braces_with_slash(pattern) else {
        return vec![pattern.to_string()];
    };
    let (head, tail) = (&pattern[..start], &pattern[end + 1..]);
    let mut out = Vec::new();
    for alternative in split_top_level(&pattern[start + 1..end]) {
        out.extend(expand_braces(&format!("{head}{alternative}{tail}")));
    }
    out
}

fn braces_with_slash(pattern: &str) -> Option<(usize, usize)> {
    let (mut open, mut depth) = (0, 0);
    for (i, c) in pattern.char_indices() {
        match c {
            '{' => {
                if depth == 0 {
                    open = i;
                }
                depth += 1;
            }
            '}' if depth > 0 => {
                depth -= 1;
                if depth == 0 && pattern[open..i].contains('/') {
                    return Some((open, i));
                }
            }
            _ => {}
        }
    }
    None
}

fn split_top_level(inner: &str) -> Vec<&str> {
    let (mut depth, mut start, mut out) = (0, 0, Vec::new());
    for (i, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                out.push(&inner[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    out.push(&inner[start..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a directory");
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, "x").expect("written");
        }
        dir
    }

    fn found(dir: &Path, pattern: &str) -> Vec<String> {
        let glob = Glob::new(&format!("{}/{pattern}", dir.display())).expect(pattern);
        let files = glob.walk().files;
        for file in &files {
            assert!(glob.matches(file), "{pattern} finds {} but does not match it", file.display());
        }
        files.iter().map(|f| f.strip_prefix(dir).expect("inside").display().to_string()).collect()
    }

    #[test]
    fn what_patterns_find() {
        let dir = tree(&[
            "app-1.log",
            "app-12.log",
            ".hidden-1.log",
            "a/mid.log",
            "a/b/c/deep.log",
            "a/b/c/deep.txt",
            "nginx/access.log",
            "nginx/error.txt",
            "apache/access.log",
            "odd[1].log",
            "odd1.log",
            "!bang.log",
        ]);
        for (pattern, files) in [
            ("*-?.log", &[".hidden-1.log", "app-1.log"][..]),
            ("a/**/*.log", &["a/b/c/deep.log", "a/mid.log"]),
            (
                "{nginx,apache}/{access,err*}.[lt][ox][gt]",
                &["apache/access.log", "nginx/access.log", "nginx/error.txt"],
            ),
            ("{a/mid,a/b/c/deep}.log", &["a/b/c/deep.log", "a/mid.log"]),
            ("odd[1].log", &["odd[1].log"]),
            ("!bang.*", &["!bang.log"]),
            ("app-1.log,app-12.log", &[]),
            ("none/*.log", &[]),
            ("a", &[]),
            ("nginx/**", &["nginx/access.log", "nginx/error.txt"]),
        ] {
            assert_eq!(found(dir.path(), pattern), files, "{pattern}");
        }
    }

    #[test]
    fn which_names_are_worth_a_walk() {
        for (glob, path, worth) in [
            ("/var/log/pods/*uid/app/*.log", "/var/log/pods/ns_p_uid", true),
            ("/var/log/pods/*uid/app/*.log", "/var/log/pods/ns_p_other", false),
            ("/var/log/pods/*uid/app/*.log", "/var/log/pods/ns_p_uid/app/0.log", true),
            ("/var/log/pods/*uid/app/*.log", "/var/log/pods/ns_p_uid/app/0.log.20261122", false),
            ("/var/log/pods/*uid/app/*.log", "/var/log/pods/ns_p_uid/app/0.log/x", false),
            ("/srv/**/*.log", "/srv/a/b/c", true),
            ("/srv/**/*.log", "/var/a", false),
            ("/srv/app.log", "/srv", true),
        ] {
            assert_eq!(Glob::new(glob).expect(glob).may_lead_to(Path::new(path)), worth, "{glob} {path}");
        }
    }

    #[test]
    fn links_are_followed_and_a_loop_ends() {
        let dir = tree(&["pods/p/c/0.log"]);
        std::os::unix::fs::symlink("../pods/p/c/0.log", {
            fs::create_dir(dir.path().join("containers")).expect("made");
            dir.path().join("containers/p.log")
        })
        .expect("linked");
        std::os::unix::fs::symlink("gone", dir.path().join("containers/broken.log")).expect("linked");
        std::os::unix::fs::symlink("..", dir.path().join("pods/loop")).expect("linked");
        assert_eq!(found(dir.path(), "containers/*.log"), ["containers/p.log"]);
        assert!(!found(dir.path(), "pods/*/c/*.log").is_empty());
    }

    #[test]
    fn directories_to_watch_are_those_where_a_match_could_appear() {
        let dir = tree(&["pods/ns_p_uid/c/0.log", "pods/other/c/0.log"]);
        let walk = Glob::new(&format!("{}/pods/*uid/c/*.log", dir.path().display())).expect("a glob").walk();
        let base = dir.path().join("pods");
        assert!(walk.directories.contains(&base));
        assert!(walk.directories.contains(&base.join("ns_p_uid/c")));
        assert!(!walk.directories.contains(&base.join("other/c")));
        // Not there yet: its parent is watched.
        let walk = Glob::new(&format!("{}/later/app.log", dir.path().display())).expect("a glob").walk();
        assert!(walk.directories.contains(dir.path()), "{walk:?}");
    }
}
