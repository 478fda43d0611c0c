//! RFC 3164, which describes the format in use: `Mmm dd hh:mm:ss HOST TAG[PID]: TEXT` after the priority. Devices vary it
//! with a year, fractions of a second, an ISO date, a sequence number, no host, no date.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;

use super::message::Message;
use super::rfc5424;
use crate::model::Rfc3339;

/// The longest tag. RFC 3164 allows 32 characters, but some programs write longer tags.
const TAG: usize = 64;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Reads any text: parts that are not understood become part of the message.
pub(super) fn parse<'m>(text: &'m str, now: i64, times: &mut Rfc3339) -> Message<'m> {
    let mut message = Message::default();
    let Some((time, rest)) = time(without_sequence(text), now, times) else {
        tag(&mut message, text);
        return message;
    };
    message.time = Some(time);
    let rest = rest.trim_start_matches(' ');
    match rest.split_once(' ') {
        Some((host, rest)) if !host.is_empty() && !host.ends_with(':') && !host.contains('[') => {
            message.hostname = Some(host);
            tag(&mut message, rest);
        }
        _ => tag(&mut message, rest),
    }
    message
}

/// Cisco's devices count their messages, and mark a clock that is not set: `29: *Mar 1 …`.
fn without_sequence(text: &str) -> &str {
    let text = text.trim_start_matches(' ');
    let behind = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let text = if behind.len() < text.len() { behind.strip_prefix(": ").unwrap_or(text) } else { text };
    text.strip_prefix(['*', '.']).unwrap_or(text)
}

/// `TAG[PID]: text`, or text alone.
fn tag<'m>(message: &mut Message<'m>, rest: &'m str) {
    message.text = rest;
    let is_tag = |c: char| c.is_ascii_alphanumeric() || "_-./@%+#()".contains(c);
    let end = rest.find(|c: char| !is_tag(c)).unwrap_or(rest.len());
    if end == 0 || end > TAG {
        return;
    }
    let (tag, behind) = rest.split_at(end);
    let (pid, behind) = match behind.strip_prefix('[').and_then(|behind| behind.split_once(']')) {
        Some((pid, behind)) if pid.len() <= TAG && !pid.contains(' ') => (Some(pid), behind),
        _ => (None, behind),
    };
    let colon = behind.strip_prefix(':');
    if colon.is_none() && pid.is_none() {
        return;
    }
    let text = colon.unwrap_or(behind);
    message.app_name = Some(tag);
    message.proc_id = pid.filter(|pid| !pid.is_empty());
    message.text = text.strip_prefix(' ').unwrap_or(text);
}

/// The time at the beginning, in Unix nanoseconds, and the text after it.
fn time<'t>(text: &'t str, now: i64, times: &mut Rfc3339) -> Option<(i64, &'t str)> {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        let end = text.find(' ').unwrap_or(text.len());
        return Some((rfc5424::time(&text[..end], times)?, &text[end..]));
    }
    let (name, rest) = text.split_at_checked(3)?;
    let month = 1 + MONTHS.iter().position(|month| *month == name)? as i8;
    let (day, rest) = number(rest.strip_prefix(' ')?.trim_start_matches(' '), 2)?;
    let rest = rest.strip_prefix(' ')?;
    let (year, rest) = match number(rest, 4) {
        Some((year, behind)) if year >= 1_970 && behind.starts_with(' ') => {
            (Some(year as i16), behind.trim_start_matches(' '))
        }
        _ => (None, rest),
    };
    let (hour, rest) = number(rest, 2)?;
    let (minute, rest) = number(rest.strip_prefix(':')?, 2)?;
    let (second, mut rest) = number(rest.strip_prefix(':')?, 2)?;
    let mut nanos = 0;
    if let Some(fraction) = rest.strip_prefix(['.', ',']) {
        let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
        nanos = format!("{:0<9}", &fraction[..digits.min(9)]).parse().ok()?;
        rest = &fraction[digits..];
    }
    let at = |year: i16| {
        let date = Date::new(year, month, day as i8).ok()?;
        let time = Time::new(hour as i8, minute as i8, second as i8, nanos).ok()?;
        let time = DateTime::from_parts(date, time).to_zoned(TimeZone::UTC).ok()?.timestamp();
        i64::try_from(time.as_nanosecond()).ok()
    };
    let time = match year {
        Some(year) => at(year)?,
        None => {
            let this = Timestamp::from_nanosecond(now.into()).ok()?.to_zoned(TimeZone::UTC).year();
            let years = [this.saturating_sub(1), this, this.saturating_add(1)];
            years.into_iter().filter_map(at).min_by_key(|time| time.abs_diff(now))?
        }
    };
    Some((time, without_zone(rest)))
}

/// Cisco's devices write the name of a zone and a colon: ` UTC: `.
fn without_zone(rest: &str) -> &str {
    if let Some(behind) = rest.strip_prefix(':') {
        return behind;
    }
    match rest.strip_prefix(' ').and_then(|rest| rest.split_once(": ")) {
        Some((zone, behind)) if (2..=5).contains(&zone.len()) && zone.bytes().all(|b| b.is_ascii_uppercase()) => behind,
        _ => rest,
    }
}

/// A number of at most this many digits.
fn number(text: &str, digits: usize) -> Option<(u16, &str)> {
    let count = text.bytes().take(digits).take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at_checked(count)?;
    Some((number.parse().ok()?, rest))
}
