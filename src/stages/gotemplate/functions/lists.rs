//! Lists.

use gotmpl::Value;

use super::super::call::{Call, Outcome, list};
use super::super::show::{equal, is_empty};
use super::numbers::int_of;
use super::{Function, function, variadic};

pub(super) const FUNCTIONS: &[Function] = &[
    variadic("list", 0, |c| list(c.rest(0).to_vec())),
    variadic("tuple", 0, |c| list(c.rest(0).to_vec())),
    function("append", 2, append),
    function("mustAppend", 2, append),
    function("push", 2, append),
    function("mustPush", 2, append),
    function("prepend", 2, prepend),
    function("mustPrepend", 2, prepend),
    function("first", 1, |c| Ok(c.list(0)?.first().cloned().unwrap_or(Value::Nil))),
    function("mustFirst", 1, |c| Ok(c.list(0)?.first().cloned().unwrap_or(Value::Nil))),
    function("last", 1, |c| Ok(c.list(0)?.last().cloned().unwrap_or(Value::Nil))),
    function("mustLast", 1, |c| Ok(c.list(0)?.last().cloned().unwrap_or(Value::Nil))),
    function("rest", 1, |c| list(c.list(0)?.iter().skip(1).cloned().collect())),
    function("mustRest", 1, |c| list(c.list(0)?.iter().skip(1).cloned().collect())),
    function("initial", 1, initial),
    function("mustInitial", 1, initial),
    function("reverse", 1, |c| list(c.list(0)?.iter().rev().cloned().collect())),
    function("mustReverse", 1, |c| list(c.list(0)?.iter().rev().cloned().collect())),
    function("compact", 1, |c| list(c.list(0)?.iter().filter(|v| !is_empty(v)).cloned().collect())),
    function("mustCompact", 1, |c| list(c.list(0)?.iter().filter(|v| !is_empty(v)).cloned().collect())),
    function("uniq", 1, unique),
    function("mustUniq", 1, unique),
    variadic("without", 1, without),
    variadic("mustWithout", 1, without),
    function("has", 2, has),
    function("mustHas", 2, has),
    variadic("slice", 1, slice),
    variadic("mustSlice", 1, slice),
    variadic("concat", 0, concat),
    function("chunk", 2, chunk),
    function("mustChunk", 2, chunk),
];

fn append(call: &Call<'_>) -> Outcome {
    list(call.list(0)?.iter().chain([call.any(1)]).cloned().collect())
}

fn prepend(call: &Call<'_>) -> Outcome {
    list(std::iter::once(call.any(1)).chain(call.list(0)?).cloned().collect())
}

fn initial(call: &Call<'_>) -> Outcome {
    let items = call.list(0)?;
    list(items[..items.len().saturating_sub(1)].to_vec())
}

fn is_in(call: &Call<'_>, items: &[Value], item: &Value) -> Result<bool, String> {
    call.world.spend(items.len())?;
    Ok(items.iter().any(|other| equal(other, item)))
}

fn unique(call: &Call<'_>) -> Outcome {
    let mut unique: Vec<Value> = Vec::new();
    for item in call.list(0)? {
        if !is_in(call, &unique, item)? {
            unique.push(item.clone());
        }
    }
    list(unique)
}

fn without(call: &Call<'_>) -> Outcome {
    let omitted = call.rest(1);
    let mut left = Vec::new();
    for item in call.list(0)? {
        if !is_in(call, omitted, item)? {
            left.push(item.clone());
        }
    }
    list(left)
}

fn has(call: &Call<'_>) -> Outcome {
    match call.any(1) {
        Value::Nil => Ok(Value::Bool(false)),
        _ => Ok(Value::Bool(is_in(call, call.list(1)?, call.any(0))?)),
    }
}

fn slice(call: &Call<'_>) -> Outcome {
    let items = call.list(0)?;
    if items.is_empty() {
        return Ok(Value::Nil);
    }
    let at = |i: usize, default: usize| call.args.get(i).map_or(Ok(default), |v| usize::try_from(int_of(v)));
    let (Ok(start), Ok(end)) = (at(1, 0), at(2, items.len())) else {
        return Err("out of range".into());
    };
    items.get(start..end).map_or_else(|| Err("out of range".into()), |part| list(part.to_vec()))
}

fn concat(call: &Call<'_>) -> Outcome {
    let mut items = Vec::new();
    for i in 0..call.args.len() {
        items.extend_from_slice(call.list(i)?);
    }
    list(items)
}

fn chunk(call: &Call<'_>) -> Outcome {
    let size = usize::try_from(call.int(0)?).ok().filter(|size| *size > 0).ok_or("the size must be positive")?;
    list(call.list(1)?.chunks(size).map(|part| Value::List(part.into())).collect())
}
