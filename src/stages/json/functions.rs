//! JMESPath functions that convert values, as in Promtail's library: text becomes a number as in Go, and values become
//! text as in Go's JSON.

use std::sync::LazyLock;

use jmespath::functions::{ArgumentType, CustomFunction, Signature};
use jmespath::{Context, Rcvar, Runtime, Variable};
use serde_json::Number;

use crate::model::gonumber::parse_float;
use crate::stages::gojson;

pub(super) static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut runtime = Runtime::new();
    runtime.register_builtin_functions();
    let mut register = |name: &str, argument: ArgumentType, run: fn(&Rcvar) -> Rcvar| {
        let run = move |args: &[Rcvar], _: &mut Context<'_>| Ok(run(&args[0]));
        runtime.register_function(
            name,
            Box::new(CustomFunction::new(Signature::new(vec![argument], None), Box::new(run))),
        );
    };
    register("avg", ArgumentType::TypedArray(Box::new(ArgumentType::Number)), average);
    register("to_number", ArgumentType::Any, to_number);
    register("to_string", ArgumentType::Any, to_string);
    runtime
});

fn to_number(value: &Rcvar) -> Rcvar {
    match &**value {
        Variable::Number(_) => value.clone(),
        Variable::String(text) => parse_float(text).map_or(Rcvar::new(Variable::Null), number),
        _ => Rcvar::new(Variable::Null),
    }
}

fn to_string(value: &Rcvar) -> Rcvar {
    match &**value {
        Variable::String(_) => value.clone(),
        other => {
            let mut json = String::new();
            gojson::write(&mut json, other);
            Rcvar::new(Variable::String(json))
        }
    }
}

/// The average of an empty list is NaN.
fn average(list: &Rcvar) -> Rcvar {
    let numbers: Vec<f64> = list.as_array().into_iter().flatten().filter_map(|item| item.as_number()).collect();
    number(numbers.iter().sum::<f64>() / numbers.len() as f64)
}

/// JSON has no infinite numbers. They become text, which stages read as numbers again.
fn number(value: f64) -> Rcvar {
    Rcvar::new(match Number::from_f64(value) {
        Some(number) => Variable::Number(number),
        None if value.is_nan() => Variable::String("NaN".into()),
        None => Variable::String(if value < 0.0 { "-Inf" } else { "+Inf" }.into()),
    })
}
