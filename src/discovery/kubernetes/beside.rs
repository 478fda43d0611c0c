//! Keeps objects whose labels are added to targets of other objects, within a memory limit.

use std::collections::{BTreeSet, HashMap};

use super::objects::{Namespace, Node, Service};
use super::slim::{Object, Pod};

/// The limit for the kept objects of one kind, in bytes (approximate). A node's pods take some hundred KiB, and ten
/// thousand services of a large cluster some ten MiB.
pub(super) const ROOM: usize = 64 << 20;

/// The fixed memory for each object, in bytes (approximate).
const EACH: usize = 256;

/// Objects of one kind, by their names.
#[derive(Debug)]
pub(super) struct Store<O> {
    kept: HashMap<String, (O, usize)>,
    room: usize,
}

impl<O: Object> Store<O> {
    pub(super) fn new(room: usize) -> Self {
        Self { kept: HashMap::new(), room }
    }

    pub(super) fn get(&self, group_id: &str) -> Option<&O> {
        self.kept.get(group_id).map(|(object, _)| object)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &O> {
        self.kept.values().map(|(object, _)| object)
    }

    /// Keeps `object` instead of its earlier version. False: there is no room, so neither version is kept.
    pub(super) fn set(&mut self, group_id: String, object: O) -> bool {
        self.remove(&group_id);
        let weight = EACH + group_id.len() + object.metadata().weight() + object.weight();
        let Some(left) = self.room.checked_sub(weight) else { return false };
        self.room = left;
        self.kept.insert(group_id, (object, weight));
        true
    }

    /// Returns whether it was kept.
    pub(super) fn remove(&mut self, group_id: &str) -> bool {
        let removed = self.kept.remove(group_id);
        self.room += removed.as_ref().map_or(0, |(_, weight)| *weight);
        removed.is_some()
    }

    /// Removes all objects except those with these ids. Returns the ids of the removed ones.
    pub(super) fn retain(&mut self, group_ids: &BTreeSet<String>) -> Vec<String> {
        let gone: Vec<String> = self.kept.keys().filter(|group_id| !group_ids.contains(*group_id)).cloned().collect();
        for group_id in &gone {
            self.remove(group_id);
        }
        gone
    }
}

/// The related objects of a role.
#[derive(Debug)]
pub(super) struct Beside {
    pub(super) pods: Store<Pod>,
    pub(super) services: Store<Service>,
    pub(super) nodes: Store<Node>,
    pub(super) namespaces: Store<Namespace>,
}

impl Default for Beside {
    fn default() -> Self {
        Self {
            pods: Store::new(ROOM),
            services: Store::new(ROOM),
            nodes: Store::new(ROOM),
            namespaces: Store::new(ROOM),
        }
    }
}

/// An object whose labels are added to targets of others.
pub(super) trait Aside: Object {
    fn store(beside: &mut Beside) -> &mut Store<Self>;
}

impl Aside for Pod {
    fn store(beside: &mut Beside) -> &mut Store<Self> {
        &mut beside.pods
    }
}

impl Aside for Service {
    fn store(beside: &mut Beside) -> &mut Store<Self> {
        &mut beside.services
    }
}

impl Aside for Node {
    fn store(beside: &mut Beside) -> &mut Store<Self> {
        &mut beside.nodes
    }
}

impl Aside for Namespace {
    fn store(beside: &mut Beside) -> &mut Store<Self> {
        &mut beside.namespaces
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::kubernetes::slim;
    use crate::relabel::Reads;

    #[test]
    fn what_is_kept_is_bounded_and_room_is_given_back() {
        let named = |name: &str| -> Namespace {
            let json = format!(r#"{{"metadata":{{"name":"{name}","labels":{{"team":"{}"}}}}}}"#, "x".repeat(60));
            slim::parse(json.as_bytes(), &Reads::default()).expect("a namespace")
        };
        let mut store = Store::new(2_000);
        let kept = (0..100).filter(|n| store.set(format!("namespace/{n}"), named(&n.to_string()))).count();
        assert!((2..6).contains(&kept) && store.values().count() == kept, "{kept}");
        for _ in 0..100 {
            assert!(store.set("namespace/0".into(), named("0")), "in its own place");
        }
        let gone = store.retain(&["namespace/0".to_string()].into());
        assert_eq!((gone.len(), store.values().count()), (kept - 1, 1));
        assert!(store.set("namespace/77".into(), named("77")), "there is room again");
        assert!(store.remove("namespace/77") && !store.remove("namespace/77"));
        assert!(store.get("namespace/0").is_some());
        assert_eq!(store.values().count(), 1);
    }
}
