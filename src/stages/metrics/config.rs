//! The options of the `metrics` stage.

use std::time::Duration;

use super::super::options::{Field, Options};
use super::custom::{Action, Kind, Spec};
use crate::model::ConfigError;

/// The value to count, and the way to count it.
#[derive(Clone, Debug)]
pub(super) struct Meter {
    pub spec: Spec,
    /// None: every line counts.
    pub source: Option<Box<str>>,
    /// Only this text counts.
    pub value: Option<Box<str>>,
    pub action: Action,
    /// The amount is the length of the line.
    pub bytes: bool,
}

/// The default buckets of Go's client library, in seconds.
const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

pub(super) fn read(options: &Options<'_>) -> Result<Vec<Meter>, ConfigError> {
    let whole = options.whole();
    let entries = whole.entries()?;
    if entries.is_empty() {
        options.warn("without a metric this stage does nothing".into());
    }
    let meter = |(name, field): &(&str, Field<'_>)| {
        let inner = field.options();
        let meter = meter(name, field, &inner);
        options.refuse_inner(&inner, meter.as_ref().err().cloned());
        options.finish_inner(inner)?;
        Ok(meter.ok())
    };
    let meters: Result<Vec<Option<Meter>>, ConfigError> = entries.iter().map(meter).collect();
    Ok(meters?.into_iter().flatten().collect())
}

fn meter(name: &str, field: &Field<'_>, options: &Options<'_>) -> Result<Meter, ConfigError> {
    let name_in_full =
        format!("{}{name}", options.text("prefix")?.filter(|p| !p.is_empty()).unwrap_or("promtail_custom_"));
    if !is_valid_name(&name_in_full) {
        let rule = "use letters, digits, underscores and colons only, and no digit first";
        options.keep::<()>(Err(field.fail(format!("invalid metric name `{name_in_full}`: {rule}"))));
    }
    let help = options.text("description")?.unwrap_or_default().to_string();
    let source = options.text("source")?.unwrap_or(name);
    let idle = options.duration("max_idle_duration")?.unwrap_or(Duration::from_secs(300));
    if idle < Duration::from_secs(1) {
        return Err(field.fail("`max_idle_duration` must be at least 1s".into()));
    }
    let config = options.field("config")?;
    let config = config.as_ref().map(Field::options);
    let kind = options.text("type")?.unwrap_or_default();
    let spec = |kind| Spec { name: name_in_full.clone(), help: help.clone(), kind, idle };
    let meter = match kind.to_ascii_lowercase().as_str() {
        "counter" => counter(spec(Kind::Counter), source, config.as_ref(), field)?,
        "gauge" => {
            let action = action(config.as_ref(), field, "gauge", &GAUGE)?;
            Meter { action, ..observer(spec(Kind::Gauge), source, config.as_ref())? }
        }
        "histogram" => observer(spec(Kind::Histogram(buckets(config.as_ref())?)), source, config.as_ref())?,
        _ => {
            let place = options.field("type")?.map_or(field.fail(String::new()).path, |f| f.fail(String::new()).path);
            return Err(ConfigError::at(place, format!("unknown type {kind:?}: use Counter, Gauge or Histogram")));
        }
    };
    config.map_or(Ok(()), |config| options.finish_inner(config))?;
    Ok(meter)
}

const COUNTER: [(&str, Action); 2] = [("inc", Action::Increment), ("add", Action::Add)];
const GAUGE: [(&str, Action); 5] = [
    ("set", Action::Set),
    ("inc", Action::Increment),
    ("dec", Action::Decrement),
    ("add", Action::Add),
    ("sub", Action::Subtract),
];

fn action(
    config: Option<&Options<'_>>,
    field: &Field<'_>,
    what: &str,
    known: &[(&str, Action)],
) -> Result<Action, ConfigError> {
    let written = config.map_or(Ok(None), |config| config.text("action"))?.unwrap_or_default();
    let found = known.iter().find(|(name, _)| name.eq_ignore_ascii_case(written));
    found.map(|(_, action)| *action).ok_or_else(|| {
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        field.fail(format!("a {what} needs `config.action`, one of {}; found {written:?}", names.join(", ")))
    })
}

fn counter(spec: Spec, source: &str, config: Option<&Options<'_>>, field: &Field<'_>) -> Result<Meter, ConfigError> {
    let action = action(config, field, "counter", &COUNTER)?;
    let flag = |key| config.map_or(Ok(None), |config| config.strict_boolean(key)).map(|flag| flag.unwrap_or(false));
    let (all, bytes) = (flag("match_all")?, flag("count_entry_bytes")?);
    let meter = Meter { action, bytes, ..observer(spec, source, config)? };
    if all && meter.value.is_some() {
        return Err(field.fail("`match_all` counts every line: leave out `value`".into()));
    }
    if bytes && !(all && action == Action::Add) {
        return Err(field.fail("`count_entry_bytes` needs `match_all: true` and `action: add`".into()));
    }
    Ok(if all { Meter { source: None, ..meter } } else { meter })
}

fn observer(spec: Spec, source: &str, config: Option<&Options<'_>>) -> Result<Meter, ConfigError> {
    let value = config.map_or(Ok(None), |config| config.text("value"))?.map(Into::into);
    Ok(Meter { spec, source: Some(source.into()), value, action: Action::Observe, bytes: false })
}

fn buckets(config: Option<&Options<'_>>) -> Result<Vec<f64>, ConfigError> {
    let Some(field) = config.map_or(Ok(None), |config| config.field("buckets"))? else {
        return Ok(BUCKETS.to_vec());
    };
    let mut buckets = field.numbers()?;
    // The infinite bucket is implicit.
    buckets.pop_if(|bound| *bound == f64::INFINITY);
    match buckets.is_sorted_by(|a, b| a < b) {
        true if buckets.is_empty() => Ok(BUCKETS.to_vec()),
        true => Ok(buckets),
        false => Err(field.fail("buckets must be in increasing order".into())),
    }
}

fn is_valid_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b':';
    !name.starts_with(|c: char| c.is_ascii_digit()) && name.bytes().all(plain)
}
