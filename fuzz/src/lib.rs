//! What the fuzz targets share: a pipeline is compiled from YAML and fed lines, as the agent does it.

use std::borrow::Cow;
use std::path::PathBuf;

use fantail::metrics::{Dropped, Registry};
use fantail::model::{AckRef, Clock, Entry, LabelSet, Ledger, Mark, Origin, Weight};
use fantail::stages::{self, CustomMetrics, Due, Program, Work};
use serde_yaml::Value as Yaml;

/// The stages that are written, if they are any.
pub fn program(stages: &str) -> Option<Program> {
    let stages: Vec<Yaml> = serde_yaml::from_str(stages).ok()?;
    stages::compile(&stages).ok()
}

/// Runs each line of `data` through the stages. Nothing may panic, and no line may get lost on the way.
pub fn feed(program: &Program, data: &str) {
    let registry = Registry::new();
    let custom = CustomMetrics::register(&registry);
    let mut pipeline = program.start(Dropped::register(&registry), Some(custom), Clock::default());
    let ledger = Ledger::new();
    let labels = LabelSet::new([("app", "x"), ("filename", "/var/log/x.log")]);
    let end = Mark(data.split('\n').count() as u64);
    let ack = ledger.open_chunk(data.len() as u64, end);
    for (i, line) in data.split('\n').enumerate() {
        ack.begin_line(Mark(i as u64));
        let entry = Entry {
            timestamp: 1_770_000_000_000_000_000 + i as i64,
            line: Cow::Borrowed(line),
            labels: labels.clone(),
            metadata: Vec::new(),
            tenant: None,
            origin: Origin { log: 1, file: 1, offset: i as u64, clock: None },
            weight: Weight::default(),
            ack: AckRef::Chunk(&ack),
        };
        pipeline.run(&mut Work::new(entry), &mut |_| {});
    }
    ack.close();
    pipeline.release(Due::Log(1), &mut |_| {});
    assert!(ledger.is_settled(), "a line was neither delivered nor discarded");
}

/// The first line of the data, and the rest of it; bytes that are no text as the agent reads them.
pub fn halves(data: &[u8]) -> Option<(String, String)> {
    let text = String::from_utf8_lossy(data);
    let (first, rest) = text.split_once('\n')?;
    Some((first.to_string(), rest.to_string()))
}

pub fn text(data: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(data)
}

/// A text as it is written in YAML.
pub fn quoted(text: &str) -> String {
    serde_yaml::to_string(text).unwrap_or_default().trim_end().to_string()
}

/// The stages with `text` wherever `TEXT` stands in them.
pub fn with(stages: &str, text: &str) -> Option<Program> {
    fn put(value: &mut Yaml, text: &str) {
        match value {
            Yaml::String(s) if s.contains("TEXT") => *s = s.replace("TEXT", text),
            Yaml::Sequence(items) => items.iter_mut().for_each(|item| put(item, text)),
            Yaml::Mapping(map) => map.iter_mut().for_each(|(_, item)| put(item, text)),
            _ => {}
        }
    }
    let mut stages: Yaml = serde_yaml::from_str(stages).expect("a target's own YAML");
    put(&mut stages, text);
    stages::compile(stages.as_sequence().expect("a list")).ok()
}

/// A file of this process, with this in it.
pub fn file(name: &str, content: &[u8]) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("fantail-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for it");
    let path = folder.join(name);
    std::fs::write(&path, content).expect("room for it");
    path
}
