//! Jobs that read nothing: what the agent says at its start, said before.

use super::Lint;
use crate::config::{Request, ScrapeConfig, first_existing};
use crate::discovery::StaticConfig;
use crate::model::{KeyPath, Labels};
use crate::relabel::{Rules, Verdict};

pub(super) fn lint(lint: &mut Lint<'_>) {
    let config = &lint.loaded.config;
    if config.scrape_configs.is_empty() && !config.target_config.stdin {
        lint.warn(KeyPath::default(), "there are no scrape_configs: nothing is read; add a job");
    }
    for (i, job) in lint.loaded.config.scrape_configs.iter().enumerate() {
        let path = KeyPath::from(format!("scrape_configs[{i}]").as_str());
        if let Ok(rules) = Rules::compile(&job.relabel_configs) {
            static_targets(lint, &path, job, &rules);
        }
    }
}

/// A file with several YAML documents, of which only the first is read, as in Promtail.
pub(super) fn documents(request: &Request) -> Option<String> {
    let (file, text) = first_existing(request).ok()?;
    let is_marker = |line: &str| line == "---" || line.starts_with("--- ");
    let has_text = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    let lines = || text.lines().enumerate();
    let (first, _) = lines().find(|(_, line)| has_text(line) && !is_marker(line))?;
    let (second, _) = lines().skip(first + 1).find(|(_, line)| is_marker(line.trim_end()))?;
    let is_used = text.lines().skip(second + 1).any(|line| has_text(&line) && !is_marker(line));
    let file = file.unwrap_or_default();
    is_used.then(|| {
        format!(
            "{file}:{}: only the text before this `---` is read: remove the line, so that the file is one document",
            second + 1
        )
    })
}

/// What becomes of the targets of the config file.
fn static_targets(lint: &mut Lint<'_>, path: &KeyPath, job: &ScrapeConfig, rules: &Rules) {
    let mut dropped = Vec::new();
    let mut is_kept = false;
    for (n, targets) in job.static_configs.iter().enumerate() {
        let outcomes: Vec<_> = outcomes(rules, targets).collect();
        let has_path = |labels: &Labels| labels.get("__path__").is_some_and(|path| !path.is_empty());
        let kept: Vec<_> = outcomes.iter().filter(|(verdict, _)| *verdict == Verdict::Keep).collect();
        dropped.extend(outcomes.iter().filter_map(|(verdict, _)| match verdict {
            Verdict::Drop { rule } => Some(*rule),
            Verdict::Keep => None,
        }));
        is_kept |= !kept.is_empty();
        if !kept.is_empty() && kept.iter().all(|(_, labels)| !has_path(labels)) {
            without_path(lint, &path.then("static_configs").then(n), targets);
        }
    }
    if let Some(rule) = dropped.first().filter(|_| !is_kept && !job.asks_for_targets()) {
        let message = "drops all targets of this job, so it reads nothing: fantail explain shows what the rule does";
        lint.warn(path.then("relabel_configs").then(*rule), message);
    }
}

/// What the rules make of each target, and its labels then.
pub(super) fn outcomes(rules: &Rules, targets: &StaticConfig) -> impl Iterator<Item = (Verdict, Labels)> {
    targets.targets().into_iter().map(|target| {
        let mut labels = target.to_labels();
        (rules.apply(&mut labels), labels)
    })
}

fn without_path(lint: &mut Lint<'_>, path: &KeyPath, targets: &StaticConfig) {
    // What is probably meant to be __path__ was said as such.
    let labels = path.then("labels");
    if lint.found.iter().any(|(at, _)| at.steps().starts_with(labels.steps())) {
        return;
    }
    let is_path = |address: &&String| address.starts_with(['/', '~']) || address.contains('*');
    let message = match (targets.targets.iter().find(is_path), targets.labels.get("__path__")) {
        (Some(path), None) => format!("a target is a host, not a path: write labels: {{__path__: {path:?}}}"),
        (_, Some(path)) if !path.is_empty() => {
            "relabel_configs remove the label __path__, so no file is read: keep it".to_string()
        }
        _ => "has no label __path__, so no file is read: write labels: {__path__: /path/to/*.log}".to_string(),
    };
    lint.warn(path.clone(), message);
}
