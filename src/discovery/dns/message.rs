//! Messages of DNS (RFC 1035): a question, and the records of an answer. Synchronous, without sockets.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The type of the records that are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    A = 1,
    Ns = 2,
    Mx = 15,
    Aaaa = 28,
    Srv = 33,
}

/// A record. Names are written as in DNS, with a dot at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    A(Ipv4Addr),
    Aaaa(Ipv6Addr),
    Ns(String),
    Mx(String),
    Srv { target: String, port: u16 },
}

/// What a server has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The name has these records. None if it has none, or does not exist.
    Records(Vec<Record>),
    /// The answer is too long for UDP.
    Truncated,
    /// The server cannot or will not answer. The number is its response code.
    Refused(u8),
}

/// The longest name in bytes, with the length of each part.
const LONGEST_NAME: usize = 255;

const HEADER: usize = 12;

/// Class IN.
const INTERNET: u16 = 1;

/// The question for records of `name`. None: `name` cannot be a name of DNS.
pub fn question(id: u16, name: &str, kind: Kind) -> Option<Vec<u8>> {
    // A standard query. The server is asked to ask other servers.
    let mut message = [id, 0x0100, 1, 0, 0, 0].map(u16::to_be_bytes).concat();
    for part in name.trim_end_matches('.').split('.') {
        let length = u8::try_from(part.len()).ok().filter(|length| (1..64).contains(length))?;
        message.push(length);
        message.extend_from_slice(part.as_bytes());
    }
    message.push(0);
    if message.len() - HEADER > LONGEST_NAME {
        return None;
    }
    message.extend_from_slice(&(kind as u16).to_be_bytes());
    message.extend_from_slice(&INTERNET.to_be_bytes());
    Some(message)
}

/// Reads the answer to `question`. None: it is not one.
pub fn answer(question: &[u8], message: &[u8]) -> Option<Answer> {
    let flags = number(message, 2)?;
    let is_answer = flags & 0x8000 != 0 && message.get(..2) == question.get(..2) && number(message, 4)? == 1;
    // The question is repeated. Servers may change the case of its letters.
    let repeated = message.get(HEADER..question.len())?;
    if !is_answer || !repeated.eq_ignore_ascii_case(question.get(HEADER..)?) {
        return None;
    }
    if flags & 0x0200 != 0 {
        return Some(Answer::Truncated);
    }
    match (flags & 0x000f) as u8 {
        0 => {}
        // There is no such name.
        3 => return Some(Answer::Records(Vec::new())),
        code => return Some(Answer::Refused(code)),
    }
    let kind = number(question, question.len().checked_sub(4)?)?;
    let (mut records, mut at) = (Vec::new(), question.len());
    for _ in 0..number(message, 6)? {
        at = skip_name(message, at)?;
        let (of_kind, class, length) = (number(message, at)?, number(message, at + 2)?, number(message, at + 8)?);
        let data = at + 10;
        at = data + usize::from(length);
        let bytes = message.get(data..at)?;
        // Others are those of the name that the name is an alias of.
        if of_kind == kind && class == INTERNET {
            records.push(record(kind, message, data, bytes)?);
        }
    }
    Some(Answer::Records(records))
}

fn record(kind: u16, message: &[u8], at: usize, bytes: &[u8]) -> Option<Record> {
    Some(match kind {
        kind if kind == Kind::A as u16 => Record::A(<[u8; 4]>::try_from(bytes).ok()?.into()),
        kind if kind == Kind::Aaaa as u16 => Record::Aaaa(<[u8; 16]>::try_from(bytes).ok()?.into()),
        kind if kind == Kind::Ns as u16 => Record::Ns(name(message, at)?),
        kind if kind == Kind::Mx as u16 => Record::Mx(name(message, at + 2)?),
        _ => Record::Srv { target: name(message, at + 6)?, port: number(message, at + 4)? },
    })
}

fn number(message: &[u8], at: usize) -> Option<u16> {
    let bytes = message.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes([bytes[0], bytes[1]]))
}

/// The place behind the name at `at`.
fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            // The rest of the name is elsewhere.
            length if length >= 0xc0 => return Some(at + 2),
            length if length < 0x40 => at += 1 + usize::from(length),
            _ => return None,
        }
    }
}

/// The name at `at`. Its rest may be elsewhere, but only before that place, so that it has an end.
fn name(message: &[u8], mut at: usize) -> Option<String> {
    let (mut text, mut before) = (String::new(), at);
    loop {
        let length = usize::from(*message.get(at)?);
        match length {
            0 if text.is_empty() => return Some(".".into()),
            0 => return Some(text),
            1..0x40 => {
                for &byte in message.get(at + 1..at + 1 + length)? {
                    match byte {
                        // They could be taken for the ends of parts.
                        b'.' | b'\\' => text.extend(['\\', char::from(byte)]),
                        0x21..0x7f => text.push(char::from(byte)),
                        _ => text.push_str(&format!("\\{byte:03}")),
                    }
                }
                text.push('.');
                at += 1 + length;
            }
            0xc0.. => {
                let to = usize::from(number(message, at)? & 0x3fff);
                if to >= before {
                    return None;
                }
                (at, before) = (to, to);
            }
            _ => return None,
        }
        // Other bytes are written with four characters.
        if text.len() > 4 * LONGEST_NAME {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer to `question` with these records, each with its type and data.
    fn answered(question: &[u8], flags: u16, records: &[(u16, &[u8])]) -> Vec<u8> {
        let mut message = question.to_vec();
        message[2..4].copy_from_slice(&flags.to_be_bytes());
        message[6..8].copy_from_slice(&(records.len() as u16).to_be_bytes());
        for (kind, data) in records {
            // The name is the one of the question.
            message.extend([0xc0, 12]);
            message.extend([kind.to_be_bytes(), [0, 1], [0, 0], [0, 60], (data.len() as u16).to_be_bytes()].concat());
            message.extend_from_slice(data);
        }
        message
    }

    #[test]
    fn what_is_asked() {
        let asked = question(0x1234, "_web._tcp.a.b.", Kind::Srv).expect("a name");
        assert_eq!(
            asked,
            b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04_web\x04_tcp\x01a\x01b\x00\x00\x21\x00\x01"
        );
        assert_eq!(question(1, "a.b", Kind::A), question(1, "a.b.", Kind::A));
        for name in ["", ".", "a..b", ".a", &"x".repeat(64), &"abc.".repeat(64)] {
            assert_eq!(question(1, name, Kind::A), None, "{name}");
        }
    }

    #[test]
    fn the_records_of_an_answer() {
        let of = |kind: Kind, records: &[(u16, &[u8])]| {
            let asked = question(7, "a.b", kind).expect("a name");
            answer(&asked, &answered(&asked, 0x8180, records))
        };
        let records = |records: Vec<Record>| Some(Answer::Records(records));
        // An alias comes first.
        let a = of(Kind::A, &[(5, b"\x01c\x00"), (1, &[10, 0, 0, 1]), (1, &[10, 0, 0, 2])]);
        assert_eq!(a, records(vec![Record::A([10, 0, 0, 1].into()), Record::A([10, 0, 0, 2].into())]));
        let loopback = std::net::Ipv6Addr::LOCALHOST;
        assert_eq!(of(Kind::Aaaa, &[(28, &loopback.octets())]), records(vec![Record::Aaaa(loopback)]));
        // The target is `h.` and the name of the question.
        let target = "h.a.b.".to_string();
        let srv = of(Kind::Srv, &[(33, b"\x00\x01\x00\x02\x1f\x90\x01h\xc0\x0c")]);
        assert_eq!(srv, records(vec![Record::Srv { target: target.clone(), port: 8080 }]));
        assert_eq!(of(Kind::Mx, &[(15, b"\x00\x0a\x01h\xc0\x0c")]), records(vec![Record::Mx(target)]));
        assert_eq!(of(Kind::Ns, &[(2, b"\x03n.s\x00")]), records(vec![Record::Ns("n\\.s.".into())]));
        assert_eq!(of(Kind::Ns, &[(2, b"\x02\xff\x00\x00")]), records(vec![Record::Ns("\\255\\000.".into())]));
        assert_eq!(of(Kind::A, &[]), records(vec![]));
    }

    #[test]
    fn what_is_no_answer_or_says_that_there_is_none() {
        let asked = question(7, "a.b", Kind::Srv).expect("a name");
        let of = |flags: u16, records: &[(u16, &[u8])]| answer(&asked, &answered(&asked, flags, records));
        assert_eq!(of(0x8183, &[]), Some(Answer::Records(vec![])), "no such name");
        assert_eq!(of(0x8182, &[]), Some(Answer::Refused(2)));
        assert_eq!(of(0x8380, &[]), Some(Answer::Truncated));
        assert_eq!(of(0x0180, &[]), None, "a question");
        let other = question(8, "a.b", Kind::Srv).expect("a name");
        assert_eq!(answer(&asked, &answered(&other, 0x8180, &[])), None, "another number");
        let other = question(7, "a.c", Kind::Srv).expect("a name");
        assert_eq!(answer(&asked, &answered(&other, 0x8180, &[])), None, "another name");
        let in_capitals = answered(&asked, 0x8180, &[]).to_ascii_uppercase();
        assert_eq!(answer(&asked, &in_capitals), Some(Answer::Records(vec![])));
        for data in [
            b"\x00\x01\x00\x02\x1f\x90\xc0\x27" as &[u8], // a name that leads to itself
            b"\x00\x01\x00\x02\x1f\x90\xc0\xff",          // behind the end
            b"\x00\x01\x00\x02\x1f\x90\x3fa",             // longer than the message
            b"\x00\x01\x00\x02\x1f\x90\x80a\x00",         // an unknown form
            b"\x00\x01",
        ] {
            assert_eq!(of(0x8180, &[(33, data)]), None, "{data:?}");
        }
    }

    #[test]
    fn no_bytes_make_it_panic_or_run_without_end() {
        let asked = question(7, "a.b", Kind::Srv).expect("a name");
        let whole = answered(
            &asked,
            0x8180,
            &[(33, b"\x00\x01\x00\x02\x1f\x90\x01h\xc0\x0c"), (33, b"\x00\x01\x00\x02\x1f\x90\xc0\x22")],
        );
        for end in 0..whole.len() {
            assert!(answer(&asked, &whole[..end]).is_none_or(|answer| matches!(answer, Answer::Records(_))));
        }
        for at in asked.len()..whole.len() {
            for byte in 0..=255 {
                let mut changed = whole.clone();
                changed[at] = byte;
                let _ = answer(&asked, &changed);
            }
        }
    }
}
