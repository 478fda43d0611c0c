mod kinds;

use std::io::Write;

use super::*;

#[test]
fn any_offset_in_any_order() {
    let text: Vec<u8> = (0..100_000u32).flat_map(|n| n.to_le_bytes()).collect();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&text[..70_000]).expect("to memory");
    let mut packed = encoder.finish().expect("to memory");
    let mut second = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    second.write_all(&text[70_000..]).expect("to memory");
    packed.extend(second.finish().expect("to memory"));

    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(&packed).expect("written");
    let mut inflated = Inflated::new(file, Compression::Gzip);
    for offset in [0usize, 5000, 4000, 90_000, 10, 399_990, 60_000, 61_000] {
        let mut buffer = [0; 4096];
        let n = inflated.read_at(offset as u64, &mut buffer).expect("read");
        let end = (offset + 4096).min(text.len());
        assert_eq!(&buffer[..n], &text[offset..end], "at {offset}");
    }
    assert_eq!(inflated.read_at(text.len() as u64, &mut [0; 10]).expect("read"), 0);
}

#[test]
fn a_file_that_is_cut_off_gives_what_there_is() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    encoder.write_all(&[b'x'; 10_000]).expect("to memory");
    let packed = encoder.finish().expect("to memory");
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(&packed[..5_000]).expect("written");
    let mut buffer = vec![0; 20_000];
    let n = Inflated::new(file, Compression::Gzip).read_at(0, &mut buffer).expect("read");
    assert!((4_000..5_000).contains(&n), "{n}");
}

#[test]
fn what_was_read_before_a_jump_beyond_the_end_is_not_taken_for_what_comes_after_it() {
    let text: Vec<u8> = (0..9_000u32).map(|n| (n % 251) as u8).collect();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(&text).expect("to memory");
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(&encoder.finish().expect("to memory")).expect("written");
    let mut inflated = Inflated::new(file, Compression::Gzip);
    let mut buffer = vec![0; 1_000];
    assert_eq!(inflated.read_at(0, &mut buffer).expect("read"), 1_000);
    assert_eq!(inflated.read_at(20_000, &mut buffer).expect("read"), 0, "it is not there yet");
    for offset in [8_500, 8_100, 0] {
        let n = inflated.read_at(offset, &mut buffer).expect("read");
        assert_eq!(&buffer[..n], &text[offset as usize..(offset as usize + n)], "at {offset}");
        assert!(n > 0, "at {offset}");
    }
}

/// 64 MiB of zeros, compressed to 64 KiB.
fn bomb() -> File {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(b"the head").expect("to memory");
    (0..64).for_each(|_| encoder.write_all(&[0; 1 << 20]).expect("to memory"));
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(&encoder.finish().expect("to memory")).expect("written");
    file
}

#[test]
fn one_call_inflates_no_more_than_is_asked_for_and_a_bound() {
    let mut inflated = Inflated::new(bomb(), Compression::Gzip);
    let (mut buffer, mut calls, mut before) = (vec![0; 64 << 10], 0, 0);
    let far = 60 << 20;
    let n = loop {
        calls += 1;
        let read = inflated.read_at(far, &mut buffer);
        let inflated_now = inflated.at - before;
        assert!(inflated_now <= (PASS + 2 * buffer.len()) as u64, "{inflated_now} in call {calls}");
        assert!(inflated.recent.len() <= buffer.len() && inflated.recent.capacity() <= 2 * buffer.len());
        before = inflated.at;
        match read {
            Ok(n) => break n,
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
    };
    assert_eq!((n, calls), (buffer.len(), 60 / (PASS >> 20)), "each call goes on where the last one ended");
}

#[test]
fn a_look_at_the_head_does_not_begin_anew() {
    let mut inflated = Inflated::new(bomb(), Compression::Gzip);
    let mut head = vec![0; HEAD];
    assert_eq!(inflated.read_at(0, &mut head).expect("read"), HEAD);
    let (mut buffer, mut calls) = (vec![0; 4096], 0);
    while inflated.read_at(32 << 20, &mut buffer).is_err() {
        calls += 1;
        assert!(calls < 32, "it never gets there");
        let mut again = vec![1; HEAD / 2];
        assert_eq!(inflated.read_at(4, &mut again).expect("read"), again.len());
        assert_eq!(again, head[4..4 + again.len()]);
    }
}
