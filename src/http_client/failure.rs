//! Descriptions of failed requests.

use std::io;

/// All causes of the error in one line, without the URL.
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
    // The innermost cause is the useful one ("connection refused"). The others only name layers.
    let text = words.pop().unwrap_or_else(|| error.to_string());
    let is_refused = io::Error::from_raw_os_error(libc::EACCES).to_string() == text;
    match text {
        text if text.contains("certificate") => format!("{text} (check tls_config: ca_file, server_name)"),
        text if text.contains("InvalidContentType") => {
            format!(
                "{text} (the server does not speak TLS on this port: write http:// instead of https://, or another port)"
            )
        }
        // The kernel itself never answers a connection with this error.
        text if is_refused => format!(
            "{text}: landlock refuses a port that is in no URL of the config: write the port into the URL, or set -security.landlock=false"
        ),
        text => text,
    }
}
