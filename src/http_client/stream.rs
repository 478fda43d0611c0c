//! An answer that is read piece by piece.

use bytes::Bytes;

use super::HeaderMap;
use super::failure::in_words;

#[derive(Debug)]
pub struct Stream(reqwest::Response);

impl Stream {
    pub(super) fn new(response: reqwest::Response) -> Self {
        Self(response)
    }

    pub fn status(&self) -> u16 {
        self.0.status().as_u16()
    }

    pub fn headers(&self) -> &HeaderMap {
        self.0.headers()
    }

    /// The next piece. None: the answer is complete. An error: the connection ended before that.
    pub async fn next(&mut self) -> Result<Option<Bytes>, String> {
        self.0.chunk().await.map_err(in_words)
    }

    /// The rest of the answer. An error if that has more than `most` bytes.
    pub async fn whole(mut self, most: usize) -> Result<Vec<u8>, String> {
        let mut whole = Vec::new();
        while let Some(piece) = self.next().await? {
            if whole.len() + piece.len() > most {
                return Err(format!("the answer has more than {most} bytes"));
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole)
    }
}
