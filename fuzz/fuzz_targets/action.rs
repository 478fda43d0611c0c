//! The inside of an action of a template in the first line, what it is run over in the others.

#![no_main]

use fantail_fuzz::{feed, halves, with};
use libfuzzer_sys::fuzz_target;

const STAGES: &str = r#"
- logfmt: {mapping: {a: , b: }}
- regex: {expression: '^(?P<c>.*)$'}
- template: {source: c, template: '{{ TEXT }}'}
- replace: {expression: '(.)', replace: '{{ TEXT }}'}
- output: {source: c}
"#;

fuzz_target!(|data: &[u8]| {
    if let Some((first, rest)) = halves(data)
        && let Some(program) = with(STAGES, &first)
    {
        feed(&program, &rest);
    }
});
