//! Translates Go's syntax, parsed like `regexp/syntax`, for the `regex` crate.
//!
//! One pass from left to right. Plain text is escaped, so that it has no special meaning to `regex`. Group names are
//! removed and returned separately.

use super::chars::{escaped_char, literal, next};
use super::class;

/// The pattern for `regex`, and the names of the groups by index.
#[derive(Debug)]
pub(super) struct Translated {
    pub(super) pattern: String,
    pub(super) groups: Vec<Option<Box<str>>>,
}

pub(super) fn translate(pattern: &str) -> Result<Translated, String> {
    let mut translator =
        Translator { rest: pattern, out: String::new(), groups: vec![None], depth: 0, operand: Operand::Missing };
    translator.run()?;
    Ok(Translated { pattern: translator.out, groups: translator.groups })
}

struct Translator<'p> {
    rest: &'p str,
    out: String,
    groups: Vec<Option<Box<str>>>,
    depth: usize,
    operand: Operand,
}

/// The expression before the current position, for a repetition to repeat.
#[derive(PartialEq)]
enum Operand {
    Missing,
    Once,
    Repeated,
}

impl Translator<'_> {
    fn run(&mut self) -> Result<(), String> {
        while let Some(c) = next(&mut self.rest) {
            match c {
                '\\' => self.escape()?,
                '[' => {
                    class::bracketed(&mut self.rest, &mut self.out)?;
                    self.operand = Operand::Once;
                }
                '(' => self.open()?,
                ')' => self.close()?,
                '|' => {
                    self.out.push('|');
                    self.operand = Operand::Missing;
                }
                '.' | '^' | '$' => {
                    self.out.push(c);
                    self.operand = Operand::Once;
                }
                '*' | '+' | '?' => self.repeat(&c.to_string())?,
                '{' => match counted(&mut self.rest)? {
                    Some(count) => self.repeat(&count)?,
                    None => self.plain('{'),
                },
                c => self.plain(c),
            }
        }
        if self.depth > 0 {
            return Err("a group is not closed, a ) is missing".to_string());
        }
        Ok(())
    }

    fn plain(&mut self, c: char) {
        literal(c, &mut self.out);
        self.operand = Operand::Once;
    }

    /// Translates what follows a backslash.
    fn escape(&mut self) -> Result<(), String> {
        if let Some(rest) = self.rest.strip_prefix('Q') {
            let (quoted, after) = rest.split_once("\\E").unwrap_or((rest, ""));
            quoted.chars().for_each(|c| self.plain(c));
            self.rest = after;
            return Ok(());
        }
        self.operand = Operand::Once;
        if class::escaped(&mut self.rest, &mut self.out)? {
            return Ok(());
        }
        let assertion = match self.rest.chars().next() {
            Some('A') => "\\A",
            Some('z') => "\\z",
            // Not in braces: `\b{start}` has another meaning in `regex`.
            Some('b') => "(?-u:\\b)",
            Some('B') => "(?-u:\\B)",
            _ => {
                literal(escaped_char(&mut self.rest)?, &mut self.out);
                return Ok(());
            }
        };
        self.out.push_str(assertion);
        self.rest = &self.rest[1..];
        Ok(())
    }

    /// Translates what follows a `(`.
    fn open(&mut self) -> Result<(), String> {
        let Some(question) = self.rest.strip_prefix('?') else {
            self.group(None);
            return Ok(());
        };
        for (syntax, feature) in [
            ("=", "look-ahead"),
            ("!", "look-ahead"),
            ("<=", "look-behind"),
            ("<!", "look-behind"),
            (">", "atomic groups"),
            ("P=", "back-references"),
            ("P>", "recursion"),
        ] {
            if question.starts_with(syntax) {
                return Err(format!("(?{syntax} is {feature}, of which Go's RE2 has none"));
            }
        }
        match question.strip_prefix("P<").or_else(|| question.strip_prefix('<')) {
            Some(name) => {
                let (name, after) = name.split_once('>').ok_or("a group's name is not closed, a > is missing")?;
                if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                    return Err(format!("group name {name:?}: expected letters a-z, digits and _"));
                }
                self.rest = after;
                self.group(Some(name.into()));
            }
            None => {
                self.rest = question;
                self.flags()?;
            }
        }
        Ok(())
    }

    fn group(&mut self, name: Option<Box<str>>) {
        self.groups.push(name);
        self.enter("(");
    }

    fn enter(&mut self, opening: &str) {
        self.out.push_str(opening);
        self.depth += 1;
        self.operand = Operand::Missing;
    }

    fn close(&mut self) -> Result<(), String> {
        self.depth = self.depth.checked_sub(1).ok_or("a ) closes no group, write \\) for the character")?;
        self.out.push(')');
        self.operand = Operand::Once;
        Ok(())
    }

    /// Translates flags after `(?`, up to `)` or `:`. Of two contradicting flags the later one wins, as in Go.
    fn flags(&mut self) -> Result<(), String> {
        let mut flags: Vec<(char, bool)> = Vec::new();
        let (mut on, mut dangling) = (true, false);
        loop {
            match next(&mut self.rest) {
                Some(flag @ ('i' | 'm' | 's' | 'U')) => {
                    flags.retain(|(f, _)| *f != flag);
                    flags.push((flag, on));
                    dangling = false;
                }
                Some('-') if on => (on, dangling) = (false, true),
                Some(end @ (':' | ')')) if !dangling => {
                    let set = |state| flags.iter().filter(move |(_, on)| *on == state).map(|(flag, _)| *flag);
                    let (set, cleared): (String, String) = (set(true).collect(), set(false).collect());
                    let minus = if cleared.is_empty() { "" } else { "-" };
                    let opening = format!("(?{set}{minus}{cleared}{end}");
                    match end {
                        ':' => self.enter(&opening),
                        _ if flags.is_empty() => {}
                        _ => {
                            self.out.push_str(&opening);
                            // Go would repeat what is before the flags, which cannot be intended.
                            self.operand = Operand::Missing;
                        }
                    }
                    return Ok(());
                }
                _ => {
                    return Err(
                        "after (? Go's RE2 knows P<name>, <name>, and the flags i, m, s, U before : or )".into()
                    );
                }
            }
        }
    }

    /// Translates a repetition, and a following `?` that makes it lazy.
    fn repeat(&mut self, repetition: &str) -> Result<(), String> {
        match self.operand {
            Operand::Missing => Err(format!("nothing stands before {repetition} to repeat")),
            Operand::Repeated if repetition == "+" => Err("Go's RE2 has no possessive repetition".to_string()),
            Operand::Repeated => Err(format!("{repetition} repeats a repetition, put that into (?: )")),
            Operand::Once => {
                self.out.push_str(repetition);
                if let Some(rest) = self.rest.strip_prefix('?') {
                    self.out.push('?');
                    self.rest = rest;
                }
                self.operand = Operand::Repeated;
                Ok(())
            }
        }
    }
}

/// Reads `n}`, `n,}` or `n,m}` after a `{`. None: it is not a repetition, and the brace is plain text.
fn counted(rest: &mut &str) -> Result<Option<String>, String> {
    let Some((count, after)) = rest.split_once('}') else { return Ok(None) };
    let (min, max) = count.split_once(',').unwrap_or((count, count));
    let is_number = |s: &str| s.bytes().all(|b| b.is_ascii_digit()) && (s == "0" || !s.starts_with('0'));
    if min.is_empty() || !is_number(min) || !is_number(max) {
        return Ok(None);
    }
    let within = |s: &str| s.parse::<u16>().is_ok_and(|n| n <= 1000);
    let ordered = max.is_empty() || within(max) && min.parse::<u16>().ok() <= max.parse::<u16>().ok();
    if !within(min) || !ordered {
        return Err(format!("repetition {{{count}}}: expected at most 1000, the smaller number first"));
    }
    *rest = after;
    Ok(Some(format!("{{{count}}}")))
}
