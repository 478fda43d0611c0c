//! The values that expressions find.

use jmespath::Variable;

use crate::stages::{Value, gojson};

/// The value of an expression. None if it fails.
pub(super) type Found<'t> = Option<Value<'t>>;

/// Lists and objects become JSON text.
pub(super) fn value(found: &Variable) -> Value<'static> {
    match found {
        Variable::Null | Variable::Expref(_) => Value::Null,
        Variable::Bool(b) => Value::Bool(*b),
        Variable::Number(n) => n.as_f64().map_or(Value::Null, Value::Number),
        Variable::String(text) => Value::from(text.clone()),
        Variable::Array(_) | Variable::Object(_) => {
            let mut json = String::new();
            gojson::write(&mut json, found);
            Value::from(json)
        }
    }
}
