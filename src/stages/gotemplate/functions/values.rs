//! Values of any type: defaults, conditions, types.

use gotmpl::Value;

use super::super::call::{Call, Outcome, text};
use super::super::show::{equal, is_empty, kind_of, type_of};
use super::{Function, function, variadic};

pub(super) const FUNCTIONS: &[Function] = &[
    variadic("default", 1, default),
    function("empty", 1, |c| Ok(Value::Bool(is_empty(c.any(0))))),
    variadic("coalesce", 0, |c| Ok(c.rest(0).iter().find(|v| !is_empty(v)).cloned().unwrap_or(Value::Nil))),
    variadic("all", 0, |c| Ok(Value::Bool(!c.rest(0).iter().any(is_empty)))),
    variadic("any", 0, |c| Ok(Value::Bool(c.rest(0).iter().any(|v| !is_empty(v))))),
    function("ternary", 3, |c| Ok(if c.truth(2)? { c.any(0) } else { c.any(1) }.clone())),
    function("deepCopy", 1, |c| Ok(c.any(0).clone())),
    function("mustDeepCopy", 1, |c| Ok(c.any(0).clone())),
    function("deepEqual", 2, |c| Ok(Value::Bool(equal(c.any(0), c.any(1))))),
    function("typeOf", 1, |c| text(type_of(c.any(0)))),
    function("typeIs", 2, |c| Ok(Value::Bool(c.text(0)? == type_of(c.any(1))))),
    function("typeIsLike", 2, |c| Ok(Value::Bool(c.text(0)? == type_of(c.any(1))))),
    function("kindOf", 1, |c| text(kind_of(c.any(0)))),
    function("kindIs", 2, |c| Ok(Value::Bool(c.text(0)? == kind_of(c.any(1))))),
    function("fail", 1, |c| Err(c.text(0)?.to_string())),
];

fn default(call: &Call<'_>) -> Outcome {
    let given = call.args.get(1).filter(|given| !is_empty(given));
    Ok(given.unwrap_or(call.any(0)).clone())
}
