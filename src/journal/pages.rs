//! Reads files in pages and keeps the last ones: an entry is a few dozen objects, most of them near each other.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;

use crate::model::SeededMap;

/// Bytes of a page.
const PAGE: usize = 16 << 10;

/// The most pages to keep: together one MiB.
const PAGES: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Pages {
    pages: SeededMap<(u32, u64), Box<[u8]>>,
    /// Oldest first.
    order: VecDeque<(u32, u64)>,
}

impl Pages {
    /// Reads `len` bytes at `at` into `out`, or fewer at the end of the file. `id` is the file's number.
    pub fn read(&mut self, (id, file): (u32, &fs::File), at: u64, len: usize, out: &mut Vec<u8>) -> io::Result<()> {
        out.clear();
        // Pages of a large object would displace all others.
        if len > 4 * PAGE {
            out.resize(len, 0);
            let read = read_at(file, out, at)?;
            out.truncate(read);
            return Ok(());
        }
        while out.len() < len {
            let at = at + out.len() as u64;
            let (number, within) = (at / PAGE as u64, (at % PAGE as u64) as usize);
            let page = self.page((id, file), number)?;
            let rest = page.get(within..).unwrap_or_default();
            let rest = &rest[..rest.len().min(len - out.len())];
            if rest.is_empty() {
                break;
            }
            out.extend_from_slice(rest);
        }
        Ok(())
    }

    fn page(&mut self, (id, file): (u32, &fs::File), number: u64) -> io::Result<&[u8]> {
        let key = (id, number);
        // An answer that is returned here would be borrowed for the rest of the method.
        if !self.pages.contains_key(&key) {
            if self.pages.len() >= PAGES
                && let Some(oldest) = self.order.pop_front()
            {
                self.pages.remove(&oldest);
            }
            let mut page = vec![0; PAGE];
            let read = read_at(file, &mut page, number * PAGE as u64)?;
            page.truncate(read);
            self.pages.insert(key, page.into());
            self.order.push_back(key);
        }
        Ok(self.pages.get(&key).map(|page| &**page).unwrap_or_default())
    }

    /// Forgets the pages of a file that has changed or was closed.
    pub fn forget(&mut self, id: u32) {
        self.pages.retain(|(of, _), _| *of != id);
        self.order.retain(|(of, _)| *of != id);
    }
}

/// Reads until the buffer is full or the file ends.
pub(super) fn read_at(file: &fs::File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match file.read_at(&mut buffer[read..], at.saturating_add(read as u64)) {
            Ok(0) => break,
            Ok(n) => read += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}
