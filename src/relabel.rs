//! Relabelling, as Prometheus does it: rules that decide, one after the other, which targets to keep and what to call
//! them.
//!
//! A rule sees what the rules before it did. A label without a value is a missing label, before, between and after
//! them. Labels that begin with `__` are as good as any here; it is for the caller to take them off in the end.

mod case;
mod config;
mod reads;
mod rule;
mod unknown;

use std::sync::Arc;

pub use config::{Action, Config};
pub use reads::Reads;
use rule::Rule;

use crate::model::{ConfigError, Labels};

/// The `relabel_configs` of a job, ready to run.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    rules: Vec<Rule>,
    /// What is said of each, made once: thousands of targets may be dropped by one.
    texts: Vec<Arc<str>>,
}

/// What the rules decided about a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Keep,
    /// Dropped by this rule, counted from 0; the rules after it did not run.
    Drop {
        rule: usize,
    },
}

impl Rules {
    /// The path of an error begins in the job: `relabel_configs[1].regex`.
    pub fn compile(configs: &[Config]) -> Result<Self, ConfigError> {
        let compile = |(i, config)| Rule::compile(config).map_err(|e| e.within(i).within("relabel_configs"));
        let rules = configs.iter().enumerate().map(compile).collect::<Result<Vec<_>, _>>()?;
        let text = |(rule, text): (usize, &Rule)| format!("rule {rule}: {text}").replace('\n', "\\n").into();
        let texts = rules.iter().enumerate().map(text).collect();
        Ok(Self { rules, texts })
    }

    /// Runs the rules over the labels of one target.
    pub fn apply(&self, labels: &mut Labels) -> Verdict {
        labels.retain(|_, value| !value.is_empty());
        match self.rules.iter().position(|rule| !rule.apply(labels)) {
            Some(rule) => Verdict::Drop { rule },
            None => Verdict::Keep,
        }
    }

    /// A rule in one line, for people: `rule 1: keep if [__meta_kubernetes_namespace] matches "test"`.
    /// Its number is the one in [`Verdict`] and in the path of an error.
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
