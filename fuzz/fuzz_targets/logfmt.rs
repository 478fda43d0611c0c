//! Pairs of logfmt.

#![no_main]

use std::cell::LazyCell;

use fantail::stages::Program;
use fantail_fuzz::{feed, program, text};
use libfuzzer_sys::fuzz_target;

const STAGES: &str = r#"
- logfmt: {mapping: {a: , b: , c: a}}
- logfmt: {mapping: {d: k}, source: a}
- labels: {a: , b: , d: }
"#;

thread_local! {
    static PROGRAM: LazyCell<Program> = LazyCell::new(|| program(STAGES).expect("stages"));
}

fuzz_target!(|data: &[u8]| PROGRAM.with(|program| feed(program, &text(data))));
