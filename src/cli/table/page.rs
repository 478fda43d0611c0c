//! The flags in docs/support.md.

use std::collections::BTreeMap;

use super::{Effect, all};

#[test]
fn the_page_has_each_flag_with_its_default_and_its_key() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/support.md")).expect("the page");
    let table = text.split_once("\n## All flags\n").expect("the table").1;
    let rows = table.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    let mut page: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for row in rows.take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 4, "{row}");
        for name in cells[0].split('`').skip(1).step_by(2) {
            let name = name.trim_start_matches('-').to_string();
            assert!(page.insert(name.clone(), cells.clone()).is_none(), "-{name} is there twice");
        }
    }
    for flag in all() {
        let name = flag.name;
        let row = page.remove(name).unwrap_or_else(|| panic!("add -{name} to the table of flags in docs/support.md"));
        let (default, state, text) = (row[1].trim_matches('`'), row[2], row[3]);
        assert_eq!(default, flag.default, "-{name}");
        match flag.effect {
            Effect::Ignored(_) => assert_eq!(state, "no effect", "-{name}"),
            Effect::Sets(key) => assert!(text.starts_with(&format!("`{key}`")), "-{name}: {text}"),
            Effect::Program => assert!(["yes", "added"].contains(&state), "-{name}: {state}"),
        }
    }
    assert!(page.is_empty(), "docs/support.md has flags that the program does not know: {:?}", page.keys());
}
