//! Any `pipeline_stages` at all, up to a line `---`, and lines for them.

#![no_main]

use fantail_fuzz::{feed, program, text};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let text = text(data);
    let (stages, lines) = text.split_once("\n---\n").unwrap_or((&text, ""));
    // The one stage that reads a file.
    if stages.contains("geoip") {
        return;
    }
    if let Some(program) = program(stages) {
        feed(&program, lines);
    }
});
