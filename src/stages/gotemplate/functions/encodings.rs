//! Base64 and base32.
//!
//! This is own code because sprig returns Go's error message as the result, with the position at which Go stops. No crate finds
//! the same positions, and some accept text that Go refuses.

use super::super::call::{Outcome, text};
use super::{Function, function};

pub(super) const FUNCTIONS: &[Function] = &[
    function("b64enc", 1, |c| text(BASE_64.encode(c.text(0)?.as_bytes()))),
    function("b64dec", 1, |c| BASE_64.decode(c.text(0)?)),
    function("b32enc", 1, |c| text(BASE_32.encode(c.text(0)?.as_bytes()))),
    function("b32dec", 1, |c| BASE_32.decode(c.text(0)?)),
];

/// An alphabet, the bits per character, and the characters per group of whole bytes.
pub(super) struct Base {
    alphabet: &'static [u8],
    bits: u32,
    group: usize,
}

pub(super) const BASE_64: Base =
    Base { alphabet: b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", bits: 6, group: 4 };
const BASE_32: Base = Base { alphabet: b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", bits: 5, group: 8 };

impl Base {
    pub fn encode(&self, bytes: &[u8]) -> String {
        let mut out = String::new();
        let (mut buffer, mut held) = (0_u32, 0);
        let digit = |value: u32| char::from(self.alphabet[value as usize & (self.alphabet.len() - 1)]);
        for byte in bytes {
            buffer = buffer << 8 | u32::from(*byte);
            held += 8;
            while held >= self.bits {
                held -= self.bits;
                out.push(digit(buffer >> held));
            }
        }
        if held > 0 {
            out.push(digit(buffer << (self.bits - held)));
        }
        while !out.len().is_multiple_of(self.group) {
            out.push('=');
        }
        out
    }

    /// Decodes a text. For invalid text the result is the error message, as in sprig.
    fn decode(&self, of: &str) -> Outcome {
        match self.bytes(of) {
            Ok(bytes) => text(String::from_utf8_lossy(&bytes)),
            Err(at) => text(format!("illegal base{} data at input byte {at}", self.alphabet.len())),
        }
    }

    fn bytes(&self, of: &str) -> Result<Vec<u8>, usize> {
        let digits: Vec<(usize, u8)> = of.bytes().enumerate().filter(|(_, b)| !matches!(b, b'\r' | b'\n')).collect();
        let padding = digits.iter().rev().take_while(|(_, b)| *b == b'=').count();
        let data = digits.len() - padding;
        let (mut out, mut buffer, mut held) = (Vec::new(), 0_u32, 0);
        for (at, digit) in &digits[..data] {
            let value = self.alphabet.iter().position(|d| d == digit).ok_or(*at)?;
            buffer = buffer << self.bits | value as u32;
            held += self.bits;
            if held >= 8 {
                held -= 8;
                out.push((buffer >> held) as u8);
            }
        }
        let over = data % self.group;
        match (over, padding) {
            (0, 0) => Ok(out),
            (0, _) => Err(digits[data].0),
            // A group must be complete, and one character alone is less than a byte.
            (_, 0) => Err(digits[data - over].0),
            _ if held >= self.bits || over + padding > self.group => Err(digits[data].0),
            _ if over + padding < self.group => Err(of.len()),
            _ => Ok(out),
        }
    }
}
