//! `printf` as in Go's `fmt`: flags, width, precision, indexed arguments, and Go's error texts for verbs that do not
//! fit their argument (`%!d(string=hi)`).
//!
//! Output is limited to the longest text of a template. Beyond that the call fails.

mod number;
mod quoting;
#[cfg(test)]
mod tests;

use gotmpl::Value;

use super::call::MAX_TEXT;
use super::show::{float, type_of, untyped};
use super::version::Version;
use super::{moment, show};

/// Larger numbers in a format are invalid, as in Go.
const TOO_LARGE: i64 = 1_000_000;

pub(super) fn sprintf(format: &str, args: &[Value]) -> Result<String, String> {
    let mut printer = Printer { out: String::new(), full: false, flags: Flags::default() };
    printer.printf(format, args);
    if printer.full { Err("the text is too long".into()) } else { Ok(printer.out) }
}

/// The text between `%` and the verb.
#[derive(Clone, Copy, Debug, Default)]
struct Flags {
    width: Option<usize>,
    precision: Option<usize>,
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    /// `%#v`: Go syntax.
    sharp_v: bool,
}

struct Printer {
    out: String,
    /// The output limit was exceeded; the rest is dropped.
    full: bool,
    flags: Flags,
}

impl Printer {
    fn printf(&mut self, format: &str, args: &[Value]) {
        let mut next = 0;
        let mut reordered = false;
        let mut rest = format;
        while let Some(percent) = rest.find('%') {
            self.put(&rest[..percent]);
            let mut directive = Directive { rest: &rest[percent + 1..], next, good: true, reordered, args };
            self.directive(&mut directive);
            (rest, next, reordered) = (directive.rest, directive.next, directive.reordered);
            if self.full {
                return;
            }
        }
        self.put(rest);
        if reordered || next >= args.len() {
            return;
        }
        self.flags = Flags::default();
        self.put("%!(EXTRA ");
        for (i, arg) in args[next..].iter().enumerate() {
            self.put(if i > 0 { ", " } else { "" });
            match arg {
                Value::Nil => self.put("<nil>"),
                arg => {
                    self.put(type_of(arg));
                    self.put("=");
                    self.arg(arg, 'v');
                }
            }
        }
        self.put(")");
    }

    fn directive(&mut self, d: &mut Directive<'_, '_>) {
        self.flags = d.flags();
        let mut after_index = d.index();
        if d.take('*') {
            match d.number_of_argument() {
                // A negative width means the flag `-`.
                Some(width) if width < 0 => {
                    self.flags.width = Some(width.unsigned_abs() as usize);
                    self.flags.minus = true;
                    self.flags.zero = false;
                }
                Some(width) => self.flags.width = Some(width as usize),
                None => self.put("%!(BADWIDTH)"),
            }
            after_index = false;
        } else {
            self.flags.width = d.number();
            d.good &= !(after_index && self.flags.width.is_some());
        }
        if d.rest.len() > 1 && d.take('.') {
            d.good &= !after_index;
            after_index = d.index();
            if d.take('*') {
                self.flags.precision = d.number_of_argument().and_then(|n| usize::try_from(n).ok());
                self.put(if self.flags.precision.is_none() { "%!(BADPREC)" } else { "" });
                after_index = false;
            } else {
                self.flags.precision = Some(d.number().unwrap_or(0));
            }
        }
        if !after_index {
            d.index();
        }
        let Some(verb) = d.rest.chars().next() else {
            return self.put("%!(NOVERB)");
        };
        d.rest = &d.rest[verb.len_utf8()..];
        match d.args.get(d.next) {
            _ if verb == '%' => self.put("%"),
            _ if !d.good => self.complain(verb, "BADINDEX"),
            None => self.complain(verb, "MISSING"),
            Some(arg) => {
                if verb == 'v' {
                    self.flags.sharp_v = std::mem::take(&mut self.flags.sharp);
                    self.flags.plus = false;
                }
                self.arg(arg, verb);
                d.next += 1;
            }
        }
    }

    fn arg(&mut self, arg: &Value, verb: char) {
        match (arg, verb) {
            (Value::Nil, 'T' | 'v') => self.pad("<nil>"),
            (Value::Nil, _) => self.complain(verb, "<nil>"),
            (arg, 'T') => self.text(type_of(arg), 's'),
            (arg, verb) => self.value(arg, verb),
        }
    }

    fn value(&mut self, value: &Value, verb: char) {
        match untyped(value) {
            // Months and weekdays are numbers that print as names.
            Value::String(name) if matches!(verb, 'd' | 'b' | 'o' | 'O' | 'c' | 'U') => {
                match moment::number_of(type_of(value), name) {
                    Some(number) => self.integer(number, false, verb),
                    None => self.bad(value, verb),
                }
            }
            Value::Nil => self.put(if self.flags.sharp_v { "interface {}(nil)" } else { "<nil>" }),
            Value::Bool(b) if matches!(verb, 't' | 'v') => self.pad(if *b { "true" } else { "false" }),
            Value::Int(n) if number::is_integer_verb(verb) => self.integer(n.unsigned_abs(), *n < 0, verb),
            Value::Uint(n) if self.flags.sharp_v => {
                self.flags.sharp = true;
                self.integer(*n, false, 'x');
                self.flags.sharp = false;
            }
            Value::Uint(n) if number::is_integer_verb(verb) => self.integer(*n, false, verb),
            Value::Float(n) if number::is_float_verb(verb) => self.float(*n, verb),
            Value::String(text) if quoting::is_text_verb(verb) => self.text(text, verb),
            Value::List(items) => self.list(type_of(value), items, verb),
            Value::Map(fields) => {
                let shown = match (moment::of(value), Version::of(value)) {
                    (Some(stamp), _) if self.flags.sharp_v => return self.put(&moment::go_source(&stamp)),
                    (Some(stamp), _) => Some(moment::show(&stamp)),
                    (None, Some(version)) => Some(version.to_string()),
                    (None, None) => None,
                };
                match shown {
                    Some(text) if quoting::is_text_verb(verb) => self.text(&text, verb),
                    Some(_) => self.bad(value, verb),
                    None => {
                        let (open, close) = self.brackets(type_of(value), "map[");
                        self.put(&open);
                        for (i, (name, field)) in fields.iter().enumerate() {
                            self.between(i);
                            self.value(&Value::String(name.clone()), verb);
                            self.put(":");
                            self.value(field, verb);
                        }
                        self.put(close);
                    }
                }
            }
            _ => self.bad(value, verb),
        }
    }

    fn list(&mut self, kind: &str, items: &[Value], verb: char) {
        let (open, close) = self.brackets(kind, "[");
        self.put(&open);
        for (i, item) in items.iter().enumerate() {
            self.between(i);
            self.value(item, verb);
            if self.full {
                return;
            }
        }
        self.put(close);
    }

    fn brackets(&self, kind: &str, plain: &str) -> (String, &'static str) {
        if self.flags.sharp_v { (format!("{kind}{{"), "}") } else { (plain.to_string(), "]") }
    }

    fn between(&mut self, i: usize) {
        match i {
            0 => {}
            _ if self.flags.sharp_v => self.put(", "),
            _ => self.put(" "),
        }
    }

    /// Writes Go's error text for a verb that does not fit.
    fn bad(&mut self, value: &Value, verb: char) {
        let mut verb_and_type = String::from(verb);
        verb_and_type.push('(');
        verb_and_type.push_str(type_of(value));
        self.put("%!");
        self.put(&verb_and_type);
        self.put("=");
        match value {
            Value::Float(n) if self.flags.width.is_none() && self.flags.precision.is_none() => self.put(&float(*n)),
            Value::Map(_) if moment::of(value).is_some() => self.put(&show::show(value)),
            value => self.arg(value, 'v'),
        }
        self.put(")");
    }

    fn complain(&mut self, verb: char, what: &str) {
        self.put("%!");
        self.put(verb.encode_utf8(&mut [0; 4]));
        self.put("(");
        self.put(what);
        self.put(")");
    }

    fn pad(&mut self, text: &str) {
        let missing = self.flags.width.unwrap_or(0).saturating_sub(text.chars().count());
        if self.flags.minus {
            self.put(text);
            self.padding(missing);
        } else {
            self.padding(missing);
            self.put(text);
        }
    }

    fn pad_with_blanks(&mut self, text: &str) {
        let zero = std::mem::take(&mut self.flags.zero);
        self.pad(text);
        self.flags.zero = zero;
    }

    fn padding(&mut self, count: usize) {
        let with = if self.flags.zero && !self.flags.minus { "0" } else { " " };
        self.repeat(with, count);
    }

    fn repeat(&mut self, with: &str, count: usize) {
        if self.out.len() + count > MAX_TEXT {
            self.full = true;
        } else {
            self.out.extend(std::iter::repeat_n(with, count));
        }
    }

    fn put(&mut self, text: &str) {
        if self.out.len() + text.len() > MAX_TEXT {
            self.full = true;
        } else {
            self.out.push_str(text);
        }
    }
}

/// One `%…` of a format while it is parsed.
struct Directive<'f, 'a> {
    rest: &'f str,
    /// The index of the next argument.
    next: usize,
    /// All indexed arguments exist, and their indices are in valid places.
    good: bool,
    /// An argument was given by index.
    reordered: bool,
    args: &'a [Value],
}

impl Directive<'_, '_> {
    fn flags(&mut self) -> Flags {
        let mut flags = Flags::default();
        loop {
            match self.rest.as_bytes().first() {
                Some(b'#') => flags.sharp = true,
                Some(b'0') => flags.zero = true,
                Some(b'+') => flags.plus = true,
                Some(b'-') => flags.minus = true,
                Some(b' ') => flags.space = true,
                _ => return flags,
            }
            self.rest = &self.rest[1..];
        }
    }

    fn take(&mut self, c: char) -> bool {
        let rest = self.rest.strip_prefix(c);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Reads a number in the format. A number that is too large ends the format.
    fn number(&mut self) -> Option<usize> {
        let (number, rest) = digits(self.rest);
        self.rest = rest;
        number
    }

    /// Reads `[2]`. Returns whether it is present and valid.
    fn index(&mut self) -> bool {
        if !self.rest.starts_with('[') {
            return false;
        }
        self.reordered = true;
        let close = self.rest.find(']').filter(|_| self.rest.len() >= 3);
        let Some(close) = close else {
            self.good = false;
            self.rest = &self.rest[1..];
            return false;
        };
        let (number, left) = digits(&self.rest[1..close]);
        self.rest = &self.rest[close + 1..];
        let number = number.filter(|_| left.is_empty());
        match number.and_then(|n| n.checked_sub(1)).filter(|n| *n < self.args.len()) {
            Some(argument) => {
                self.next = argument;
                true
            }
            None => {
                self.good = false;
                number.is_some()
            }
        }
    }

    /// Reads `*`: the next argument, if it is a whole number within the limit. Otherwise None.
    fn number_of_argument(&mut self) -> Option<i64> {
        let arg = self.args.get(self.next)?;
        self.next += 1;
        let number = match untyped(arg) {
            Value::Int(n) => Some(*n),
            Value::Uint(n) => i64::try_from(*n).ok(),
            _ => None,
        };
        number.filter(|n| (-TOO_LARGE..=TOO_LARGE).contains(n))
    }
}

fn digits(text: &str) -> (Option<usize>, &str) {
    let (mut number, mut end) = (None, 0);
    for digit in text.bytes().take_while(u8::is_ascii_digit) {
        let so_far = number.unwrap_or(0);
        if so_far > TOO_LARGE as usize {
            return (None, "");
        }
        number = Some(so_far * 10 + usize::from(digit - b'0'));
        end += 1;
    }
    (number, &text[end..])
}
