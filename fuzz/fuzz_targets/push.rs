//! The bodies of pushes, as JSON and as protobuf.

#![no_main]

use std::borrow::Cow;

use fantail::model::Labels;
use fantail::receive::push::{Format, Malformed, Refused, Visit, walk};
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

fuzz_target!(|data: &[u8]| {
    for format in [Format::Json, Format::Protobuf] {
        let mut count = Count::default();
        let _ = walk(format, data, &mut count);
        // U+FFFD has three bytes, and stands for one.
        assert!(count.0 <= 3 * data.len(), "more came out than was sent");
    }
});
