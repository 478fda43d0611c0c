//! Reading of a file that existed before the first start, from its end.

use std::io;
use std::time::SystemTime;

use super::Generation;
use crate::model::{Encoding, Position};

/// How far before the end of a file the last newline is searched. A longer line is read from its middle.
const LAST_LINE: u64 = 64 << 10;

impl Generation {
    /// Whether it was there at the time `looked`, and was last modified before `not_before`. A compressed file is not:
    /// it is read as a whole.
    pub fn is_old(&self, not_before: SystemTime, looked: SystemTime) -> io::Result<bool> {
        let meta = self.metadata()?;
        // Not all file systems know when a file was created.
        let was_there = meta.created().map_or(true, |created| created < looked);
        Ok(self.is_plain() && was_there && meta.modified()? < not_before)
    }

    /// Moves to the end of the last whole line. A line that is being written is read as a whole.
    pub fn begin_at_end(&mut self, configured: Encoding) -> io::Result<()> {
        let encoding = self.encoding(configured);
        let unit = encoding.unit() as u64;
        let end = self.metadata()?.len() / unit * unit;
        let from = end.saturating_sub(LAST_LINE) / unit * unit;
        let mut last = vec![0; (end - from) as usize];
        let have = self.fill(from, &mut last)?;
        let offset = match encoding.whole_lines(&last[..have]) {
            0 if from > 0 => end,
            whole => from + whole as u64,
        };
        let before = self.look_before(offset)?;
        self.continue_at(&Position { file: self.id, offset, before });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_begins_behind_the_last_whole_line() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.log");
        let wide = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
        let marked = [&[0xff, 0xfe][..], &wide("xĊ one\ntwo\nthr")].concat();
        for (bytes, encoding, want) in [
            (b"".to_vec(), Encoding::Utf8, 0),
            (b"one\ntwo\n".to_vec(), Encoding::Utf8, 8),
            (b"one\ntwo".to_vec(), Encoding::Utf8, 4),
            (b"one".to_vec(), Encoding::Utf8, 0),
            (vec![b'x'; 70_000], Encoding::Utf8, 70_000),
            ([vec![b'\n'; 70_000], b"abc".to_vec()].concat(), Encoding::Utf8, 70_000),
            // U+010A has the byte of a newline, and is none.
            (marked.clone(), Encoding::Utf8, 2 + 2 * "x- one\ntwo\n".len() as u64),
            ([&marked[..], b"x"].concat(), Encoding::Utf8, 2 + 2 * "x- one\ntwo\n".len() as u64),
        ] {
            fs::write(&path, &bytes).expect("written");
            let mut file = Generation::open(&path, None).expect("opened");
            file.begin_at_end(encoding).expect("read");
            assert_eq!(file.offset, want, "{:?}", bytes.get(..20));
            assert!(file.is_still(&file.position()).expect("read"), "{want}");
        }
    }

    #[test]
    fn which_files_are_old() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.log");
        fs::write(&path, "x\n").expect("written");
        let open = |compression| Generation::open(&path, compression).expect("opened");
        let meta = fs::metadata(&path).expect("there");
        let (created, modified) = (meta.created().unwrap_or(SystemTime::UNIX_EPOCH), meta.modified().expect("a time"));
        let moment = Duration::from_nanos(1);
        let is_old = |not_before, looked| open(None).is_old(not_before, looked).expect("read");
        assert!(is_old(modified + moment, created + moment));
        assert!(!is_old(modified, created + moment));
        // Created after the agent looked.
        assert!(!is_old(modified + moment, created) || meta.created().is_err());
        let compressed = open(Some(crate::tail::Compression::Gzip));
        assert!(!compressed.is_old(modified + moment, created + moment).expect("read"));
    }
}
