//! Logs that are in no file, and files under another name.

use super::*;

#[test]
fn a_cursor_is_kept_and_taken_over_in_both_directions() {
    let dir = dir();
    let yaml = dir.path().join("positions.yaml");
    let job = |name: &str| Key { log: LogName::Other(format!("cursor-{name}").into()), ..key("") };
    let cursor = |text: &str| Saved::Cursor(text.into());
    // A file from Promtail, as Promtail writes it. A file may have the same name as a cursor.
    std::fs::write(&yaml, "positions:\n  cursor-journal: s=0a1b;i=6f;b=9c;m=1;t=2;x=3\n  /a.log: \"12\"\n")
        .expect("written");
    let write = |positions: &Positions, slot, text: &str, now| {
        let checkpoint = Checkpoint::Cursor(text.into());
        positions.commit(&[Commit { slot, checkpoint, through: None }], now).expect("written");
    };
    {
        let positions = open(dir.path());
        let (slot, saved) = positions.claim(job("journal")).expect("free");
        assert_eq!(saved, Some(cursor("s=0a1b;i=6f;b=9c;m=1;t=2;x=3")));
        assert_eq!(positions.claim(job("other")).expect("free").1, None);
        write(&positions, slot, "s=0a1b;i=70 \"ü\"", then());
    }
    // Without a sync, and with one.
    for _ in 0..2 {
        let positions = open(dir.path());
        assert_eq!(positions.claim(job("journal")).expect("free").1, Some(cursor("s=0a1b;i=70 \"ü\"")));
        positions.sync().expect("written");
    }
    let written = yaml::read(&yaml).expect("ours").positions;
    assert_eq!(written["cursor-journal"], "s=0a1b;i=70 \"ü\"");
    assert_eq!(written.get("/a.log"), None, "that file is not there");
    // With two clients, the cursor of the one that is behind.
    let positions = open(dir.path());
    let second = Key { client: Arc::from("d"), ..job("journal") };
    let (slot, _) = positions.claim(second).expect("free");
    write(&positions, slot, "further", then() + std::time::Duration::from_secs(1));
    positions.sync().expect("written");
    assert_eq!(yaml::read(&yaml).expect("ours").positions["cursor-journal"], "s=0a1b;i=70 \"ü\"");
}

#[test]
fn a_file_that_was_left_is_known_under_another_name_after_a_kill() {
    let dir = dir();
    let file = |inode: u64, offset: u64| Position { file: FileId { inode, ..at(0).file }, offset, ..at(0) };
    {
        let positions = open(dir.path());
        let (slot, _) = claim(&positions, "/app.log");
        // It goes on in file 50; files 1 to 40 were read to their ends before.
        for inode in 1..=40 {
            let checkpoint = Checkpoint::File {
                position: file(50, inode),
                live: true,
                written: then(),
                unread: 0,
                left: vec![file(inode, 100 + inode)],
            };
            positions.commit(&[Commit { slot, checkpoint, through: None }], then()).expect("written");
        }
    }
    for _ in 0..2 {
        let positions = open(dir.path());
        let new = key("/app-2026.log");
        let found = |inode: u64| positions.in_file(&new, &file(inode, 0).file);
        assert_eq!(found(40), [file(40, 140)]);
        assert_eq!(found(9), [file(9, 109)]);
        assert_eq!(found(8), [], "only so many are kept");
        assert_eq!(found(50), [file(50, 40)]);
        assert_eq!(positions.in_file(&key("/app.log"), &file(40, 0).file), [], "it is its own");
        assert_eq!(
            positions.in_file(&Key { labels: 8, ..new.clone() }, &file(40, 0).file),
            [],
            "with other labels it is another log"
        );
        positions.sync().expect("written");
    }
}

#[test]
fn a_log_goes_on_where_it_was_when_it_is_called_something_else() {
    let dir = dir();
    {
        let positions = open(dir.path());
        let (slot, _) = claim(&positions, "/a.log");
        assert!(positions.claim(key("/a.log")).is_none(), "one place, one owner");
        commit(&positions, slot, 30, true);
        // A second set of labels beside the first is a separate log.
        assert_eq!(positions.claim(Key { labels: 8, ..key("/a.log") }).expect("free").1, None);
    }
    for renamed in [
        Key { labels: 9, ..key("/a.log") },
        Key { client: Arc::from("moved"), ..key("/a.log") },
        Key { job: Arc::from("renamed"), ..key("/a.log") },
    ] {
        let saved = open(dir.path()).claim(renamed).expect("free").1;
        assert_eq!(saved, Some(Saved::At { position: at(30), saved: then() }));
    }
    assert_eq!(claim(&open(dir.path()), "/b.log").1, None);
}

#[test]
fn a_cursor_of_a_container_is_whole_seconds_for_promtail_and_is_not_kept_for_ever() {
    let dir = dir();
    let yaml = dir.path().join("positions.yaml");
    let container = |digit: &str| Key { log: LogName::Other(format!("cursor-{}", digit.repeat(64)).into()), ..key("") };
    let (of, name) = (container("a"), container("a").log.to_string());
    {
        let positions = open(dir.path());
        assert!(!positions.is_known(&name));
        let (slot, _) = positions.claim(of.clone()).expect("free");
        let checkpoint = Checkpoint::Cursor("1700000000.000000007+3".into());
        positions.commit(&[Commit { slot, checkpoint, through: None }], SystemTime::now()).expect("written");
        positions.sync().expect("written");
    }
    assert_eq!(yaml::read(&yaml).expect("ours").positions[&name], "1700000000");
    // Its own file tells nothing new, and one of Promtail does.
    {
        let positions = open(dir.path());
        assert!(positions.is_known(&name));
        let saved = Saved::Cursor("1700000000.000000007+3".into());
        assert_eq!(positions.claim(of.clone()).expect("free").1, Some(saved));
    }
    std::fs::write(&yaml, format!("positions:\n  {name}: \"1700000009\"\n")).expect("written");
    let positions = open(dir.path());
    assert_eq!(positions.claim(of.clone()).expect("free").1, Some(Saved::Cursor("1700000009".into())));
    drop(positions);

    // Docker may be away when the agent starts.
    std::fs::remove_file(&yaml).expect("removed");
    let positions = open(dir.path());
    positions.lock().drop_vanished(&Vanished::default(), SystemTime::now() + KEPT * 2);
    assert!(positions.is_known(&name));
    positions.lock().drop_vanished(&Vanished::default(), SystemTime::now() + KEPT_CONTAINER + KEPT);
    assert!(!positions.is_known(&name));
}
