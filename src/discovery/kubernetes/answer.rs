//! Reads answers of the API server one object at a time, whatever their length is.

use std::pin::Pin;
use std::time::{Duration, Instant};

use futures::io::{AsyncBufRead, AsyncBufReadExt};
use kube::Client;
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::time::timeout;

use super::bounded::RetryAfter;
use super::failure::Failure;
use super::pieces::{Found, Pieces};

/// The longest object in bytes of JSON. The API server stores at most 1.5 MiB for an object, but JSON may need six
/// bytes for one.
pub(super) const LONGEST: usize = 16 << 20;

type Reader = Pin<Box<dyn AsyncBufRead + Send>>;

pub(super) type Request = http::Request<Vec<u8>>;

/// Sends a request. The error has the server's `Retry-After`, if it sent one.
async fn ask(client: &Client, mut request: Request) -> Result<Reader, Failure> {
    let retry_after = RetryAfter::default();
    request.extensions_mut().insert(retry_after.clone());
    match client.request_stream(request).await {
        Ok(body) => Ok(Box::pin(body)),
        Err(error) => Err(Failure { retry_after: retry_after.wait(), ..Failure::request(error) }),
    }
}

/// A list that is being read.
pub(super) struct List {
    body: Reader,
    pieces: Pieces,
    /// How long the server may still take.
    left: Duration,
}

/// A list without its objects.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Around {
    pub(super) version: String,
    /// The number of objects that were too long.
    pub(super) passed_over: usize,
}

impl List {
    pub(super) async fn ask(client: &Client, request: Request, within: Duration) -> Result<Self, Failure> {
        let begun = Instant::now();
        let body = timeout(within, ask(client, request)).await.map_err(|_| Self::silence())??;
        Ok(Self { body, pieces: Pieces::new(LONGEST), left: within.saturating_sub(begun.elapsed()) })
    }

    /// The next object as JSON. None at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        loop {
            let begun = Instant::now();
            let bytes = timeout(self.left, self.body.fill_buf()).await.map_err(|_| Self::silence())?;
            let bytes = bytes.map_err(|e| Failure::cut_off(&e))?;
            self.left = self.left.saturating_sub(begun.elapsed());
            let (length, found) = (bytes.len(), self.pieces.take(bytes));
            match found {
                Found::Item(item, used) => {
                    self.body.consume_unpin(used);
                    return Ok(Some(item));
                }
                Found::TooMuch => {
                    return Err(Failure::answer("the answer is not a list of objects: it does not end".into()));
                }
                Found::Nothing if length == 0 => return Ok(None),
                Found::Nothing => self.body.consume_unpin(length),
            }
        }
    }

    /// The list without its objects. An error if the answer is not a list, or incomplete.
    pub(super) fn end(&self) -> Result<Around, Failure> {
        #[derive(Deserialize)]
        struct Shape {
            #[serde(default)]
            metadata: Metadata,
            #[serde(rename = "items", deserialize_with = "present")]
            _items: (),
        }
        #[derive(Default, Deserialize)]
        #[serde(default, rename_all = "camelCase")]
        struct Metadata {
            resource_version: Option<String>,
        }
        fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
            Option::<Vec<IgnoredAny>>::deserialize(deserializer).map(|_| ())
        }
        let shape: Shape = serde_json::from_slice(self.pieces.around())
            .map_err(|e| Failure::answer(format!("the answer is not a list of objects: {e}")))?;
        let version = shape.metadata.resource_version.unwrap_or_default();
        Ok(Around { version, passed_over: self.pieces.passed_over })
    }

    fn silence() -> Failure {
        Failure::silence("no answer to a list")
    }
}

/// The lines of a watch.
pub(super) struct Lines {
    body: Reader,
    line: Vec<u8>,
    is_too_long: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    Whole(Vec<u8>),
    /// The line has more than [`LONGEST`] bytes and was skipped.
    TooLong,
}

impl Lines {
    pub(super) async fn ask(client: &Client, mut request: Request) -> Result<Self, Failure> {
        // With compression, events would wait in the compressor.
        let identity = http::HeaderValue::from_static("identity");
        request.headers_mut().entry(http::header::ACCEPT_ENCODING).or_insert(identity);
        Ok(Self::of(ask(client, request).await?))
    }

    fn of(body: Reader) -> Self {
        Self { body, line: Vec::new(), is_too_long: false }
    }

    /// The next line. None at the end. An incomplete last line is ignored.
    pub(super) async fn next(&mut self) -> Result<Option<Line>, Failure> {
        loop {
            let bytes = match self.body.fill_buf().await {
                Ok(bytes) => bytes,
                // Servers and proxies sometimes end a watch like this.
                Err(error) if is_end(&error) => return Ok(None),
                Err(error) => return Err(Failure::cut_off(&error)),
            };
            if bytes.is_empty() {
                return Ok(None);
            }
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let (part, used) = (&bytes[..end.unwrap_or(bytes.len())], end.map_or(bytes.len(), |end| end + 1));
            if self.is_too_long || self.line.len() + part.len() > LONGEST {
                (self.is_too_long, self.line) = (true, Vec::new());
            } else {
                self.line.extend_from_slice(part);
            }
            self.body.consume_unpin(used);
            if end.is_none() {
                continue;
            }
            let line = std::mem::take(&mut self.line);
            if std::mem::take(&mut self.is_too_long) {
                return Ok(Some(Line::TooLong));
            }
            if !line.iter().all(u8::is_ascii_whitespace) {
                return Ok(Some(Line::Whole(line)));
            }
        }
    }
}

/// Whether a connection ended early without a real error.
fn is_end(error: &std::io::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let is_eof =
            error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::UnexpectedEof);
        if is_eof || error.to_string().contains("unexpected EOF during chunk") {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use futures::io::Cursor;

    use super::*;

    #[tokio::test]
    async fn a_line_that_is_too_long_is_passed_over_and_the_next_is_whole() {
        let mut text = b"{\"a\":1}\n\n \n".to_vec();
        text.extend(vec![b'x'; LONGEST + 1]);
        text.extend(b"\n{\"b\":2}\n{\"half");
        let mut lines = Lines::of(Box::pin(Cursor::new(text)));
        for want in [
            Some(Line::Whole(b"{\"a\":1}".to_vec())),
            Some(Line::TooLong),
            Some(Line::Whole(b"{\"b\":2}".to_vec())),
            None,
        ] {
            assert_eq!(lines.next().await.expect("read"), want);
        }
        assert!(lines.line.capacity() < 100, "nothing is held of it");
    }

    #[tokio::test]
    async fn a_list_that_is_cut_off_or_is_none_is_an_error() {
        let list = |text: &str| List {
            body: Box::pin(Cursor::new(text.as_bytes().to_vec())),
            pieces: Pieces::new(LONGEST),
            left: Duration::from_secs(60),
        };
        let mut good = list(r#"{"items":[{"a":1},{"b":2}],"metadata":{"resourceVersion":"7"}}"#);
        let mut items = Vec::new();
        while let Some(item) = good.next().await.expect("read") {
            items.push(String::from_utf8(item).expect("text"));
        }
        assert_eq!(items, [r#"{"a":1}"#, r#"{"b":2}"#]);
        assert_eq!(good.end().expect("a list"), Around { version: "7".into(), passed_over: 0 });
        assert!(list(r#"{"items":null}"#).end().is_err(), "nothing was read of it yet");
        for (text, is_list) in [
            (r#"{"metadata":{},"items":null}"#, true),
            (r#"{"items":[]}"#, true),
            (r#"{"metadata":{}}"#, false),
            (r#"{"items":[{"a":1}"#, false),
            (r#"{"items":{}}"#, false),
            ("\"it works!\"", false),
            ("", false),
        ] {
            let mut list = list(text);
            while list.next().await.expect("read").is_some() {}
            assert_eq!(list.end().is_ok(), is_list, "{text}");
        }
    }
}
