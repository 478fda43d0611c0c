//! Finds the files that match a `__path__`, and the directories to watch for new ones.

mod braces;
mod reason;
mod walk;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fast_glob::glob_match;

use super::allowed_paths::AllowedPaths;
use crate::model::Clock;
use braces::expand;
use walk::{Around, Walker};
pub use walk::{Budget, Skip, Walk};

/// The longest path in bytes. The kernel accepts no longer one.
const LONGEST: usize = 4096;

/// The most path components. Far deeper than any real tree.
const DEEPEST: usize = 100;

/// A path with doublestar wildcards: `*`, `**`, `?`, `[…]`, `{a,b}`.
///
/// A node has one for each target, so texts that are equal are stored once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    /// The path as configured.
    text: Arc<str>,
    /// The same path, made absolute.
    absolute: Arc<str>,
    /// The alternatives after brace expansion.
    patterns: Box<[Arc<str>]>,
}

impl Glob {
    /// Parses a path. It must be absolute or is taken relative to the working directory; the same applies to each
    /// alternative.
    ///
    /// A path may come from an annotation that any user can write. Patterns that are too expensive are an error.
    pub fn new(path: &str) -> Result<Self, String> {
        if path.is_empty() {
            return Err("the path is empty".into());
        }
        if path.len() > LONGEST {
            return Err(format!("the path is {} bytes long, more than {LONGEST}: {}", path.len(), shown(path)));
        }
        let absolute = |path: &str| {
            let absolute = std::path::absolute(path).map_err(|e| format!("path {}: {e}", shown(path)))?;
            absolute.into_os_string().into_string().map_err(|_| format!("path {} is not text", shown(path)))
        };
        let mut patterns = Vec::new();
        for alternative in expand(path)?.iter().filter(|alternative| !alternative.is_empty()) {
            let pattern = components(&absolute(alternative)?);
            if pattern.len() > DEEPEST {
                return Err(format!("path {} has more than {DEEPEST} names between slashes", shown(path)));
            }
            patterns.push(pattern);
        }
        patterns.sort();
        patterns.dedup();
        let text: Arc<str> = path.into();
        let shared = |path: String| if *path == *text { text.clone() } else { path.into() };
        for component in patterns.iter().flatten() {
            fast_glob::validate(component).map_err(|e| format!("path {}: {}: {e}", shown(path), shown(component)))?;
        }
        let absolute = shared(absolute(path)?);
        let patterns = patterns.iter().map(|pattern| shared(format!("/{}", pattern.join("/")))).collect();
        Ok(Self { absolute, patterns, text })
    }

    /// Whether `path` is equal to the path as configured, or matches it.
    pub fn matches(&self, path: &Path) -> bool {
        let text = path.to_string_lossy();
        path == self.path() || self.patterns.iter().any(|pattern| glob_match(&**pattern, text.as_bytes()))
    }

    /// Whether something at or below `path` could match.
    pub fn may_lead_to(&self, path: &Path) -> bool {
        let names: Vec<&[u8]> = path.iter().skip(1).map(|n| n.as_encoded_bytes()).collect();
        self.path().starts_with(path)
            || self.patterns.iter().any(|pattern| {
                let pattern: Vec<&str> = names_of(pattern).collect();
                let fixed = pattern.iter().position(|c| *c == "**").unwrap_or(pattern.len());
                let mut pairs = pattern[..fixed].iter().zip(&names);
                (names.len() <= pattern.len() || fixed < pattern.len())
                    && pairs.all(|(component, name)| matches_name(component, name))
            })
    }

    #[cfg(test)]
    pub fn walk(&self) -> Walk {
        self.walk_within(Budget::default())
    }

    #[cfg(test)]
    pub fn walk_within(&self, budget: Budget) -> Walk {
        self.walk_so(&AllowedPaths::default(), &Around::nothing(), budget)
    }

    /// Finds the files that match. Follows links only to targets that `allowed` permits. Does not touch the paths in
    /// `left_out`, because their file system does not answer. `at` gets each path before it is touched.
    pub fn walk_around(&self, allowed: &AllowedPaths, left_out: &[PathBuf], at: &dyn Fn(&Path)) -> Walk {
        self.walk_so(allowed, &Around { left_out, at }, Budget::default())
    }

    /// Where the files of this path may be: in the directories that it names without wildcards, and in `more`.
    pub fn allowed(&self, more: &[PathBuf]) -> AllowedPaths {
        let literal = |pattern: &[&str]| {
            let names = pattern.iter().take_while(|name| !is_wild(name)).map(|name| unescape(name));
            Path::new("/").join(names.collect::<PathBuf>())
        };
        let has_braces = self.patterns.len() != 1 || self.text.contains('{');
        let written = self.patterns.iter().map(|pattern| {
            let pattern: Vec<&str> = names_of(pattern).collect();
            // The last component of alternatives is not trusted as literal, because users may have created a link of
            // that name.
            literal(if has_braces { &pattern[..pattern.len().saturating_sub(1)] } else { &pattern })
        });
        AllowedPaths::new(written.collect(), more)
    }

    /// The directories that contain its files, up to the first wildcard.
    pub fn folders(&self) -> Vec<PathBuf> {
        let folder = |pattern: &Arc<str>| {
            let names = pattern.rsplit_once('/').map_or("", |(folder, _)| folder);
            let names = names_of(names).take_while(|name| !is_wild(name));
            Path::new("/").join(names.map(unescape).collect::<PathBuf>())
        };
        self.patterns.iter().map(folder).collect()
    }

    /// The files that it names without wildcards.
    pub fn names(&self) -> Vec<PathBuf> {
        let literal = self.patterns.iter().filter(|pattern| !names_of(pattern).any(is_wild));
        let names = literal.map(|pattern| names_of(pattern).map(unescape).collect::<PathBuf>());
        names.map(|names| Path::new("/").join(names)).collect()
    }

    fn walk_so(&self, allowed: &AllowedPaths, around: &Around<'_>, budget: Budget) -> Walk {
        // An existing file whose name contains brackets is meant literally.
        if around.may_touch(self.path()) && fs::metadata(self.path()).is_ok_and(|m| m.is_file()) {
            let directories = self.path().parent().map(Path::to_path_buf).into_iter().collect();
            return Walk { files: [self.path().to_path_buf()].into(), directories, ..Walk::default() };
        }
        let patterns: Vec<Vec<&str>> = self.patterns.iter().map(|pattern| names_of(pattern).collect()).collect();
        Walker::new(&patterns, allowed, around, budget, Clock::default()).run()
    }

    fn path(&self) -> &Path {
        Path::new(&*self.absolute)
    }
}

fn matches_name(pattern: &str, name: &[u8]) -> bool {
    // fast-glob reads a leading `!` as negation. In doublestar it is an ordinary character.
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

/// A glob that matches exactly `text`.
pub fn escape(text: &str) -> String {
    let is_special = |c: &char| matches!(c, '*' | '?' | '[' | ']' | '{' | '}' | ',' | '!' | '\\');
    text.chars().flat_map(|c| is_special(&c).then_some('\\').into_iter().chain([c])).collect()
}

fn unescape(component: &str) -> String {
    let mut out = String::with_capacity(component.len());
    let mut chars = component.chars();
    while let Some(c) = chars.next() {
        out.push(if c == '\\' { chars.next().unwrap_or('\\') } else { c });
    }
    out
}

/// The names between the slashes of an absolute path.
fn names_of(pattern: &str) -> impl Iterator<Item = &str> {
    pattern.split('/').filter(|name| !name.is_empty())
}

/// Consecutive `**` are the same as one.
fn components(pattern: &str) -> Vec<String> {
    let mut components: Vec<String> = names_of(pattern).map(str::to_string).collect();
    components.dedup_by(|b, a| a == "**" && b == "**");
    components
}

/// The first 200 characters of a user's text, for messages.
fn shown(text: &str) -> String {
    const SHOWN: usize = 200;
    match text.char_indices().nth(SHOWN) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}...", &text[..end]),
    }
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
            ("{app-1.log,a/mid.log,none/x.log}", &["a/mid.log", "app-1.log"]),
            ("{a/{mid,none},nginx/{access,err[{o]r}}.*", &["a/mid.log", "nginx/access.log", "nginx/error.txt"]),
            ("none/*.log", &[]),
            ("a", &[]),
            ("nginx/**", &["nginx/access.log", "nginx/error.txt"]),
        ] {
            assert_eq!(found(dir.path(), pattern), files, "{pattern}");
        }
    }

    #[test]
    fn paths_in_braces_are_paths_of_their_own() {
        let dir = tree(&["a.log", "b/c.log", "d/e.txt", "{x,y}/f.log"]);
        let base = dir.path().display();
        let glob = Glob::new(&format!("{{{base}/a.log,{base}/b/*.log,{base}/none/**}}")).expect("a glob");
        let files = glob.walk().files;
        assert_eq!(files, ["a.log", "b/c.log"].map(|f| dir.path().join(f)).into());
        assert!(files.iter().all(|file| glob.matches(file) && glob.may_lead_to(file)));
        assert!(!glob.matches(&dir.path().join("d/e.txt")));
        // Escaped braces are ordinary characters, with or without a slash between them.
        assert_eq!(found(dir.path(), r"\{x,y\}/*.log"), ["{x,y}/f.log"]);
        let many = "{/a,/b}".repeat(11);
        assert!(Glob::new(&many).is_err_and(|e| e.contains("alternatives")));
        for odd in ["{/a", "/a/{b,c/d", "/{a/b}c}", "[{/]", "{/a,}"] {
            // Any text gives an error or a walk that ends.
            if let Ok(glob) = Glob::new(odd) {
                glob.walk();
            }
        }
    }

    #[test]
    fn what_matches_and_is_no_file_is_told() {
        let dir = tree(&["logs/a.log", "logs/folder.log/x.txt"]);
        let at = |name: &str| dir.path().join("logs").join(name);
        std::os::unix::fs::symlink("gone", at("broken.log")).expect("linked");
        let _socket = std::os::unix::net::UnixListener::bind(at("socket.log")).expect("bound");
        let _other = std::os::unix::net::UnixListener::bind(at("socket.txt")).expect("bound");
        std::os::unix::fs::symlink("round.log", at("round.log")).expect("linked");
        let all = [
            (at("broken.log"), Skip::BrokenLink),
            (at("folder.log"), Skip::Directory),
            (at("round.log"), Skip::Unreachable),
            (at("socket.log"), Skip::Special),
        ];
        let walk = |pattern: &str| Glob::new(&format!("{}/{pattern}", dir.path().display())).expect("a glob").walk();
        assert_eq!(walk("logs/*.log").skipped, all.clone().into());
        for (path, skip) in all.into_iter().filter(|(_, skip)| *skip != Skip::Unreachable) {
            let name = path.strip_prefix(dir.path()).expect("inside").display().to_string();
            assert_eq!(walk(&name).skipped, [(path, skip)].into(), "as it is written");
        }
        assert!(walk("logs/**/*.txt").skipped.keys().eq([&at("socket.txt")]), "a folder on the way is none");
        assert!(walk("none/*.log").skipped.is_empty());
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
    fn a_place_that_does_not_answer_is_not_touched_and_everything_else_is_found() {
        let dir = tree(&["local/a.log", "mounted/b.log", "mounted/deep/c.log", "mounted-too/d.log"]);
        let at = |name: &str| dir.path().join(name);
        std::os::unix::fs::symlink("../mounted/b.log", at("local/link.log")).expect("linked");
        let left_out = [at("mounted")];
        for (pattern, files, is_said) in [
            ("*/*.log", &["local/a.log", "local/link.log", "mounted-too/d.log"][..], true),
            ("**/*.log", &["local/a.log", "local/link.log", "mounted-too/d.log"], true),
            ("mounted/b.log", &[], true),
            ("{mounted/deep,local}/*.log", &["local/a.log", "local/link.log"], true),
            ("local/a.log", &["local/a.log"], false),
        ] {
            let glob = Glob::new(&format!("{}/{pattern}", dir.path().display())).expect(pattern);
            let touched = std::cell::RefCell::new(Vec::new());
            let walk = glob.walk_around(&AllowedPaths::default(), &left_out, &|path| {
                touched.borrow_mut().push(path.to_path_buf())
            });
            assert_eq!(walk.files, files.iter().map(|file| at(file)).collect(), "{pattern}");
            assert_eq!(walk.errors.iter().any(|(path, _)| path.starts_with(at("mounted"))), is_said, "{pattern}");
            assert!(!touched.borrow().is_empty(), "{pattern}");
        }
    }

    #[test]
    fn directories_to_watch_are_those_where_a_match_could_appear() {
        let dir = tree(&["pods/ns_p_uid/c/0.log", "pods/other/c/0.log"]);
        let walk = Glob::new(&format!("{}/pods/*uid/c/*.log", dir.path().display())).expect("a glob").walk();
        let base = dir.path().join("pods");
        assert!(walk.directories.contains(&base));
        assert!(walk.directories.contains(&base.join("ns_p_uid/c")));
        assert!(!walk.directories.contains(&base.join("other/c")));
        // The file does not exist yet, so its parent is watched.
        let walk = Glob::new(&format!("{}/later/app.log", dir.path().display())).expect("a glob").walk();
        assert!(walk.directories.contains(dir.path()), "{walk:?}");
    }

    #[test]
    fn what_costs_too_much_is_refused_at_once_and_in_few_words() {
        let begun = std::time::Instant::now();
        for (bomb, why) in [
            ("/**".repeat(40_000), "bytes long"),
            ("/a".repeat(1_500), "names between slashes"),
            (format!("/none/{}x", "{a/,b/}".repeat(30)), "alternatives"),
            (format!("/none/{}.log", "{*a*,*b*}".repeat(20)), "alternatives"),
            (format!("/none/{}", "{a,".repeat(1_000) + &"}".repeat(1_000)), ""),
            (format!("/none/{}", "[a".repeat(2_000)), ""),
        ] {
            match Glob::new(&bomb) {
                Err(said) => assert!(said.contains(why) && said.len() < 600, "{said}"),
                Ok(glob) => {
                    assert_eq!(why, "", "{} is taken", shown(&bomb));
                    glob.walk();
                    glob.matches(Path::new(&format!("/none/{}", "a".repeat(255))));
                }
            }
        }
        let deep = Glob::new(&"/**".repeat(1_000)).expect("it is one");
        assert_eq!(
            deep,
            Glob { text: deep.text.clone(), absolute: deep.absolute.clone(), ..Glob::new("/**").expect("a glob") }
        );
        assert!(begun.elapsed() < std::time::Duration::from_secs(5));
    }

    /// `**` visits each directory once, although links make 2^32 paths to it. A directory is visited under its own name
    /// first.
    #[test]
    fn a_folder_is_walked_once_whatever_links_lead_to_it() {
        let dir = tree(&["t/e.log", "t/z/deep.log", "other/o.log"]);
        let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, dir.path().join(name)).expect("linked");
        link(".", "t/a");
        link("../t", "t/b");
        link("../../t/z", "t/z/c");
        link("z", "t/0");
        link("../other", "t/o");
        assert_eq!(found(dir.path(), "t/**/*.log"), ["t/e.log", "t/o/o.log", "t/z/deep.log"]);
        assert_eq!(found(dir.path(), "t/**/**/z/**/*.log"), ["t/z/deep.log"]);
        // Where each name is a separate match, links are followed, within limits.
        assert_eq!(found(dir.path(), "t/*/deep.log"), ["t/0/deep.log", "t/z/deep.log"]);
        let stars = Glob::new(&format!("{}{}/*.log", dir.path().display(), "/*".repeat(40))).expect("a glob");
        assert_eq!(stars.walk().cut, None);
    }

    #[test]
    fn a_walk_ends_when_its_budget_is_spent_and_says_where() {
        let names: Vec<String> = (0..300).map(|n| format!("d{}/{n}.log", n % 30)).collect();
        let dir = tree(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let glob = Glob::new(&format!("{}/**/*.log", dir.path().display())).expect("a glob");
        let whole = Budget::default();
        assert_eq!((glob.walk_within(whole).files.len(), glob.walk_within(whole).cut), (300, None));
        for (budget, why) in [
            (Budget { names: 100, ..whole }, "100 names"),
            (Budget { directories: 5, ..whole }, "5 directories"),
            (Budget { time: std::time::Duration::ZERO, ..whole }, "longer than"),
        ] {
            let walk = glob.walk_within(budget);
            assert!(walk.files.len() <= 100, "{}", walk.files.len());
            assert!(walk.cut.is_some_and(|(_, said)| said.contains(why)), "{why}");
        }
    }

    #[test]
    fn links_that_lead_out_are_told_and_not_walked() {
        let dir = tree(&["vol/real.log", "vol/sub/inner.log", "else/token.log", "else/deep/x.log"]);
        let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, dir.path().join(name)).expect("linked");
        link("real.log", "vol/current.log");
        link("../else/token.log", "vol/out.log");
        link("../else", "vol/folder");
        link("vol", "by-link");
        let at = |name: &str| dir.path().join(name);
        let walk = |pattern: &str, more: &[PathBuf]| {
            let glob = Glob::new(&format!("{}/{pattern}", dir.path().display())).expect("a glob");
            let allowed = glob.allowed(more);
            glob.walk_around(&allowed, &[], &|_| {})
        };
        let both = walk("vol/{*.log,*/*.log}", &[]);
        assert_eq!(both.files, ["vol/current.log", "vol/real.log", "vol/sub/inner.log"].map(at).into());
        assert_eq!(both.skipped, [(at("vol/out.log"), Skip::Outside)].into());
        assert_eq!(walk("vol/**/*.log", &[at("else")]).files.len(), 6, "it is allowed");
        assert_eq!(walk("by-link/*.log", &[]).files, ["by-link/current.log", "by-link/real.log"].map(at).into());
        assert_eq!(walk("vol/out.log", &[]).files, [at("vol/out.log")].into(), "its name is what the user wrote");
        assert_eq!(walk("*/out.log", &[]).files.len(), 2, "all of it is beneath the folder that is named");
    }
}
