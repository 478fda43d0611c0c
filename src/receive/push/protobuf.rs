//! Reads the protobuf form of a push in place. Nothing is kept for each entry: otherwise, six bytes of a push could take a
//! hundred bytes of memory.

use std::borrow::Cow;

use super::{PAIRS, Refused, Visit, malformed, selector};
use crate::model::Encoding;

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

pub(super) fn walk(push: &[u8], visit: &mut impl Visit) -> Result<(), Refused> {
    fields(push, |number, value| match (number, value) {
        (1, Value::Bytes(bytes)) => stream(bytes, visit),
        _ => Ok(()),
    })
}

fn stream(bytes: &[u8], visit: &mut impl Visit) -> Result<(), Refused> {
    // Entries may stand before the labels.
    let (mut labels, mut entries, mut size): (&[u8], _, _) = (b"{}", 0, 0);
    fields(bytes, |number, value| {
        match (number, value) {
            (1, Value::Bytes(bytes)) => labels = bytes,
            (2, Value::Bytes(bytes)) => (entries, size) = (entries + 1, size + bytes.len()),
            _ => {}
        }
        Ok(())
    })?;
    visit.stream(utf8(labels)?, selector::parse)?;
    visit.expect(entries, size);
    let mut metadata = Vec::new();
    fields(bytes, |number, value| match (number, value) {
        (2, Value::Bytes(bytes)) => {
            metadata.clear();
            entry(bytes, &mut metadata, visit)
        }
        _ => Ok(()),
    })
}

type Pairs<'p> = Vec<(Cow<'p, str>, Cow<'p, str>)>;

fn entry<'p>(bytes: &'p [u8], metadata: &mut Pairs<'p>, visit: &mut impl Visit) -> Result<(), Refused> {
    let (mut seconds, mut nanos, mut line): (i64, i64, &[u8]) = (0, 0, b"");
    fields(bytes, |number, value| {
        match (number, value) {
            (1, Value::Bytes(time)) => fields(time, |number, value| {
                match (number, value) {
                    (1, Value::Number(n)) => seconds = n as i64,
                    (2, Value::Number(n)) => nanos = n as i64,
                    _ => {}
                }
                Ok(())
            })?,
            (2, Value::Bytes(text)) => line = text,
            // One more says that there are too many.
            (3, Value::Bytes(pair)) if metadata.len() <= PAIRS => metadata.push(self::pair(pair)?),
            _ => {}
        }
        Ok(())
    })?;
    let time = seconds.checked_mul(1_000_000_000).and_then(|time| time.checked_add(nanos));
    let time = time.ok_or_else(|| malformed("the time of an entry is out of range"))?;
    visit.entry(time, &Encoding::Utf8.decode(line), metadata)
}

fn pair(bytes: &[u8]) -> Result<(Cow<'_, str>, Cow<'_, str>), Refused> {
    let (mut name, mut text): (&[u8], &[u8]) = (b"", b"");
    fields(bytes, |number, value| {
        match (number, value) {
            (1, Value::Bytes(bytes)) => name = bytes,
            (2, Value::Bytes(bytes)) => text = bytes,
            _ => {}
        }
        Ok(())
    })?;
    Ok((String::from_utf8_lossy(name), String::from_utf8_lossy(text)))
}

enum Value<'p> {
    Number(u64),
    Bytes(&'p [u8]),
    Other,
}

/// Calls `each` with the number and the value of each field.
#[inline(always)]
fn fields<'p>(mut bytes: &'p [u8], mut each: impl FnMut(u64, Value<'p>) -> Result<(), Refused>) -> Result<(), Refused> {
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let value = match tag & 7 {
            VARINT => Value::Number(varint(&mut bytes)?),
            BYTES => {
                let length = varint(&mut bytes)?;
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                let (value, rest) = bytes.split_at_checked(length).ok_or_else(cut)?;
                bytes = rest;
                Value::Bytes(value)
            }
            kind @ (FIXED64 | FIXED32) => {
                let length = if kind == FIXED64 { 8 } else { 4 };
                bytes = bytes.split_at_checked(length).ok_or_else(cut)?.1;
                Value::Other
            }
            _ => return Err(malformed("not a protobuf message")),
        };
        each(tag >> 3, value)?;
    }
    Ok(())
}

#[inline(always)]
fn varint(bytes: &mut &[u8]) -> Result<u64, Refused> {
    // Most numbers have one byte.
    if let Some((byte, rest)) = bytes.split_first().filter(|(byte, _)| **byte < 0x80) {
        *bytes = rest;
        return Ok(u64::from(*byte));
    }
    // Nearly all others have at most eight, and something follows them: these are read without a loop.
    if let Some((number, length)) = bytes.first_chunk().and_then(|eight| short(u64::from_le_bytes(*eight))) {
        *bytes = &bytes[length..];
        return Ok(number);
    }
    long(bytes)
}

/// A number that ends within these eight bytes, and its length.
#[inline(always)]
fn short(eight: u64) -> Option<(u64, usize)> {
    let ends = !eight & 0x8080_8080_8080_8080;
    if ends == 0 {
        return None;
    }
    let bits = ends.trailing_zeros() + 1;
    // Seven bits of each byte, then pairs of bytes, and so on.
    let sevens = eight & (u64::MAX >> (64 - bits)) & 0x7f7f_7f7f_7f7f_7f7f;
    let pairs = (sevens & 0x007f_007f_007f_007f) | ((sevens & 0x7f00_7f00_7f00_7f00) >> 1);
    let fours = (pairs & 0x0000_3fff_0000_3fff) | ((pairs & 0x3fff_0000_3fff_0000) >> 2);
    Some(((fours & 0x0fff_ffff) | ((fours & 0x0fff_ffff_0000_0000) >> 4), bits as usize / 8))
}

#[inline(never)]
fn long(bytes: &mut &[u8]) -> Result<u64, Refused> {
    let mut number = 0;
    for at in 0..10 {
        let byte = bytes.get(at).ok_or_else(cut)?;
        number |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            *bytes = &bytes[at + 1..];
            return Ok(number);
        }
    }
    Err(malformed("not a protobuf message"))
}

fn cut() -> Refused {
    malformed("not a protobuf message: it ends in the middle")
}

fn utf8(bytes: &[u8]) -> Result<&str, Refused> {
    std::str::from_utf8(bytes).map_err(|_| malformed("the labels of a stream are not UTF-8 text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(mut number: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while number >= 0x80 {
            bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        bytes.push(number as u8);
        bytes
    }

    #[test]
    fn a_number_is_read_whatever_its_length_and_whatever_follows() {
        let near = |bits: u32| [(1u64 << bits) - 1, 1 << bits, (1 << bits) + 1, 0xdead_beef_dead_beef >> (63 - bits)];
        for number in (0..64).flat_map(near).chain([u64::MAX]) {
            for behind in [&[][..], &[0], &[0xff], &[0x7f; 9], &[0x80; 9], &[0xff; 9]] {
                let bytes = [&written(number), behind].concat();
                let mut rest = &bytes[..];
                assert_eq!(varint(&mut rest), Ok(number), "{bytes:?}");
                assert_eq!(rest, behind, "{number}");
            }
            let mut cut = &written(number | 1 << 63)[..9];
            assert!(varint(&mut cut).is_err());
        }
        assert!(varint(&mut &[0xff; 11][..]).is_err());
    }
}
