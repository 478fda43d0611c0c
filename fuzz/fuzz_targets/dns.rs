//! The answer of a name server. The first byte is the type of the records that are asked for. The answer begins with the
//! question, so that the records after it are reached.

#![no_main]

use fantail::discovery::dns::{Answer, Kind, Record, answer, question};
use libfuzzer_sys::fuzz_target;

/// Bytes of the header of a message.
const HEADER: usize = 12;

/// A name has at most 255 bytes, each of which is written with at most four.
const LONGEST: usize = 4 * 255;

fuzz_target!(|data: &[u8]| {
    let Some((kind, rest)) = data.split_first() else { return };
    let kind = [Kind::A, Kind::Ns, Kind::Mx, Kind::Aaaa, Kind::Srv][usize::from(*kind) % 5];
    let Some(asked) = question(7, "web.example.com.", kind) else { return };
    let _ = answer(&asked, rest);
    let Some((flags, rest)) = rest.split_first_chunk::<2>() else { return };
    let Some((count, records)) = rest.split_first_chunk::<2>() else { return };
    let mut message = asked.clone();
    // It is an answer.
    message[2..4].copy_from_slice(&[flags[0] | 0x80, flags[1]]);
    message[6..8].copy_from_slice(count);
    message.extend_from_slice(records);
    let read = answer(&asked, &message);
    if let Some(Answer::Records(found)) = &read {
        // The smallest record has a name of one byte, and ten bytes before its data.
        assert!(found.len() <= (message.len() - HEADER) / 11);
        for record in found {
            if let Record::Ns(name) | Record::Mx(name) | Record::Srv { target: name, .. } = record {
                assert!(name.ends_with('.') && name.is_ascii() && name.len() <= LONGEST, "{name}");
            }
        }
    }
    // What follows an answer does not change it.
    if read.is_some() {
        message.extend_from_slice(b"\x03www\0");
        assert_eq!(answer(&asked, &message), read);
    }
});
