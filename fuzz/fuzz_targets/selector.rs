//! A selector in the first line, lines to filter in the others.

#![no_main]

use fantail_fuzz::{feed, halves, with};
use libfuzzer_sys::fuzz_target;

const STAGES: &str = r#"
- match: {selector: TEXT, stages: [{labels: {a: app}}]}
- match: {selector: '{app=~"TEXT"} |~ "TEXT"', action: drop}
"#;

fuzz_target!(|data: &[u8]| {
    if let Some((first, rest)) = halves(data)
        && let Some(program) = with(STAGES, &first)
    {
        feed(&program, &rest);
    }
});
