//! Hands the uncommitted records of an intake to that of the next run, when the config is reloaded.

use std::sync::Arc;

use super::{Intake, Kept, Parcel, State, TicketShare};
use crate::model::RecordList;

impl Intake {
    /// Continues with the uncommitted records of `before`, which takes no records from now on. The records of a client
    /// that was removed go to a client that is new, as with logs. If there is none, nobody waits for them any more.
    /// Both lists name the clients of the inboxes, in order.
    pub(in crate::scrape) fn take_over(&self, clients: &[Arc<str>], before: &Self, clients_before: &[Arc<str>]) {
        let mut new = clients.iter().position(|client| !clients_before.contains(client));
        for (inbox, client) in before.inboxes.iter().zip(clients_before) {
            let left =
                std::mem::replace(&mut *inbox.lock(), State { is_closed: true, is_left: true, ..State::default() });
            let place = clients.iter().position(|known| known == client).or_else(|| new.take());
            match place.and_then(|place| self.inboxes.get(place)) {
                Some(inbox) => {
                    inbox.lock().continue_with(left);
                    inbox.parker.ring();
                }
                None => left.kept.into_iter().filter_map(|kept| kept.ticket).for_each(TicketShare::commit),
            }
        }
        before.room.changed();
    }
}

impl State {
    /// Takes the records of `left` that are not committed.
    fn continue_with(&mut self, left: Self) {
        for Kept { start, parcel, ticket } in left.kept {
            let committed = left.committed.since(start) as usize;
            let parcel = if committed == 0 { parcel } else { Arc::new(parcel.after(committed)) };
            self.put(parcel, ticket);
        }
    }
}

impl Parcel {
    /// The records that begin at or after this byte.
    fn after(&self, byte: usize) -> Self {
        let mut records = RecordList::default();
        records.copy_part(&self.records, byte, usize::MAX);
        let text = self.text.get(byte..).unwrap_or_default().to_string();
        Self { text, records, metadata: self.metadata }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::{Inbox, NotCommitted, Ticket};
    use super::*;
    use crate::model::{Chunk, Mark, Read, Source};
    use crate::scrape::parker::Parker;

    fn intake(clients: &[Arc<str>]) -> (Intake, Vec<Inbox>) {
        Intake::new(clients.iter().map(|_| Arc::new(Parker::default())))
    }

    fn parcel(texts: &[&str]) -> Parcel {
        let mut parcel = Parcel::default();
        texts.iter().for_each(|text| parcel.push(text, None, None));
        parcel
    }

    fn read(inbox: &mut Inbox) -> String {
        let (mut chunk, mut text) = (Chunk::default(), String::new());
        while let Ok(Read::Records { .. }) = inbox.read(1, Instant::now(), &mut chunk) {
            let record = chunk.records.as_ref().and_then(|records| records.iter().next()).expect("a record");
            assert_eq!((chunk.start.0 as usize, record.end), (text.len(), chunk.len));
            text.push_str(std::str::from_utf8(&chunk.bytes[..chunk.len]).expect("text"));
        }
        text
    }

    fn outcome(ticket: &Ticket) -> Option<Result<(), NotCommitted>> {
        futures::FutureExt::now_or_never(Ticket(ticket.0.clone()).committed())
    }

    #[test]
    fn the_next_run_reads_what_was_not_committed_and_no_more() {
        let names = |names: &[&str]| names.iter().map(|name| Arc::from(*name)).collect::<Vec<Arc<str>>>();
        for (after, whose) in [
            (names(&["a", "b"]), [Some(0), Some(1)]),
            (names(&["b", "a"]), [Some(1), Some(0)]),
            (names(&["a", "c"]), [Some(0), Some(1)]),
            (names(&["c", "a", "d"]), [Some(1), Some(0)]),
            (names(&["a"]), [Some(0), None]),
        ] {
            let before = names(&["a", "b"]);
            let (old, mut inboxes) = intake(&before);
            let first = old.offer(parcel(&["one", "two"])).expect("room");
            let second = old.offer(parcel(&["three"])).expect("room");
            inboxes.iter_mut().for_each(|inbox| drop(read(inbox)));
            // The first client has committed one record, the second client none.
            inboxes[0].committed(Mark(4));
            let (new, mut continued) = intake(&after);
            new.take_over(&after, &old, &before);
            assert!(old.offer(parcel(&["late"])).is_err(), "{after:?}");
            drop((old, inboxes));
            assert_eq!((outcome(&first), outcome(&second)), (None, None), "{after:?}");
            for (place, want) in whose.iter().zip(["two\nthree\n", "one\ntwo\nthree\n"]) {
                let Some(place) = *place else { continue };
                assert_eq!(read(&mut continued[place]), want, "{after:?}");
                continued[place].committed(Mark(want.len() as u64));
            }
            assert_eq!((outcome(&first), outcome(&second)), (Some(Ok(())), Some(Ok(()))), "{after:?}");
        }
    }
}
