//! Reuses a vector's memory between lines, although its contents borrow from different chunks.

/// Returns an empty vector with the memory of `used`, for another lifetime. The standard library collects in place if
/// both types have the same layout. Otherwise this costs one allocation.
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
