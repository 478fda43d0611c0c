//! Which extracted values are used. Unused values need not be extracted.

use std::collections::BTreeSet;
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reads {
    These(BTreeSet<Arc<str>>),
    /// Any value.
    All,
}

impl Reads {
    pub fn nothing() -> Self {
        Self::These(BTreeSet::new())
    }

    pub fn these<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        Self::These(names.into_iter().map(Arc::from).collect())
    }

    pub fn is_nothing(&self) -> bool {
        matches!(self, Self::These(names) if names.is_empty())
    }

    pub fn contains(&self, name: &str) -> bool {
        match self {
            Self::These(names) => names.contains(name),
            Self::All => true,
        }
    }

    pub fn add(&mut self, more: Reads) {
        match (&mut *self, more) {
            (Self::These(names), Self::These(more)) => names.extend(more),
            (_, Self::All) => *self = Self::All,
            (Self::All, _) => {}
        }
    }
}
