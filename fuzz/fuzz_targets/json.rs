//! JSON lines, by paths and by expressions, and written again.

#![no_main]

use std::cell::LazyCell;

use fantail::stages::Program;
use fantail_fuzz::{feed, program, text};
use libfuzzer_sys::fuzz_target;

const STAGES: &str = r#"
- json: {expressions: {a: , b: a.b, c: '"x y"'}}
- json: {expressions: {d: 'a[0]', e: 'to_string(@)', f: 'b.* | [0]'}}
- labels: {a: , b: , d: }
- output: {source: e}
- json: {expressions: {g: '@'}, drop_malformed: true}
- pack: {labels: [a, g]}
"#;

thread_local! {
    static PROGRAM: LazyCell<Program> = LazyCell::new(|| program(STAGES).expect("stages"));
}

fuzz_target!(|data: &[u8]| PROGRAM.with(|program| feed(program, &text(data))));
