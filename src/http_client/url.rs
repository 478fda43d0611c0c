//! A URL from the config. It may contain a user and a password.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::units;

/// Kept as written, except that the scheme is in lower case: requests and the `host` label use the user's spelling.
/// Shown without user, password and query, which may contain secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Url(String);

impl Url {
    pub fn new(text: impl Into<String>) -> Self {
        let mut text = text.into();
        if let Some(end) = text.find("://") {
            text[..end].make_ascii_lowercase();
        }
        Self(text)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The complete URL with secrets. Only for requests.
    pub fn expose(&self) -> &str {
        &self.0
    }

    pub fn scheme(&self) -> &str {
        self.0.split_once("://").map_or("", |(scheme, _)| scheme)
    }

    /// `host[:port]`.
    pub fn host(&self) -> &str {
        self.authority().rsplit_once('@').map_or(self.authority(), |(_, host)| host)
    }

    pub fn has_user(&self) -> bool {
        self.authority().contains('@')
    }

    /// The user in the URL. Only used to tell clients apart.
    pub fn user(&self) -> &str {
        let user = self.authority().rsplit_once('@').map_or("", |(user, _)| user);
        user.split_once(':').map_or(user, |(user, _)| user)
    }

    /// The path after the host, without query and fragment.
    pub fn path(&self) -> &str {
        let path = &self.after_scheme()[self.authority().len()..];
        &path[..path.find(['?', '#']).unwrap_or(path.len())]
    }

    pub fn with_scheme(&self, scheme: &str) -> Self {
        Self(format!("{scheme}://{}", self.after_scheme()))
    }

    pub fn redacted(&self) -> String {
        // The `@` after a password with a character that ends the authority, such as `/` or `#`, or after a mistyped
        // scheme: everything may be a part of the password.
        if self.may_hide_a_password() {
            return match self.scheme() {
                "" => "(not shown)".into(),
                scheme => format!("{scheme}://(not shown)"),
            };
        }
        match self.scheme() {
            "" => format!("{}{}", self.host(), self.path()),
            scheme => format!("{scheme}://{}{}", self.host(), self.path()),
        }
    }

    /// Whether there is an `@` where it cannot separate a password from a host.
    pub fn may_hide_a_password(&self) -> bool {
        self.after_scheme()[self.authority().len()..].contains('@')
    }

    fn after_scheme(&self) -> &str {
        self.0.split_once("://").map_or(&self.0, |(_, rest)| rest)
    }

    fn authority(&self) -> &str {
        let rest = self.after_scheme();
        &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())]
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted())
    }
}

impl Serialize for Url {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.is_empty() { serializer.serialize_str("") } else { serializer.serialize_str(&self.redacted()) }
    }
}

impl<'de> Deserialize<'de> for Url {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        units::string(deserializer).map(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_in_capitals_is_the_same() {
        for (written, read) in [
            ("HTTP://LOKI:3100/Push", "http://LOKI:3100/Push"),
            ("hTTps://U:P@Loki/?A=B", "https://U:P@Loki/?A=B"),
            ("Ftp://x", "ftp://x"),
            ("LOKI:3100/x", "LOKI:3100/x"),
            ("", ""),
        ] {
            assert_eq!(Url::new(written).expose(), read);
            let url: Url = serde_yaml::from_str(&format!("{written:?}")).expect(written);
            assert_eq!(url.expose(), read);
        }
    }

    #[test]
    fn shows_where_and_not_who() {
        for (url, host, redacted) in [
            ("http://loki:3100/loki/api/v1/push", "loki:3100", "http://loki:3100/loki/api/v1/push"),
            ("https://12:glc_s3cret@logs.example.com/p", "logs.example.com", "https://logs.example.com/p"),
            ("http://u:p%40ss@[::1]:80?token=s3cret", "[::1]:80", "http://[::1]:80"),
            ("http://u:a@b@loki/p#s3cret", "loki", "http://loki/p"),
            ("http://loki:80/", "loki:80", "http://loki:80/"),
            ("ftp.loki/x", "ftp.loki", "ftp.loki/x"),
            ("admin:s3cret@loki/x", "loki", "loki/x"),
        ] {
            let url = Url::new(url);
            assert_eq!((url.host(), url.redacted().as_str()), (host, redacted));
            assert_eq!(format!("{url:?}"), redacted);
        }
    }

    #[test]
    fn a_password_is_not_shown_wherever_the_url_is_mistyped() {
        for url in [
            "https://admin:s3cret/x@loki:3100/p",
            "https://admin:s3cret#x@loki:3100/p",
            "https://admin:s3cret?x@loki:3100/p",
            "https://admin:x?s3cret/y@loki",
            "http//admin:s3cret@loki:3100/p",
            "http:/admin:s3cret@loki:3100/p",
            "HTTPS:///admin:s3cret@loki",
        ] {
            let url = Url::new(url);
            let shown = format!("{} {url:?} {}", url.redacted(), serde_yaml::to_string(&url).expect("text"));
            assert!(!shown.contains("s3cret") && shown.contains("(not shown)"), "{shown}");
            let refused = crate::http_client::check_url(&url).expect_err("not a URL");
            assert!(!refused.contains("s3cret") && refused.contains("%2F"), "{refused}");
        }
    }
}
