//! What the name of a file says: whether it may be an older generation of a log, and of which order.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::tail::compressed::Compression;

/// Where in the name the rotation put its number or date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// `app.log.old`, `app-prev.log`, or any name that the file of the position has now: it has no order.
    Odd,
    /// `app-2026-11-26.log`, `app.1.log`: between the name and its extension.
    Within,
    /// The log is a link to `app-20261127.log`, and this is `app-20261126.log`.
    Linked,
    /// `app.log.1`, `app.log-20261126`.
    Behind,
}

/// What the name says of the order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// logrotate's `.1`, `.2.gz`: higher is older, unless the times of the files say otherwise.
    Number(u64),
    /// The kubelet's `.20261122-175639`, logrotate's `-20261122`, logback's `.2026-11-26.12`: the numbers of the name.
    /// Higher is newer.
    Date(Vec<u64>),
}

impl Ord for Order {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Order::Number(a), Order::Number(b)) => b.cmp(a),
            (Order::Date(a), Order::Date(b)) => a.cmp(b),
            (Order::Date(_), Order::Number(_)) => Ordering::Less,
            (Order::Number(_), Order::Date(_)) => Ordering::Greater,
        }
    }
}

impl PartialOrd for Order {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Whether `name` is a rotated name of `live`, and not only perhaps.
pub fn is_rotation(live: &OsStr, name: &OsStr) -> bool {
    parse(live, name).is_some_and(|(place, ..)| place == Place::Behind)
}

/// A name without its extension, and the extension with its dot.
pub(super) fn split(name: &[u8]) -> (&[u8], &[u8]) {
    match name.iter().rposition(|b| *b == b'.') {
        Some(at) if at > 0 && name.len() > at + 1 => name.split_at(at),
        _ => (name, b""),
    }
}

pub(super) fn parse(live: &OsStr, name: &OsStr) -> Option<(Place, Order, Option<Compression>)> {
    let (name, compression) = Compression::of_name(name.as_bytes());
    let live = live.as_bytes();
    let behind = name.strip_prefix(live);
    let within = || {
        let (stem, extension) = split(live);
        let is_one = !extension.is_empty() && !extension[1].is_ascii_digit();
        name.strip_prefix(stem)?.strip_suffix(extension).filter(|_| is_one)
    };
    if let Some(numbers) = stamp_of_daemontools(live, name) {
        return Some((Place::Behind, Order::Date(numbers), compression));
    }
    if let Some(number) = number_of_java(live, name) {
        return Some((Place::Within, Order::Number(number), compression));
    }
    if is_odd(live, name) {
        return Some((Place::Odd, Order::Number(0), compression));
    }
    let (place, rest) = match behind {
        Some(rest) => (Place::Behind, rest),
        None => (Place::Within, within()?),
    };
    let (separator @ (b'.' | b'-' | b'_'), rest) = rest.split_first()? else {
        return None;
    };
    // Only digits and separators. `.swp`, `.tmp`, `.lock` and names of other logs are not generations.
    if !rest.first()?.is_ascii_digit() || !rest.iter().all(|b| b.is_ascii_digit() || b"-._T:".contains(b)) {
        return None;
    }
    // `web-1` is a different log from `web`; `web-20261122` is an older generation of it.
    if *separator != b'.' && rest.len() < 6 || place == Place::Behind && *separator == b'_' {
        return None;
    }
    let number = std::str::from_utf8(rest).ok().filter(|r| r.len() <= 5).and_then(|r| r.parse().ok());
    Some((place, number.map_or_else(|| Order::Date(numbers(rest)), Order::Number), compression))
}

/// svlogd, multilog and s6-log rename `current` to `@`, a TAI64N time in hexadecimal digits, and a letter.
fn stamp_of_daemontools(live: &[u8], name: &[u8]) -> Option<Vec<u64>> {
    let (digits, end) = name.strip_prefix(b"@").filter(|_| live == b"current")?.split_at_checked(24)?;
    let is_end = matches!(end, [] | [b'.', b's' | b'u' | b't' | b'f']);
    let digits = std::str::from_utf8(digits).ok().filter(|digits| is_end && digits.is_ascii())?;
    let number = |digits: &str| u64::from_str_radix(digits, 16).ok();
    Some(vec![number(&digits[..16])?, number(&digits[16..])?])
}

/// java.util.logging writes to `app.0.log` or `app.log.0`, and renames it to `app.1.log` or `app.log.1`.
fn number_of_java(live: &[u8], name: &[u8]) -> Option<u64> {
    let (stem, extension) = split(live);
    let (before, after) = match extension {
        b".0" => (stem, &b""[..]),
        _ => (stem.strip_suffix(b".0").filter(|before| !before.is_empty())?, extension),
    };
    let number = name.strip_prefix(before)?.strip_suffix(after)?.strip_prefix(b".")?;
    let is_number = (1..=5).contains(&number.len()) && number[0] != b'0' && number.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(number).ok().filter(|_| is_number)?.parse().ok()
}

/// What programs call the one older file that they keep, and logrotate with `extension` or a user the copy of one.
const WORDS: [&[u8]; 10] =
    [b"old", b"prev", b"previous", b"last", b"bak", b"backup", b"save", b"saved", b"orig", b"archive"];

/// `app.log.old`, `app.old`, `app-prev.log`, `app.log~`.
fn is_odd(live: &[u8], name: &[u8]) -> bool {
    let (stem, extension) = split(live);
    let word = |rest: &[u8]| {
        let word = rest.split_first().filter(|(separator, _)| b".-_".contains(separator)).map(|(_, word)| word);
        word.is_some_and(|word| WORDS.iter().any(|known| word.eq_ignore_ascii_case(known)))
    };
    let within = || name.strip_prefix(stem)?.strip_suffix(extension);
    match name.strip_prefix(live) {
        Some(b"~") => true,
        Some(rest) => word(rest),
        None => within().is_some_and(word) || name.strip_prefix(stem).is_some_and(word),
    }
}

/// A name that differs from the name of the file that a link leads to in its numbers alone, and is older.
pub(super) fn parse_linked(live: &OsStr, name: &OsStr) -> Option<(Place, Order, Option<Compression>)> {
    let (plain, compression) = Compression::of_name(name.as_bytes());
    let shape =
        |name: &[u8]| name.split(u8::is_ascii_digit).filter(|part| !part.is_empty()).collect::<Vec<_>>().concat();
    let (own, others) = (numbers(live.as_bytes()), numbers(plain));
    (!own.is_empty() && others < own && shape(live.as_bytes()) == shape(plain)).then_some((
        Place::Linked,
        Order::Date(others),
        compression,
    ))
}

fn numbers(name: &[u8]) -> Vec<u64> {
    let number = |digits: &[u8]| std::str::from_utf8(digits).ok().and_then(|d| d.parse().ok()).unwrap_or(u64::MAX);
    name.split(|b| !b.is_ascii_digit()).filter(|digits| !digits.is_empty()).map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(live: &str, name: &str) -> Option<Place> {
        parse(OsStr::new(live), OsStr::new(name)).map(|(place, ..)| place)
    }

    #[test]
    fn a_name_says_whether_it_is_certain() {
        for name in ["a.log.1", "a.log.3.zst", "a.log-20261126.xz", "a.log.2026-11-26.7.bz2", "a.log.20261122-175639"] {
            assert_eq!(place("a.log", name), Some(Place::Behind), "{name}");
        }
        for name in ["a-20261126.log", "a.1.log.gz", "a-2026-11-26T10-00-00.000.log.zst"] {
            assert_eq!(place("a.log", name), Some(Place::Within), "{name}");
        }
        for name in ["a.log.old", "a.old", "a.log~", "a-prev.log", "a.log.bak.gz", "a_OLD.log", "a.log-backup"] {
            assert_eq!(place("a.log", name), Some(Place::Odd), "{name}");
        }
        for name in ["a.log", "a.log.tmp", "a-error.log", "a.log.older", "aold.log", "b.old", "a.log.gz", "a.log.1.tmp"]
        {
            assert_eq!(place("a.log", name), None, "{name}");
        }
    }

    #[test]
    fn java() {
        for (live, name) in [("a.log.0", "a.log.2"), ("a.0.log", "a.2.log"), ("a.0.log", "a.2.log.gz")] {
            let (place, order, _) = parse(OsStr::new(live), OsStr::new(name)).expect(name);
            assert_eq!((place, order), (Place::Within, Order::Number(2)), "{name}");
        }
        // Containers of a pod, by the number of their restart.
        assert_eq!((place("0.log", "1.log"), place("a.1.log", "a.2.log")), (None, None));
    }

    #[test]
    fn daemontools() {
        let order = |name: &str| parse(OsStr::new("current"), OsStr::new(name)).map(|(_, order, _)| order);
        let (older, younger) = (order("@400000006927b1f80a1b2c3d.s"), order("@400000006927b1f90000002a.u"));
        assert!(older.is_some() && older < younger);
        assert!(order("@400000006927b1f90000002a.s.gz").is_some() && order("@400000006927b1f90000002a").is_some());
        for name in
            ["@4000", "@400000006927b1f80a1b2c3d.tmp", "400000006927b1f80a1b2c3d.s", "@zz0000006927b1f80a1b2c3d.s"]
        {
            assert_eq!(order(name), None, "{name}");
        }
        assert_eq!(place("a.log", "@400000006927b1f80a1b2c3d.s"), None, "it is of another log");
    }
}
