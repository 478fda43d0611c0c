//! Writes a panic into the agent's log, so that log collectors see why the agent ended.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::PanicHookInfo;

/// Replaces the standard library's message, which has no log format and quotes the text it could not slice.
pub(super) fn install() {
    std::panic::set_hook(Box::new(|info: &PanicHookInfo<'_>| {
        let place = info.location().map_or_else(String::new, ToString::to_string);
        let thread = std::thread::current().name().unwrap_or_default().to_string();
        let message = without_quotes(info.payload_as_str().unwrap_or_default());
        tracing::error!(place, thread, message, "panicked: this is a bug in fantail, please report it");
        let backtrace = Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            super::complain(backtrace);
        }
    }));
}

/// The message up to its first quote: a quoted text may be a log line or a secret.
fn without_quotes(message: &str) -> &str {
    message.split(['`', '"', '\'']).next().unwrap_or_default().trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_panic_quotes_is_left_out() {
        let line = String::from("sécret");
        let cut = std::hint::black_box(2);
        let payload = std::panic::catch_unwind(|| line[..cut].to_string()).expect_err("inside of a character");
        let message = payload.downcast_ref::<String>().expect("a message");
        assert!(message.contains("char boundary"), "{message}");
        assert!(!without_quotes(message).contains("cret"), "{message}");
        for (message, shown) in [
            ("begin <= end (4 <= 1) when slicing `a secret`", "begin <= end (4 <= 1) when slicing"),
            ("known: Error(\"a secret\")", "known: Error("),
            (
                "index out of bounds: the len is 0 but the index is 0",
                "index out of bounds: the len is 0 but the index is 0",
            ),
        ] {
            assert_eq!(without_quotes(message), shown);
        }
    }
}
