//! `config.v2.json`, Docker's file about a container.

#![no_main]

use fantail::discovery::docker::described;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(labels) = described(data) else { return };
    for name in labels.keys() {
        assert!(name.starts_with("__meta_docker_"), "{name}");
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{name}");
    }
});
