//! An expression in the first line, JSON in the others.

#![no_main]

use fantail_fuzz::{feed, halves, with};
use libfuzzer_sys::fuzz_target;

const STAGES: &str = r#"
- json: {expressions: {a: TEXT}}
- output: {source: a}
"#;

fuzz_target!(|data: &[u8]| {
    if let Some((first, rest)) = halves(data)
        && let Some(program) = with(STAGES, &first)
    {
        feed(&program, &rest);
    }
});
