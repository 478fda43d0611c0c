//! A whole `promtail.yaml`: read, expanded, checked as far as no file or network is needed, and printed.

#![no_main]

use fantail::config::{Config, Request};
use fantail_fuzz::file;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for expand_env in [false, true] {
        let path = file("promtail.yaml", data);
        let request = Request { files: path.to_string_lossy().into_owned(), expand_env, ..Request::default() };
        let env = |name: &str| (name.len() < 4).then(|| format!("<{name}>"));
        match Config::load(&request, &env) {
            Ok(loaded) => assert!(!loaded.config.to_masked_yaml().is_empty()),
            Err(e) => assert!(!e.to_string().is_empty()),
        }
    }
});
