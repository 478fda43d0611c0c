//! Lower and upper case as in Go: one character for each character.

pub(super) fn lower(text: &str) -> String {
    // Only İ has two lower-case characters. Go takes the i and drops the dot.
    text.chars().filter_map(|c| c.to_lowercase().next()).collect()
}

pub(super) fn upper(text: &str) -> String {
    text.chars().map(upper_char).collect()
}

fn upper_char(c: char) -> char {
    let mut upper = c.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(upper), None) => upper,
        // Greek letters with iota below have a title-case character in Unicode, which Go uses.
        _ => match c {
            '\u{1f80}'..='\u{1faf}' => char::from_u32(c as u32 | 8).unwrap_or(c),
            '\u{1fb3}' | '\u{1fc3}' | '\u{1ff3}' => char::from_u32(c as u32 + 9).unwrap_or(c),
            // ß, ŉ, ﬁ have no single upper-case character.
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
            ("ΑΣ", "ασ", "ΑΣ"), // No final sigma.
            ("straße ﬁ", "straße ﬁ", "STRAßE ﬁ"),
            ("İ", "i", "İ"),
            ("ᾳᾀᾈ", "ᾳᾀᾀ", "ᾼᾈᾈ"),
        ] {
            assert_eq!(lower(text), lowered, "{text}");
            assert_eq!(upper(text), uppered, "{text}");
        }
    }
}
