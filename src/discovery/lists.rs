//! The last lists of targets that servers gave, so that a reload of the config does not lose targets while a server is
//! away.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::TargetGroup;

type List = BTreeMap<String, TargetGroup>;

/// The lists of the current run, and those of the run before it that nobody has asked for. Lives as long as the process.
#[derive(Clone, Debug, Default)]
pub struct Lists(Arc<Mutex<Runs>>);

#[derive(Debug, Default)]
struct Runs {
    before: HashMap<String, List>,
    now: HashMap<String, List>,
}

impl Lists {
    /// Must be called before the discovery of a run starts. Lists of configs that are gone are forgotten.
    pub fn begin_run(&self) {
        let mut runs = self.lock();
        runs.before = std::mem::take(&mut runs.now);
    }

    /// The list of one config, under a name that has all that the list depends on.
    pub(super) fn of(&self, name: String) -> LastList {
        LastList { lists: self.clone(), name }
    }

    fn lock(&self) -> MutexGuard<'_, Runs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The last list of one config.
#[derive(Debug)]
pub(super) struct LastList {
    lists: Lists,
    name: String,
}

impl LastList {
    /// The list that the previous run had last. None: it had no such config, or no list of it.
    pub fn take(&self) -> Option<Vec<TargetGroup>> {
        self.lists.lock().before.remove(&self.name).map(|list| list.into_values().collect())
    }

    /// There is a list, though it may have no groups.
    pub fn begin(&self) {
        self.lists.lock().now.entry(self.name.clone()).or_default();
    }

    pub fn set(&self, group: &TargetGroup) {
        let mut runs = self.lists.lock();
        runs.now.entry(self.name.clone()).or_default().insert(group.id.clone(), group.clone());
    }

    pub fn remove(&self, group_id: &str) {
        if let Some(list) = self.lists.lock().now.get_mut(&self.name) {
            list.remove(group_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Labels;

    fn group(id: &str) -> TargetGroup {
        TargetGroup::new(id.into(), [Labels::from([("a".into(), "b".into())])])
    }

    #[test]
    fn a_list_is_kept_for_the_next_run_and_no_longer() {
        let lists = Lists::default();
        lists.begin_run();
        let (kept, gone) = (lists.of("kept".into()), lists.of("gone".into()));
        assert_eq!(kept.take(), None);
        kept.set(&group("x"));
        kept.set(&group("y"));
        kept.remove("x");
        gone.set(&group("z"));
        lists.of("empty".into()).begin();
        lists.begin_run();
        assert_eq!(kept.take(), Some(vec![group("y")]));
        assert_eq!(kept.take(), None, "it is taken once");
        assert_eq!(lists.of("empty".into()).take(), Some(Vec::new()), "an empty list is a list");
        lists.begin_run();
        assert_eq!((kept.take(), gone.take()), (None, None), "nobody has asked for it in the run between");
    }
}
