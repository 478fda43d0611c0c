//! Every line once: compares the lines in Loki with the written lines.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::loki::{Loki, StreamName, Tenant};
use crate::wait::wait_for;

/// The most bytes of a stream that a fault may make the agent send again. Metric queries count these lines twice until
/// Loki flushes its chunk.
const REPLAY_WINDOW: u64 = 64 << 10;

/// A count may differ by this many entries after a flush, and by one more for each fault, because of Loki itself. This was
/// measured without an agent.
const REMAINDER: u64 = 4;

/// Debug builds on a busy machine need this time to catch up.
const WITHIN: Duration = Duration::from_secs(90);

/// The lines of one stream, oldest first. A time is None if the agent chooses it.
pub(crate) struct Written {
    pub(crate) stream: StreamName,
    pub(crate) lines: Vec<(Option<i64>, String)>,
}

/// Waits until Loki has all `written` lines, and checks them: each line once, byte for byte, and in the order of its
/// stream. The counts must be equal once Loki has flushed, and nearly equal before, after this many `faults`.
#[track_caller]
pub(crate) fn every_line_once(loki: &Loki, tenant: &Tenant, written: &[Written], faults: usize) {
    wait_for_lines(tenant, written);

    let counts = tenant.over_time("count_over_time").expect("Loki answers");
    let known: BTreeSet<&StreamName> = written.iter().map(|written| &written.stream).collect();
    let strange: Vec<_> = counts.keys().filter(|stream| !known.contains(stream)).collect();
    assert!(strange.is_empty(), "streams that nobody wrote: {strange:?}");
    let bytes = tenant.over_time("bytes_over_time").expect("Loki answers");
    for Written { stream, lines } in written {
        let wrote: u64 = lines.iter().map(|(_, line)| line.len() as u64).sum();
        let counted = bytes.get(stream).copied().unwrap_or_default();
        let twice = counted.saturating_sub(wrote);
        let bound = REPLAY_WINDOW * faults as u64;
        assert!(twice <= bound, "{stream:?}: {twice} bytes are counted twice, more than {bound} for {faults} faults");
        let count = counts.get(stream).copied().unwrap_or_default();
        assert!(count >= lines.len() as u64, "{stream:?}: {count} are counted of {}", lines.len());
    }

    loki.flush();
    wait_for("counts after a flush", WITHIN, || {
        let counts = tenant.over_time("count_over_time")?;
        let off = written.iter().filter_map(|Written { stream, lines }| {
            let count = counts.get(stream).copied().unwrap_or_default();
            let off = count.abs_diff(lines.len() as u64) > REMAINDER + faults as u64;
            off.then(|| format!("{stream:?}: {count} of {}", lines.len()))
        });
        let off: Vec<String> = off.collect();
        if off.is_empty() { Ok(()) } else { Err(off.join("; ")) }
    });
    wait_for_lines(tenant, written);
}

/// Waits until Loki has exactly the `written` lines of their streams, in order.
#[track_caller]
pub(crate) fn wait_for_lines(tenant: &Tenant, written: &[Written]) {
    // Loki counts lines at low cost, but reading all of them is expensive.
    wait_for("as many lines as were written", WITHIN, || {
        let counts = tenant.over_time("count_over_time")?;
        let missing: Vec<String> = written.iter().filter_map(|w| w.missing(&counts)).collect();
        if missing.is_empty() { Ok(()) } else { Err(missing.join("; ")) }
    });
    for Written { stream, lines } in written {
        let selector = stream.selector();
        let wrong = wait_for(&selector, WITHIN, || {
            let found = tenant.streams(&selector)?;
            if found.len() != 1 {
                let labels: Vec<_> = found.iter().map(|stream| &stream.labels).collect();
                return Err(format!("one stream is expected, there are {labels:?}"));
            }
            match difference(lines, &found[0].entries) {
                Some(why) if found[0].entries.len() < lines.len() => Err(why),
                // Lines that are too many do not disappear, however long the test waits.
                wrong => Ok(wrong),
            }
        });
        assert_eq!(wrong, None, "{selector}");
    }
}

impl Written {
    fn missing(&self, counts: &BTreeMap<StreamName, u64>) -> Option<String> {
        let count = counts.get(&self.stream).copied().unwrap_or_default();
        let all = self.lines.len();
        (count < all as u64).then(|| format!("{:?}: {count} of {all}", self.stream))
    }
}

fn difference(written: &[(Option<i64>, String)], found: &[(i64, String)]) -> Option<String> {
    let same = |((time, line), (found_time, found)): (&(Option<i64>, String), &(i64, String))| {
        line == found && time.is_none_or(|time| time == *found_time)
    };
    let first = written.iter().zip(found).position(|pair| !same(pair));
    if first.is_none() && written.len() == found.len() {
        return None;
    }
    let first = first.unwrap_or(written.len().min(found.len()));
    let (all, seen): (BTreeSet<_>, BTreeSet<_>) =
        (written.iter().map(|(_, line)| line).collect(), found.iter().map(|(_, line)| line).collect());
    Some(format!(
        "{} written, {} found, {} of those not at all, {} lines that nobody wrote; the first that is not as written is \
         number {first}: {:?} instead of {:?}",
        written.len(),
        found.len(),
        all.difference(&seen).count(),
        seen.difference(&all).count(),
        found.get(first).map(short),
        written.get(first).map(short),
    ))
}

fn short<T: Copy>((time, line): &(T, String)) -> (T, &str) {
    (*time, &line[..line.floor_char_boundary(60)])
}
