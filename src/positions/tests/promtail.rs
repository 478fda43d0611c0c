//! `positions.yaml`, which Promtail reads and writes too.

use super::*;

#[test]
fn promtails_file_is_read_and_written_back() {
    let dir = dir();
    let yaml = dir.path().join("positions.yaml");
    let log = dir.path().join("a.log");
    std::fs::write(&log, "x").expect("written");
    let log = log.to_str().expect("text").to_string();
    std::fs::write(&yaml, format!("positions:\n  {log}: \"13\"\n  /gone.log: 5\n  cursor-journal: s=1;b\n"))
        .expect("written");
    {
        let positions = open(dir.path());
        let (slot, saved) = claim(&positions, &log);
        assert_eq!(saved, Some(Saved::Offset(13)));
        commit(&positions, slot, 99, true);
        positions.sync().expect("written");
    }
    let text = std::fs::read_to_string(&yaml).expect("read");
    assert_eq!(text, format!("positions:\n  {log}: \"99\"\n  cursor-journal: \"s=1;b\"\n"));
    // A yaml that fantail wrote is not newer.
    assert_eq!(claim(&open(dir.path()), &log).1, Some(Saved::At { position: at(99), saved: then() }));
    // Nor after commits that are not in it yet.
    let positions = open(dir.path());
    let (slot, _) = claim(&positions, &log);
    commit(&positions, slot, 120, true);
    drop(positions);
    drop(open(dir.path()));
    assert_eq!(claim(&open(dir.path()), &log).1, Some(Saved::At { position: at(120), saved: then() }));
    // Promtail ran meanwhile and got further.
    std::fs::write(&yaml, format!("positions:\n  {log}: \"150\"\n")).expect("written");
    assert_eq!(claim(&open(dir.path()), &log).1, Some(Saved::Offset(150)));
}

#[test]
fn a_position_in_an_older_generation_means_the_live_file_is_unread() {
    let dir = dir();
    let log = dir.path().join("a.log").to_str().expect("text").to_string();
    std::fs::write(&log, "x").expect("written");
    let positions = open(dir.path());
    let (slot, _) = claim(&positions, &log);
    commit(&positions, slot, 99, false);
    positions.sync().expect("written");
    let text = std::fs::read_to_string(dir.path().join("positions.yaml")).expect("read");
    assert_eq!(text, format!("positions:\n  {log}: \"0\"\n"));
}

#[test]
fn a_broken_yaml_stops_the_start_unless_told_otherwise() {
    let dir = dir();
    for broken in ["positions: [", "other: {}", "positions: {a: {b: c}}", "\u{0}"] {
        std::fs::write(dir.path().join("positions.yaml"), broken).expect("written");
        let error = Positions::open(config(dir.path())).expect_err(broken).to_string();
        assert!(error.contains("positions.ignore_invalid_yaml") && error.contains("positions.yaml"), "{error}");
        let lenient = Config { ignore_invalid_yaml: true, ..config(dir.path()) };
        assert_eq!(Positions::open(lenient).expect("opened").known(), 0);
    }
}

#[test]
fn what_is_no_positions_file_by_its_size_or_kind_is_not_read() {
    for name in ["positions.yaml", "positions.yaml.journal"] {
        let dir = dir();
        let file = std::fs::File::create(dir.path().join(name)).expect("made");
        file.set_len(10 << 30).expect("made long");
        let error = Positions::open(config(dir.path())).expect_err(name).to_string();
        let says = if name.ends_with("journal") { "not a journal" } else { "bytes" };
        assert!(error.contains(says) && error.contains(name) && error.contains("move it away"), "{error}");
        std::fs::remove_file(dir.path().join(name)).expect("removed");
        std::fs::create_dir(dir.path().join(name)).expect("made");
        let error = Positions::open(config(dir.path())).expect_err(name).to_string();
        assert!(error.contains("is a directory") && error.contains(name), "{error}");
        // It may hold what the agent must not lose.
        assert!(!error.contains("remove") && !error.contains("move it"), "{error}");
        assert_eq!(error.contains("positions.yaml/positions.yaml"), !name.ends_with("journal"), "{error}");
    }
}

#[test]
fn what_promtail_wrote_is_written_back_whatever_it_is() {
    let dir = dir();
    let path = dir.path().join("positions.yaml");
    let text = "positions:\n  cursor-a: 'x\"12\" \\ y'\n  cursor-b: \"tab\\tline\\n\"\n";
    std::fs::write(&path, text).expect("written");
    for _ in 0..2 {
        open(dir.path()).sync().expect("synced");
    }
    let yaml = |text: &str| serde_yaml::from_str::<serde_yaml::Value>(text).expect("yaml");
    assert_eq!(yaml(&std::fs::read_to_string(&path).expect("read")), yaml(text));
}

#[test]
fn a_journal_written_anew_in_a_sync_knows_the_yaml_of_that_sync() {
    let dir = dir();
    {
        let positions = open(dir.path());
        let (slot, _) = claim(&positions, "/a.log");
        commit(&positions, slot, 10, true);
        // Nothing is kept of a log that vanished, and the journal is rewritten.
        let (vanished, _) = claim(&positions, "/no/such.log");
        positions.release(vanished);
        positions.sync().expect("synced");
        commit(&positions, slot, 20, true);
    }
    // Otherwise the yaml would be taken for a newer one from Promtail.
    let (_, saved) = claim(&open(dir.path()), "/a.log");
    assert_eq!(saved, Some(Saved::At { position: at(20), saved: then() }));
}

/// A file may have any name, and whoever may create one must not keep the agent from starting.
#[test]
fn names_with_any_characters_are_read_back() {
    let mut names: Vec<String> = (1..0x3000_u32).filter_map(char::from_u32).map(|c| format!("/logs/{c}.log")).collect();
    names.extend(['\u{feff}', '\u{fffd}', '\u{fffe}', '\u{ffff}', '\u{1fffe}', '\u{10ffff}'].map(|c| format!("/{c}")));
    names.extend(["/a: b", "/- a", "/#", "/\\u0041", "/'\"'", "~", "null", "/a\u{2028}\n\u{85} b"].map(String::from));
    let positions: std::collections::BTreeMap<String, String> =
        names.into_iter().enumerate().map(|(n, name)| (name, n.to_string())).collect();
    let dir = dir();
    let path = dir.path().join("positions.yaml");
    let text = super::super::yaml::text(&positions);
    super::super::yaml::write(&path, &text).expect("written");
    assert_eq!(super::super::yaml::read(&path).expect("read").positions, positions);
    // Ours is read line by line. Promtail and others have a parser.
    let parsed: std::collections::BTreeMap<String, std::collections::BTreeMap<String, String>> =
        serde_yaml::from_str(&text).expect("YAML");
    assert_eq!(parsed["positions"], positions);
}

#[test]
fn a_file_that_the_yaml_parser_would_need_all_memory_for_is_refused() {
    let dir = dir();
    let path = dir.path().join("positions.yaml");
    let ours: String = (0..300_000).map(|n| format!("  /var/log/{n}.log: \"{n}\"\n")).collect();
    std::fs::write(&path, format!("positions:\n{ours}")).expect("written");
    assert_eq!(super::super::yaml::read(&path).expect("read").positions.len(), 300_000, "line by line");
    for text in [format!("positions:\n{ours}  a: b: c\n"), format!("positions: {{{}}}", "a,".repeat(1_000_000))] {
        std::fs::write(&path, text).expect("written");
        let error = super::super::yaml::read(&path).expect_err("too many");
        assert!(error.text().contains("too many lines or values"), "{error:?}");
    }
}

/// A link, or a wrong name, may lead to a file with secrets.
#[test]
fn an_error_does_not_quote_the_file() {
    let dir = dir();
    for secret in [
        "hunter2-token\n",
        "root:hunter2:19000\n",
        "-----BEGIN KEY-----\nhunter2\n",
        "positions: hunter2",
        "a: {hunter2: [}",
    ] {
        std::fs::write(dir.path().join("secret"), secret).expect("written");
        let _ = std::fs::remove_file(dir.path().join("positions.yaml"));
        std::os::unix::fs::symlink("secret", dir.path().join("positions.yaml")).expect("linked");
        let error = Positions::open(config(dir.path())).expect_err(secret).to_string();
        assert!(error.contains("not a positions file") && !error.contains("hunter2"), "{error}");
    }
}
