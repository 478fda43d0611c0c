//! Time zones.

use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A time zone.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) enum Zone {
    Utc,
    /// A name, which may be empty, and the offset in seconds east of Greenwich.
    Fixed(Arc<str>, i32),
    Place(Place),
}

/// A place in the time zone database.
#[derive(Clone, Debug)]
pub(in super::super) struct Place {
    zone: TimeZone,
    /// All abbreviations it ever had, such as `CEST`, with their offsets in seconds east of Greenwich.
    names: Arc<[(String, i32)]>,
}

/// The zones used to interpret a text.
#[derive(Clone, Debug)]
pub(in super::super) struct Zones {
    /// For a text without a zone.
    pub default: Zone,
    /// The place whose abbreviations are known.
    pub local: Zone,
}

impl Zone {
    /// The zone of this machine.
    pub fn local() -> Self {
        static LOCAL: LazyLock<Zone> = LazyLock::new(|| {
            // UTC in tests, so that results are the same everywhere.
            let zone = if cfg!(test) { TimeZone::UTC } else { TimeZone::system() };
            if zone.is_unknown() || zone == TimeZone::UTC { Zone::Utc } else { Zone::Place(Place::new(zone)) }
        });
        LOCAL.clone()
    }

    /// The offset in seconds east of Greenwich at this time, and the zone's name.
    pub fn at(&self, seconds: i64) -> (i32, String) {
        match self {
            Zone::Utc => (0, "UTC".into()),
            Zone::Fixed(name, offset) => (*offset, name.to_string()),
            Zone::Place(place) => place.at(seconds),
        }
    }

    /// The time at which local clocks show `civil`, which is given as if in UTC. For a local time that does not exist
    /// or exists twice, chooses as Go does.
    pub fn moment(&self, civil: i64) -> i64 {
        match self {
            Zone::Utc => civil,
            Zone::Fixed(_, offset) => civil - i64::from(*offset),
            Zone::Place(place) => {
                let guess = civil - i64::from(place.at(civil).0);
                civil - i64::from(place.at(guess).0)
            }
        }
    }

    /// The offset of an abbreviation, in seconds east of Greenwich, at a local time given as if in UTC. None: unknown.
    pub fn abbreviation(&self, name: &str, civil: i64) -> Option<i32> {
        match self {
            Zone::Utc => (name == "UTC").then_some(0),
            Zone::Fixed(own, offset) => (**own == *name).then_some(*offset),
            Zone::Place(place) => {
                let known = || place.names.iter().filter(|(n, _)| n == name);
                // Sydney uses one abbreviation for summer and winter. The offset in effect is used.
                let in_effect = known().find_map(|(_, offset)| {
                    let (then, called) = place.at(civil - i64::from(*offset));
                    (called == name).then_some(then)
                });
                in_effect.or_else(|| known().next().map(|(_, offset)| *offset))
            }
        }
    }
}

impl Zones {
    pub fn utc() -> Self {
        Self { default: Zone::Utc, local: Zone::Utc }
    }

    /// UTC, with the abbreviations of this machine's zone.
    pub fn utc_by_default() -> Self {
        Self { default: Zone::Utc, local: Zone::local() }
    }

    /// The same zone for both.
    pub fn same(zone: Zone) -> Self {
        Self { default: zone.clone(), local: zone }
    }
}

impl Place {
    /// A place by name, such as `Europe/Berlin`.
    pub fn named(name: &str) -> Option<Self> {
        TimeZone::get(name).ok().map(Self::new)
    }

    fn new(zone: TimeZone) -> Self {
        let mut names: Vec<(String, i32)> = Vec::new();
        // Rules repeat every year, so no new abbreviation appears after this.
        let last = Timestamp::from_second(2_524_608_000).expect("2050 is a year");
        for transition in zone.following(Timestamp::MIN).take_while(|t| t.timestamp() < last) {
            let name = transition.abbreviation().to_string();
            let offset = transition.offset().seconds();
            if !names.iter().any(|(n, o)| *n == name && *o == offset) {
                names.push((name, offset));
            }
        }
        if names.is_empty() {
            let info = zone.to_offset_info(last);
            names.push((info.abbreviation().to_string(), info.offset().seconds()));
        }
        Self { zone, names: names.into() }
    }

    fn at(&self, seconds: i64) -> (i32, String) {
        let clamped = seconds.clamp(Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
        let info = self.zone.to_offset_info(Timestamp::from_second(clamped).expect("it was clamped"));
        (info.offset().seconds(), info.abbreviation().to_string())
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.zone == other.zone
    }
}
