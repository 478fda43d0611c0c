//! Discovered targets that cannot be tailed, because something is missing or wrong.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::model::DiscoveredReport;
use crate::server::html::Html;

/// The maximum number of mistakes on the page. JSON has all.
const SHOWN: usize = 50;

/// Targets of one group with the same mistake.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Mistake {
    job: String,
    group: String,
    reason: String,
    targets: usize,
}

pub(super) fn collect(discovered: Vec<DiscoveredReport>) -> Vec<Mistake> {
    let mut counts: BTreeMap<(String, String, String), usize> = BTreeMap::new();
    for one in discovered.into_iter().filter(|one| one.is_mistake) {
        *counts.entry((one.job, one.group, one.dropped.unwrap_or_default())).or_default() += 1;
    }
    let mistake = |((job, group, reason), targets)| Mistake { job, group, reason, targets };
    counts.into_iter().map(mistake).collect()
}

pub(super) fn write(page: &mut Html, mistakes: &[Mistake]) {
    if mistakes.is_empty() {
        return;
    }
    page.markup("<h2>Targets that cannot be tailed</h2>\n<table>\n")
        .markup("<tr><th>job</th><th>group</th><th>targets</th><th>reason</th></tr>\n");
    for mistake in mistakes.iter().take(SHOWN) {
        page.markup("<tr>").element("td", &mistake.job).element("td", &mistake.group).number(mistake.targets);
        page.markup("<td class=\"bad\">").text(&mistake.reason).markup("</td></tr>\n");
    }
    page.markup("</table>\n");
    if mistakes.len() > SHOWN {
        page.element("p", format_args!("and {} more", mistakes.len() - SHOWN));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn discovered(group: &str, dropped: Option<&str>, is_mistake: bool) -> DiscoveredReport {
        DiscoveredReport {
            job: "<job>".into(),
            group: group.into(),
            discovered: Default::default(),
            labels: None,
            path: None,
            dropped: dropped.map(Into::into),
            is_mistake,
            left_out: None,
            unread: 0,
        }
    }

    #[test]
    fn only_what_nobody_can_have_meant_counted_by_its_reason() {
        let mistakes = collect(vec![
            discovered("a", Some("no __path__"), true),
            discovered("b", Some("a rule"), false),
            discovered("a", Some("no __path__"), true),
            discovered("c", None, false),
            discovered("a", Some("<odd>"), true),
        ]);
        let seen: Vec<_> = mistakes.iter().map(|m| (m.group.as_str(), m.reason.as_str(), m.targets)).collect();
        assert_eq!(seen, [("a", "<odd>", 1), ("a", "no __path__", 2)]);
        let mut page = Html::page("targets");
        write(&mut page, &mistakes);
        let page = page.finish();
        assert!(page.contains("&lt;odd&gt;") && page.contains("&lt;job&gt;") && page.contains("no __path__"), "{page}");
        let many: Vec<_> = (0..60).map(|n| discovered(&n.to_string(), Some("x"), true)).collect();
        let mut page = Html::page("targets");
        write(&mut page, &collect(many));
        assert!(page.finish().contains("and 10 more"));
    }
}
