//! Reads files in pages and keeps the last ones: an entry is a few dozen objects, most of them near each other.

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
    pages: Vec<Page>,
    /// The index of each page.
    places: SeededMap<(u32, u64), usize>,
    /// The index of the page that was read last.
    last: usize,
    /// The index of the oldest page, if there are so many.
    oldest: usize,
}

#[derive(Debug)]
struct Page {
    /// The number of the file, and that of the page in it.
    key: (u32, u64),
    bytes: Box<[u8]>,
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
        let known = match self.pages.get(self.last) {
            Some(page) if page.key == key => Some(self.last),
            _ => self.places.get(&key).copied(),
        };
        self.last = match known {
            Some(index) => index,
            None => self.load(file, key)?,
        };
        Ok(self.pages.get(self.last).map(|page| &*page.bytes).unwrap_or_default())
    }

    /// Reads a page in place of the oldest one. Returns its index.
    fn load(&mut self, file: &fs::File, key: (u32, u64)) -> io::Result<usize> {
        let mut bytes = vec![0; PAGE];
        let read = read_at(file, &mut bytes, key.1 * PAGE as u64)?;
        bytes.truncate(read);
        let page = Page { key, bytes: bytes.into() };
        let index = if self.pages.len() < PAGES {
            self.pages.push(page);
            self.pages.len() - 1
        } else {
            let index = self.oldest;
            self.oldest = (index + 1) % PAGES;
            let before = std::mem::replace(&mut self.pages[index], page);
            self.places.remove(&before.key);
            index
        };
        self.places.insert(key, index);
        Ok(index)
    }

    /// Forgets the pages of a file that has changed or was closed.
    pub fn forget(&mut self, id: u32) {
        // The oldest page stays the first one.
        self.pages.rotate_left(self.oldest);
        self.pages.retain(|page| page.key.0 != id);
        (self.oldest, self.last) = (0, 0);
        self.places = self.pages.iter().enumerate().map(|(index, page)| (page.key, index)).collect();
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

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn pages_are_those_of_the_file_whatever_was_read_and_forgotten() {
        let contents: [Vec<u8>; 2] = std::array::from_fn(|file| {
            let byte = |at: usize| (at / 8 * (file + 3)) as u8 ^ (at / PAGE) as u8;
            (0..(PAGES + 20) * PAGE + 1_000).map(byte).collect()
        });
        let files = contents.each_ref().map(|content| {
            let mut file = tempfile::tempfile().expect("a file");
            file.write_all(content).expect("written");
            file
        });
        let (mut pages, mut out, mut random) = (Pages::default(), Vec::new(), 1_u64);
        let mut below = |most: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % most
        };
        for _ in 0..20_000 {
            let file = below(2);
            if below(1_000) == 0 {
                pages.forget(file as u32);
            }
            let (at, len) = (below(contents[file].len() + 100), below(300));
            pages.read((file as u32, &files[file]), at as u64, len, &mut out).expect("read");
            let want = contents[file].get(at..).unwrap_or_default();
            assert_eq!(out, want[..want.len().min(len)], "{file} {at} {len}");
            assert!(pages.pages.len() <= PAGES && pages.places.len() == pages.pages.len());
        }
    }
}
