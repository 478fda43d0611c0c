//! Hashes in hexadecimal.

use std::fmt::Write;

use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use sha3::Sha3_256;

use super::super::call::text;
use super::{Function, function};

pub(super) const FUNCTIONS: &[Function] = &[
    function("Hash", 2, |c| text(hex(&Sha3_256::digest([c.text(0)?, c.text(1)?].concat())))),
    function("Sha2Hash", 2, |c| text(hex(&Sha256::digest([c.text(0)?, c.text(1)?].concat())))),
    function("sha1sum", 1, |c| text(hex(&Sha1::digest(c.text(0)?)))),
    function("sha256sum", 1, |c| text(hex(&Sha256::digest(c.text(0)?)))),
    function("sha512sum", 1, |c| text(hex(&Sha512::digest(c.text(0)?)))),
    function("adler32sum", 1, |c| text(adler32(c.text(0)?.as_bytes()).to_string())),
];

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        _ = write!(out, "{byte:02x}");
        out
    })
}

fn adler32(bytes: &[u8]) -> u32 {
    let (a, b) = bytes.iter().fold((1, 0), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65_521;
        (a, (a + b) % 65_521)
    });
    b << 16 | a
}
