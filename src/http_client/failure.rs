//! Why there is no answer.

use std::io;

/// The whole chain of causes in a line, without the URL.
pub(super) fn in_words(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer within timeout".to_string();
    }
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    let mut words = Vec::new();
    while let Some(source) = cause.source() {
        cause = source;
        words.push(cause.to_string());
    }
    // The innermost says it ("connection refused"); the outer ones are about layers.
    let text = words.pop().unwrap_or_else(|| error.to_string());
    let is_refused = io::Error::from_raw_os_error(libc::EACCES).to_string() == text;
    match text {
        text if text.contains("certificate") => format!("{text} (check tls_config: ca_file, server_name)"),
        // The kernel itself gives this answer to no connection.
        text if is_refused => format!(
            "{text}: landlock refuses a port that is in no URL of the config; name it there, or set -security.landlock=false"
        ),
        text => text,
    }
}
