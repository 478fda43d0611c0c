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

use std::fmt;
use std::sync::Arc;

pub use config::{Action, Config};
pub use reads::Reads;
use rule::Rule;

use crate::model::Labels;

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
    pub fn compile(configs: &[Config]) -> Result<Self, Error> {
        let compile = |(rule, config)| {
            Rule::compile(config).map_err(|rule::Invalid { key, problem }| Error { rule, key, problem })
        };
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
    /// Its number is the one in [`Verdict`] and [`Error`].
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

/// A rule that cannot run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Counted from 0.
    pub rule: usize,
    pub key: &'static str,
    problem: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "relabel_configs[{}].{}: {}", self.rule, self.key, self.problem)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests;
