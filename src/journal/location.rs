//! The place of an entry in the journal, and its text form: systemd's cursor, `s=…;i=…;b=…;m=…;t=…;x=…`.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// A 128-bit identifier.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Id(pub [u8; 16]);

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl FromStr for Id {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(());
        }
        u128::from_str_radix(text, 16).map(|id| Self(id.to_be_bytes())).map_err(drop)
    }
}

/// The place of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Location {
    /// The id of the sequence that the number belongs to.
    pub seqnum_id: Id,
    pub seqnum: u64,
    pub boot: Id,
    /// In microseconds since the boot.
    pub monotonic: u64,
    /// In microseconds of Unix time.
    pub realtime: u64,
    /// A hash of the fields.
    pub hash: u64,
}

impl Location {
    /// The order of entries, as in systemd: by sequence number where both count in the same, by the time since the boot
    /// where both are of the same boot, else by the clock. Equal: both are copies of one entry.
    pub fn order(&self, other: &Self) -> Ordering {
        let seqnum = match self.seqnum_id == other.seqnum_id {
            true => self.seqnum.cmp(&other.seqnum),
            false => Ordering::Equal,
        };
        let monotonic = match self.boot == other.boot {
            true => self.monotonic.cmp(&other.monotonic),
            false => Ordering::Equal,
        };
        seqnum.then(monotonic).then(self.realtime.cmp(&other.realtime)).then(self.hash.cmp(&other.hash))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seqnum_id, seqnum, boot, monotonic, realtime, hash } = self;
        write!(f, "s={seqnum_id};i={seqnum:x};b={boot};m={monotonic:x};t={realtime:x};x={hash:x}")
    }
}

impl FromStr for Location {
    type Err = String;

    fn from_str(cursor: &str) -> Result<Self, String> {
        let mut location = Self::default();
        let mut missing: Vec<&str> = vec!["s", "i", "b", "m", "t", "x"];
        for part in cursor.trim().split(';').filter(|part| !part.is_empty()) {
            let wrong = || format!("{:?} is no part of a cursor", part.chars().take(50).collect::<String>());
            let (key, value) = part.split_once('=').ok_or_else(wrong)?;
            let number = || u64::from_str_radix(value, 16).map_err(|_| wrong());
            let id = || value.parse::<Id>().map_err(|()| wrong());
            match key {
                "s" => location.seqnum_id = id()?,
                "i" => location.seqnum = number()?,
                "b" => location.boot = id()?,
                "m" => location.monotonic = number()?,
                "t" => location.realtime = number()?,
                "x" => location.hash = number()?,
                // A later systemd may add parts.
                _ => continue,
            }
            missing.retain(|known| *known != key);
        }
        match missing.as_slice() {
            [] => Ok(location),
            missing => Err(format!("a part of the cursor is missing: {}", missing.join(", "))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CURSOR: &str = "s=1dc4f0d6b7d5473c97b4bbd0bd3ad7b3;i=1a2;b=0a1b2c3d4e5f60718293a4b5c6d7e8f9;m=f4240;t=5f0b6e0a1c2d3;x=fedcba9876543210";

    #[test]
    fn a_cursor_is_read_and_written_as_systemd_does() {
        let location: Location = CURSOR.parse().expect(CURSOR);
        assert_eq!(location.to_string(), CURSOR);
        assert_eq!((location.seqnum, location.monotonic), (0x1a2, 1_000_000));
        let turned: Vec<&str> = CURSOR.split(';').rev().chain(["z=later"]).collect();
        assert_eq!(turned.join(";").parse(), Ok(location));
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        let shorter = CURSOR.rsplit_once(';').expect("parts").0;
        for wrong in ["", "s", "1234", shorter, &CURSOR.replace("s=1d", "s=zz"), &CURSOR.replace("i=1a2", "i=-1")] {
            assert!(wrong.parse::<Location>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn entries_are_compared_by_what_they_share() {
        let base = Location { seqnum: 5, monotonic: 50, realtime: 500, hash: 1, ..Location::default() };
        let (other_id, other_boot) = (Id([1; 16]), Id([2; 16]));
        for (other, want) in [
            (Location { seqnum: 6, monotonic: 10, realtime: 10, ..base }, Ordering::Less),
            (Location { seqnum_id: other_id, seqnum: 1, monotonic: 60, realtime: 10, ..base }, Ordering::Less),
            (Location { seqnum_id: other_id, boot: other_boot, seqnum: 1, realtime: 501, ..base }, Ordering::Less),
            (Location { seqnum_id: other_id, seqnum: 99, ..base }, Ordering::Equal),
            (Location { seqnum_id: other_id, boot: other_boot, hash: 0, ..base }, Ordering::Greater),
        ] {
            assert_eq!(base.order(&other), want, "{other:?}");
            assert_eq!(other.order(&base), want.reverse(), "{other:?}");
        }
    }
}
