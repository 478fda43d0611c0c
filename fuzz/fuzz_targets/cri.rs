//! Heads of the container runtime, whole lines and parts.

#![no_main]

use std::cell::LazyCell;

use fantail::stages::Program;
use fantail_fuzz::{feed, program, text};
use libfuzzer_sys::fuzz_target;

const STAGES: &str = r#"
- cri: {max_partial_lines: 2}
- cri: {max_partial_line_size: 20, max_partial_line_size_truncate: true}
- labels: {flags: , content: }
"#;

thread_local! {
    static PROGRAM: LazyCell<Program> = LazyCell::new(|| program(STAGES).expect("stages"));
}

fuzz_target!(|data: &[u8]| PROGRAM.with(|program| feed(program, &text(data))));
