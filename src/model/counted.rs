//! Numbers of things in words.

use std::fmt::Display;

/// `1 error`, `2 errors`.
pub fn counted(count: impl TryInto<u64> + Display + Copy, one: &str) -> String {
    if matches!(count.try_into(), Ok(1)) { format!("1 {one}") } else { format!("{count} {one}s") }
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn one_is_singular() {
        assert_eq!([0, 1, 2].map(|count| counted(count, "error")), ["0 errors", "1 error", "2 errors"]);
    }
}
