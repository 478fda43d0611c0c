//! The files of a spool.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, Hasher};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bytes::{Buf, BufMut};
use rustix::fs::OFlags;
use xxhash_rust::xxh3::xxh3_64;

use super::frames::{self, Found, LAST, REMEMBERED};

const MAGIC: &[u8; 8] = b"fanspool";

/// Bytes before the first frame: the magic, the format, the seed, a hash of these.
pub(super) const HEADER: u64 = 32;

const FORMAT: u64 = 1;

const O_NOFOLLOW: i32 = OFlags::NOFOLLOW.bits().cast_signed();

/// The longest part of a file name that comes from the name of a job.
const NAME: usize = 80;

#[derive(Debug)]
pub(super) struct Segments {
    /// The name of the files without their numbers.
    pub prefix: PathBuf,
    pub seed: u64,
}

/// The segments on the disk.
#[derive(Debug, Default)]
pub(super) struct Opened {
    pub lengths: BTreeMap<u64, u64>,
    /// The segment to which is appended.
    pub last: Option<(u64, File)>,
    pub remembered: Vec<u128>,
    pub torn: u64,
}

/// Each job has a name of its own, whatever characters the job's name has.
pub(super) fn prefix(positions: &Path, job: &str) -> PathBuf {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let mut name = positions.as_os_str().to_owned();
    match job.len() <= NAME && !job.is_empty() && job.chars().all(is_plain) {
        true => name.push(format!(".spool.{job}")),
        // `+` is in no other name.
        false => name.push(format!(".spool.+{:016x}", xxh3_64(job.as_bytes()))),
    }
    name.into()
}

impl Segments {
    pub fn open(prefix: PathBuf) -> io::Result<(Self, Opened)> {
        let mut segments = Self { prefix, seed: RandomState::new().build_hasher().finish() };
        let mut opened = Opened::default();
        for number in segments.numbers()? {
            let file = segments.open_one(number, OpenOptions::new().read(true))?;
            opened.lengths.insert(number, file.metadata()?.len());
        }
        // If the last header is damaged, the seed is in another one.
        let known = opened.lengths.keys().rev().find_map(|number| seed(&segments.read(*number).ok()?).ok());
        segments.seed = known.unwrap_or(segments.seed);
        let Some((&number, &length)) = opened.lengths.last_key_value() else { return Ok((segments, opened)) };
        let file = segments.open_one(number, OpenOptions::new().read(true).write(true))?;
        match seed(&file) {
            Ok(_) => {}
            Err(_) if length <= HEADER => {
                // The agent was killed while it made the file.
                segments.remove(number);
                return Self::open(segments.prefix);
            }
            // The segment is damaged: its readable frames are read, and nothing is appended to it.
            Err(_) => return Ok((segments, opened)),
        }
        let end = scan(&file, length, &mut opened.remembered)?;
        if end < length {
            opened.torn = length - end;
            file.set_len(end)?;
            file.sync_all()?;
            opened.lengths.insert(number, end);
        }
        opened.last = Some((number, file));
        Ok((segments, opened))
    }

    /// Makes a new segment, with what it has to remember. Returns its length.
    pub fn create(&self, number: u64, remembered: &[u128]) -> io::Result<(File, u64)> {
        let path = self.path(number);
        // Left by an attempt that failed.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut bytes = MAGIC.to_vec();
        bytes.put_u64_le(FORMAT);
        bytes.put_u64_le(self.seed);
        let hash = xxh3_64(&bytes);
        bytes.put_u64_le(hash);
        if !remembered.is_empty() {
            frames::put(&mut bytes, REMEMBERED | LAST, None, |out| {
                remembered.iter().for_each(|id| out.put_u128_le(*id))
            });
        }
        let mut file = self.open_one(number, OpenOptions::new().read(true).write(true).create_new(true))?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        File::open(self.folder())?.sync_all()?;
        Ok((file, bytes.len() as u64))
    }

    pub fn read(&self, number: u64) -> io::Result<File> {
        self.open_one(number, OpenOptions::new().read(true))
    }

    /// If it cannot be removed, the next start of the agent does that.
    pub fn remove(&self, number: u64) {
        let path = self.path(number);
        if let Err(error) = fs::remove_file(&path) {
            tracing::warn!(file = %path.display(), %error, "spool: cannot remove a file that is delivered");
        }
    }

    fn open_one(&self, number: u64, options: &mut OpenOptions) -> io::Result<File> {
        let path = self.path(number);
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        options.custom_flags(O_NOFOLLOW).mode(0o600).open(&path).map_err(named)
    }

    fn numbers(&self) -> io::Result<Vec<u64>> {
        let name = [self.prefix.file_name().unwrap_or_default().as_encoded_bytes(), b"."].concat();
        let mut numbers = Vec::new();
        let entries = match fs::read_dir(self.folder()) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(numbers),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?.file_name();
            let Some(text) = entry.as_encoded_bytes().strip_prefix(&*name) else { continue };
            let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<u64>().ok());
            // Another spelling of a number is not of this agent.
            numbers.extend(number.filter(|number| number.to_string().as_bytes() == text));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn folder(&self) -> &Path {
        self.prefix.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    fn path(&self, number: u64) -> PathBuf {
        let mut name = self.prefix.as_os_str().to_owned();
        name.push(format!(".{number}"));
        name.into()
    }
}

/// The seed of a segment. An error: its header is damaged.
pub(super) fn seed(file: &File) -> io::Result<u64> {
    let mut header = [0; HEADER as usize];
    file.read_exact_at(&mut header, 0)?;
    let mut fields = &header[MAGIC.len()..];
    let (format, seed, hash) = (fields.get_u64_le(), fields.get_u64_le(), fields.get_u64_le());
    let is_whole = header.starts_with(MAGIC) && hash == xxh3_64(&header[..HEADER as usize - 8]);
    match is_whole && format == FORMAT {
        true => Ok(seed),
        false => Err(io::Error::new(ErrorKind::InvalidData, "the header is damaged, or of a newer format")),
    }
}

/// Where the last whole transaction ends.
fn scan(file: &File, length: u64, remembered: &mut Vec<u128>) -> io::Result<u64> {
    let (mut at, mut end) = (HEADER, HEADER);
    while at < length {
        match frames::read(file, at, length)? {
            Found::Frame(frame) => {
                at = frame.end;
                if frame.flags & REMEMBERED != 0 {
                    remembered.extend(frame.content.chunks_exact(16).map(|mut id| id.get_u128_le()));
                }
                if frame.flags & LAST != 0 {
                    remembered.extend(frame.id);
                    end = at;
                }
            }
            // Readers pass over it, and count it.
            Found::Damaged(Some(next)) => at = next,
            Found::Damaged(None) => break,
        }
    }
    Ok(end)
}
