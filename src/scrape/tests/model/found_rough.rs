//! Bugs that rough histories found, as short tests.

use std::fs;
use std::io::Write;

use super::found::Story;
use super::hanging::Fate;
use super::rough::change_devices;

const SECOND: i64 = 1_000_000_000;

#[test]
fn times_of_reading_do_not_go_back_over_a_restart_if_the_clock_was_put_back_a_little() {
    for seconds in [1, 50, 200] {
        let mut story = Story::begin();
        story.append("plain/app/app.log", "one\n");
        story.pass(2);
        // Not acknowledged, so its time is saved.
        story.answers = false;
        story.append("plain/app/app.log", "two\n");
        story.pass(2);
        story.disk.clock.set_by(-seconds * SECOND);
        story.crash_and_start();
        story.answers = true;
        story.append("plain/app/app.log", "three\n");
        story.pass(5);
        story.crash_and_start();
        story.append("plain/app/app.log", "four\n");
        story.pass(5);
        assert_eq!(story.stored, ["one", "two", "three", "four"], "{seconds}");
        assert!(story.times.is_sorted(), "{seconds}: {:?}", story.times);
    }
}

#[test]
fn rotated_files_whose_dates_go_back_with_the_clock_are_all_read_once() {
    for (seconds, is_down) in [(50, false), (200, false), (7_200, false), (50, true), (200, true), (7_200, true)] {
        let mut story = Story::begin();
        story.append("plain/app/app.log", "one\n");
        story.pass(2);
        story.rename("plain/app/app.log", "plain/app/app.log-20261127-100000");
        story.append("plain/app/app.log", "two\n");
        story.pass(5);
        story.disk.clock.set_by(-seconds * SECOND);
        story.rename("plain/app/app.log", "plain/app/app.log-20261127-080000");
        story.append("plain/app/app.log", "three\n");
        story.rename("plain/app/app.log", "plain/app/app.log-20261127-080001");
        story.append("plain/app/app.log", "four\n");
        if is_down {
            story.crash_and_start();
        }
        story.pass(5);
        story.crash_and_start();
        story.pass(5);
        assert_eq!(story.stored, ["one", "two", "three", "four"], "{seconds} {is_down}");
    }
}

#[test]
fn what_was_written_before_the_first_look_is_read_after_starts_that_did_not_look_and_a_clock_that_was_set() {
    for seconds in [400, -400] {
        let mut story = Story::begin();
        story.append("plain/app/app.log", "one\n");
        story.rename("plain/app/app.log", "plain/app/app.log.1");
        story.append("plain/app/app.log", "two\n");
        story.disk.clock.set_by(seconds * SECOND);
        story.crash_and_start();
        story.crash_and_start();
        story.pass(5);
        assert_eq!(story.stored, ["one", "two"], "{seconds}");
    }
}

#[test]
fn a_directory_that_comes_back_while_its_last_answers_are_waited_for_is_not_sent_again() {
    let mut story = Story::begin();
    story.append("plain/app/app.log", "one\n");
    story.answers = false;
    story.pass(2);
    story.rename("plain/app/app.log", "plain/app/app.log.1");
    story.append("plain/app/app.log", "two\n");
    story.rename("plain/app", "aside");
    story.pass(5);
    story.rename("aside", "plain/app");
    pack(&story, "plain/app/app.log.1");
    let packed = fs::File::options().append(true).open(story.path("plain/app/app.log.1.gz"));
    packed.and_then(|packed| packed.set_modified(story.disk.clock.system_time())).expect("dated");
    story.answers = true;
    story.pass(70);
    assert_eq!(story.stored, ["one", "two"]);
}

#[test]
fn a_position_is_kept_while_a_disk_is_away_even_if_the_clock_is_set_to_the_next_day() {
    let mut story = Story::begin();
    story.append("plain/app/app.log", "one\n");
    story.pass(5);
    story.rename("plain/app", "aside");
    story.crash_and_start();
    story.agent.sync();
    story.disk.clock.set_by(86_400 * SECOND);
    story.agent.sync();
    story.rename("aside", "plain/app");
    story.append("plain/app/app.log", "two\n");
    story.pass(70);
    assert_eq!(story.stored, ["one", "two"]);
}

#[test]
fn late_lines_of_the_file_that_was_read_last_are_not_sent_again_while_the_younger_one_is_empty() {
    for is_down in [false, true] {
        let mut story = Story::begin();
        story.append("plain/app/app.log", "one\n");
        story.pass(2);
        story.rename("plain/app/app.log", "plain/app/app.log.1");
        story.append("plain/app/app.log", "");
        if is_down {
            story.crash_and_start();
        }
        // Reading moves on to the empty file.
        story.pass(62);
        story.append("plain/app/app.log.1", "two\n");
        story.pass(5);
        story.crash_and_start();
        story.pass(5);
        story.append("plain/app/app.log", "three\n");
        story.pass(70);
        story.crash_and_start();
        story.pass(5);
        assert_eq!(story.stored, ["one", "two", "three"], "{is_down}");
    }
}

#[test]
fn late_lines_are_sent_once_after_their_file_system_got_another_device_number() {
    let mut story = Story::begin();
    story.append("plain/app/app.log", "one\n");
    story.pass(2);
    story.rename("plain/app/app.log", "plain/app/app.log.1");
    story.append("plain/app/app.log", "two\n");
    story.pass(5);
    change_devices(&story.path("positions.yaml.journal"));
    story.crash_and_start();
    story.append("plain/app/app.log.1", "three\n");
    story.pass(5);
    story.crash_and_start();
    story.pass(5);
    assert_eq!(story.stored, ["one", "two", "three"]);
}

#[test]
fn numbered_files_whose_times_go_back_with_the_clock_are_all_read_once() {
    for (seconds, is_down) in [(50, false), (7_200, false), (50, true), (7_200, true)] {
        let mut story = Story::begin();
        story.append("plain/app/app.log", "one\n");
        story.pass(2);
        story.disk.clock.set_by(-seconds * SECOND);
        // In this order, because the times of creation cannot be set.
        story.append("plain/app/app.log.1", "two\n");
        pack(&story, "plain/app/app.log.1");
        story.rename("plain/app/app.log", "plain/app/app.log.2");
        pack(&story, "plain/app/app.log.2");
        story.append("plain/app/app.log", "three\n");
        if is_down {
            story.crash_and_start();
        }
        story.pass(5);
        story.crash_and_start();
        story.pass(5);
        assert_eq!(story.stored, ["one", "two", "three"], "{seconds} {is_down}");
    }
}

#[test]
fn what_follows_a_file_with_a_time_in_the_future_is_read() {
    let mut story = Story::begin();
    story.disk.clock.set_by(7_200 * SECOND);
    story.append("plain/app/app.log", "");
    story.disk.clock.set_by(-7_200 * SECOND);
    story.pass(1);
    // Nothing can tell that this is the file that was read: it was empty.
    story.rename("plain/app/app.log", "plain/app/app.log.2");
    pack(&story, "plain/app/app.log.2");
    story.append("plain/app/app.log", "one\n");
    story.rename("plain/app/app.log", "plain/app/app.log.1");
    story.append("plain/app/app.log", "two\n");
    let packed = fs::File::options().append(true).open(story.path("plain/app/app.log.2.gz"));
    packed.and_then(|packed| packed.set_modified(story.disk.clock.system_time())).expect("dated");
    story.pass(5);
    assert_eq!(story.stored, ["one", "two"]);
}

#[test]
fn what_waits_for_answers_or_was_read_by_an_earlier_agent_is_not_read_again_when_it_is_compressed_after_the_clock_was_put_back()
 {
    for is_restarted in [false, true] {
        let mut story = Story::begin();
        story.append("plain/app/0.log", "one\n");
        story.answers = is_restarted;
        story.pass(2);
        story.rename("plain/app/0.log", "plain/app/0.log.20261127-100000");
        story.append("plain/app/0.log", "two\n");
        story.pass(5);
        if is_restarted {
            story.crash_and_start();
            story.pass(5);
        }
        story.disk.clock.set_by(-7_200 * SECOND);
        pack(&story, "plain/app/0.log.20261127-100000");
        story.rename("plain/app/0.log", "plain/app/0.log.20261127-080000");
        story.append("plain/app/0.log", "three\n");
        story.answers = true;
        story.pass(5);
        assert_eq!(story.stored, ["one", "two", "three"], "{is_restarted}");
    }
}

#[test]
fn of_compressed_files_with_the_same_content_none_is_taken_for_another_that_was_read() {
    let mut story = Story::begin();
    for (at, text) in ["same\n", "other\n", "same\n", "last\n"].into_iter().enumerate() {
        if at < 2 {
            story.append("plain/app/0.log", text);
            story.pass(5);
        } else {
            // Both while no agent looks.
            story.append("plain/app/0.log", text);
        }
        if at < 3 {
            let rotated = format!("plain/app/0.log.20261127-10000{at}");
            story.rename("plain/app/0.log", &rotated);
            pack(&story, &rotated);
        }
    }
    story.crash_and_start();
    story.pass(5);
    assert_eq!(story.stored, ["same", "other", "same", "last"]);
}

#[test]
fn what_was_written_while_a_call_hung_that_opens_the_log_is_read_after_a_rotation_and_a_restart() {
    let mut hung = 0;
    for call in 1..10 {
        let mut story = Story::begin();
        story.append("plain/app/app.log", "one\n");
        story.agent.hang(0, call);
        story.pass(300);
        story.agent.sync();
        hung += story.agent.hung();
        story.rename("plain/app/app.log", "plain/app/app.log.1");
        story.append("plain/app/app.log", "two\n");
        story.agent.let_go(Fate::Dies);
        story.crash_and_start();
        story.pass(5);
        assert_eq!(story.stored, ["one", "two"], "{call}");
    }
    assert!(hung > 2, "{hung} calls hung");
}

/// Compresses a file as gzip does, which keeps its time.
fn pack(story: &Story, name: &str) {
    let plain = fs::read(story.path(name)).expect("read");
    let modified = fs::metadata(story.path(name)).and_then(|meta| meta.modified()).expect("a time");
    let packed = fs::File::create(story.path(&format!("{name}.gz"))).expect("created");
    let mut packed = flate2::write::GzEncoder::new(packed, flate2::Compression::fast());
    packed.write_all(&plain).expect("written");
    packed.finish().and_then(|file| file.set_modified(modified)).expect("written");
    fs::remove_file(story.path(name)).expect("removed");
}
