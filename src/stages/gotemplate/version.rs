//! Versions, parsed and compared as in sprig's library. It is lenient (`v1.2` is 1.2.0), and its constraints differ
//! from Cargo's: `1.2.3` is exactly that version, `1.2` is any patch of it, `||` means or.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use gotmpl::Value;

#[derive(Clone, Debug, Default)]
pub(super) struct Version {
    core: [u64; 3],
    pre: String,
    metadata: String,
    original: String,
}

/// Marks a dictionary as a version. Its other fields are the methods without arguments.
const KEY: &str = "\u{0}version";
const CORE: [&str; 3] = ["Major", "Minor", "Patch"];

impl Version {
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || "invalid semantic version".to_string();
        let rest = text.strip_prefix('v').unwrap_or(text);
        let (core, pre, metadata, end) = parts(rest, |b| b.is_ascii_digit()).ok_or_else(wrong)?;
        if end != rest.len() {
            return Err(wrong());
        }
        let mut numbers = [0; 3];
        for (number, part) in numbers.iter_mut().zip(core) {
            *number = part.unwrap_or("0").parse().map_err(|_| wrong())?;
        }
        let zero_first =
            |part: &str| part.len() > 1 && part.starts_with('0') && part.bytes().all(|b| b.is_ascii_digit());
        if pre.split('.').any(zero_first) {
            return Err(wrong());
        }
        Ok(Self { core: numbers, pre: pre.into(), metadata: metadata.into(), original: text.into() })
    }

    pub fn value(&self) -> Value {
        let text = |text: &str| Value::String(text.into());
        let mut fields: BTreeMap<Arc<str>, Value> =
            CORE.iter().zip(self.core).map(|(name, n)| ((*name).into(), Value::Uint(n))).collect();
        fields.insert("Prerelease".into(), text(&self.pre));
        fields.insert("Metadata".into(), text(&self.metadata));
        fields.insert("Original".into(), text(&self.original));
        fields.insert("String".into(), text(&self.to_string()));
        fields.insert(KEY.into(), text(&self.original));
        Value::Map(Arc::new(fields))
    }

    pub fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Map(fields) => match fields.get(KEY)? {
                Value::String(original) => Self::parse(original).ok(),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Whether `version` satisfies `constraint`. An error if one of them is not valid.
pub(super) fn satisfies(constraint: &str, version: &str) -> Result<bool, String> {
    let alternatives = constraint.split("||").map(constraints).collect::<Result<Vec<_>, String>>()?;
    let version = Version::parse(version)?;
    let holds = |all: &Vec<Constraint>| {
        // Pre-releases only match if a constraint names one.
        let pre = version.pre.is_empty() || all.iter().any(|c| !c.version.pre.is_empty());
        pre && all.iter().all(|c| c.holds(&version))
    };
    Ok(alternatives.iter().any(holds))
}

/// The three numbers or wildcards, the text after `-` and after `+`, and the total length.
type Parts<'t> = ([Option<&'t str>; 3], &'t str, &'t str, usize);

fn parts(text: &str, digit: impl Fn(u8) -> bool) -> Option<Parts<'_>> {
    let mut at = 0;
    let run = |at: usize, fits: &dyn Fn(u8) -> bool| at + text[at..].bytes().take_while(|b| fits(*b)).count();
    let mut core = [None; 3];
    for (i, part) in core.iter_mut().enumerate() {
        let start = if i == 0 { 0 } else { at + usize::from(text[at..].starts_with('.')) };
        let end = run(start, &digit);
        if end == start || (i > 0 && start == at) {
            break;
        }
        *part = Some(&text[start..end]);
        at = end;
    }
    core[0]?;
    let mut tails = [""; 2];
    for (tail, sign) in tails.iter_mut().zip(["-", "+"]) {
        let is_name = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
        if text[at..].starts_with(sign) {
            let end = run(at + 1, &is_name);
            if text[at + 1..end].split('.').any(str::is_empty) {
                return None;
            }
            *tail = &text[at + 1..end];
            at = end;
        }
    }
    Some((core, tails[0], tails[1], at))
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.core;
        write!(f, "{major}.{minor}.{patch}")?;
        for (sign, tail) in [("-", &self.pre), ("+", &self.metadata)] {
            if !tail.is_empty() {
                write!(f, "{sign}{tail}")?;
            }
        }
        Ok(())
    }
}

impl Version {
    /// Precedence of semantic versions. Build metadata is ignored.
    pub fn cmp(&self, other: &Self) -> Ordering {
        let pre = || match (self.pre.is_empty(), other.pre.is_empty()) {
            (false, false) => self.pre.split('.').map(Identifier::of).cmp(other.pre.split('.').map(Identifier::of)),
            (released, other) => released.cmp(&other),
        };
        self.core.cmp(&other.core).then_with(pre)
    }
}

/// Numbers sort before names.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Identifier<'t> {
    Number(u64),
    Name(&'t str),
}

impl<'t> Identifier<'t> {
    fn of(text: &'t str) -> Self {
        text.parse().map_or(Self::Name(text), Self::Number)
    }
}

#[derive(Debug)]
struct Constraint {
    operator: &'static str,
    version: Version,
    /// How many of the three numbers are given. `x` and `*` are not numbers.
    written: usize,
}

/// Longer ones first.
const OPERATORS: [&str; 12] = ["!=", ">=", "=>", "<=", "=<", "~>", "=", ">", "<", "~", "^", ""];

/// Parses constraints that must all hold, separated by commas or spaces. `1.2 - 2.3` is two constraints.
fn constraints(text: &str) -> Result<Vec<Constraint>, String> {
    let wrong = || format!("improper constraint: {text}");
    let mut all = Vec::new();
    let mut rest = text.trim();
    loop {
        let operator = OPERATORS.into_iter().find(|op| rest.starts_with(op)).unwrap_or("");
        rest = rest[operator.len()..].trim_start();
        let (constraint, after) = Constraint::read(operator, rest).ok_or_else(wrong)?;
        rest = after.trim_start();
        let range = rest.strip_prefix('-').filter(|to| rest.len() < after.len() && to.starts_with(char::is_whitespace));
        match range {
            Some(to) if operator.is_empty() => {
                let (end, after) = Constraint::read("<=", to.trim_start()).ok_or_else(wrong)?;
                all.extend([Constraint { operator: ">=", ..constraint }, end]);
                rest = after.trim_start();
            }
            Some(_) => return Err(wrong()),
            None => {
                all.push(constraint);
                let separated = rest.is_empty() || rest.len() < after.len() || rest.starts_with(',');
                if !separated {
                    return Err(wrong());
                }
            }
        }
        if rest.is_empty() {
            return Ok(all);
        }
        rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
    }
}

impl Constraint {
    fn read<'t>(operator: &'static str, text: &'t str) -> Option<(Self, &'t str)> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let (core, pre, metadata, end) = parts(text, |b| b.is_ascii_digit() || b"xX*".contains(&b))?;
        let is_number = |part: &Option<&str>| part.is_some_and(|part| !["x", "X", "*"].contains(&part));
        let written = core.iter().take_while(|part| is_number(part)).count();
        let number = |i: usize| if i < written { core[i].unwrap_or("0") } else { "0" };
        let mut version = format!("{}.{}.{}", number(0), number(1), number(2));
        for (sign, tail) in [('-', pre), ('+', metadata)] {
            if !tail.is_empty() {
                version.push(sign);
                version.push_str(tail);
            }
        }
        Some((Self { operator, version: Version::parse(&version).ok()?, written }, &text[end..]))
    }

    fn holds(&self, version: &Version) -> bool {
        let ([major, minor, patch], own) = (version.core, &self.version);
        let order = version.cmp(own);
        match self.operator {
            "!=" => match self.written {
                3 => !order.is_eq(),
                0 => version.core != [0; 3],
                1 => major != own.core[0],
                _ => [major, minor] != own.core[..2] || version.pre != own.pre,
            },
            ">" => match self.written {
                1 => major > own.core[0],
                2 => [major, minor] > [own.core[0], own.core[1]],
                _ => order.is_gt(),
            },
            "<" => order.is_lt(),
            ">=" | "=>" => order.is_ge(),
            "<=" | "=<" => match self.written {
                3 => order.is_le(),
                1 => major <= own.core[0],
                _ => [major, minor] <= [own.core[0], own.core[1]],
            },
            "" | "=" if self.written == 3 => order.is_eq(),
            "^" => order.is_ge() && self.same_up_to_the_first_that_counts([major, minor, patch]),
            _ if order.is_lt() => false,
            _ if own.core == [0; 3] && matches!(self.written, 0 | 3) => true,
            _ => major == own.core[0] && (self.written == 1 || minor == own.core[1]),
        }
    }

    /// `^1.2` is below 2, `^0.2` is below 0.3, `^0.0.2` is exactly that.
    fn same_up_to_the_first_that_counts(&self, core: [u64; 3]) -> bool {
        let own = self.version.core;
        let counts = match own {
            _ if self.written == 1 || own[0] > 0 => 1,
            _ if self.written == 2 || own[1] > 0 => 2,
            _ => 3,
        };
        core[..counts] == own[..counts]
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Extracted;
    use super::super::{Data, Template};

    fn render(template: &str) -> Result<String, String> {
        let template = Template::parse(template).unwrap_or_else(|e| panic!("{template}: {e}"));
        template.over(&Extracted::default(), Data::default()).render(None)
    }

    /// Expected values come from the binary of Promtail 3.6, which was asked these and three thousand others.
    #[test]
    fn constraints() {
        for (constraint, yes, no) in [
            ("1.2.3", "1.2.3 v1.2.3 1.2.3+meta 01.2.3", "1.2.4 1.2.3-alpha 1"),
            ("=1.2", "1.2 1.2.9", "1.3.0 1.2.3-alpha"),
            ("*", "0 10.0.0", "0.0.0-a"),
            ("1.x", "1 1.10.0", "2.0.0 0.2.3"),
            (">1.2", "1.3.0 2", "1.2.4"),
            (">1", "2.0.0", "1.10.0"),
            (">=1.2, <2", "1.2 1.10.0", "2 1.1.9"),
            (">=1.2 <2.0.0", "1.2.3", "2.0.0"),
            ("=<1.2", "1.2.9 0", "1.3.0"),
            ("=>1.2", "1.2", "1.1"),
            ("!=1.2", "1.3.0", "1.2.4"),
            ("!=*", "0.2.3 1", "0.0.0"),
            ("~1.2.3", "1.2.4", "1.2.2 1.3.0"),
            ("~>1", "1.10.0", "2.0.0"),
            ("^1.2", "1.10.0", "2.0.0 1.1"),
            ("^0.2", "0.2.9", "0.3.0 1"),
            ("^0.0.3", "0.0.3", "0.0.4"),
            ("^0", "0.2.3", "1"),
            ("1.2 - 2.0", "1.2 2.0.9", "1.1 2.1"),
            ("1 || >=3, <4", "1.9 3.1", "2 4"),
            (">=1.2.3-alpha", "1.2.3-alpha.1 1.2.3 2.0.0-rc.1", "1.2.3-0"),
            ("~1.2.3-beta", "1.2.3-beta 1.2.4", "1.2.3-alpha"),
        ] {
            for (versions, want) in [(yes, "true"), (no, "false")] {
                for version in versions.split(' ') {
                    let got = render(&format!("{{{{ semverCompare \"{constraint}\" \"{version}\" }}}}"));
                    assert_eq!(got.as_deref(), Ok(want), "{constraint} of {version}");
                }
            }
        }
        for (constraint, version) in [
            ("", "1"),
            (" ", "1"),
            (">", "1"),
            (">>1", "1"),
            ("1.2.3.4", "1"),
            (">1<2", "1"),
            (">1,,<2", "1"),
            ("> 1 - 2", "1"),
            ("1.2.y", "1"),
            ("1x", "1"),
            ("1 ||", "1"),
            ("1", ""),
            ("1", "x"),
            ("1", "1.2."),
            ("1", "1.2.3-01"),
            ("1", "1.2.3-a..b"),
            ("1", "1.2.3 "),
            ("1", "18446744073709551616.0.0"),
        ] {
            let got = render(&format!("{{{{ semverCompare \"{constraint}\" \"{version}\" }}}}"));
            assert!(got.is_err(), "{constraint} of {version}: {got:?}");
        }
    }

    #[test]
    fn parts_and_order() {
        for (template, want) in [
            (
                r#"{{ $v := semver "v1.2-rc.1+x" }}{{ $v }} {{ $v.Major }} {{ $v.Minor | add 1 }} {{ $v.Patch }} {{ $v.Prerelease }} {{ $v.Metadata }} {{ $v.Original }}"#,
                "1.2.0-rc.1+x 1 3 0 rc.1 x v1.2-rc.1+x",
            ),
            (r#"{{ toJson (semver "1.2") }} {{ typeOf (semver "1") }}"#, r#""1.2.0" *semver.Version"#),
            (r#"{{ (semver "1.2.3").Compare (semver "1.4") }}"#, "-1"),
            (r#"{{ semver "1.4.3" | (semver "1.2.3").Compare }}"#, "-1"),
            (
                r#"{{ (semver "1-a.2").LessThan (semver "1-a.10") }} {{ (semver "1-10").GreaterThan (semver "1-a") }}"#,
                "true false",
            ),
            (
                r#"{{ (semver "1-a").LessThan (semver "1-a.0") }} {{ (semver "1+a").Equal (semver "1+b") }}"#,
                "true true",
            ),
            (r#"{{ (dict "Equal" 1).Equal }}"#, "1"),
        ] {
            assert_eq!(render(template).as_deref(), Ok(want), "{template}");
        }
        for template in [r#"{{ semver "x" }}"#, r#"{{ (semver "1").Compare "1" }}"#, r#"{{ (semver "1").Compare }}"#] {
            assert!(render(template).is_err(), "{template}");
        }
    }
}
