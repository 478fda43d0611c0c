//! Bugs that rough histories found, as short tests.

use std::fs;

use super::found::Story;

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
    let packed = fs::File::create(story.path("plain/app/app.log.1.gz")).expect("created");
    let mut packed = flate2::write::GzEncoder::new(packed, flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, b"one\n").expect("written");
    packed.finish().and_then(|file| file.set_modified(story.disk.clock.system_time())).expect("written");
    fs::remove_file(story.path("plain/app/app.log.1")).expect("removed");
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
