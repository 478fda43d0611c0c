//! `geoip`: sets labels with the location or the network of an IP address.
//!
//! ```yaml
//! - geoip:
//!     db: /etc/geoip/GeoLite2-City.mmdb   # required; a database in MaxMind's format, read once at startup
//!     db_type: city                       # required; city or asn
//!     source: client_ip                   # the extracted value with the address; without it no label is set
//! ```
//!
//! `city` sets `geoip_city_name`, `geoip_country_name`, `geoip_continent_name`, `geoip_continent_code`,
//! `geoip_location_latitude`, `geoip_location_longitude`, `geoip_postal_code`, `geoip_timezone`,
//! `geoip_subdivision_name` and `geoip_subdivision_code`, with English names. `asn` sets
//! `geoip_autonomous_system_number` and `geoip_autonomous_system_organization`. These labels are not extracted values.
//!
//! The stage sets no label for data that is not in the database, and none if the value is not an IP address.
//!
//! Unlike Promtail: an unknown `db_type` is an error at startup. A warning at startup says if the database has another
//! type.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use maxminddb::Reader;
use maxminddb::geoip2::{Asn, City};

use super::labelling::Setting;
use super::options::Options;
use super::reads::Reads;
use super::{ConfigError, Flow, Recipe, Stage, Work};

pub(super) fn compile(options: &mut Options<'_>) -> Result<Recipe, ConfigError> {
    let (path, kind) = (options.required("db"), options.required("db_type"));
    let source: Option<Arc<str>> = options.source()?.map(Into::into);
    let (path, kind) = (path?, kind?);
    let kind = match kind {
        "city" => Kind::City,
        "asn" => Kind::Asn,
        other => return Err(options.fail(format!("unknown `db_type` {other:?}: use city or asn"))),
    };
    options.reads(Reads::these(source.as_deref()));
    let database = Reader::open_readfile(path).map_err(|e| options.fail(format!("cannot read `db` {path}: {e}")))?;
    if source.is_none() {
        options.warn("without `source` there is no address to look up: no label is set".into());
    }
    let holds = &database.metadata().database_type;
    if !holds.to_ascii_lowercase().contains(kind.word()) {
        options
            .warn(format!("`db_type` is {}, but the database says it is {holds:?}: no label may be set", kind.word()));
    }
    let database = Arc::new(database);
    Ok(Box::new(move |_| {
        let setting = Setting::new(kind.labels().iter().copied());
        Box::new(Geoip { database: database.clone(), kind, source: source.clone(), setting })
    }))
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    City,
    Asn,
}

const CITY: [&str; 10] = [
    "geoip_city_name",
    "geoip_country_name",
    "geoip_continent_name",
    "geoip_continent_code",
    "geoip_location_latitude",
    "geoip_location_longitude",
    "geoip_postal_code",
    "geoip_timezone",
    "geoip_subdivision_name",
    "geoip_subdivision_code",
];
const ASN: [&str; 2] = ["geoip_autonomous_system_number", "geoip_autonomous_system_organization"];

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::City => "city",
            Kind::Asn => "asn",
        }
    }

    fn labels(self) -> &'static [&'static str] {
        match self {
            Kind::City => &CITY,
            Kind::Asn => &ASN,
        }
    }
}

struct Geoip {
    database: Arc<Reader<Vec<u8>>>,
    kind: Kind,
    source: Option<Arc<str>>,
    setting: Setting,
}

/// Values in the order of the labels. Empty values set no label.
type Values<'d> = Vec<Option<Cow<'d, str>>>;

impl Stage for Geoip {
    fn process(&mut self, work: &mut Work<'_>, _: &mut Vec<Work<'static>>) -> Flow {
        let address = self.source.as_ref().and_then(|source| work.extracted.text(source)?.parse::<IpAddr>().ok());
        let values = address.and_then(|address| match self.kind {
            Kind::City => city(&self.database, address),
            Kind::Asn => asn(&self.database, address),
        });
        if let Some(values) = values {
            let value = |i: usize| values[i].clone().filter(|v| !v.is_empty());
            work.entry.labels = self.setting.apply(&work.entry.labels, value);
        }
        Flow::Pass
    }
}

/// None if the address is not in the database, or its record is invalid.
fn city(database: &Reader<Vec<u8>>, address: IpAddr) -> Option<Values<'_>> {
    let found: City<'_> = database.lookup(address).ok()?.decode().ok()??;
    let number = |n: Option<f64>| n.filter(|n| *n != 0.0).map(|n| Cow::Owned(n.to_string()));
    let text = |t: Option<&'_ str>| t.map(|t| Cow::Owned(t.to_string()));
    // The last subdivision is the most specific.
    let subdivision = found.subdivisions.last();
    Some(vec![
        text(found.city.names.english),
        text(found.country.names.english),
        text(found.continent.names.english),
        text(found.continent.code),
        number(found.location.latitude),
        number(found.location.longitude),
        text(found.postal.code),
        text(found.location.time_zone),
        text(subdivision.and_then(|s| s.names.english)),
        text(subdivision.and_then(|s| s.iso_code)),
    ])
}

fn asn(database: &Reader<Vec<u8>>, address: IpAddr) -> Option<Values<'_>> {
    let found: Asn<'_> = database.lookup(address).ok()?.decode().ok()??;
    let number = found.autonomous_system_number.filter(|n| *n != 0);
    Some(vec![number.map(|n| Cow::Owned(n.to_string())), found.autonomous_system_organization.map(Cow::Borrowed)])
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::super::testing::{Bench, parse, refused, table, warnings};

    /// A value in a database.
    enum Item {
        Text(&'static str),
        Number(f64),
        Short(u16),
        Whole(u32),
        Long(u64),
        List(Vec<Item>),
        Map(Vec<(&'static str, Item)>),
    }

    impl Item {
        fn write(&self, out: &mut Vec<u8>) {
            let text = |out: &mut Vec<u8>, text: &str| {
                match text.len() as u8 {
                    short @ ..29 => out.push(2 << 5 | short),
                    long => out.extend([2 << 5 | 29, long - 29]),
                }
                out.extend(text.as_bytes());
            };
            match self {
                Item::Text(t) => text(out, t),
                Item::Number(n) => {
                    out.push(3 << 5 | 8);
                    out.extend(n.to_be_bytes());
                }
                Item::Short(n) => {
                    out.push(5 << 5 | 2);
                    out.extend(n.to_be_bytes());
                }
                Item::Long(n) => {
                    out.extend([8, 9 - 7]);
                    out.extend(n.to_be_bytes());
                }
                Item::Whole(n) => {
                    out.push(6 << 5 | 4);
                    out.extend(n.to_be_bytes());
                }
                Item::List(items) => {
                    out.extend([items.len() as u8, 11 - 7]);
                    items.iter().for_each(|item| item.write(out));
                }
                Item::Map(fields) => {
                    out.push(7 << 5 | fields.len() as u8);
                    for (name, field) in fields {
                        text(out, name);
                        field.write(out);
                    }
                }
            }
        }
    }

    /// A database with one record for all addresses up to 127.255.255.255.
    fn database(kind: &'static str, record: Item) -> tempfile::NamedTempFile {
        let mut bytes = vec![0, 0, 1 + 16, 0, 0, 1];
        bytes.extend([0; 16]);
        record.write(&mut bytes);
        bytes.extend(b"\xab\xcd\xefMaxMind.com");
        let metadata = [
            ("binary_format_major_version", Item::Short(2)),
            ("binary_format_minor_version", Item::Short(0)),
            ("build_epoch", Item::Long(1)),
            ("database_type", Item::Text(kind)),
            ("description", Item::Map(vec![("en", Item::Text("a test"))])),
            ("ip_version", Item::Short(4)),
            ("languages", Item::List(vec![Item::Text("en")])),
            ("node_count", Item::Whole(1)),
            ("record_size", Item::Short(24)),
        ];
        Item::Map(metadata.into()).write(&mut bytes);
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(&bytes).expect("written");
        file
    }

    fn named(name: &'static str) -> Item {
        Item::Map(vec![("names", Item::Map(vec![("de", Item::Text("?")), ("en", Item::Text(name))]))])
    }

    fn stages(file: &tempfile::NamedTempFile, kind: &str) -> String {
        let path = file.path().display();
        format!("[{{regex: {{expression: '(?P<ip>\\S+)'}}}}, {{geoip: {{db: '{path}', db_type: {kind}, source: ip}}}}]")
    }

    #[test]
    fn what_is_refused() {
        refused(&[
            ("geoip: {db_type: city, source: ip}", "[0].geoip", "`db` is required"),
            ("geoip: {db: x, source: ip}", "[0].geoip", "`db_type` is required"),
            ("geoip: {db: x, db_type: country, source: ip}", "[0].geoip", "city or asn"),
            ("geoip: {db: x, db_type: city, source: ''}", "[0].geoip", "`source` must not be empty"),
            ("geoip: {db: /nowhere/x.mmdb, db_type: city, source: ip}", "[0].geoip", "/nowhere/x.mmdb"),
            ("geoip: {db: Cargo.toml, db_type: city, source: ip}", "[0].geoip", "cannot read `db`"),
        ]);
    }

    #[test]
    fn what_is_hardly_meant() {
        let file = database("GeoLite2-ASN", Item::Map(vec![]));
        let program = parse(&format!("geoip: {{db: '{}', db_type: city}}", file.path().display())).expect("accepted");
        assert!(warnings(&program)[0].contains("`source`"), "{:?}", warnings(&program));
        assert!(warnings(&program)[1].contains("GeoLite2-ASN"), "{:?}", warnings(&program));
    }

    #[test]
    fn cities() {
        let subdivision = |code, name| {
            let Item::Map(mut fields) = named(name) else { unreachable!("it is a map") };
            fields.push(("iso_code", Item::Text(code)));
            Item::Map(fields)
        };
        let location = Item::Map(vec![
            ("latitude", Item::Number(51.5142)),
            ("longitude", Item::Number(-0.0931)),
            ("time_zone", Item::Text("Europe/London")),
        ]);
        let file = database(
            "GeoLite2-City",
            Item::Map(vec![
                ("city", named("London")),
                ("country", named("United Kingdom")),
                ("location", location),
                ("subdivisions", Item::List(vec![subdivision("ENG", "England"), subdivision("LND", "Greater London")])),
            ]),
        );
        table(
            &stages(&file, "city"),
            &[
                (
                    "1.2.3.4 a",
                    "{app=\"x\", geoip_city_name=\"London\", geoip_country_name=\"United Kingdom\", \
                     geoip_location_latitude=\"51.5142\", geoip_location_longitude=\"-0.0931\", \
                     geoip_subdivision_code=\"LND\", geoip_subdivision_name=\"Greater London\", \
                     geoip_timezone=\"Europe/London\"} 1.2.3.4 a",
                ),
                ("192.0.2.1", "{app=\"x\"} 192.0.2.1"),
                ("2001:db8::1", "{app=\"x\"} 2001:db8::1"),
                ("1.2.3", "{app=\"x\"} 1.2.3"),
            ],
        );
    }

    #[test]
    fn systems() {
        let record = [
            ("autonomous_system_number", Item::Whole(64_496)),
            ("autonomous_system_organization", Item::Text("Example")),
        ];
        let file = database("GeoLite2-ASN", Item::Map(record.into()));
        table(
            &stages(&file, "asn"),
            &[(
                "1.2.3.4",
                "{app=\"x\", geoip_autonomous_system_number=\"64496\", \
                 geoip_autonomous_system_organization=\"Example\"} 1.2.3.4",
            )],
        );
    }

    /// A record with each type of value, nested like those that are read.
    fn everything() -> Item {
        let names = || named("somewhere");
        let location =
            [("latitude", Item::Number(1.5)), ("longitude", Item::Number(-0.5)), ("time_zone", Item::Text("UTC"))];
        Item::Map(vec![
            ("city", names()),
            ("location", Item::Map(location.into())),
            ("subdivisions", Item::List(vec![names(), names()])),
            ("autonomous_system_number", Item::Whole(7)),
        ])
    }

    #[test]
    fn values_that_are_no_addresses() {
        let file = database("GeoLite2-City", everything());
        let mut bench = Bench::of(&stages(&file, "city"));
        let huge = "1".repeat(2 << 20);
        for line in
            ["", "1.2.3.4.5", "::ffff:1.2.3.4", "1.2.3.4%eth0", "[::1]", "0x01020304", "::1/128", "\u{fffd}", &huge]
        {
            let mut lines = 0;
            bench.run(line, &mut |_| lines += 1);
            assert_eq!(lines, 1, "{line:.20}");
        }
        bench.end(&mut |_| {});
    }

    proptest! {
        #[test]
        fn a_broken_database_is_refused_or_says_nothing(breaks in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
            let whole = database("GeoLite2-City", everything());
            let mut bytes = std::fs::read(whole.path()).expect("read");
            breaks.iter().for_each(|(at, byte)| *at.get_mut(&mut bytes) = *byte);
            let mut file = tempfile::NamedTempFile::new().expect("a file");
            file.write_all(&bytes).expect("written");
            for kind in ["city", "asn"] {
                if let Ok(program) = parse(&stages(&file, kind)) {
                    let mut bench = Bench::new(&program);
                    for line in ["1.2.3.4", "192.0.2.1", "2001:db8::1"] {
                        let mut lines = 0;
                        bench.run(line, &mut |_| lines += 1);
                        prop_assert_eq!(lines, 1);
                    }
                    bench.end(&mut |_| {});
                }
            }
        }
    }
}
