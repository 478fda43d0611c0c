//! Reads a syslog message. A version after the priority shows that it is RFC 5424. Everything else is read as RFC 3164, of
//! which devices have many dialects.

use super::message::Message;
use super::{rfc3164, rfc5424};
use crate::model::Rfc3339;

/// None: the text has no priority, so it is no syslog message. `now` is in Unix nanoseconds, for times without a year. `times`
/// remembers the second of the last message.
pub fn parse<'m>(message: &'m str, now: i64, times: &mut Rfc3339) -> Option<Message<'m>> {
    let message = message.strip_prefix('<')?;
    let end = message.bytes().take(4).position(|byte| byte == b'>').filter(|digits| *digits > 0)?;
    let mut priority = 0;
    for byte in message.bytes().take(end) {
        priority = priority * 10 + char::from(byte).to_digit(10)?;
    }
    let priority = u8::try_from(priority).ok().filter(|priority| *priority < 192)?;
    let rest = message.get(end + 1..)?;
    let (facility, severity) = (priority / 8, priority % 8);
    let message = rfc5424::parse(rest, times).unwrap_or_else(|| rfc3164::parse(rest, now, times));
    Some(Message { facility, severity, ..message })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-02-01T12:00:00Z.
    const NOW: i64 = 1_769_947_200_000_000_000;

    fn shown(message: &str) -> String {
        let Some(m) = parse(message, NOW, &mut Rfc3339::default()) else { return "none".into() };
        let time = m.time.map(|time| jiff::Timestamp::from_nanosecond(time.into()).expect("a time").to_string());
        let part = |part: Option<&str>| part.unwrap_or("-").to_string();
        let data: String = m.data.iter().map(|(id, name, value)| format!(" {id}.{name}={value}")).collect();
        let [host, app, proc, id] = [m.hostname, m.app_name, m.proc_id, m.msg_id].map(part);
        let (facility, severity, time) = (m.facility_name(), m.severity_name(), time.unwrap_or("-".into()));
        format!("{facility}.{severity} {time} {host} {app} {proc} {id}{data}|{}", m.text)
    }

    #[test]
    fn rfc5424() {
        for (message, want) in [
            (
                "<165>1 2026-01-02T03:04:05.003+02:00 host.example app 8710 ID47 - A message",
                "local4.notice 2026-01-02T01:04:05.003Z host.example app 8710 ID47|A message",
            ),
            (
                "<34>1 2026-01-02T03:04:05Z h a - - [x@1 k=\"v\" l=\"a\\\"\\]\\\\\\n\"][y z=\"1\"] \u{feff}BOM",
                "auth.critical 2026-01-02T03:04:05Z h a - - x@1.k=v x@1.l=a\"]\\\\n y.z=1|BOM",
            ),
            ("<0>1 - - - - - -", "kern.emergency - - - - -|"),
            ("<0>1 - - - - - [x]", "kern.emergency - - - - -|"),
            ("<0>1 - - - - - [x] a\nb ", "kern.emergency - - - - -|a\nb "),
            // A message with an invalid time is kept.
            ("<14>1 yesterday h a p m - text", "user.informational - h a p m|text"),
            ("<14>1 2026-13-02T03:04:05Z h a p m - text", "user.informational - h a p m|text"),
            // Invalid structured data becomes part of the text.
            ("<14>1 - h a p m [x k=\"v text", "user.informational - h a p m|[x k=\"v text"),
            ("<14>1 - h a p m text without data", "user.informational - h a p m|text without data"),
        ] {
            assert_eq!(shown(message), want, "{message}");
        }
    }

    #[test]
    fn rfc3164_and_what_devices_make_of_it() {
        for (message, want) in [
            (
                "<34>Jan 31 22:14:15 mymachine su[12]: 'su root' failed",
                "auth.critical 2026-01-31T22:14:15Z mymachine su 12 -|'su root' failed",
            ),
            ("<13>Dec  1 01:02:03 h app: x", "user.notice 2025-12-01T01:02:03Z h app - -|x"),
            ("<13>Feb  2 01:02:03.5 h app: x", "user.notice 2026-02-02T01:02:03.5Z h app - -|x"),
            ("<13>Jan 31 22:14:15 root: no host", "user.notice 2026-01-31T22:14:15Z - root - -|no host"),
            ("<13>Jan 31 22:14:15 h no tag here", "user.notice 2026-01-31T22:14:15Z h - - -|no tag here"),
            ("<13>Jan 31 2024 22:14:15 h %ASA-6-1: x", "user.notice 2024-01-31T22:14:15Z h %ASA-6-1 - -|x"),
            ("<13>2026-01-31T22:14:15.123456+01:00 h app[1]: x", "user.notice 2026-01-31T21:14:15.123456Z h app 1 -|x"),
            (
                "<189>29: *Jan 31 22:14:15.001 UTC: %SYS-5-CONFIG_I: Configured",
                "local7.notice 2026-01-31T22:14:15.001Z - %SYS-5-CONFIG_I - -|Configured",
            ),
            ("<13>app[7]: no date", "user.notice - - app 7 -|no date"),
            ("<13>just text", "user.notice - - - - -|just text"),
            ("<13>Feb 30 22:14:15 h a: x", "user.notice - - - - -|Feb 30 22:14:15 h a: x"),
            ("<13>", "user.notice - - - - -|"),
            ("<13>Jan 31 22:14:15", "user.notice 2026-01-31T22:14:15Z - - - -|"),
            ("<191>1 is no version of this", "local7.debug - - - - -|1 is no version of this"),
            ("<192>x", "none"),
            ("<>x", "none"),
            ("<+1>x", "none"),
            ("x", "none"),
            ("<1", "none"),
        ] {
            assert_eq!(shown(message), want, "{message}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read(
            text in "\\PC{0,80}",
            head in proptest::sample::select(vec!["", "<13>", "<13>1 ", "<13>1 - - - - - [", "<13>Jan 31 ", "<13>2026-"]),
        ) {
            if let Some(message) = parse(&format!("{head}{text}"), NOW, &mut Rfc3339::default()) {
                proptest::prop_assert!(message.facility < 24);
            }
        }
    }
}
