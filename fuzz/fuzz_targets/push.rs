//! The bodies of pushes, as JSON and as protobuf, and under each compression.

#![no_main]

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use fantail::model::Labels;
use fantail::receive::Budget;
use fantail::receive::push::{Encoding, Format, Malformed, Refused, Visit, decompress, unsnap, walk};
use libfuzzer_sys::fuzz_target;

/// Counts what it is given.
#[derive(Default)]
struct Count(usize);

impl Visit for Count {
    fn stream(&mut self, text: &str, parse: fn(&str) -> Result<Labels, Malformed>) -> Result<(), Refused> {
        parse(text).map_err(Refused::Malformed)?;
        Ok(())
    }

    fn entry(&mut self, _: i64, line: &str, metadata: &[(Cow<'_, str>, Cow<'_, str>)]) -> Result<(), Refused> {
        self.0 += line.len() + metadata.len();
        Ok(())
    }
}

/// The most bytes of a decompressed push.
const LIMIT: usize = 64 << 10;

fn read(plain: &[u8]) {
    for format in [Format::Json, Format::Protobuf] {
        let mut count = Count::default();
        let _ = walk(format, plain, &mut count);
        // U+FFFD has three bytes, and stands for one.
        assert!(count.0 <= 3 * plain.len(), "more came out than was sent");
    }
}

fuzz_target!(|data: &[u8]| {
    read(data);
    for encoding in [Encoding::Plain, Encoding::Gzip, Encoding::Deflate] {
        let budget = Arc::new(Budget::new(1 << 20, 1 << 20));
        let mut reservation = budget.reserve(Duration::ZERO);
        let Ok(plain) = decompress(encoding, data, LIMIT, &mut reservation) else { continue };
        assert!(plain.len() <= LIMIT.max(data.len()));
        if encoding != Encoding::Plain {
            read(&plain);
        }
        if let Ok(plain) = unsnap(&plain, LIMIT, &mut reservation) {
            assert!(plain.len() <= LIMIT);
            read(&plain);
        }
    }
});
