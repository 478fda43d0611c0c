//! Values out of a line, in all the places where a stage takes one.

#![no_main]

use std::cell::LazyCell;

use fantail::stages::Program;
use fantail_fuzz::{feed, program, text};
use libfuzzer_sys::fuzz_target;

const STAGES: &str = r#"
- regex: {expression: '^(?P<a>[^;]*);?(?P<b>[^;]*);?(?P<c>.*)$'}
- timestamp: {source: a, format: RFC3339, fallback_formats: [Unix, UnixMs, UnixUs, UnixNs, RFC850, '2006-01-02 15:04:05,000 MST', 'Jan _2 3:04PM', '2006-002 -07']}
- timestamp: {source: b, format: '02/Jan/2006:15:04:05 -0700', location: Europe/Berlin}
- metrics: {n: {type: Counter, source: a, config: {action: add}}, g: {type: Gauge, source: b, config: {action: sub}}, h: {type: Histogram, source: c}}
- drop: {source: [a, b], expression: '^x;(y+)+$'}
- tenant: {source: c}
- labels: {a: , b: , __tenant_id__: b}
- structured_metadata: {b: , c: , app: }
- labelallow: [app, b]
- decolorize: {}
- replace: {expression: '(\d+)|(x(y)*)', replace: '<{{ .Value }}>'}
- replace: {expression: '()', source: a, replace: '{{ .b }}'}
- pack: {labels: [a, b]}
- multiline: {firstline: '^."a', max_lines: 3}
- limit: {rate: 1000000, burst: 1000000, drop: true, by_label_name: b}
- sampling: {rate: 0.9}
"#;

thread_local! {
    static PROGRAM: LazyCell<Program> = LazyCell::new(|| program(STAGES).expect("stages"));
}

fuzz_target!(|data: &[u8]| PROGRAM.with(|program| feed(program, &text(data))));
