//! Checks the two rules about imports: a module of `src/` uses only modules in lower layers, and each third-party crate
//! is used only in its own modules.

#[path = "layers/circles.rs"]
mod circles;

use std::fs;
use std::path::{Path, PathBuf};

/// Modules (the files and directories directly in `src/`) by layer. Add a new module here first.
const LAYERS: [&[&str]; 5] = [
    &["model", "metrics", "goregex", "yaml"],
    &["backoff", "relabel", "tail", "stages", "batch", "positions", "journal", "spool"],
    &["http_client", "compare", "discovery", "scrape", "push", "receive", "server"],
    &["agent", "config", "demo", "explain"],
    &["cli", "main"],
];

/// The only imports within a layer: the first module may import the second one.
const NEIGHBOURS: [(&str, &str); 11] = [
    ("metrics", "model"),
    ("yaml", "model"),
    ("agent", "config"),
    // An explanation is worked out from the config, for a command or for a page of the running agent.
    ("explain", "config"),
    ("agent", "explain"),
    ("main", "cli"),
    // All modules that send HTTP requests share one client.
    ("push", "http_client"),
    ("discovery", "http_client"),
    ("compare", "http_client"),
    // Receivers listen like the agent's own server, and hand their records to the readers.
    ("receive", "scrape"),
    ("receive", "server"),
];

/// The modules that may use a crate. A crate that is not listed may be used anywhere.
const HOMES: [(&str, &[&str]); 35] = [
    ("axum", &["server", "receive", "demo"]),
    ("base64", &["server"]),
    ("bcrypt", &["server"]),
    ("bzip2", &["tail"]),
    ("fastrand", &["backoff"]),
    ("flate2", &["tail", "receive", "demo"]),
    ("gotmpl", &["stages"]),
    ("http", &["discovery", "http_client"]),
    ("landlock", &["cli"]),
    ("seccompiler", &["cli"]),
    ("socket2", &["receive"]),
    ("tempfile", &["demo"]),
    ("tikv_jemalloc_ctl", &["cli"]),
    ("http_body", &["discovery", "server"]),
    ("hyper", &["server"]),
    ("hyper_util", &["server"]),
    // Only kube uses it. It is a dependency of ours because its feature selects the version of Kubernetes.
    ("k8s_openapi", &[]),
    ("kube", &["discovery"]),
    ("lz4_flex", &["journal"]),
    ("lzma_rust2", &["journal", "tail"]),
    ("maxminddb", &["stages"]),
    ("md5", &["relabel"]),
    ("notify", &["scrape"]),
    ("regex", &["goregex"]),
    ("reqwest", &["http_client"]),
    ("rustix", &["cli", "agent", "demo", "tail", "positions", "receive", "spool"]),
    ("ruzstd", &["journal", "tail"]),
    // Stages and discovery read parts of a config in forms that only they know. Positions are separate YAML files.
    ("serde_yaml", &["yaml", "config", "stages", "discovery", "positions"]),
    ("sha1", &["stages"]),
    ("sha2", &["stages", "server"]),
    ("sha3", &["stages"]),
    // A batch is compressed when it is sealed. The compressor's memory is reused.
    ("snap", &["batch", "receive"]),
    ("tokio_rustls", &["server", "receive"]),
    ("tower", &["discovery", "server"]),
    // Modules below layer 2 are not async.
    (
        "tokio",
        &["http_client", "compare", "discovery", "scrape", "push", "receive", "server", "agent", "compare", "demo"],
    ),
];

#[test]
fn every_module_has_a_layer() {
    for file in source_files() {
        assert!(
            layer(&file.module).is_some(),
            "{}: the module `{}` is in no layer; add it to LAYERS in tests/layers.rs",
            file.path.display(),
            file.module
        );
    }
}

#[test]
fn modules_use_only_lower_layers() {
    let mut broken = Vec::new();
    for file in source_files() {
        for module in modules_used(&file.code) {
            let allowed = module == file.module
                || NEIGHBOURS.contains(&(file.module.as_str(), module.as_str()))
                || layer(&module) < layer(&file.module);
            if !allowed {
                broken.push(format!(
                    "{}: `{}` (layer {}) uses `{module}` ({})",
                    file.path.display(),
                    file.module,
                    layer(&file.module).unwrap_or(0),
                    layer(&module).map_or("not a module of src/".into(), |layer| format!("layer {layer}")),
                ));
            }
        }
    }
    assert!(broken.is_empty(), "a module uses only modules in lower layers:\n  {}", broken.join("\n  "));
}

#[test]
fn every_crate_stays_at_home() {
    let mut strays = Vec::new();
    for file in source_files().iter().filter(|file| !file.is_test) {
        let code = without_test_modules(&file.code);
        for (name, homes) in HOMES {
            if !homes.contains(&file.module.as_str()) && uses_crate(&code, name) {
                strays.push(format!("{}: uses `{name}`, whose home is {}", file.path.display(), homes.join(", ")));
            }
        }
    }
    assert!(strays.is_empty(), "a third-party crate is used in its home only:\n  {}", strays.join("\n  "));
}

/// A module that does not use its crate any more must be removed from the list. Otherwise, the crate could be used there
/// again unnoticed.
#[test]
fn every_home_is_lived_in() {
    let files = source_files();
    let production: Vec<(&str, String)> = files
        .iter()
        .filter(|file| !file.is_test)
        .map(|file| (file.module.as_str(), without_test_modules(&file.code)))
        .collect();
    let uses =
        |name: &str, home: &str| production.iter().any(|(module, code)| *module == home && uses_crate(code, name));
    let homes = HOMES.iter().flat_map(|(name, homes)| homes.iter().map(move |home| (*name, *home)));
    let stale: Vec<String> =
        homes.filter(|(name, home)| !uses(name, home)).map(|(name, home)| format!("`{name}` in `{home}`")).collect();
    assert!(stale.is_empty(), "HOMES in tests/layers.rs has homes that do not use the crate: {}", stale.join(", "));
}

/// Names of functions that read a clock. The last ones belong to libraries.
const CLOCKS: [&str; 7] = [
    "Instant::now",
    "SystemTime::now",
    ".elapsed()",
    "Timestamp::now",
    "Zoned::now",
    "RateLimiter::direct(",
    "RateLimiter::keyed(",
];

/// Logic gets the time as a parameter or from a `model::Clock`, so that a test can move it.
#[test]
fn no_logic_reads_a_clock() {
    let mut clocks = Vec::new();
    let mut others = 0;
    for file in source_files().iter().filter(|file| !file.is_test) {
        let code = without_test_modules(&file.code);
        for clock in CLOCKS.iter().filter(|clock| code.contains(**clock)) {
            match layer(&file.module) {
                Some(0 | 1) if file.path != Path::new("src/model/clock.rs") => {
                    clocks.push(format!("{}: {clock}", file.path.display()));
                }
                _ => others += 1,
            }
        }
    }
    assert!(others > 10, "the search finds nothing any more");
    assert!(clocks.is_empty(), "take the time as a parameter, or a model::Clock:\n  {}", clocks.join("\n  "));
}

/// A thread or task that panics must abort the process (`model::abort_on_panic`) or pass its panic on. None may end
/// silently while the agent seems healthy.
#[test]
fn whatever_is_started_is_vital() {
    let mut silent = Vec::new();
    let mut found = 0;
    for file in source_files().iter().filter(|file| !file.is_test) {
        let code = without_test_modules(&file.code);
        for (at, start) in [".spawn(", "::spawn(", "::spawn_blocking("].iter().flat_map(|s| code.match_indices(s)) {
            // A process is no thread: its parent sees how it ends.
            if code[..at].ends_with(".process_group(0)") {
                continue;
            }
            // Whoever joins the tasks of a set sees how each ends.
            if code[..at].ends_with("joined") && code.contains("joined.join_next()") {
                continue;
            }
            found += 1;
            let what_follows: String =
                code[at..].chars().take(if start.ends_with("_blocking(") { 600 } else { 150 }).collect();
            if !what_follows.contains("_abort_on_panic = AbortOnPanic") && !what_follows.contains("resume_unwind") {
                silent.push(format!("{}: {}", file.path.display(), what_follows.lines().next().unwrap_or_default()));
            }
        }
    }
    assert!(found > 5, "the search finds nothing any more");
    assert!(silent.is_empty(), "begin it with `let _abort_on_panic = AbortOnPanic;`:\n  {}", silent.join("\n  "));
}

/// A string over two lines keeps the indentation of its second line, unless its first line ends with a backslash.
#[test]
fn no_message_has_a_gap() {
    let (mut gaps, mut strings) = (Vec::new(), 0);
    for file in source_files().iter().filter(|file| !file.is_test) {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(&file.path)).expect("UTF-8");
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        for line in code.lines().map(str::trim_start).filter(|line| line.starts_with('"')) {
            strings += 1;
            if has_gap(line) {
                gaps.push(format!("{}: {line}", file.path.display()));
            }
        }
    }
    assert!(strings > 300, "the search finds nothing any more");
    assert!(gaps.is_empty(), "end the line with a backslash, and go on in the next line:\n  {}", gaps.join("\n  "));
    assert!(has_gap("\"skipped: a power cut leaves them, and          a truncation\"") && !has_gap("\"one and     "));
}

/// Whether there are five spaces between a word and what follows, in one line of the message.
fn has_gap(line: &str) -> bool {
    line.match_indices("     ").any(|(at, spaces)| {
        let is_indentation = line[..at].ends_with("\\n");
        let is_after_word =
            !is_indentation && line[..at].ends_with(|c: char| c.is_alphanumeric() || ",;:.)".contains(c));
        is_after_word && !line[at + spaces.len()..].trim_start().is_empty()
    })
}

struct SourceFile {
    path: PathBuf,
    /// The first component of its module path.
    module: String,
    /// The file is a module, or part of a module, that is declared for tests only.
    is_test: bool,
    /// The code without comments and the contents of literals.
    code: String,
}

fn source_files() -> Vec<SourceFile> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    let mut folders = vec![src.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("src/ can be read") {
            let path = entry.expect("src/ can be read").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let inside = path.strip_prefix(&src).expect("it was found there").with_extension("");
            let parts: Vec<String> = inside.iter().map(|part| part.to_string_lossy().into_owned()).collect();
            if path.extension().is_none_or(|extension| extension != "rs") || parts == ["lib"] {
                continue;
            }
            let code = without_comments(&fs::read_to_string(&path).expect("sources are UTF-8"));
            files.push(SourceFile {
                path: Path::new("src").join(path.strip_prefix(&src).expect("it was found there")),
                module: parts[0].clone(),
                is_test: false,
                code,
            });
        }
    }
    assert!(files.len() > 10, "the files were not found in {}", src.display());
    let test_modules: Vec<PathBuf> = files.iter().flat_map(test_modules).collect();
    for file in &mut files {
        let module = file.path.with_extension("");
        file.is_test = test_modules.iter().any(|test| module.starts_with(test));
    }
    files
}

/// The modules that `source` declares as `#[cfg(test)] mod name;`, as paths without an extension.
fn test_modules(file: &SourceFile) -> Vec<PathBuf> {
    let declared = file.code.split("#[cfg(test)]").skip(1).filter_map(|after| {
        let name = identifier(after.trim_start().strip_prefix("mod ")?);
        after.trim_start()[4 + name.len()..].starts_with(';').then_some(name)
    });
    declared.map(|name| file.path.with_extension("").join(name)).collect()
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

/// The names after each `crate::` and `fantail::` (the name of the crate in the binary).
fn modules_used(code: &str) -> Vec<String> {
    let mut modules = Vec::new();
    for root in ["crate::", "fantail::"] {
        for (at, _) in code.match_indices(root).filter(|(at, _)| starts_a_path(code, *at)) {
            let rest = code[at + root.len()..].trim_start();
            match rest.strip_prefix('{') {
                Some(group) => modules.extend(group_members(group)),
                None => modules.push(identifier(rest)),
            }
        }
    }
    modules.retain(|module| !module.is_empty());
    modules.sort();
    modules.dedup();
    modules
}

/// The first name of each member of `{a, b::{c, d}, e::f}`. The input begins after the bracket.
fn group_members(group: &str) -> Vec<String> {
    let (mut members, mut depth, mut member) = (Vec::new(), 0usize, String::new());
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => members.push(identifier(std::mem::take(&mut member).trim())),
            c if depth == 0 => member.push(c),
            _ => {}
        }
    }
    members.push(identifier(member.trim()));
    members
}

/// Whether any path starts with the crate's name. A module with that name in the same file hides the crate, but not from
/// a path that begins with `::`.
fn uses_crate(code: &str, name: &str) -> bool {
    let is_hidden = code.contains(&format!("mod {name};"));
    code.match_indices(&format!("{name}::")).any(|(at, _)| {
        let from_root = code[..at].strip_suffix("::").is_some_and(|before| !before.ends_with('>'));
        (from_root && starts_a_path(code, at - 2)) || (!is_hidden && starts_a_path(code, at))
    })
}

/// Whether the name at `at` is complete and the first of its path.
fn starts_a_path(code: &str, at: usize) -> bool {
    !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':' || c == '.' || c == '$')
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The code without each `#[cfg(test)] mod … { … }`.
fn without_test_modules(code: &str) -> String {
    let mut rest = code;
    let mut kept = String::new();
    while let Some((before, after)) = rest.split_once("#[cfg(test)]") {
        kept.push_str(before);
        rest = after;
        let item = after.find(['{', ';']);
        let Some(open) = item.filter(|open| after[*open..].starts_with('{')) else { continue };
        let mut depth = 0usize;
        let end = after[open..].char_indices().find_map(|(at, c)| {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            (depth == 0).then_some(open + at + 1)
        });
        rest = &after[end.unwrap_or(after.len())..];
    }
    kept + rest
}

/// The code without comments and without the contents of literals, which could look like code.
fn without_comments(file: &str) -> String {
    let (mut code, mut rest) = (String::with_capacity(file.len()), file);
    while let Some(c) = rest.chars().next() {
        let skipped = match c {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '"' => quoted(rest, '"'),
            'r' if !code.ends_with(|c: char| c.is_alphanumeric() || c == '_') => raw_string(rest),
            // A character, not a lifetime.
            '\'' if rest.starts_with("'\\") || rest.chars().nth(2) == Some('\'') => quoted(rest, '\''),
            _ => 0,
        };
        if skipped == 0 {
            code.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            code.push(' ');
            rest = &rest[skipped..];
        }
    }
    code
}

/// The length of a literal between two `quote` characters.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of `r"…"` or `r#"…"#`. 0: it is not a raw string.
fn raw_string(text: &str) -> usize {
    let hashes = text[1..].chars().take_while(|c| *c == '#').count();
    let Some(body) = text[1 + hashes..].strip_prefix('"') else { return 0 };
    let end = format!("\"{}", "#".repeat(hashes));
    body.find(&end).map_or(text.len(), |at| text.len() - body.len() + at + end.len())
}

#[test]
fn the_reader_of_imports_reads_rust() {
    for (code, modules) in [
        ("use crate::model::Labels;", &["model"] as &[&str]),
        ("use crate::{model::{Ack, Entry}, metrics, relabel::Rule as R};", &["metrics", "model", "relabel"]),
        ("fn f() -> crate::tail::Chunk { fantail::cli::main() }", &["cli", "tail"]),
        ("// crate::push\n/* crate::push */ let a = \"crate::push \\\" crate::scrape\";", &[]),
        ("let a = r#\"crate::push \" \"#; let c = '\"'; crate::batch::f::<'a>('\\'')", &["batch"]),
        ("/// [`crate::agent`]\nuse supercrate::agent;", &[]),
    ] {
        assert_eq!(modules_used(&without_comments(code)), modules, "{code}");
    }
    assert!(uses_crate("use regex::Regex;", "regex"));
    assert!(uses_crate("let a = &regex::Regex::new(b);", "regex"));
    assert!(uses_crate("mod regex;\nuse ::regex::Regex;", "regex"));
    for code in ["use super::regex::Config;", "mod regex;\nuse regex::Config;", "use goregex::Regex;"] {
        assert!(!uses_crate(code, "regex"), "{code}");
    }
    let code = "a\n#[cfg(test)]\nmod tests { use tokio::x; fn f() {} }\n#[cfg(test)]\nmod other;\nb";
    assert!(!without_test_modules(code).contains("tokio"), "{}", without_test_modules(code));
    assert!(without_test_modules(code).ends_with("mod other;\nb"));
}
