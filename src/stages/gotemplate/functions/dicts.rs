//! Dictionaries. A function that changes a dictionary returns the changed one. The parser rewrites the call so that the
//! variable changes too.

use std::collections::BTreeMap;
use std::sync::Arc;

use gotmpl::Value;

use super::super::call::{Call, Outcome, list, map, map_of, text_of, texts};
use super::super::show::{is_empty, show};
use super::{Function, function, variadic};

pub(super) const FUNCTIONS: &[Function] = &[
    variadic("dict", 0, dict),
    function("get", 2, |c| Ok(c.map(0)?.get(c.text(1)?).cloned().unwrap_or(Value::String("".into())))),
    function("set", 3, set),
    function("unset", 2, unset),
    function("hasKey", 2, |c| Ok(Value::Bool(c.map(0)?.contains_key(c.text(1)?)))),
    variadic("pluck", 1, pluck),
    variadic("keys", 0, keys),
    function("values", 1, |c| list(c.map(0)?.values().cloned().collect())),
    variadic("pick", 1, |c| filtered(c, true)),
    variadic("omit", 1, |c| filtered(c, false)),
    variadic("merge", 1, |c| merged(c, false)),
    variadic("mustMerge", 1, |c| merged(c, false)),
    variadic("mergeOverwrite", 1, |c| merged(c, true)),
    variadic("mustMergeOverwrite", 1, |c| merged(c, true)),
    variadic("dig", 3, dig),
];

type Dict = BTreeMap<Arc<str>, Value>;

fn dict(call: &Call<'_>) -> Outcome {
    let pairs = call.rest(0).chunks(2);
    map(pairs.map(|p| (show(&p[0]).into(), p.get(1).cloned().unwrap_or(Value::String("".into())))).collect())
}

fn set(call: &Call<'_>) -> Outcome {
    let mut dict = call.map(0)?.clone();
    dict.insert(call.text(1)?.into(), call.any(2).clone());
    map(dict)
}

fn unset(call: &Call<'_>) -> Outcome {
    let mut dict = call.map(0)?.clone();
    dict.remove(call.text(1)?);
    map(dict)
}

fn pluck(call: &Call<'_>) -> Outcome {
    let key = call.text(0)?;
    let dicts = call.rest(1).iter().map(map_of).collect::<Result<Vec<_>, _>>()?;
    list(dicts.iter().filter_map(|dict| dict.get(key).cloned()).collect())
}

fn keys(call: &Call<'_>) -> Outcome {
    let dicts = call.rest(0).iter().map(map_of).collect::<Result<Vec<_>, _>>()?;
    texts(dicts.iter().flat_map(|dict| dict.keys()))
}

fn filtered(call: &Call<'_>, keep: bool) -> Outcome {
    let keys = call.rest(1).iter().map(text_of).collect::<Result<Vec<_>, _>>()?;
    let wanted = |key: &str| keys.contains(&key) == keep;
    map(call.map(0)?.iter().filter(|(key, _)| wanted(key)).map(|(k, v)| (k.clone(), v.clone())).collect())
}

fn merged(call: &Call<'_>, overwrite: bool) -> Outcome {
    let mut dict = call.map(0)?.clone();
    for source in call.rest(1) {
        merge(&mut dict, map_of(source)?, overwrite);
    }
    map(dict)
}

fn merge(into: &mut Dict, from: &Dict, overwrite: bool) {
    for (key, value) in from {
        match (into.get(key), value) {
            (Some(Value::Map(old)), Value::Map(new)) => {
                let mut inner = (**old).clone();
                merge(&mut inner, new, overwrite);
                into.insert(key.clone(), Value::Map(Arc::new(inner)));
            }
            (Some(old), new) => {
                if overwrite || is_empty(old) {
                    into.insert(key.clone(), new.clone());
                }
            }
            (None, new) => {
                into.insert(key.clone(), new.clone());
            }
        }
    }
}

fn dig(call: &Call<'_>) -> Outcome {
    let (keys, [default, root]) = call.args.split_last_chunk().ok_or("too few arguments")?;
    let mut at = root;
    for key in keys {
        match map_of(at)?.get(text_of(key)?) {
            Some(inner) => at = inner,
            None => return Ok(default.clone()),
        }
    }
    Ok(at.clone())
}
