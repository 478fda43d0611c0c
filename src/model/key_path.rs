//! The path of a value in a config: `scrape_configs[0].pipeline_stages[1].regex`.

use std::fmt;

/// Keys and list indices from the root to a value. The empty path is the root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyPath(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Key(String),
    Index(usize),
}

impl KeyPath {
    pub fn new(steps: Vec<Step>) -> Self {
        Self(steps)
    }

    pub fn key(name: &str) -> Self {
        Self(vec![name.into()])
    }

    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    pub fn join(&self, rest: &[Step]) -> Self {
        Self(self.0.iter().chain(rest).cloned().collect())
    }

    /// This path with `step` appended.
    pub fn then(&self, step: impl Into<Step>) -> Self {
        self.join(&[step.into()])
    }

    /// This path with `step` put in front: the same value seen from one level above.
    pub fn within(mut self, step: impl Into<Step>) -> Self {
        self.0.insert(0, step.into());
        self
    }

    /// The path without its last step. None for the root.
    pub fn parent(&self) -> Option<Self> {
        let (_, parent) = self.0.split_last()?;
        Some(Self(parent.to_vec()))
    }
}

impl From<&str> for Step {
    fn from(key: &str) -> Self {
        Self::Key(key.to_string())
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// For paths that are literals in the code. Keys must not contain dots or brackets.
impl From<&str> for KeyPath {
    fn from(text: &str) -> Self {
        let mut steps = Vec::new();
        for part in text.split('.') {
            let (key, indices) = part.split_at(part.find('[').unwrap_or(part.len()));
            if !key.is_empty() {
                steps.push(Step::Key(key.to_string()));
            }
            let indices = indices.split('[').filter_map(|i| i.strip_suffix(']')?.parse().ok());
            steps.extend(indices.map(Step::Index));
        }
        Self(steps)
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if i == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_prints() {
        for text in ["", "a", "a[0]", "a[0].b.c[12][3].d", "[1].regex.expression"] {
            assert_eq!(KeyPath::from(text).to_string(), text);
        }
    }
}
