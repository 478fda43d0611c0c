//! `/service-discovery`: the discovered targets, the result of relabelling, and the rule that dropped a target.

use std::collections::BTreeSet;

use serde::Serialize;

use super::html::Html;
use crate::model::{DiscoveredReport, DiscoverySummary, DropReason, LabelSet, Labels, Report};

#[derive(Serialize)]
pub(super) struct Discovered {
    summary: Summary,
    targets: Vec<DiscoveredReport>,
}

/// Totals of all targets, also if only some are shown.
#[derive(Serialize)]
struct Summary {
    discovered: usize,
    kept: usize,
    dropped: Vec<DropReason>,
    /// The number of groups (pods) with omitted values that rules read.
    cut_groups: usize,
}

/// Shown instead of an annotation's value.
const HIDDEN: &str = "(hidden: annotations may contain secrets)";

/// Shown if the value was not kept.
const UNREAD: &str = "(empty, or no rule reads it)";

impl Discovered {
    /// Reads `report`, and keeps the targets that contain `text`. Dropped targets are first.
    pub(super) fn collect(report: &dyn Report, text: &str) -> Self {
        let mut targets = report.discovered();
        let summary = Summary::of(&targets);
        // Before the search, so that hidden values cannot be found by guessing.
        targets.iter_mut().for_each(hide);
        let text = text.to_lowercase();
        targets.retain(|target| contains(target, &text));
        targets.sort_by_cached_key(|target| (!is_dropped(target), target.job.clone(), target.group.clone()));
        Self { summary, targets }
    }

    pub(super) fn html(&self, text: &str) -> String {
        let mut page = Html::page("service discovery");
        self.summary.write(&mut page);
        page.search_box(text);
        if self.targets.len() != self.summary.discovered {
            page.element("p", format_args!("{} of {} targets:", self.targets.len(), self.summary.discovered));
        }
        page.markup("<table>\n<tr><th>job</th><th>group</th><th>outcome</th><th>discovered labels</th></tr>\n");
        for target in &self.targets {
            write_target(&mut page, target);
        }
        page.markup("</table>\n");
        page.finish()
    }
}

impl Summary {
    fn of(targets: &[DiscoveredReport]) -> Self {
        let outcomes = targets.iter().map(|one| (one.job.as_str(), is_dropped(one).then(|| reason(one))));
        let DiscoverySummary { discovered, kept, dropped } = DiscoverySummary::of(outcomes);
        let cut = targets.iter().filter(|target| target.left_out.is_some());
        let cut_groups = cut.map(|target| (&target.job, &target.group)).collect::<BTreeSet<_>>().len();
        Self { discovered, kept, dropped, cut_groups }
    }

    fn write(&self, page: &mut Html) {
        let dropped = self.discovered - self.kept;
        page.element(
            "p",
            format_args!("{} targets discovered, {} kept, {dropped} dropped", self.discovered, self.kept),
        );
        if self.cut_groups > 0 {
            let text = "pods have more labels, annotations or containers than are kept: see \"omitted\" below";
            page.markup("<p class=\"bad\">").text(format_args!("{} {text}", self.cut_groups)).markup("</p>\n");
        }
        if self.dropped.is_empty() {
            return;
        }
        page.markup("\n<table>\n<tr><th>dropped</th><th>job</th><th>by</th></tr>\n");
        for reason in &self.dropped {
            page.markup("<tr>").number(reason.targets).element("td", &reason.job).element("td", &reason.reason);
            page.markup("</tr>\n");
        }
        page.markup("</table>\n");
    }
}

fn write_target(page: &mut Html, target: &DiscoveredReport) {
    page.markup("<tr>").element("td", &target.job).element("td", &target.group).markup("<td>");
    if is_dropped(target) {
        page.markup("<span class=\"bad\">dropped</span> ").text(reason(target)).markup("<br>");
    }
    if let Some(labels) = &target.labels {
        page.element("code", LabelSet::from(labels)).markup("<br>");
    }
    if let Some(path) = &target.path {
        page.markup("<span class=\"faint\">path</span> ").element("code", path);
    }
    if let Some(left_out) = &target.left_out {
        page.markup("<br><span class=\"bad\">omitted</span> ").text(left_out);
    }
    page.markup("</td><td><details><summary>").text(format_args!("{} labels", target.discovered.len()));
    page.markup("</summary>\n<pre>");
    for (name, value) in &target.discovered {
        page.text(format_args!("{name}={value}\n"));
    }
    if target.unread > 0 {
        page.text(format_args!("and {} more labels and annotations of its group that no rule reads\n", target.unread));
    }
    page.markup("</pre></details></td></tr>\n");
}

/// Hides the values of annotations. Everyone who reaches the port sees this page, and `kubectl apply` saves whole
/// manifests with secrets in an annotation. If a rule copies an annotation to a label, the label is shown.
fn hide(target: &mut DiscoveredReport) {
    for (name, value) in &mut target.discovered {
        if is_annotation(name) {
            *value = if value.is_empty() { UNREAD.into() } else { HIDDEN.into() };
        }
    }
}

fn is_annotation(name: &str) -> bool {
    name.starts_with("__meta_kubernetes_") && name.contains("_annotation_")
}

fn is_dropped(target: &DiscoveredReport) -> bool {
    target.dropped.is_some() || target.labels.is_none()
}

fn reason(target: &DiscoveredReport) -> &str {
    target.dropped.as_deref().unwrap_or("relabelling")
}

/// `text` must be in lower case.
fn contains(target: &DiscoveredReport, text: &str) -> bool {
    let has = |hay: &str| hay.to_lowercase().contains(text);
    let any = |labels: &Labels| labels.iter().any(|(name, value)| has(&format!("{name}={value}")));
    has(&target.job)
        || has(&target.group)
        || any(&target.discovered)
        || target.labels.as_ref().is_some_and(any)
        || target.path.as_deref().is_some_and(has)
        || target.dropped.as_deref().is_some_and(has)
        || target.left_out.as_deref().is_some_and(has)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ClientReport, TargetReport};

    struct Fixed(Vec<DiscoveredReport>);

    impl Report for Fixed {
        fn targets(&self) -> Vec<TargetReport> {
            Vec::new()
        }
        fn discovered(&self) -> Vec<DiscoveredReport> {
            self.0.clone()
        }
        fn clients(&self) -> Vec<ClientReport> {
            Vec::new()
        }
    }

    fn pod(name: &str, dropped: Option<&str>) -> DiscoveredReport {
        let labels = |key: &str| Labels::from([(key.to_string(), name.to_string())]);
        DiscoveredReport {
            is_mistake: false,
            left_out: None,
            unread: 0,
            job: "pods".into(),
            group: format!("pod/shop/{name}"),
            discovered: labels("__meta_kubernetes_pod_name"),
            labels: dropped.is_none().then(|| labels("pod")),
            path: dropped.is_none().then(|| format!("/var/log/pods/{name}/*.log")),
            dropped: dropped.map(Into::into),
        }
    }

    fn some() -> Fixed {
        Fixed(vec![
            pod("kept", None),
            pod("a", Some("rule 2: keep <x>")),
            pod("b", Some("rule 1: drop")),
            pod("c", Some("rule 2: keep <x>")),
        ])
    }

    #[test]
    fn values_of_annotations_are_neither_shown_nor_found() {
        let mut target = pod("a", None);
        let name = "__meta_kubernetes_pod_annotation_kubectl_kubernetes_io_last_applied_configuration";
        target.discovered.insert(name.into(), "hunter2".into());
        let fixed = Fixed(vec![target]);
        let all = Discovered::collect(&fixed, "");
        let json = serde_json::to_string(&all).expect("JSON");
        for page in [all.html(""), json] {
            assert!(page.contains(name) && page.contains("may contain secrets") && !page.contains("hunter2"), "{page}");
        }
        assert_eq!(Discovered::collect(&fixed, "hunter").targets.len(), 0, "guessing finds nothing");
    }

    #[test]
    fn what_is_left_out_of_a_pod_is_shown_with_its_name_and_counted_once() {
        let mut cut = [pod("a", None), pod("a", None), pod("b", None)];
        for target in &mut cut[..2] {
            (target.left_out, target.unread) = (Some("990 <ports>".into()), 12);
        }
        cut[0].discovered.insert("__meta_kubernetes_pod_annotation_x".into(), String::new());
        let fixed = Fixed(cut.into());
        let all = Discovered::collect(&fixed, "");
        assert_eq!(all.summary.cut_groups, 1);
        let page = all.html("");
        for part in
            ["1 pods have more", "990 &lt;ports&gt;", "and 12 more labels", "annotation_x=(empty, or no rule reads"]
        {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert_eq!(Discovered::collect(&fixed, "990").targets.len(), 2);
        assert_eq!(Discovered::collect(&some(), "").summary.cut_groups, 0);
    }

    #[test]
    fn the_dropped_come_first_and_their_reasons_are_counted() {
        let discovered = Discovered::collect(&some(), "");
        assert_eq!(discovered.targets[3].group, "pod/shop/kept");
        let reasons: Vec<_> = discovered.summary.dropped.iter().map(|r| (r.targets, r.reason.as_str())).collect();
        assert_eq!(reasons, [(2, "rule 2: keep <x>"), (1, "rule 1: drop")]);
        let page = discovered.html("");
        assert!(page.contains("4 targets discovered, 1 kept, 3 dropped"), "{page}");
        assert!(page.contains("rule 2: keep &lt;x&gt;") && !page.contains("<x>"), "{page}");
    }

    #[test]
    fn the_filter_looks_into_labels_and_rules() {
        for (text, shown) in [("Pod_Name=KEPT", 1), ("rule 2", 2), ("shop", 4), ("nowhere", 0)] {
            assert_eq!(Discovered::collect(&some(), text).targets.len(), shown, "{text}");
        }
    }
}
