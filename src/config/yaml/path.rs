//! The way to a node: `scrape_configs[0].pipeline_stages[1].regex`.

use std::fmt;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Path(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
}

impl Path {
    pub(crate) fn new(steps: Vec<Step>) -> Self {
        Self(steps)
    }

    pub(crate) fn key(name: &str) -> Self {
        Self(vec![Step::Key(name.to_string())])
    }

    pub(crate) fn steps(&self) -> &[Step] {
        &self.0
    }

    pub(crate) fn join(&self, rest: &[Step]) -> Self {
        Self(self.0.iter().chain(rest).cloned().collect())
    }

    pub(crate) fn then(&self, step: Step) -> Self {
        self.join(&[step])
    }

    /// Without its last step; None for the root.
    pub(crate) fn parent(&self) -> Option<Self> {
        let (_, parent) = self.0.split_last()?;
        Some(Self(parent.to_vec()))
    }
}

/// What it prints; a key that itself has a dot or a bracket is not told apart, and a complaint then lands on a parent.
impl From<&str> for Path {
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

impl fmt::Display for Path {
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
            assert_eq!(Path::from(text).to_string(), text);
        }
    }
}
