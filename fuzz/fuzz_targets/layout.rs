//! A layout of times in the first line, times in the others.

#![no_main]

use fantail_fuzz::{feed, halves, with};
use libfuzzer_sys::fuzz_target;

const STAGES: &str = r#"
- regex: {expression: '^(?P<a>.*)$'}
- timestamp: {source: a, format: TEXT, location: America/New_York}
- template: {source: b, template: '{{ toDate "2006-01-02" .a | date "Jan 2 06" }}'}
"#;

fuzz_target!(|data: &[u8]| {
    if let Some((first, rest)) = halves(data)
        && let Some(program) = with(STAGES, &first)
    {
        feed(&program, &rest);
    }
});
