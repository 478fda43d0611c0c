//! The print functions of text/template. Values are printed as in Go.

use gotmpl::Value;

use super::super::call::{Call, text};
use super::super::gofmt;
use super::super::show::show;
use super::{Function, variadic};

pub(super) const FUNCTIONS: &[Function] = &[
    variadic("print", 0, |c| text(print(c))),
    variadic("println", 0, |c| text(c.rest(0).iter().map(|v| show(v)).collect::<Vec<_>>().join(" ") + "\n")),
    variadic("printf", 1, |c| text(gofmt::sprintf(c.text(0)?, c.rest(1))?)),
    variadic("html", 1, |c| text(gotmpl::html_escape(&one(c)))),
    variadic("js", 1, |c| text(gotmpl::js_escape(&one(c)))),
    variadic("urlquery", 1, |c| text(gotmpl::url_encode(&one(c)))),
];

/// Joins the arguments, with a space between two that are not text.
fn print(call: &Call<'_>) -> String {
    let mut out = String::new();
    let mut before: Option<&Value> = None;
    for value in call.rest(0) {
        if before.is_some_and(|before| !matches!((before, value), (Value::String(_), _) | (_, Value::String(_)))) {
            out.push(' ');
        }
        out.push_str(&show(value));
        before = Some(value);
    }
    out
}

fn one(call: &Call<'_>) -> String {
    match call.args {
        [Value::Nil] => "<no value>".into(),
        _ => print(call),
    }
}
