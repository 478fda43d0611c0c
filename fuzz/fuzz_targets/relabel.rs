//! `relabel_configs` up to a line `---`, and labels to apply them to: a name and a value on each line.

#![no_main]

use fantail::model::Labels;
use fantail::relabel::{Config, Rules, Verdict};
use fantail_fuzz::text;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let text = text(data);
    let (configs, labels) = text.split_once("\n---\n").unwrap_or((&text, ""));
    let Ok(configs) = serde_yaml::from_str::<Vec<Config>>(configs) else {
        return;
    };
    let Ok(rules) = Rules::compile(&configs) else {
        return;
    };
    let pairs = labels.lines().filter_map(|line| line.split_once(' '));
    let mut labels: Labels = pairs.map(|(name, value)| (name.to_string(), value.to_string())).collect();
    if let Verdict::Drop { rule } = rules.apply(&mut labels) {
        assert!(rule < rules.len());
    }
    (0..=rules.len()).for_each(|rule| assert!(!rules.describe(rule).contains('\n')));
});
