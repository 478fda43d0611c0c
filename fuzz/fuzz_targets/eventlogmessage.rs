//! Messages of Windows events; a carriage return is written as a vertical bar.

#![no_main]

use std::cell::LazyCell;

use fantail::stages::Program;
use fantail_fuzz::{feed, program, text};
use libfuzzer_sys::fuzz_target;

const STAGES: &str = r#"
- regex: {expression: '^(?P<raw>.*)$'}
- template: {source: message, template: '{{ .raw | replace "|" "\r\n" }}'}
- eventlogmessage: {}
- eventlogmessage: {overwrite_existing: true, drop_invalid_labels: true}
- labels: {a: , b: , _: }
"#;

thread_local! {
    static PROGRAM: LazyCell<Program> = LazyCell::new(|| program(STAGES).expect("stages"));
}

fuzz_target!(|data: &[u8]| PROGRAM.with(|program| feed(program, &text(data))));
