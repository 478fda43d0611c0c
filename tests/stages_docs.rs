//! `docs/stages.md` is made from the comments of the stages, and is complete and correct: each stage is there, each
//! example is accepted, and each option is described.
//!
//! `FANTAIL_WRITE_DOCS=1 cargo test --test stages_docs` writes it.

use std::fs;
use std::path::Path;

use fantail::model::ConfigError;
use fantail::stages;
use serde_yaml::Value as Yaml;

/// The functions by which a stage reads an option.
const ASKED: [&str; 11] =
    ["boolean", "bytes", "duration", "field", "flag", "float", "number", "regex", "required", "stages", "text"];

const WRITE: &str = "FANTAIL_WRITE_DOCS";

/// The part of the page after this line is made from the source code.
const MARK: &str = "<!-- From here on this is made of the sources:";

#[test]
fn the_page_is_what_the_sources_say() {
    let path = root().join("docs/stages.md");
    let page = fs::read_to_string(&path).expect("docs/stages.md is there");
    let made = made_of(&page);
    if std::env::var_os(WRITE).is_some() {
        // Replaced atomically, because other tests read it meanwhile.
        let new = path.with_extension("md.new");
        fs::write(&new, made).and_then(|()| fs::rename(new, path)).expect("docs/stages.md can be written");
    } else {
        assert!(page == made, "docs/stages.md is behind the sources: {WRITE}=1 cargo test --test stages_docs");
    }
}

#[test]
fn every_stage_has_its_place_on_the_page() {
    let page = fs::read_to_string(root().join("docs/stages.md")).expect("docs/stages.md is there");
    // As it will be: another test may write the page at this moment.
    let page = made_of(&page);
    for stages::Row { name, file, .. } in stages::TABLE {
        assert!(page.contains(&format!("[{name}](#{file})")), "{name} is not in the table at the head of the page");
        assert!(page.contains(&format!("\n## {file}\n")), "{name} has no section");
    }
    // The first part is written by hand. The stages that it names must exist.
    let (head, _made) = page.split_once(MARK).expect("the page has its mark");
    let mut links: Vec<&str> =
        head.match_indices("](#").filter_map(|(at, _)| Some(head[..at].rsplit_once('[')?.1)).collect();
    links.sort_unstable();
    let names = stages::TABLE.iter().map(|row| row.name).collect::<Vec<_>>();
    assert_eq!(links, names, "the head of the page names each stage once, and no other");
    let unknown = compile("[no_such_stage: {}]").expect_err("there is none");
    let known = unknown[0].problem.split_once("supported are: ").map(|(_, names)| names).expect("it names them");
    assert_eq!(known.split(", ").collect::<Vec<_>>(), names, "a stage is not documented");
}

#[test]
fn every_example_is_accepted() {
    for stages::Row { file, .. } in stages::TABLE {
        let examples = examples(file);
        assert!(!examples.is_empty(), "{file} has no example");
        for example in examples {
            match compile(&example) {
                Ok(program) => assert_eq!(program.warnings(), [], "{file}:\n{example}"),
                // The only stage that needs a file.
                Err(mistakes) => {
                    assert!(
                        mistakes.iter().all(|e| e.problem.contains("cannot read `db`")),
                        "{file}: {mistakes:?}\n{example}"
                    );
                }
            }
        }
    }
}

/// Users must know all options that a stage reads.
#[test]
fn every_option_is_in_an_example() {
    for stages::Row { file, .. } in stages::TABLE {
        let source = fs::read_to_string(root().join(format!("src/stages/{file}.rs"))).expect("it is there");
        let more = fs::read_to_string(root().join(format!("src/stages/{file}/config.rs"))).unwrap_or_default();
        let (code, _tests) = source.split_once("#[cfg(test)]").expect("every stage has tests");
        let code = format!("{code}{more}");
        let examples = format!("{}\n{}", examples(file).join("\n"), documentation(file));
        assert!(
            !code.contains("options.source()") || examples.contains("source:"),
            "{file}: the option `source` is in no example"
        );
        for asked in ASKED {
            for rest in code.split(&format!("{asked}(\"")).skip(1) {
                let option = rest.split('"').next().unwrap_or_default();
                assert!(examples.contains(&format!("{option}:")), "{file}: the option `{option}` is in no example");
            }
        }
    }
}

/// The page with its first part from `page`, and the rest from the source code.
fn made_of(page: &str) -> String {
    let mark = page.find(MARK).unwrap_or_else(|| panic!("docs/stages.md has lost its line `{MARK}`"));
    let end = page[mark..].find('\n').map_or(page.len(), |end| mark + end + 1);
    format!("{}{}", &page[..end], sections())
}

fn sections() -> String {
    let mut files: Vec<&str> = stages::TABLE.iter().map(|row| row.file).collect();
    files.sort_unstable();
    files.dedup();
    files.iter().map(|file| format!("\n## {file}\n\n{}\n", documentation(file))).collect()
}

/// The `//!` comment of a stage, from its first sentence.
fn documentation(file: &str) -> String {
    let source = fs::read_to_string(root().join(format!("src/stages/{file}.rs"))).expect("a stage has its file");
    let lines = source.lines().map_while(|line| line.strip_prefix("//!"));
    let text: Vec<&str> = lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    text.join("\n").trim_end().to_string()
}

fn examples(file: &str) -> Vec<String> {
    let text = documentation(file);
    let blocks = text.split("```yaml\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap_or_default().to_string()).collect()
}

fn compile(yaml: &str) -> Result<stages::Program, Vec<ConfigError>> {
    let stages: Vec<Yaml> = serde_yaml::from_str(yaml).unwrap_or_else(|e| panic!("{e}\n{yaml}"));
    stages::compile(&stages)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
