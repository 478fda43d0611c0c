//! Lower and upper case as in Go: character by character, never longer.

pub(super) fn lower(text: &str) -> String {
    // Only İ has two; Go takes the i and leaves the dot.
    text.chars().filter_map(|c| c.to_lowercase().next()).collect()
}

pub(super) fn upper(text: &str) -> String {
    text.chars().map(upper_char).collect()
}

fn upper_char(c: char) -> char {
    let mut upper = c.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(upper), None) => upper,
        // Greek with iota below has a capital that Unicode reserves for titles; Go uses it.
        _ => match c {
            '\u{1f80}'..='\u{1faf}' => char::from_u32(c as u32 | 8).unwrap_or(c),
            '\u{1fb3}' | '\u{1fc3}' | '\u{1ff3}' => char::from_u32(c as u32 + 9).unwrap_or(c),
            // ß, ŉ, ﬁ: without a capital of their own.
            _ => c,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn character_by_character() {
        for (text, lowered, uppered) in [
            ("", "", ""),
            ("MiXed-É_9", "mixed-é_9", "MIXED-É_9"),
            ("ΑΣ", "ασ", "ΑΣ"), // no sigma at the end of a word,
            ("straße ﬁ", "straße ﬁ", "STRAßE ﬁ"),
            ("İ", "i", "İ"),
            ("ᾳᾀᾈ", "ᾳᾀᾀ", "ᾼᾈᾈ"),
        ] {
            assert_eq!(lower(text), lowered, "{text}");
            assert_eq!(upper(text), uppered, "{text}");
        }
    }
}
