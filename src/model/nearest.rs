//! "Did you mean": finds the known name that is a typing error away.

/// The known name nearest to `name`, if it is near enough to be a typing error. Otherwise None.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let simple = |text: &str| text.to_ascii_lowercase().replace('_', "-");
    let name = simple(name);
    let near = known.into_iter().map(|candidate| (distance(&name, &simple(candidate)), candidate));
    let (steps, candidate) = near.min_by_key(|(steps, _)| *steps)?;
    let allowed = (name.chars().count() / 3).clamp(1, 3);
    (steps <= allowed).then_some(candidate)
}

/// The number of insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut steps = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                steps = steps.min(before_last[j - 2] + 1);
            }
            row.push(steps);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_keyboard() {
        let known = ["batchwait", "batchsize", "url", "tenant_id", "scrape_configs"];
        for (name, want) in [
            ("batch_wait", Some("batchwait")),
            ("BatchSize", Some("batchsize")),
            ("tenantid", Some("tenant_id")),
            ("tenant-id", Some("tenant_id")),
            ("ulr", Some("url")),
            ("scrape_confgs", Some("scrape_configs")),
            ("zzz", None),
            ("headers", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, known), want, "{name}");
        }
    }
}
