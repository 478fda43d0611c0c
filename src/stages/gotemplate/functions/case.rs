//! Upper and lower case, and naming styles such as camel case.

use super::super::call::{Outcome, text};
use super::{Function, function};

pub(super) const FUNCTIONS: &[Function] = &[
    function("ToLower", 1, |c| each(c.text(0)?, lower)),
    function("ToUpper", 1, |c| each(c.text(0)?, upper)),
    function("lower", 1, |c| each(c.text(0)?, lower)),
    function("upper", 1, |c| each(c.text(0)?, upper)),
    function("title", 1, |c| title(c.text(0)?)),
    function("untitle", 1, |c| untitle(c.text(0)?)),
    function("swapcase", 1, |c| swap(c.text(0)?)),
    function("camelcase", 1, |c| camel(c.text(0)?)),
    function("snakecase", 1, |c| text(words(c.text(0)?, '_'))),
    function("kebabcase", 1, |c| text(words(c.text(0)?, '-'))),
];

fn each(of: &str, change: fn(char) -> char) -> Outcome {
    text(of.chars().map(change).collect::<String>())
}

/// One character for one, as in Go: `ß` stays.
fn upper(c: char) -> char {
    let mut upper = c.to_uppercase();
    if upper.len() == 1 { upper.next().unwrap_or(c) } else { c }
}

fn lower(c: char) -> char {
    match c {
        // The only character with two characters in lower case.
        '\u{130}' => 'i',
        c => c.to_lowercase().next().unwrap_or(c),
    }
}

fn title(of: &str) -> Outcome {
    let separates = |c: char| match c {
        '0'..='9' | 'a'..='z' | 'A'..='Z' | '_' => false,
        c if c.is_ascii() => true,
        c => !c.is_alphanumeric() && c.is_whitespace(),
    };
    let mut before = ' ';
    let change = |c: char| {
        let changed = if separates(before) { upper(c) } else { c };
        before = c;
        changed
    };
    text(of.chars().map(change).collect::<String>())
}

fn untitle(of: &str) -> Outcome {
    let mut first = true;
    let change = |c: char| {
        let space = c.is_whitespace();
        let changed = if first && !space { lower(c) } else { c };
        first = space;
        changed
    };
    text(of.chars().map(change).collect::<String>())
}

fn swap(of: &str) -> Outcome {
    let mut space = true;
    let change = |c: char| {
        let changed = if c.is_uppercase() { lower(c) } else { upper(c) };
        space = if c.is_uppercase() || c.is_lowercase() { false } else { c.is_whitespace() };
        changed
    };
    text(of.chars().map(change).collect::<String>())
}

fn connects(c: char) -> bool {
    c == '-' || c == '_' || c.is_whitespace()
}

/// `some_words` to `SomeWords`. Leading connectors stay, and of repeated connectors all except one.
fn camel(of: &str) -> Outcome {
    let mut rest = of.chars().peekable();
    let mut out = String::new();
    while let Some(c) = rest.next_if(|c| connects(*c)) {
        out.push(c);
    }
    let Some(first) = rest.next() else {
        // xstrings, which sprig uses, repeats the last connector.
        out.extend(out.chars().last());
        return text(out);
    };
    let mut was_upper = first.is_uppercase();
    let mut before = upper(first);
    for c in rest {
        let mut c = c;
        if connects(c) && connects(before) {
            out.push(before);
            continue;
        }
        if connects(before) {
            was_upper = c.is_uppercase();
            c = upper(c);
        } else {
            if was_upper {
                if c.is_uppercase() {
                    c = lower(c);
                } else {
                    was_upper = false;
                }
            }
            out.push(before);
        }
        before = c;
    }
    out.push(before);
    text(out)
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Word {
    Number,
    Upper,
    Lower,
    Connector,
    Punctuation,
    Other,
    End,
}

/// `someWords` to `some_words`. Words are split at changes of case, digits and punctuation.
fn words(of: &str, connector: char) -> String {
    let mut out = String::new();
    let (mut kind, mut word, mut rest) = next_word(of);
    while !rest.is_empty() {
        if kind != Word::Connector {
            push(&mut out, kind, word, connector);
        }
        let (before, last) = (kind, word);
        (kind, word, rest) = next_word(rest);
        match before {
            Word::Number => {
                (kind, word, rest) = lower_and_numbers(&mut out, (kind, word, rest), connector);
                if !matches!(kind, Word::End | Word::Punctuation | Word::Connector) {
                    out.push(connector);
                }
            }
            Word::Connector => push(&mut out, before, last, connector),
            Word::Punctuation => {}
            _ if kind != Word::Number => {
                if !matches!(kind, Word::Connector | Word::Punctuation) {
                    out.push(connector);
                }
            }
            _ if rest.is_empty() => {}
            _ => {
                let number = word;
                (kind, word, rest) = next_word(rest);
                // A number belongs to the word before it, unless letters follow: `http2xx`.
                if kind != Word::Lower {
                    push(&mut out, Word::Number, number, connector);
                    if !matches!(kind, Word::Connector | Word::Punctuation) {
                        out.push(connector);
                    }
                    continue;
                }
                out.push(connector);
                push(&mut out, Word::Number, number, connector);
                (kind, word, rest) = lower_and_numbers(&mut out, (kind, word, rest), connector);
                if !matches!(kind, Word::End | Word::Connector | Word::Punctuation) {
                    out.push(connector);
                }
            }
        }
    }
    push(&mut out, kind, word, connector);
    out
}

type Next<'t> = (Word, &'t str, &'t str);

fn lower_and_numbers<'t>(out: &mut String, mut next: Next<'t>, connector: char) -> Next<'t> {
    while matches!(next.0, Word::Lower | Word::Number) {
        push(out, next.0, next.1, connector);
        next = next_word(next.2);
    }
    next
}

fn push(out: &mut String, kind: Word, word: &str, connector: char) {
    match kind {
        Word::Upper | Word::Lower | Word::Other | Word::Number | Word::Punctuation => {
            out.extend(word.chars().map(if matches!(kind, Word::Upper) { lower } else { |c| c }));
        }
        Word::Connector => out.extend(word.chars().map(|_| connector)),
        Word::End => {}
    }
}

fn next_word(of: &str) -> Next<'_> {
    let Some(first) = of.chars().next() else {
        return (Word::End, "", "");
    };
    let kind = kind_of(first);
    let while_kind = |holds: &dyn Fn(char) -> bool| of.find(|c| !holds(c)).unwrap_or(of.len());
    let len = match kind {
        Word::Upper => upper_word(of),
        Word::Lower => while_kind(&|c| c.is_alphabetic() && !c.is_uppercase()),
        Word::Other => {
            first.len_utf8()
                + of[first.len_utf8()..].find(|c| kind_of(c) != Word::Other).unwrap_or(of.len() - first.len_utf8())
        }
        kind => while_kind(&|c| kind_of(c) == kind),
    };
    (kind, &of[..len], &of[len..])
}

fn kind_of(c: char) -> Word {
    match c {
        c if connects(c) => Word::Connector,
        c if is_punctuation(c) => Word::Punctuation,
        c if c.is_uppercase() => Word::Upper,
        c if c.is_alphabetic() => Word::Lower,
        c if c.is_numeric() => Word::Number,
        _ => Word::Other,
    }
}

/// Unicode punctuation within ASCII. `+`, `<` and `$` are symbols.
fn is_punctuation(c: char) -> bool {
    c.is_ascii_punctuation() && !"$+<=>^`|~".contains(c)
}

/// The length of the first word: `HTTP` in `HTTPServer`, `Server` in `ServerError`.
fn upper_word(of: &str) -> usize {
    let uppers = of.find(|c: char| !c.is_uppercase()).unwrap_or(of.len());
    let (upper, rest) = of.split_at(uppers);
    let last = upper.chars().next_back().map_or(0, char::len_utf8);
    match rest.chars().next() {
        // A single upper-case letter begins the word.
        Some(next) if next.is_alphabetic() && last == uppers => {
            uppers + rest.find(|c: char| !c.is_alphabetic() || c.is_uppercase()).unwrap_or(rest.len())
        }
        Some(next) if next.is_alphabetic() => uppers - last,
        _ => uppers,
    }
}
