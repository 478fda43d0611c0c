//! One syslog message.

use std::borrow::Cow;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message<'m> {
    pub facility: u8,
    pub severity: u8,
    /// In Unix nanoseconds. None: the message has no time that can be read.
    pub time: Option<i64>,
    pub hostname: Option<&'m str>,
    pub app_name: Option<&'m str>,
    pub proc_id: Option<&'m str>,
    pub msg_id: Option<&'m str>,
    /// Structured data: the id of the element, the name, the value.
    pub data: Vec<(&'m str, &'m str, Cow<'m, str>)>,
    pub text: &'m str,
}

impl Message<'_> {
    pub fn severity_name(&self) -> &'static str {
        const NAMES: [&str; 8] =
            ["emergency", "alert", "critical", "error", "warning", "notice", "informational", "debug"];
        NAMES.get(usize::from(self.severity)).copied().unwrap_or("debug")
    }

    pub fn facility_name(&self) -> &'static str {
        const NAMES: [&str; 24] = [
            "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
            "ntp", "security", "console", "cron2", "local0", "local1", "local2", "local3", "local4", "local5",
            "local6", "local7",
        ];
        NAMES.get(usize::from(self.facility)).copied().unwrap_or("user")
    }
}
