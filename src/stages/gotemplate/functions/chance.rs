//! Random functions. Their seed is the place of the line in its log, so a line that is sent again is the same.

use gotmpl::Value;

use super::super::call::{Call, MAX_TEXT, Outcome, text};
use super::encodings::BASE_64;
use super::{Function, function};

pub(super) const FUNCTIONS: &[Function] = &[
    function("randAlphaNum", 1, |c| characters(c, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")),
    function("randAlpha", 1, |c| characters(c, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")),
    function("randNumeric", 1, |c| characters(c, "0123456789")),
    function("randAscii", 1, |c| characters(c, &(' '..='~').collect::<String>())),
    function("randBytes", 1, bytes),
    function("randInt", 2, int),
    function("shuffle", 1, shuffle),
    function("uuidv4", 0, uuid),
];

fn below(call: &Call<'_>, bound: usize) -> usize {
    ((u128::from(call.world.random()) * bound as u128) >> 64) as usize
}

fn count(call: &Call<'_>) -> Result<usize, String> {
    let count = usize::try_from(call.int(0)?).ok().filter(|n| *n <= MAX_TEXT).ok_or("no such number of characters")?;
    call.world.spend(count)?;
    Ok(count)
}

fn characters(call: &Call<'_>, among: &str) -> Outcome {
    let among = among.as_bytes();
    text((0..count(call)?).map(|_| char::from(among[below(call, among.len())])).collect::<String>())
}

fn bytes(call: &Call<'_>) -> Outcome {
    let bytes: Vec<u8> = (0..count(call)?).map(|_| call.world.random() as u8).collect();
    text(BASE_64.encode(&bytes))
}

fn int(call: &Call<'_>) -> Outcome {
    let (least, bound) = (call.int(0)?, call.int(1)?);
    let span = bound.checked_sub(least).filter(|span| *span > 0).ok_or("the second number must be the larger one")?;
    Ok(Value::Int(least + below(call, span as usize) as i64))
}

fn shuffle(call: &Call<'_>) -> Outcome {
    call.world.spend(call.text(0)?.len())?;
    let mut letters: Vec<char> = call.text(0)?.chars().collect();
    for i in (1..letters.len()).rev() {
        letters.swap(i, below(call, i + 1));
    }
    text(letters.into_iter().collect::<String>())
}

fn uuid(call: &Call<'_>) -> Outcome {
    let (high, low) = (call.world.random(), call.world.random());
    text(format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        low >> 48 & 0x3fff | 0x8000,
        low & 0xffff_ffff_ffff
    ))
}
