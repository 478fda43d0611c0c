//! Relabelling as in Prometheus: a list of rules that decides which targets to keep, and their labels.
//!
//! Each rule sees the result of the rules before it. A label with an empty value counts as missing, at any time. Labels
//! with a leading `__` are not special here; the caller removes them at the end.

mod case;
mod config;
mod reads;
mod rule;
mod trace;
mod unknown;
mod warnings;

use std::sync::Arc;

pub use config::{Action, Config};
pub use reads::Reads;
use rule::Rule;
use trace::Observer;

use crate::model::{ConfigError, Labels};

/// The compiled `relabel_configs` of a job.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    rules: Vec<Rule>,
    /// The description of each rule. Built once, because one rule may drop thousands of targets.
    texts: Vec<Arc<str>>,
}

/// The outcome for a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Keep,
    /// Dropped by the rule with this index, from 0. The rules after it did not run.
    Drop {
        rule: usize,
    },
}

impl Rules {
    /// Compiles the rules. The path of an error begins in the job: `relabel_configs[1].regex`.
    pub fn compile(configs: &[Config]) -> Result<Self, ConfigError> {
        let compile = |(i, config)| Rule::compile(config).map_err(|e| e.within(i).within("relabel_configs"));
        let rules = configs.iter().enumerate().map(compile).collect::<Result<Vec<_>, _>>()?;
        let text = |(rule, text): (usize, &Rule)| format!("rule {rule}: {text}").replace('\n', "\\n").into();
        let texts = rules.iter().enumerate().map(text).collect();
        Ok(Self { rules, texts })
    }

    /// Applies the rules to the labels of a target.
    pub fn apply(&self, labels: &mut Labels) -> Verdict {
        self.run(labels, &mut ())
    }

    fn run(&self, labels: &mut Labels, observer: &mut impl Observer) -> Verdict {
        labels.retain(|_, value| !value.is_empty());
        for (index, rule) in self.rules.iter().enumerate() {
            observer.before(rule, labels);
            let keeps = rule.apply(labels);
            observer.after(index, labels, keeps);
            if !keeps {
                return Verdict::Drop { rule: index };
            }
        }
        Verdict::Keep
    }

    /// Describes a rule in one line, for display: `rule 1: keep if [__meta_kubernetes_namespace] matches "test"`. Its
    /// number is the index in [`Verdict`] and in the path of an error.
    pub fn describe(&self, rule: usize) -> Arc<str> {
        self.texts.get(rule).cloned().unwrap_or_else(|| format!("rule {rule}").into())
    }

    pub fn len(&self) -> usize {
        self.rules.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

#[cfg(test)]
mod tests;
