//! An expression in the first line, lines to replace in in the others.

#![no_main]

use fantail_fuzz::{feed, halves, with};
use libfuzzer_sys::fuzz_target;

const STAGES: &str = r#"
- replace: {expression: TEXT, replace: '<{{ .Value }}>'}
- labels: {a: , b: }
"#;

fuzz_target!(|data: &[u8]| {
    if let Some((first, rest)) = halves(data)
        && let Some(program) = with(STAGES, &first)
    {
        feed(&program, &rest);
    }
});
