//! An expression of Go in the first line, texts in the others.

#![no_main]

use fantail::goregex::{Regex, Replacement};
use fantail_fuzz::halves;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((pattern, text)) = halves(data) else {
        return;
    };
    let replacement = Replacement::new(&text);
    for regex in [Regex::new(&pattern), Regex::anchored(&pattern)].into_iter().flatten() {
        let groups = regex.group_names().len();
        let mut locations = regex.capture_locations();
        let matches = regex.is_match(&text);
        assert_eq!(regex.captures_read(&mut locations, &text), matches);
        if let Some(captures) = regex.captures(&text) {
            assert!(captures.len() <= groups);
            let mut out = String::new();
            replacement.expand(&regex, &captures, &mut out);
        }
    }
});
