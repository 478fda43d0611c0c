//! Go templates with Promtail's functions and sprig's text functions.
//!
//! Errors in a template are found when it is parsed. This includes unknown functions, and functions that are rejected
//! because they reach beyond the entry (environment, network, secrets). An error at run time fails the whole template,
//! and the stage then changes nothing. Loops and output are bounded.

mod ast;
mod call;
mod functions;
mod gofmt;
mod methods;
mod moment;
mod rewrite;
mod show;
#[cfg(test)]
mod tests;
mod version;
mod world;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use gotmpl::Value;

use super::Extracted;
use crate::model::{MAX_LINE, Origin};
use ast::Needs;
use world::World;

/// The most loop iterations of one execution.
const MAX_ITERATIONS: u64 = 100_000;

/// A parsed template.
pub(super) struct Template {
    inner: gotmpl::Template,
    needs: Needs,
    world: Arc<World>,
}

/// A template with the values of one line. Can be run several times.
pub(super) struct Run<'t> {
    template: &'t Template,
    data: Arc<BTreeMap<Arc<str>, Value>>,
}

/// The data of a template, in addition to extracted values.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Data<'d> {
    pub entry: Option<&'d str>,
    /// The seed of random functions, and the value of `now`: a line that is read again gives the same result.
    pub origin: Origin,
    pub read: i64,
}

const ROOT: &str = "template";
const VALUE: &str = "Value";

impl Template {
    /// Parses a template and finds all errors in it.
    pub fn parse(text: &str) -> Result<Self, String> {
        ast::check_ends(text)?;
        let parser = gotmpl::parse::Parser::new(text, "{{", "}}").map_err(|e| e.to_string())?;
        let (mut body, mut defines) = parser.parse().map_err(|e| e.to_string())?;
        let needs = Needs::read(&mut body, &mut defines)?;
        let world = Arc::new(World::default());
        let mut inner = gotmpl::Template::new(ROOT).max_range_iters(MAX_ITERATIONS);
        inner = inner.funcs(functions::named(&needs.functions, &world)).add_parse_tree(ROOT, body);
        for define in defines {
            inner = inner.add_parse_tree(&define.name, define.body);
        }
        Ok(Self { inner, needs, world })
    }

    /// Whether the result may depend on the read time of the line.
    pub fn shows_read_time(&self) -> bool {
        self.needs.functions.iter().any(|name| functions::is_of_now(name))
    }

    /// Prepares the runs for one line. The limit on work applies to all of them together.
    pub fn over(&self, extracted: &Extracted<'_>, data: Data<'_>) -> Run<'_> {
        self.world.begin(data.origin, data.read);
        let mut map = BTreeMap::new();
        let mut add = |name: &Arc<str>, text: &str| {
            self.world.saw(text);
            map.insert(name.clone(), Value::String(text.into()));
        };
        match &self.needs.names {
            // Only the values that the template may use.
            Some(names) => {
                for name in names {
                    if let Some(text) = extracted.text(name) {
                        add(name, &text);
                    }
                }
            }
            None => {
                for (name, value) in extracted.iter() {
                    if let Some(text) = value.into_text() {
                        add(&name.into(), &text);
                    }
                }
            }
        }
        if let Some(entry) = data.entry.filter(|_| self.needs.name("Entry")) {
            add(&"Entry".into(), entry);
        }
        Run { template: self, data: Arc::new(map) }
    }
}

impl Run<'_> {
    /// Runs the template. `value` is `.Value`. An error may contain text of the line, so it must not be logged.
    pub fn render(&mut self, value: Option<&str>) -> Result<String, String> {
        let Template { inner, needs, world } = self.template;
        world.spend(1)?;
        if let Some(value) = value.filter(|_| needs.name(VALUE)) {
            world.saw(value);
            Arc::make_mut(&mut self.data).insert(VALUE.into(), Value::String(value.into()));
        }
        let mut out = Output(String::new());
        inner.execute_template_fmt(&mut out, ROOT, &Value::Map(self.data.clone())).map_err(|e| e.to_string())?;
        Ok(out.0)
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Template")
    }
}

/// A text of limited length: that of the longest line.
struct Output(String);

impl fmt::Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > MAX_LINE {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}
