//! Splits a list while it is read, so that only one object is in memory, however long the list is.

/// The maximum bytes around the items: kind, version, and other fields.
const AROUND: usize = 1 << 20;

/// Finds the elements of `items` in a JSON object. Only tracks brackets and quotes. A parser checks the rest.
#[derive(Debug)]
pub(super) struct Pieces {
    /// A longer item, in bytes, is skipped.
    longest: usize,
    depth: usize,
    string: Quotes,
    /// The last string in the outer object, up to the length of `items`.
    key: Vec<u8>,
    in_items: bool,
    item: Vec<u8>,
    is_item_too_long: bool,
    around: Vec<u8>,
    /// The number of items that were too long.
    pub(super) passed_over: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quotes {
    Outside,
    Inside,
    Escaped,
}

/// The result of scanning some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A complete item, and the number of scanned bytes. The rest must be scanned next.
    Item(Vec<u8>, usize),
    /// All bytes were scanned.
    Nothing,
    /// There are more bytes around the items than a list has.
    TooMuch,
}

impl Pieces {
    pub(super) fn new(longest: usize) -> Self {
        Self {
            longest,
            depth: 0,
            string: Quotes::Outside,
            key: Vec::new(),
            in_items: false,
            item: Vec::new(),
            is_item_too_long: false,
            around: Vec::new(),
            passed_over: 0,
        }
    }

    /// Scans the next bytes of the list.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Found {
        // Bytes of the item, or around the items, are copied in runs.
        let mut from = 0;
        for (at, byte) in bytes.iter().copied().enumerate() {
            let (was_in_items, was_in_item) = (self.in_items, self.is_in_item());
            self.step(byte);
            if was_in_items != self.in_items {
                self.keep_around(&bytes[from..=at], was_in_items);
                from = at + 1;
                continue;
            }
            if was_in_item && !self.is_in_item() {
                self.keep_item(&bytes[from..=at]);
                from = at + 1;
                let item = std::mem::take(&mut self.item);
                if std::mem::take(&mut self.is_item_too_long) {
                    self.passed_over += 1;
                    continue;
                }
                return Found::Item(item, from);
            }
            if !was_in_item && self.is_in_item() {
                self.keep_around(&bytes[from..at], true);
                from = at;
            }
        }
        match self.is_in_item() {
            true => self.keep_item(&bytes[from..]),
            false => self.keep_around(&bytes[from..], self.in_items),
        }
        if self.around.len() > AROUND { Found::TooMuch } else { Found::Nothing }
    }

    /// The list without its items, after all of it was scanned.
    pub(super) fn around(&self) -> &[u8] {
        &self.around
    }

    /// Whether the next byte belongs to an item.
    fn is_in_item(&self) -> bool {
        self.in_items && self.depth > 2
    }

    fn step(&mut self, byte: u8) {
        match (self.string, byte) {
            (Quotes::Escaped, _) => self.string = Quotes::Inside,
            (Quotes::Inside, b'\\') => self.string = Quotes::Escaped,
            (Quotes::Inside, b'"') => self.string = Quotes::Outside,
            (Quotes::Inside, _) if self.depth == 1 && self.key.len() <= b"items".len() => self.key.push(byte),
            (Quotes::Inside, _) => {}
            (Quotes::Outside, b'"') => {
                self.string = Quotes::Inside;
                if self.depth == 1 {
                    self.key.clear();
                }
            }
            (Quotes::Outside, b'[' | b'{') => {
                self.in_items |= self.depth == 1 && byte == b'[' && self.key == b"items";
                self.depth += 1;
            }
            (Quotes::Outside, b']' | b'}') => {
                self.depth = self.depth.saturating_sub(1);
                self.in_items &= self.depth > 1;
            }
            _ => {}
        }
    }

    fn keep_item(&mut self, bytes: &[u8]) {
        if self.item.len() + bytes.len() > self.longest {
            (self.is_item_too_long, self.item) = (true, Vec::new());
        } else if !self.is_item_too_long {
            self.item.extend_from_slice(bytes);
        }
    }

    fn keep_around(&mut self, bytes: &[u8], between_items: bool) {
        let room = (AROUND + 1).saturating_sub(self.around.len());
        let bytes = &bytes[..bytes.len().min(room)];
        match between_items {
            // The commas between items remain, but there are no items.
            true => {
                self.around.extend(bytes.iter().filter(|byte| !matches!(byte, b',' | b' ' | b'\n' | b'\r' | b'\t')))
            }
            false => self.around.extend_from_slice(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The items of a list that is scanned in steps of `step` bytes, and the bytes around them.
    fn apart(list: &str, step: usize, longest: usize) -> (Vec<String>, String, usize) {
        let mut pieces = Pieces::new(longest);
        let mut items = Vec::new();
        for part in list.as_bytes().chunks(step) {
            let mut part = part;
            loop {
                match pieces.take(part) {
                    Found::Item(item, next) => {
                        items.push(String::from_utf8(item).expect("text"));
                        part = &part[next..];
                    }
                    Found::Nothing => break,
                    Found::TooMuch => panic!("too much"),
                }
            }
        }
        (items, String::from_utf8(pieces.around().to_vec()).expect("text"), pieces.passed_over)
    }

    #[test]
    fn items_come_one_by_one_whatever_is_in_them_and_wherever_the_answer_is_cut() {
        let hard = r#"{"a":"]}\"{[\\","items":[{"b":[]},"\\\""],"c":{"items":[{}]}}"#;
        let list = format!(
            r#"{{"kind":"items","x":[{{"y":"items"}},[{hard}]],"items":[{hard}, {{}} ,{hard}],"metadata":{{"items":[{{}}],"v":"1"}}}}"#
        );
        let around = format!(
            r#"{{"kind":"items","x":[{{"y":"items"}},[{hard}]],"items":[],"metadata":{{"items":[{{}}],"v":"1"}}}}"#
        );
        for step in [1, 2, 3, 7, 64, 10_000] {
            let (items, rest, passed_over) = apart(&list, step, 1_000);
            assert_eq!(items, [hard, "{}", hard], "{step}");
            assert_eq!(rest, around, "{step}");
            assert_eq!(passed_over, 0);
            serde_json::from_str::<serde_json::Value>(&rest).expect("JSON");
        }
    }

    #[test]
    fn an_item_that_is_too_long_is_passed_over_and_the_others_are_there() {
        let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(500));
        let list = format!(r#"{{"items":[{{"n":1}},{long},{{"n":2}}]}}"#);
        for step in [1, 50, 10_000] {
            assert_eq!(
                apart(&list, step, 100),
                (vec![r#"{"n":1}"#.into(), r#"{"n":2}"#.into()], r#"{"items":[]}"#.into(), 1)
            );
        }
    }

    #[test]
    fn what_is_no_list_is_no_more_than_what_stands_around_one() {
        for odd in ["", "\"it works!\"", "]]]}}}", "[{},{}]", r#"{"items":null}"#, r#"{"kind":"Status"}"#, "{\"items\""]
        {
            assert_eq!(apart(odd, 3, 100), (vec![], odd.into(), 0));
        }
        let mut pieces = Pieces::new(100);
        let junk = vec![b'a'; 64 << 10];
        let found: Vec<Found> = (0..100).map(|_| pieces.take(&junk)).collect();
        assert_eq!(found.last(), Some(&Found::TooMuch));
        assert!(pieces.around().len() <= AROUND + 1 && pieces.item.is_empty());
    }
}
