//! The answer of a server.

use std::time::{Duration, SystemTime};

use super::HeaderValue;

/// The maximum number of bytes to read of an answer.
const MAX_ANSWER: usize = 64 << 10;

/// The answer of a server.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub status: u16,
    pub retry_after: Option<Duration>,
    /// The clock of the server, as whole seconds.
    pub date: Option<SystemTime>,
    /// A web page, which comes from a proxy and not from Loki.
    pub is_html: bool,
    /// The start of the body. Empty for a success.
    pub body: String,
}

pub(super) async fn read(mut response: reqwest::Response) -> reqwest::Result<Answer> {
    let header = |name| response.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let mut answer = Answer {
        status: response.status().as_u16(),
        retry_after: header("retry-after").and_then(|value| retry_after(value, SystemTime::now())),
        date: header("date").and_then(date),
        is_html: header("content-type").is_some_and(is_html),
        body: String::new(),
    };
    let mut body = Vec::new();
    while body.len() < MAX_ANSWER {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk[..chunk.len().min(MAX_ANSWER - body.len())]),
            Ok(None) => break,
            // The status is enough for an error. But a success with an incomplete body may come from a broken proxy.
            Err(_) if answer.status >= 300 => break,
            Err(error) => return Err(error),
        }
    }
    answer.body = String::from_utf8_lossy(&body).into_owned();
    // Loki answers with text or JSON. Some proxies send pages without a content type.
    answer.is_html |= answer.body.trim_start_matches('\u{feff}').trim_start().starts_with('<');
    Ok(answer)
}

/// Whether the type is `text/html` or `application/xhtml+xml`, with any parameters.
fn is_html(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("text/html") || kind.eq_ignore_ascii_case("application/xhtml+xml")
}

/// Parses `Retry-After`: seconds, or a date.
fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    Some(date(value)?.duration_since(now).unwrap_or_default())
}

fn date(value: &str) -> Option<SystemTime> {
    let date = jiff::fmt::rfc2822::parse(value.trim()).ok()?;
    Some(std::time::UNIX_EPOCH + Duration::from_secs(date.timestamp().as_second().try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = std::time::UNIX_EPOCH + Duration::from_secs(784_111_767);
        for (value, secs) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(10)),
            ("Sun, 06 Nov 1994 08:49:20 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
        ] {
            assert_eq!(retry_after(value, now), secs.map(Duration::from_secs), "{value}");
        }
    }
}
