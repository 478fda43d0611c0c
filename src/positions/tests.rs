mod edit;
mod journal_alone;
mod names;
mod promtail;

use super::*;
use crate::model::{FileId, Fingerprint};

fn config(dir: &Path) -> Config {
    Config {
        filename: dir.join("positions.yaml"),
        ignore_invalid_yaml: false,
        read_only: false,
        readers: BTreeSet::new(),
    }
}

fn key(path: &str) -> Key {
    Key { client: Arc::from("c"), job: Arc::from("a \"job\""), log: LogName::File(Path::new(path).into()), labels: 7 }
}

fn at(offset: u64) -> Position {
    let fingerprint = Fingerprint { len: 9, hash: u64::MAX };
    Position { file: FileId { device: 1, inode: 2, fingerprint, ..FileId::default() }, offset, ..Position::default() }
}

fn then() -> SystemTime {
    SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(1_795_370_000_123)
}

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

fn open(dir: &Path) -> Positions {
    Positions::open(config(dir)).expect("opened")
}

/// A commit for a file.
fn step(slot: PositionId, position: Position, live: bool, through: Option<i64>) -> Commit {
    Commit {
        slot,
        checkpoint: Checkpoint::File { position, live, written: then(), unread: 0, left: Vec::new() },
        through,
    }
}

#[track_caller]
fn claim(positions: &Positions, path: &str) -> (PositionId, Option<Saved>) {
    positions.claim(key(path)).expect("free")
}

fn commit(positions: &Positions, slot: PositionId, offset: u64, live: bool) {
    positions.commit(&[step(slot, at(offset), live, None)], then()).expect("written");
}

#[test]
fn a_commit_outlives_the_process_without_a_sync() {
    let dir = dir();
    {
        let positions = open(dir.path());
        let (slot, saved) = claim(&positions, "/a b/ü.log");
        assert_eq!(saved, None);
        commit(&positions, slot, 10, true);
        commit(&positions, slot, 20, true);
    }
    let (_, saved) = claim(&open(dir.path()), "/a b/ü.log");
    assert_eq!(saved, Some(Saved::At { position: at(20), saved: then() }));
}

#[test]
fn what_was_unread_of_a_file_is_kept_with_its_position() {
    let dir = dir();
    {
        let positions = open(dir.path());
        let (slot, _) = claim(&positions, "/a.log");
        let checkpoint =
            Checkpoint::File { position: at(10), live: true, written: then(), unread: 70, left: Vec::new() };
        positions.commit(&[Commit { slot, checkpoint, through: None }], then()).expect("written");
    }
    for _ in 0..2 {
        let positions = open(dir.path());
        let (slot, _) = claim(&positions, "/a.log");
        assert_eq!(positions.unread(slot), 70);
        // The journal is written anew.
        positions.sync().expect("written");
    }
    let positions = open(dir.path());
    let (slot, _) = claim(&positions, "/a.log");
    commit(&positions, slot, 20, true);
    assert_eq!(positions.unread(slot), 0);
}

#[test]
fn a_torn_tail_costs_its_own_line_only() {
    let dir = dir();
    {
        let positions = open(dir.path());
        let (slot, _) = claim(&positions, "/a.log");
        commit(&positions, slot, 10, true);
        commit(&positions, slot, 20, true);
    }
    let journal = journal::path(&dir.path().join("positions.yaml"));
    let whole = std::fs::read(&journal).expect("read");
    let last = whole[..whole.len() - 1].iter().rposition(|b| *b == b'\n').expect("lines") + 1;
    for cut in last..whole.len() {
        std::fs::write(&journal, &whole[..cut]).expect("written");
        let (_, saved) = claim(&open(dir.path()), "/a.log");
        let offset = if cut == whole.len() - 1 { 20 } else { 10 };
        assert_eq!(saved, Some(Saved::At { position: at(offset), saved: then() }), "cut at {cut} of {}", whole.len());
    }
}

#[test]
fn every_byte_may_be_damaged_and_nothing_panics() {
    let dir = dir();
    {
        let positions = open(dir.path());
        let (slot, _) = claim(&positions, "/a.log");
        commit(&positions, slot, 10, true);
    }
    let journal = journal::path(&dir.path().join("positions.yaml"));
    let whole = std::fs::read(&journal).expect("read");
    for i in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[i] ^= 0x55;
        std::fs::write(&journal, &damaged).expect("written");
        let _ = Positions::open(config(dir.path())).map(|p| p.known());
    }
}

#[test]
fn a_newer_format_is_refused_with_what_to_do() {
    let dir = dir();
    std::fs::write(dir.path().join("positions.yaml.journal"), "fantail-positions 9\n").expect("written");
    let error = Positions::open(config(dir.path())).expect_err("refused").to_string();
    assert!(error.contains("newer fantail") && error.contains("positions.yaml.journal"), "{error}");
    std::fs::write(dir.path().join("positions.yaml.journal"), "something else entirely\n").expect("written");
    let error = Positions::open(config(dir.path())).expect_err("refused").to_string();
    assert!(error.contains("not a journal"), "{error}");
}

#[test]
fn a_client_that_delivered_nothing_does_not_go_on_where_another_is() {
    let dir = dir();
    let of = |client: &str| Key { client: Arc::from(client), ..key("/a.log") };
    let config = || Config { readers: [of("a").reader(), of("b").reader()].into(), ..config(dir.path()) };
    {
        let positions = Positions::open(config()).expect("opened");
        let (slot, _) = positions.claim(of("a")).expect("free");
        positions.claim(of("b")).expect("free");
        commit(&positions, slot, 30, true);
    }
    assert_eq!(Positions::open(config()).expect("opened").claim(of("b")).expect("free").1, None);
    // A reader that was removed from the config leaves its position.
    let moved = Config { readers: [of("b").reader()].into(), ..config() };
    assert!(Positions::open(moved).expect("opened").claim(of("b")).expect("free").1.is_some());
}

#[test]
fn a_directory_that_comes_back_gets_everything() {
    let base = dir();
    let sub = base.path().join("later");
    let positions = Positions::open(config(&sub)).expect("an absent directory is no error at the start");
    let (slot, _) = claim(&positions, "/a.log");
    let lost = positions.commit(&[step(slot, at(5), true, None)], then());
    assert!(lost.is_err());
    std::fs::create_dir(&sub).expect("made");
    let (other, _) = claim(&positions, "/b.log");
    commit(&positions, other, 6, true);
    drop(positions);
    let again = Positions::open(config(&sub)).expect("opened");
    assert_eq!(claim(&again, "/a.log").1, Some(Saved::At { position: at(5), saved: then() }));
    assert_eq!(claim(&again, "/b.log").1, Some(Saved::At { position: at(6), saved: then() }));
}

#[test]
fn the_next_start_knows_since_when_nobody_looked() {
    let dir = dir();
    let before = SystemTime::now() - Duration::from_secs(1);
    let first = open(dir.path());
    let unseen_since = |positions: &Positions| positions.unseen_since(claim(positions, "/a.log").0);
    assert!(unseen_since(&first) > before, "at the first start what is older is none of ours");
    drop(first);
    let second = open(dir.path());
    let since = unseen_since(&second);
    assert!(since < before && since > before - Duration::from_secs(300));
}

/// The clock decides when an agent was last active, and when the position of a file that is gone is forgotten.
#[test]
fn time_is_that_of_the_clock() {
    let (dir, day) = (dir(), Duration::from_secs(86_400));
    let clock = Clock::standing(1_795_370_000_000_000_000);
    let positions = Positions::open_at(config(dir.path()), clock.clone()).expect("opened");
    let (slot, _) = claim(&positions, "/no/such/file.log");
    positions.commit(&[step(slot, at(10), true, None)], clock.system_time()).expect("written");
    positions.release(slot);
    clock.advance(KEPT);
    positions.sync().expect("written");
    assert_eq!(positions.known(), 1, "its file may come back within an hour");
    clock.advance(day);
    let synced = clock.system_time();
    positions.sync().expect("written");
    assert_eq!(positions.known(), 0);
    drop(positions);
    clock.advance(day);
    let again = Positions::open_at(config(dir.path()), clock).expect("opened");
    let (slot, _) = claim(&again, "/a.log");
    assert_eq!(again.unseen_since(slot), synced - BENEFIT_OF_DOUBT);
}

#[test]
fn the_next_run_of_a_process_finds_every_place_free_and_what_was_committed() {
    let dir = dir();
    let of = |client: &str| Key { client: Arc::from(client), ..key("/a.log") };
    let positions =
        Positions::open(Config { readers: [of("a").reader()].into(), ..config(dir.path()) }).expect("opened");
    let (slot, _) = positions.claim(of("a")).expect("free");
    commit(&positions, slot, 30, true);
    assert_eq!(positions.claim(of("a")), None);
    let saved = Some(Saved::At { position: at(30), saved: then() });
    positions.begin_run([of("a").reader(), of("b").reader()].into(), SystemTime::now(), true);
    assert_eq!(positions.claim(of("a")).expect("free").1, saved);
    // A new client beside an existing one starts on its own. A client that replaces another continues its positions.
    assert_eq!(positions.claim(of("b")).expect("free").1, None);
    positions.begin_run([of("c").reader()].into(), SystemTime::now(), true);
    assert_eq!(positions.claim(of("c")).expect("free").1, saved);
}

#[test]
fn the_next_run_looks_back_as_far_as_the_last_one_where_nothing_was_committed() {
    let dir = dir();
    let positions = open(dir.path());
    let (open_log, _) = claim(&positions, "/a.log");
    let begun = positions.unseen_since(open_log);
    let (later, day) = (SystemTime::now(), Duration::from_secs(86_400));
    for days in 1..3 {
        positions.begin_run(BTreeSet::new(), later + day * days, true);
        let relabelled = positions.claim(Key { labels: 77 + u64::from(days), ..key("/a.log") }).expect("free").0;
        assert_eq!(positions.unseen_since(relabelled), begun);
        // This log was never open before.
        let (new, _) = claim(&positions, &format!("/new{days}.log"));
        assert!(positions.unseen_since(new) > later + day * (days - 1));
    }
}

#[test]
fn a_dry_run_writes_nothing() {
    let dir = dir();
    let positions = Positions::open(Config { read_only: true, ..config(dir.path()) }).expect("opened");
    let (slot, _) = claim(&positions, "/a.log");
    commit(&positions, slot, 5, true);
    positions.sync().expect("nothing to do");
    assert_eq!(std::fs::read_dir(dir.path()).expect("listed").count(), 0);
}

#[test]
fn a_long_journal_is_written_anew() {
    let dir = dir();
    let positions = open(dir.path());
    let (slot, _) = claim(&positions, "/a.log");
    for i in 0..30_000 {
        commit(&positions, slot, i, true);
    }
    let size = || std::fs::metadata(dir.path().join("positions.yaml.journal")).expect("there").len();
    assert!(size() > 1 << 20, "{}", size());
    // The position is claimed, so it is not dropped although its path does not exist.
    positions.sync().expect("written");
    assert!(size() < 1 << 10, "{}", size());
    drop(positions);
    assert_eq!(claim(&open(dir.path()), "/a.log").1, Some(Saved::At { position: at(29_999), saved: then() }));
}

fn time(start: u64, len: u64, time: i64) -> ReadTime {
    ReadTime { start: at(start), len, time }
}

#[test]
fn read_times_outlive_the_process_until_they_are_behind_the_position() {
    let dir = dir();
    let (one, two, three) = (time(0, 10, 1_000), time(10, 10, 2_000), time(20, 10, 3_000));
    {
        let positions = open(dir.path());
        let (slot, _) = claim(&positions, "/a.log");
        positions.remember(&[(slot, one), (slot, two)]).expect("written");
    }
    // Known although nothing was committed.
    let positions = open(dir.path());
    let (slot, saved) = claim(&positions, "/a.log");
    assert_eq!((saved, positions.read_times(slot)), (None, vec![one, two]));
    commit(&positions, slot, 15, true);
    positions.remember(&[(slot, three)]).expect("written");
    assert_eq!(positions.read_times(slot), [two, three], "half of it is to be read again");
    drop(positions);
    let positions = open(dir.path());
    let (slot, _) = claim(&positions, "/a.log");
    assert_eq!(positions.read_times(slot), [two, three]);
    // The position moves to another file: the commit says which read times are before it.
    let file = FileId { inode: 3, ..at(0).file };
    let next = step(slot, Position { file, offset: 5, ..Position::default() }, true, None);
    positions.commit(std::slice::from_ref(&next), then()).expect("written");
    assert_eq!(positions.read_times(slot), [two, three]);
    positions.commit(&[Commit { through: Some(2_000), ..next }], then()).expect("written");
    assert_eq!(positions.read_times(slot), [three]);
    drop(positions);
    let positions = open(dir.path());
    let (slot, _) = claim(&positions, "/a.log");
    assert_eq!(positions.read_times(slot), [three]);
}

#[test]
fn a_journal_cut_anywhere_is_one_of_an_earlier_moment() {
    let dir = dir();
    let journal = journal::path(&dir.path().join("positions.yaml"));
    let written = || std::fs::read(&journal).expect("read");
    let mut moments = Vec::new();
    {
        let positions = open(dir.path());
        let (slot, _) = claim(&positions, "/a.log");
        moments.push(written());
        for n in 0..4 {
            positions.remember(&[(slot, time(n * 10, 10, 1_000 + n as i64))]).expect("written");
            moments.push(written());
            commit(&positions, slot, n * 10 + 5, true);
            moments.push(written());
        }
    }
    // Read only: opening does not rewrite the journal, which would be slow.
    let reading = || Positions::open(Config { read_only: true, ..config(dir.path()) });
    let known = |bytes: &[u8]| {
        std::fs::write(&journal, bytes).expect("written");
        let positions = reading().expect("opened");
        let (slot, saved) = claim(&positions, "/a.log");
        (saved, positions.read_times(slot))
    };
    let whole = moments.last().expect("some").clone();
    for cut in moments[0].len()..=whole.len() {
        // Only the newline may be missing.
        let moment = moments.iter().rfind(|m| m.len() <= cut + 1).expect("the first");
        assert_eq!(known(&whole[..cut]), known(moment), "cut at {cut}");
    }
    for i in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[i] ^= 0x55;
        std::fs::write(&journal, &damaged).expect("written");
        let _ = reading().map(|p| p.known());
    }
}

#[test]
fn an_older_version_and_its_journal_get_along() {
    let dir = dir();
    {
        let positions = open(dir.path());
        let (slot, _) = claim(&positions, "/a.log");
        positions.remember(&[(slot, time(0, 10, 1_000)), (slot, time(10, 10, 2_000))]).expect("written");
        commit(&positions, slot, 10, true);
        let commit = step(slot, at(12), true, Some(1_000));
        positions.commit(&[commit], then()).expect("written");
    }
    let journal = journal::path(&dir.path().join("positions.yaml"));
    let text = std::fs::read_to_string(&journal).expect("read");
    assert!(text.starts_with("fantail-positions 1\n"), "{text}");
    // A version without read times wrote `p` without the last field and does not know `r`.
    let lines = text.lines().filter(|line| !line.starts_with("r ")).map(|line| format!("{line}\n"));
    std::fs::write(&journal, lines.collect::<String>()).expect("written");
    let positions = open(dir.path());
    let (slot, saved) = claim(&positions, "/a.log");
    assert_eq!((saved, positions.read_times(slot)), (Some(Saved::At { position: at(12), saved: then() }), vec![]));
}

#[test]
fn of_paths_that_come_and_go_some_are_kept_and_those_the_newest() {
    let dir = dir();
    let positions = open(dir.path());
    let path = |n: usize| format!("/no/such/folder/{n}.log");
    for n in 0..KEPT_MOST + 5_000 {
        let (slot, _) = claim(&positions, &path(n));
        let now = SystemTime::now() - Duration::from_secs(60) + Duration::from_millis(n as u64);
        let position = Position { file: FileId { inode: n as u64, ..at(0).file }, offset: 1, ..at(0) };
        positions.commit(&[step(slot, position, true, None)], now).expect("written");
        positions.release(slot);
    }
    positions.sync().expect("written");
    let state = positions.lock();
    let lengths = [state.records.len(), state.slots.len(), state.by_name.len(), state.by_file.len()];
    assert_eq!(lengths, [KEPT_MOST; 4]);
    drop(state);
    let size = std::fs::metadata(journal::path(&dir.path().join("positions.yaml"))).expect("there").len();
    assert!(size < 4 << 20, "{size}");
    assert_eq!(claim(&positions, &path(0)).1, None, "the oldest is forgotten");
    assert!(claim(&positions, &path(KEPT_MOST + 4_999)).1.is_some(), "the newest may be a file that was renamed");
}

#[test]
fn without_positions_on_a_file_system_that_a_reboot_empties_the_last_hour_is_new() {
    let Ok(dir) = tempfile::tempdir_in("/dev/shm") else {
        return; // There is none here.
    };
    let at = |name: &str| Config {
        filename: dir.path().join(name),
        ignore_invalid_yaml: false,
        read_only: false,
        readers: BTreeSet::new(),
    };
    let before = SystemTime::now();
    let since = Positions::open(at("positions.yaml")).expect("opened").unseen();
    assert!(since >= before - BEFORE_REBOOT && since <= SystemTime::now() - BEFORE_REBOOT, "{since:?}");
    // Positions of Promtail say what was read.
    std::fs::write(dir.path().join("promtail.yaml"), "positions:\n  /var/log/syslog: \"1\"\n").expect("written");
    assert!(Positions::open(at("promtail.yaml")).expect("opened").unseen() >= before);
}
