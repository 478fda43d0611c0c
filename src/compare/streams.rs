//! The streams of both sides, by labels. Labels that are ignored or renamed make two streams the same.

use std::collections::{BTreeMap, HashMap};

use super::Settings;
use super::answer::LabelsOf;

/// How many streams are compared.
const MOST: usize = 100_000;

pub(super) struct Streams<'a> {
    settings: &'a Settings,
    numbers: HashMap<BTreeMap<String, String>, u32>,
    all: Vec<BTreeMap<String, String>>,
    /// The stream of the previous entry: most entries have the same labels as the one before.
    previous: Option<(LabelsOf, u32)>,
}

impl<'a> Streams<'a> {
    pub fn new(settings: &'a Settings) -> Self {
        Self { settings, numbers: HashMap::new(), all: Vec::new(), previous: None }
    }

    pub fn number(&mut self, labels: &LabelsOf) -> Result<u32, String> {
        if let Some((_, number)) = self.previous.as_ref().filter(|(previous, _)| previous == labels) {
            return Ok(*number);
        }
        let key = self.normalized(labels);
        let number = match self.numbers.get(&key) {
            Some(number) => *number,
            None => {
                let number = u32::try_from(self.all.len()).ok().filter(|_| self.all.len() < MOST);
                let number = number.ok_or_else(|| format!("more than {MOST} streams: write a narrower query"))?;
                self.numbers.insert(key.clone(), number);
                self.all.push(key);
                number
            }
        };
        self.previous = Some((labels.clone(), number));
        Ok(number)
    }

    fn normalized(&self, labels: &LabelsOf) -> BTreeMap<String, String> {
        let renamed = |name: &String| {
            let new = self.settings.renamed_labels.iter().find(|(old, _)| old == name);
            new.map_or_else(|| name.clone(), |(_, new)| new.clone())
        };
        let labels = labels.iter().map(|(name, value)| (renamed(name), value.clone()));
        labels.filter(|(name, _)| !self.settings.ignored_labels.contains(name)).collect()
    }

    pub fn into_labels(self) -> Vec<BTreeMap<String, String>> {
        self.all
    }
}
