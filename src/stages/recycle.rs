//! Memory that is used for one line after the other, though what it holds borrows from another chunk each time.

/// The same memory, empty, for what may live shorter or longer. Collecting in place is what the standard library does where
/// both are laid out alike; if it did not, this would cost an allocation, as without it.
pub(super) fn recycled<A, B>(mut used: Vec<A>) -> Vec<B> {
    used.clear();
    used.into_iter().filter_map(|_| None).collect()
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    #[test]
    fn memory_stays_where_it_is() {
        let mut used: Vec<Cow<'static, str>> = Vec::with_capacity(10);
        used.push("x".into());
        let place = used.as_ptr() as usize;
        let mut other: Vec<Cow<'_, str>> = recycled(used);
        assert_eq!((other.len(), other.capacity(), other.as_ptr() as usize), (0, 10, place));
        let short = String::from("short-lived");
        other.push(Cow::Borrowed(&short));
        assert_eq!(recycled::<_, Cow<'static, str>>(other).capacity(), 10);
    }
}
