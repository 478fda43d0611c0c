//! The records of a chunk that does not consist of lines.

use std::ops::Range;
use std::sync::Arc;

use super::{LabelSet, Structured};

/// One record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Where the record ends in the chunk's bytes, including the newline after its text. The newline gives a record
    /// with empty text a place too. The record begins where the previous one ends.
    pub end: usize,
    /// When it was written, in Unix nanoseconds. None: the time of reading is used. A source with a cursor must give a
    /// time: a record without one that is read again after a crash gets another time, so Loki stores it twice.
    pub time: Option<i64>,
    /// Replaces the labels of the target. None: the target's labels are used.
    pub labels: Option<LabelSet>,
    /// Structured metadata. None: it has none.
    pub metadata: Option<Arc<[Structured<'static>]>>,
    /// Replaces the `tenant_id` of the client. None: it is used.
    pub tenant: Option<Arc<str>>,
}

/// The stream that a record goes to. See [`Record`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Destination {
    pub labels: Option<LabelSet>,
    pub tenant: Option<Arc<str>>,
}

impl Destination {
    /// Whether both are the same allocations.
    #[inline]
    fn same(&self, labels: Option<&LabelSet>, tenant: Option<&Arc<str>>) -> bool {
        let labels = match (&self.labels, labels) {
            (Some(own), Some(labels)) => own.same(labels),
            (own, labels) => own.is_none() && labels.is_none(),
        };
        let tenant = match (&self.tenant, tenant) {
            (Some(own), Some(tenant)) => Arc::ptr_eq(own, tenant),
            (own, tenant) => own.is_none() && tenant.is_none(),
        };
        labels && tenant
    }
}

/// Records in their order.
///
/// Their labels and tenants, which most records share, are kept once. So no reference count changes for each record: other
/// threads change the same counts, and each change would take the CPU as long as the copy of a line.
#[derive(Clone, Debug, Default)]
pub struct RecordList {
    slots: Vec<Slot>,
    destinations: Vec<Destination>,
    /// Bytes of the labels and tenants of the destinations. A sender chooses them, and they can be far larger than the records.
    texts: usize,
    /// The index of the last record's destination.
    last: usize,
}

#[derive(Clone, Debug)]
struct Slot {
    end: usize,
    time: Option<i64>,
    /// An index into the destinations.
    destination: usize,
    metadata: Option<Arc<[Structured<'static>]>>,
}

/// A record of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordRef<'r> {
    pub end: usize,
    pub time: Option<i64>,
    pub labels: Option<&'r LabelSet>,
    pub metadata: &'r [Structured<'static>],
    pub tenant: Option<&'r Arc<str>>,
}

/// How many of the last destinations are searched for one that is the same.
const SEARCHED: usize = 16;

impl RecordList {
    /// Approximate bytes of memory of the list, without metadata.
    #[inline]
    pub fn cost(&self) -> usize {
        Self::cost_of(self.slots.len()) + self.destinations.len() * size_of::<Destination>() + self.texts
    }

    /// Approximate bytes of memory of so many records, without labels and metadata.
    #[inline]
    pub fn cost_of(records: usize) -> usize {
        records * size_of::<Slot>()
    }

    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub fn len(&self) -> usize {
        self.slots.len()
    }

    pub fn clear(&mut self) {
        self.slots.clear();
        self.destinations.clear();
        self.texts = 0;
        self.last = 0;
    }

    /// Makes room for this many more records.
    pub fn reserve(&mut self, records: usize) {
        self.slots.reserve(records);
    }

    /// Gives back memory that was reserved, if less than half of it is used.
    pub fn fit(&mut self) {
        if self.slots.capacity() > 2 * self.slots.len() + 4 {
            self.slots.shrink_to_fit();
        }
    }

    pub fn push(&mut self, record: Record) {
        let Record { end, time, labels, metadata, tenant } = record;
        self.add(end, time, metadata, (labels.as_ref(), tenant.as_ref()));
    }

    /// Adds a record with these labels and this tenant.
    #[inline]
    pub fn add(
        &mut self,
        end: usize,
        time: Option<i64>,
        metadata: Option<Arc<[Structured<'static>]>>,
        to: (Option<&LabelSet>, Option<&Arc<str>>),
    ) {
        if self.destinations.get(self.last).is_none_or(|last| !last.same(to.0, to.1)) {
            self.last = self.destination(to);
        }
        self.slots.push(Slot { end, time, destination: self.last, metadata });
    }

    fn destination(&mut self, (labels, tenant): (Option<&LabelSet>, Option<&Arc<str>>)) -> usize {
        let first = self.destinations.len().saturating_sub(SEARCHED);
        let known = self.destinations[first..].iter().position(|known| known.same(labels, tenant));
        known.map(|at| first + at).unwrap_or_else(|| {
            self.take(Destination { labels: labels.cloned(), tenant: tenant.cloned() });
            self.destinations.len() - 1
        })
    }

    fn take(&mut self, destination: Destination) {
        let tenant = destination.tenant.as_ref().map_or(0, |tenant| tenant.len());
        self.texts += destination.labels.as_ref().map_or(0, LabelSet::bytes) + tenant;
        self.destinations.push(destination);
    }

    pub fn iter(&self) -> Iter<'_> {
        Iter { slots: self.slots.iter(), destinations: &self.destinations }
    }

    /// Becomes a part of another list: the records that begin at `skip` or later, about `room` bytes of them, and at
    /// least one. The bytes before `skip` are left out. Returns where the last of them ends in the other list.
    pub fn copy_part(&mut self, from: &Self, skip: usize, room: usize) -> usize {
        self.clear();
        let first = from.slots.partition_point(|slot| slot.end <= skip);
        let most = from.slots.partition_point(|slot| slot.end <= skip.saturating_add(room));
        let slots = from.slots.get(first..most.max(first + 1)).unwrap_or_default();
        let used = used(slots);
        from.destinations[used.clone()].iter().for_each(|destination| self.take(destination.clone()));
        let moved =
            |slot: &Slot| Slot { end: slot.end - skip, destination: slot.destination - used.start, ..slot.clone() };
        self.slots.extend(slots.iter().map(moved));
        slots.last().map_or(skip, |slot| slot.end)
    }
}

/// The destinations of these records. They are few if many records share them, because only the last ones are searched
/// for a new record.
fn used(slots: &[Slot]) -> Range<usize> {
    let all = slots.iter().map(|slot| slot.destination);
    all.fold(None, |used: Option<Range<usize>>, at| match used {
        Some(used) => Some(used.start.min(at)..used.end.max(at + 1)),
        None => Some(at..at + 1),
    })
    .unwrap_or_default()
}

/// Iterates over the records of a list.
#[derive(Clone, Debug)]
pub struct Iter<'r> {
    slots: std::slice::Iter<'r, Slot>,
    destinations: &'r [Destination],
}

impl<'r> Iterator for Iter<'r> {
    type Item = RecordRef<'r>;

    #[inline]
    fn next(&mut self) -> Option<RecordRef<'r>> {
        let slot = self.slots.next()?;
        let destination = self.destinations.get(slot.destination);
        Some(RecordRef {
            end: slot.end,
            time: slot.time,
            labels: destination.and_then(|to| to.labels.as_ref()),
            metadata: slot.metadata.as_deref().unwrap_or_default(),
            tenant: destination.and_then(|to| to.tenant.as_ref()),
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.slots.size_hint()
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl<'r> IntoIterator for &'r RecordList {
    type Item = RecordRef<'r>;
    type IntoIter = Iter<'r>;

    fn into_iter(self) -> Iter<'r> {
        self.iter()
    }
}

impl FromIterator<Record> for RecordList {
    fn from_iter<I: IntoIterator<Item = Record>>(records: I) -> Self {
        let mut list = Self::default();
        records.into_iter().for_each(|record| list.push(record));
        list
    }
}

/// Lists with the same records are equal, whatever their records share.
impl PartialEq for RecordList {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for RecordList {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records of three bytes, each with the label `n`.
    fn records(values: &[usize]) -> Vec<Record> {
        let sets: Vec<LabelSet> = (0..100).map(|n| LabelSet::new([("n", n.to_string())])).collect();
        let tenants: Vec<Arc<str>> = (0..3).map(|n| format!("t{n}").into()).collect();
        let record = |(at, n): (usize, &usize)| Record {
            end: 3 * (at + 1),
            time: (n % 2 == 0).then_some(*n as i64),
            labels: (n % 7 > 0).then(|| sets[*n].clone()),
            metadata: (n % 5 == 0).then(|| vec![Structured { name: "a".into(), value: n.to_string().into() }].into()),
            tenant: (n % 3 > 0).then(|| tenants[n % 3].clone()),
        };
        values.iter().enumerate().map(record).collect()
    }

    fn shown(record: RecordRef<'_>, skip: usize) -> Record {
        let RecordRef { end, time, labels, metadata, tenant } = record;
        let metadata = (!metadata.is_empty()).then(|| metadata.to_vec().into());
        Record { end: end + skip, time, labels: labels.cloned(), metadata, tenant: tenant.cloned() }
    }

    proptest::proptest! {
        #[test]
        fn a_list_gives_what_it_got_whole_and_in_parts(
            values in proptest::collection::vec(0usize..100, 0..150),
            room in 1usize..60,
        ) {
            let records = records(&values);
            let list: RecordList = records.iter().cloned().collect();
            let all: Vec<Record> = list.iter().map(|record| shown(record, 0)).collect();
            proptest::prop_assert_eq!(&all, &records);
            let (mut part, mut parts, mut skip) = (RecordList::default(), Vec::new(), 0);
            while skip < 3 * values.len() {
                let end = part.copy_part(&list, skip, room);
                proptest::prop_assert!(end > skip && (part.len() == 1 || end <= skip + room));
                parts.extend(part.iter().map(|record| shown(record, skip)));
                skip = end;
            }
            proptest::prop_assert_eq!(&parts, &records);
            proptest::prop_assert_eq!(part.copy_part(&list, skip, room), skip);
            proptest::prop_assert!(part.is_empty());
        }
    }

    #[test]
    fn reserved_memory_that_is_not_needed_is_given_back() {
        for (count, kept) in [(1, false), (400, false), (600, true), (1_000, true)] {
            let mut list = RecordList::default();
            list.reserve(1_000);
            records(&vec![1; count]).into_iter().for_each(|record| list.push(record));
            list.fit();
            assert_eq!(list.slots.capacity() >= 1_000, kept, "{count}");
            assert_eq!(list.len(), count);
        }
    }

    #[test]
    fn what_records_share_is_kept_once() {
        let interleaved: Vec<usize> = (0..1_000).map(|at| 1 + at % 5).collect();
        let list: RecordList = records(&interleaved).into_iter().collect();
        assert_eq!(list.destinations.len(), 5);
        // If each record has labels of its own, a part has those of its records, and few others.
        let different: Vec<usize> = (0..1_000).map(|at| at % 100).collect();
        let list: RecordList = records(&different).into_iter().collect();
        let mut part = RecordList::default();
        part.copy_part(&list, 1_500, 60);
        assert_eq!(part.len(), 20);
        assert!(part.destinations.len() <= 20 + SEARCHED, "{}", part.destinations.len());
    }
}
