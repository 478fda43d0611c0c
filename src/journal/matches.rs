//! Selects the entries to read by `FIELD=value` terms, as journalctl does. Terms of one field are alternatives, different
//! fields must all match, and `+` separates alternatives of whole groups.

use std::collections::BTreeMap;

use super::entry::Entry;

/// See the [module](self). Without terms, everything matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matches {
    groups: Vec<Group>,
}

/// By field: the texts `FIELD=value` of which an entry must have one.
type Group = BTreeMap<String, Vec<Vec<u8>>>;

/// The longest name of a field, in bytes.
const NAME: usize = 64;

impl Matches {
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut groups = vec![Group::new()];
        for term in text.split_whitespace() {
            if term == "+" {
                groups.push(Group::new());
                continue;
            }
            let Some((field, _)) = term.split_once('=') else {
                let advice = match term.starts_with('/') {
                    true => "write a path as _EXE=<path>, or _KERNEL_DEVICE=<device>",
                    false => "write FIELD=value, such as _SYSTEMD_UNIT=ssh.service",
                };
                return Err(format!("{term:?} has no `=`: {advice}"));
            };
            let is_name = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
            let starts_well = !field.is_empty() && !field.starts_with(|c: char| c.is_ascii_digit());
            if !starts_well || field.len() > NAME || !field.bytes().all(is_name) {
                return Err(format!(
                    "{field:?} is no name of a field: they have up to {NAME} of the characters A-Z, 0-9 and _"
                ));
            }
            if let Some(group) = groups.last_mut() {
                group.entry(field.to_string()).or_default().push(term.as_bytes().to_vec());
            }
        }
        if groups.len() > 1 && groups.iter().any(Group::is_empty) {
            return Err("there must be a term before and after each `+`".into());
        }
        groups.retain(|group| !group.is_empty());
        Ok(Self { groups })
    }

    /// Whether the field with this name matters.
    pub fn reads(&self, name: &[u8]) -> bool {
        self.groups.iter().any(|group| group.keys().any(|field| field.as_bytes() == name))
    }

    pub fn matches(&self, entry: &Entry) -> bool {
        let has_one_of = |texts: &Vec<Vec<u8>>| entry.texts().any(|text| texts.iter().any(|one| one == text));
        self.groups.is_empty() || self.groups.iter().any(|group| group.values().all(has_one_of))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(fields: &[&str]) -> Entry {
        let mut entry = Entry::default();
        for field in fields {
            let write = |out: &mut Vec<u8>| {
                out.extend_from_slice(field.as_bytes());
                Ok::<_, ()>(())
            };
            entry.add(write).expect("a field");
        }
        entry
    }

    #[test]
    fn terms_of_one_field_are_alternatives_and_fields_must_all_match() {
        let entry = entry(&["MESSAGE=a=b", "_UID=0", "_UID=7", "PRIORITY=3"]);
        for (text, want) in [
            ("", true),
            ("_UID=0", true),
            ("_UID=7", true),
            ("_UID=1", false),
            ("_UID=1 _UID=0", true),
            ("_UID=0 PRIORITY=4", false),
            ("_UID=0 PRIORITY=4 PRIORITY=3", true),
            ("_UID=0 PRIORITY=4 + MESSAGE=a=b", true),
            ("_UID=0 PRIORITY=4 + MESSAGE=a", false),
            ("OTHER=", false),
        ] {
            assert_eq!(Matches::parse(text).expect(text).matches(&entry), want, "{text}");
        }
    }

    #[test]
    fn what_is_no_match_is_refused() {
        for (text, word) in [
            ("/usr/bin/x", "_EXE"),
            ("unit", "FIELD=value"),
            ("unit=x", "no name"),
            ("A=1 +", "`+`"),
            ("=x", "no name"),
        ] {
            let error = Matches::parse(text).expect_err(text);
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
