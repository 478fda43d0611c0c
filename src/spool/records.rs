//! Records as bytes. Label sets and tenants, which most records share, are written once for each frame.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use bytes::{Buf, BufMut};

use crate::model::{LabelSet, Record, RecordList, RecordRef, Structured};

/// Records with their text. The text of each ends with a newline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    pub text: String,
    pub records: RecordList,
}

/// A record that has none of something.
const NONE: u32 = u32::MAX;

pub(super) fn encode(text: &str, records: &RecordList, out: &mut Vec<u8>) {
    let (mut sets, mut tenants) = (Table::default(), Table::default());
    let mut body = Vec::with_capacity(text.len() + 24 * records.len());
    let mut begin = 0;
    for record in records {
        body.put_u32_le((record.end - begin) as u32);
        begin = record.end;
        body.put_u8(u8::from(record.time.is_some()));
        body.put_i64_le(record.time.unwrap_or_default());
        body.put_u32_le(record.labels.map_or(NONE, |labels| sets.index(labels)));
        body.put_u32_le(record.tenant.map_or(NONE, |tenant| tenants.index(tenant)));
        body.put_u32_le(record.metadata.len() as u32);
        for pair in record.metadata {
            put(&mut body, &pair.name);
            put(&mut body, &pair.value);
        }
    }
    out.put_u32_le(sets.known.len() as u32);
    for labels in &sets.known {
        out.put_u32_le(labels.len() as u32);
        for (name, value) in labels.iter() {
            put(out, name);
            put(out, value);
        }
    }
    out.put_u32_le(tenants.known.len() as u32);
    tenants.known.iter().for_each(|tenant| put(out, tenant));
    out.put_u32_le(records.len() as u32);
    out.extend_from_slice(&body);
    out.extend_from_slice(text.as_bytes());
}

/// None: it is not what [`encode`] writes.
pub(super) fn decode(mut bytes: &[u8]) -> Option<Records> {
    let from = &mut bytes;
    let mut sets = Vec::new();
    for _ in 0..from.try_get_u32_le().ok()? {
        let mut pairs = Vec::new();
        for _ in 0..from.try_get_u32_le().ok()? {
            pairs.push((take(from)?, take(from)?));
        }
        sets.push(LabelSet::new(pairs));
    }
    let mut tenants: Vec<Arc<str>> = Vec::new();
    for _ in 0..from.try_get_u32_le().ok()? {
        tenants.push(take(from)?.into());
    }
    let (mut records, mut end) = (RecordList::default(), 0_usize);
    for _ in 0..from.try_get_u32_le().ok()? {
        end = end.checked_add(from.try_get_u32_le().ok()? as usize)?;
        let has_time = from.try_get_u8().ok()? == 1;
        let time = Some(from.try_get_i64_le().ok()?).filter(|_| has_time);
        let labels = known(&sets, from.try_get_u32_le().ok()?)?;
        let tenant = known(&tenants, from.try_get_u32_le().ok()?)?;
        let mut metadata = Vec::new();
        for _ in 0..from.try_get_u32_le().ok()? {
            metadata
                .push(Structured { name: take(from)?.into(), value: Cow::<'static, str>::Owned(take(from)?.into()) });
        }
        let metadata = (!metadata.is_empty()).then(|| metadata.into());
        records.push(Record { end, time, labels, metadata, tenant });
    }
    let text = std::str::from_utf8(bytes).ok()?;
    let is_whole = |record: RecordRef<'_>| record.end > 0 && text.as_bytes().get(record.end - 1) == Some(&b'\n');
    (end == text.len() && records.iter().all(is_whole)).then(|| Records { text: text.into(), records })
}

fn known<T: Clone>(table: &[T], index: u32) -> Option<Option<T>> {
    if index == NONE {
        return Some(None);
    }
    table.get(index as usize).cloned().map(Some)
}

fn put(out: &mut Vec<u8>, text: &str) {
    out.put_u32_le(text.len() as u32);
    out.extend_from_slice(text.as_bytes());
}

fn take<'b>(from: &mut &'b [u8]) -> Option<&'b str> {
    let length = from.try_get_u32_le().ok()? as usize;
    let (text, rest) = from.split_at_checked(length)?;
    *from = rest;
    std::str::from_utf8(text).ok()
}

/// Values that are written once, and their places.
struct Table<'r, T> {
    known: Vec<&'r T>,
    places: HashMap<&'r T, u32>,
}

impl<T> Default for Table<'_, T> {
    fn default() -> Self {
        Self { known: Vec::new(), places: HashMap::new() }
    }
}

impl<'r, T: std::hash::Hash + Eq> Table<'r, T> {
    fn index(&mut self, value: &'r T) -> u32 {
        let next = self.known.len() as u32;
        let place = *self.places.entry(value).or_insert(next);
        if place == next {
            self.known.push(value);
        }
        place
    }
}
