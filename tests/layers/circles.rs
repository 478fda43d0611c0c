//! Checks that there are no circles: no file of `src/` imports a file that imports it, directly or through others.
//!
//! An import is a `use`, or a path in the code. It goes from the file that contains it to the file that defines the item,
//! also through a re-export. These do not count as imports: `mod name;`, a re-export that its file does not use itself, a
//! call of a method, and code that is compiled for tests only.

use std::collections::{BTreeMap, BTreeSet};

use super::{SourceFile, source_files};

#[test]
fn no_file_imports_a_file_that_imports_it() {
    let imports = imports_of_all();
    assert!(imports.values().map(BTreeMap::len).sum::<usize>() > 500, "the search finds nothing any more");
    assert_no_circles(&imports);
}

/// The same with each folder taken as one: a file must not import a folder whose files import it.
#[test]
fn no_folder_imports_a_file_or_folder_that_imports_it() {
    let imports = imports_of_all();
    let depth = imports.keys().map(Vec::len).max().unwrap_or_default();
    assert!(depth > 3, "the search finds no folders any more");
    for depth in 1..depth {
        assert_no_circles(&folded(&imports, depth));
    }
}

fn imports_of_all() -> Imports {
    let files: Vec<SourceFile> = source_files().into_iter().filter(|source| !source.is_test).collect();
    let mut imports = imports(files.iter().map(|file| (module(file), file.code.as_str())).collect());
    without_children(&mut imports);
    imports
}

/// A module and the files below it are one thing in several files: the module's file is where they are put together.
fn without_children(imports: &mut Imports) {
    for (module, from) in imports {
        from.retain(|other, _| !other.starts_with(module) && !module.starts_with(other));
    }
}

/// The imports between modules of at most `depth` names. Files that are deeper count for their module of that depth.
fn folded(imports: &Imports, depth: usize) -> Imports {
    let fold = |module: &Path| module.iter().take(depth).cloned().collect::<Path>();
    let mut folded = Imports::new();
    for (module, from) in imports {
        let all = folded.entry(fold(module)).or_default();
        all.extend(from.iter().map(|(other, name)| (fold(other), name.clone())));
    }
    without_children(&mut folded);
    folded
}

fn assert_no_circles(imports: &Imports) {
    let shown: Vec<String> = circles(imports).iter().map(|circle| show(circle, imports)).collect();
    assert!(shown.is_empty(), "move what both sides of a circle need to a file of its own:\n{}", shown.join("\n"));
}

/// The path of a module, without `crate`.
type Path = Vec<String>;

/// For each module its imports: the module that defines the items, and one of them.
type Imports = BTreeMap<Path, BTreeMap<Path, String>>;

fn module(source: &SourceFile) -> Path {
    let parts = source.path.with_extension("");
    parts.iter().skip(1).map(|part| part.to_string_lossy().into_owned()).collect()
}

/// The definitions and imports of one file.
#[derive(Debug, Default)]
struct File {
    defined: BTreeSet<String>,
    /// Names that a `use` imports, with their paths.
    uses: Vec<Use>,
    /// Paths of at least two names, and single names, in the code outside of `use`.
    paths: BTreeSet<Path>,
}

#[derive(Debug)]
struct Use {
    name: String,
    from: Path,
    is_public: bool,
}

fn imports(sources: Vec<(Path, &str)>) -> Imports {
    let files: BTreeMap<Path, File> = sources.into_iter().map(|(path, code)| (path, File::read(code))).collect();
    let mut imports = Imports::new();
    for (module, file) in &files {
        let mut found: BTreeSet<(Path, String)> = BTreeSet::new();
        for path in &file.paths {
            found.extend(definer(&files, module, path, 0));
        }
        for Use { name, from, is_public } in &file.uses {
            if name == "*" {
                let names = exported(&files, module, from).filter(|name| file.paths.contains(&vec![name.clone()]));
                found.extend(names.filter_map(|name| definer(&files, module, &[from.as_slice(), &[name]].concat(), 0)));
            } else if !is_public {
                found.extend(definer(&files, module, from, 0));
            }
        }
        let others = found.into_iter().filter(|(definer, _)| definer != module);
        imports.insert(module.clone(), others.collect());
    }
    imports
}

/// Names that `use from::*` in `module` may import.
fn exported<'a>(files: &'a BTreeMap<Path, File>, module: &Path, from: &Path) -> impl Iterator<Item = String> + use<'a> {
    let file = resolve_module(files, module, from).and_then(|module| files.get(&module));
    file.into_iter().flat_map(|file| file.defined.iter().chain(file.uses.iter().map(|found| &found.name)).cloned())
}

fn resolve_module(files: &BTreeMap<Path, File>, module: &Path, path: &[String]) -> Option<Path> {
    let (mut at, mut rest) = (module.clone(), path);
    while let [first, others @ ..] = rest {
        match first.as_str() {
            "crate" | "fantail" => at.clear(),
            "self" => {}
            "super" => _ = at.pop(),
            _ => at.push(first.clone()),
        }
        rest = others;
    }
    files.contains_key(&at).then_some(at)
}

/// The item that `path` names in `module`, and the module that defines it. None: the path names an item of another crate, a
/// local name, or a module.
fn definer(files: &BTreeMap<Path, File>, module: &Path, path: &[String], depth: usize) -> Option<(Path, String)> {
    let (mut at, mut rest) = (module.clone(), path);
    let mut is_root = true;
    while let [first, others @ ..] = rest {
        match first.as_str() {
            "crate" | "fantail" if is_root => at.clear(),
            "self" if is_root => {}
            "super" => _ = at.pop(),
            name => {
                let inside = [at.as_slice(), &[name.to_string()]].concat();
                if files.contains_key(&inside) {
                    at = inside;
                } else {
                    return item(files, module, &at, name, others, depth);
                }
            }
        }
        is_root = false;
        rest = others;
    }
    None
}

/// The same for the item `name` of the module `at`; more names may follow if it is a module that was imported.
fn item(
    files: &BTreeMap<Path, File>,
    asker: &Path,
    at: &Path,
    name: &str,
    others: &[String],
    depth: usize,
) -> Option<(Path, String)> {
    let file = files.get(at)?;
    if file.defined.contains(name) {
        return Some((at.clone(), name.to_string()));
    }
    if depth > 10 {
        return None;
    }
    for found in &file.uses {
        let path = match found.name.as_str() {
            "*" => [found.from.as_slice(), &[name.to_string()], others].concat(),
            known if known == name => [found.from.as_slice(), others].concat(),
            _ => continue,
        };
        // `use name;` with the name of another crate would lead to itself.
        if path[0] == name && path.len() == 1 + others.len() {
            continue;
        }
        let definer = definer(files, at, &path, depth + 1);
        // An item of another crate that a file re-exports counts as an item of that file.
        let is_foreign = found.name != "*" && at != asker && is_foreign(files, at, &found.from);
        match definer {
            Some(definer) => return Some(definer),
            None if is_foreign => return Some((at.clone(), name.to_string())),
            None => {}
        }
    }
    None
}

fn is_foreign(files: &BTreeMap<Path, File>, at: &Path, from: &Path) -> bool {
    let first = &from[0];
    let known = ["crate", "fantail", "self", "super"].contains(&first.as_str());
    !known
        && !files.contains_key(&[at.as_slice(), std::slice::from_ref(first)].concat())
        && !files[at].defined.contains(first)
}

impl File {
    fn read(code: &str) -> Self {
        let words = words(code);
        let (mut file, mut at) = (Self::default(), 0);
        let mut is_public = false;
        while at < words.len() {
            let next = words.get(at + 1).copied().unwrap_or_default();
            match words[at] {
                "#" if words[at..].starts_with(&["#", "[", "cfg", "(", "test", ")", "]"]) => {
                    at = end_of_item(&words, at + 7)
                }
                "pub" => {
                    is_public = true;
                    at += 1;
                    if next == "(" {
                        at += words[at..].iter().position(|word| *word == ")").map_or(0, |end| end + 1);
                    }
                    continue;
                }
                "use" if is_name(next) || next == "{" || next == "::" => {
                    let end = at + words[at..].iter().position(|word| *word == ";").unwrap_or(0);
                    file.read_use(&words[at + 1..end], Path::new(), is_public);
                    at = end;
                }
                "mod" if is_name(next) => at += 2,
                "struct" | "enum" | "union" | "trait" | "fn" | "const" | "static" | "type" if is_name(next) => {
                    file.defined.insert(next.to_string());
                    at += 2;
                }
                "macro_rules" => {
                    file.defined.insert(words.get(at + 2).copied().unwrap_or_default().to_string());
                    at += 3;
                }
                word if is_name(word)
                    && !at.checked_sub(1).is_some_and(|before| matches!(words[before], "." | "::")) =>
                {
                    let mut path = vec![word.to_string()];
                    while let Some(&["::", name, ..]) = words.get(at + 1..)
                        && is_name(name)
                    {
                        path.push(name.to_string());
                        at += 2;
                    }
                    file.paths.insert(path);
                    at += 1;
                }
                _ => at += 1,
            }
            is_public = false;
        }
        // A re-export is an import if the file itself uses the name.
        file
    }

    /// Reads the tree of a `use`, after the path `from`.
    fn read_use(&mut self, tree: &[&str], from: Path, is_public: bool) {
        let mut path = from;
        let mut at = 0;
        while at < tree.len() {
            match tree[at] {
                "::" => {}
                "{" => {
                    for member in members(&tree[at + 1..tree.len() - 1]) {
                        self.read_use(member, path.clone(), is_public);
                    }
                    return;
                }
                "as" => {
                    let name = tree.get(at + 1).copied().unwrap_or_default().to_string();
                    self.uses.push(Use { name, from: path, is_public });
                    return;
                }
                "*" => {
                    self.uses.push(Use { name: "*".into(), from: path, is_public });
                    return;
                }
                "self" if !path.is_empty() => {}
                name => path.push(name.to_string()),
            }
            at += 1;
        }
        if let Some(name) = path.last().cloned() {
            self.uses.push(Use { name, from: path, is_public });
        }
    }
}

/// The members of a group, separated by commas.
fn members<'a, 'w>(group: &'a [&'w str]) -> Vec<&'a [&'w str]> {
    let mut depth = 0;
    let is_end = |word: &&str| {
        match *word {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        *word == "," && depth == 0
    };
    group.split(is_end).filter(|member| !member.is_empty()).collect()
}

/// The end of the item that begins at `at`: after its semicolon, its comma, or its last bracket.
fn end_of_item(words: &[&str], mut at: usize) -> usize {
    let mut depth = 0usize;
    let is_use = words.get(at) == Some(&"use");
    while at < words.len() {
        match words[at] {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" if depth == 0 => return at,
            "}" | ")" | "]" => {
                depth -= 1;
                if depth == 0 && words[at] == "}" && !is_use {
                    return at + 1;
                }
            }
            ";" | "," if depth == 0 => return at + 1,
            _ => {}
        }
        at += 1;
    }
    at
}

fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Divides the code into names, `::`, and single other characters.
fn words(code: &str) -> Vec<&str> {
    let (mut words, mut rest) = (Vec::new(), code.trim_start());
    while let Some(first) = rest.chars().next() {
        let length = match first {
            c if c.is_alphanumeric() || c == '_' => {
                rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
            }
            ':' if rest.starts_with("::") => 2,
            c => c.len_utf8(),
        };
        words.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    words
}

/// The sets of at least two modules that can be reached from each other.
fn circles(imports: &Imports) -> Vec<BTreeSet<Path>> {
    let reach: BTreeMap<&Path, BTreeSet<&Path>> =
        imports.keys().map(|module| (module, reached(module, imports))).collect();
    let mut circles = BTreeSet::new();
    for (module, others) in &reach {
        let circle: BTreeSet<Path> =
            others.iter().filter(|other| reach[*other].contains(module)).map(|m| (*m).clone()).collect();
        if circle.len() > 1 {
            circles.insert(circle);
        }
    }
    circles.into_iter().collect()
}

fn reached<'a>(module: &'a Path, imports: &'a Imports) -> BTreeSet<&'a Path> {
    let (mut found, mut next) = (BTreeSet::new(), vec![module]);
    while let Some(module) = next.pop() {
        let Some((module, others)) = imports.get_key_value(module) else { continue };
        next.extend(others.keys().filter(|other| found.insert(*other)));
        let _ = module;
    }
    found
}

fn show(circle: &BTreeSet<Path>, imports: &Imports) -> String {
    let mut lines = format!("a circle of {} files:", circle.len());
    for module in circle {
        for (other, item) in imports[module].iter().filter(|(other, _)| circle.contains(*other)) {
            lines += &format!("\n  {} uses {item} of {}", module.join("/"), other.join("/"));
        }
    }
    lines
}
