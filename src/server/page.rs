//! The JSON that the page at `/` reads. Each answer is short, however many targets there are.

mod overview;
mod rows;

pub(super) use overview::Overview;
pub(super) use rows::{AskedForRows, Rows};

/// `text` with at most `limit` bytes. What others write may have any length.
fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_string();
    }
    format!("{}…", &text[..text.floor_char_boundary(limit)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(cut("äöü", 6), "äöü");
        assert_eq!(cut("äöü", 3), "ä…");
    }
}
