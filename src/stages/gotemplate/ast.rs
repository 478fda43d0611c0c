//! Analyses a parsed template: its errors, and the values it uses.

use std::collections::BTreeSet;
use std::sync::Arc;

use gotmpl::parse::{BranchNode, CommandNode, DefineNode, Expr, ListNode, Node, Number, PipeNode, Pos, SmolStr};

use super::functions::{self, METHOD, SHOW, SHOWN, TELL_TYPES, TURN, TYPED, type_made_by};
use super::{moment, rewrite};

/// The functions and values that a template may use.
#[derive(Debug)]
pub(super) struct Needs {
    pub functions: BTreeSet<String>,
    /// None if it may use all values.
    pub names: Option<BTreeSet<Arc<str>>>,
}

/// Functions that change their first argument.
const MUTATING: [&str; 6] = ["set", "unset", "merge", "mustMerge", "mergeOverwrite", "mustMergeOverwrite"];

impl Needs {
    /// Analyses a parsed template, and rewrites it where the engine differs from Go.
    pub fn read(body: &mut ListNode, defines: &mut [DefineNode]) -> Result<Self, String> {
        let mut needs = Self { functions: BTreeSet::new(), names: Some(BTreeSet::new()) };
        let mut bodies: Vec<&mut ListNode> = defines.iter_mut().map(|d| &mut d.body).collect();
        bodies.push(body);
        let defines = bodies.len() > 1;
        let (mut fractions, mut loops) = (false, false);
        for list in &mut bodies {
            let mut walk = Walk {
                needs: &mut needs,
                variables: vec![SmolStr::new("$")],
                types: Vec::new(),
                loops: 0,
                looped: false,
                dot: None,
                fractions: false,
            };
            walk.list(list)?;
            fractions |= walk.fractions;
            loops |= walk.looped;
        }
        if defines || loops {
            needs.functions.insert(TURN.to_string());
            bodies.iter_mut().for_each(|body| rewrite::count_turns(body));
        }
        if fractions || needs.functions.iter().any(|name| SHOWN.contains(&name.as_str())) {
            needs.functions.extend([METHOD.to_string(), SHOW.to_string()]);
            bodies.into_iter().for_each(rewrite::list);
        }
        Ok(needs)
    }
}

impl Needs {
    /// Whether the template may use this value.
    pub fn name(&self, name: &str) -> bool {
        self.names.as_ref().is_none_or(|names| names.contains(name))
    }
}

/// A Go type that the engine does not have, if any.
type Type = Option<&'static str>;

struct Walk<'n> {
    needs: &'n mut Needs,
    variables: Vec<SmolStr>,
    /// Variables with such types. sprig's `sortAlpha` sorts a list of strings in place if it is in a variable.
    types: Vec<(SmolStr, &'static str)>,
    dot: Type,
    loops: usize,
    /// The template has a loop.
    looped: bool,
    fractions: bool,
}

impl Walk<'_> {
    fn list(&mut self, list: &mut ListNode) -> Result<(), String> {
        for node in &mut list.nodes {
            match node {
                Node::List(list) => self.list(list)?,
                Node::Action(action) => self.pipe(&mut action.pipe)?,
                Node::If(branch) => self.branch(branch, |_, dot| dot)?,
                Node::With(branch) => self.branch(branch, |of, _| of)?,
                Node::Range(branch) => {
                    self.looped = true;
                    self.loops += 1;
                    self.branch(branch, |_, _| None)?;
                    self.loops -= 1;
                }
                Node::Template(template) => template.pipe.as_mut().map_or(Ok(()), |pipe| self.pipe(pipe))?,
                Node::Define(define) => self.list(&mut define.body)?,
                Node::Break(pos) | Node::Continue(pos) if self.loops == 0 => {
                    return Err(at(*pos, "break or continue outside of range"));
                }
                Node::Text(_) | Node::Break(_) | Node::Continue(_) => {}
            }
        }
        Ok(())
    }

    /// Variables declared in a branch end with it. `dot` gives the type of the dot in the branch from the type of the
    /// branch's argument and of the dot outside.
    fn branch(&mut self, branch: &mut BranchNode, dot: fn(Type, Type) -> Type) -> Result<(), String> {
        let known = self.variables.len();
        self.pipe(&mut branch.pipe)?;
        let before = self.dot;
        self.dot = dot(self.type_of_pipe(&branch.pipe.commands), before);
        self.list(&mut branch.body)?;
        self.dot = before;
        branch.else_body.as_mut().map_or(Ok(()), |body| self.list(body))?;
        self.variables.truncate(known);
        Ok(())
    }

    fn pipe(&mut self, pipe: &mut PipeNode) -> Result<(), String> {
        for command in &mut pipe.commands {
            for arg in &mut command.args {
                self.expr(arg)?;
            }
        }
        if !pipe.is_assign {
            self.variables.extend(pipe.decl.iter().cloned());
        }
        if let [variable] = &pipe.decl[..] {
            let of = self.type_of_pipe(&pipe.commands);
            self.types.retain(|(name, _)| name != variable);
            self.types.extend(of.map(|of| (variable.clone(), of)));
        }
        // `set $d "k" .v` changes a dictionary in place. Values here are immutable, so it becomes an assignment to
        // `$d`.
        if let Some((at, variable)) = mutation(&pipe.commands)?.or_else(|| self.sorting(&pipe.commands)) {
            let pos = pipe.pos;
            let commands: Vec<CommandNode> = pipe.commands.drain(..=at).collect();
            let assignment = PipeNode { pos, decl: vec![variable], commands, is_assign: true };
            pipe.commands.insert(0, CommandNode { pos, args: vec![Expr::Pipe(pos, assignment)] });
        }
        self.name_types(pipe);
        Ok(())
    }

    /// Adds type information to the arguments of functions that depend on types.
    fn name_types(&mut self, pipe: &mut PipeNode) {
        let mut commands: Vec<CommandNode> = Vec::new();
        for mut command in pipe.commands.drain(..) {
            if let Some((pos, _)) = calls(&command, &TELL_TYPES) {
                command.args.iter_mut().skip(1).for_each(|arg| self.name_type(arg));
                if let Some(of) = self.type_of_pipe(&commands) {
                    commands.push(rewrite::typing(pos, of));
                    self.needs.functions.insert(TYPED.to_string());
                } else if let Some(last) = commands.last_mut() {
                    self.name_types_within(last);
                }
            }
            commands.push(command);
        }
        pipe.commands = commands;
    }

    fn name_type(&mut self, arg: &mut Expr) {
        if let Some(of) = self.type_of(arg) {
            rewrite::with_type(arg, of);
            self.needs.functions.insert(TYPED.to_string());
        } else if let Expr::Pipe(_, pipe) = arg
            && let Some(last) = pipe.commands.last_mut()
        {
            self.name_types_within(last);
        }
    }

    /// These functions return their arguments unchanged, or values made of them.
    fn name_types_within(&mut self, command: &mut CommandNode) {
        if calls(command, &["coalesce", "default", "dict", "list", "ternary", "tuple"]).is_some() {
            command.args.iter_mut().skip(1).for_each(|arg| self.name_type(arg));
        } else if calls(command, &["first", "index", "last"]).is_some()
            && let Some(Expr::Pipe(_, pipe)) = command.args.get_mut(1)
            && let Some(last) = pipe.commands.last_mut().filter(|last| calls(last, &["list", "tuple"]).is_some())
        {
            self.name_types_within(last);
        }
    }

    /// The type of the last command's result, if it is a Go type that the engine does not have.
    fn type_of_pipe(&self, commands: &[CommandNode]) -> Type {
        match &commands.last()?.args[..] {
            // A part of a list has the list's type.
            [Expr::Identifier(_, name), list, ..] if name == "slice" || name == "mustSlice" => self.type_of(list),
            [Expr::Identifier(_, name), ..] => type_made_by(name),
            [alone] if commands.len() == 1 => self.type_of(alone),
            _ => None,
        }
    }

    fn type_of(&self, expr: &Expr) -> Type {
        match expr {
            Expr::Identifier(_, name) => type_made_by(name),
            Expr::Dot(_) => self.dot,
            Expr::Pipe(_, pipe) => self.type_of_pipe(&pipe.commands),
            Expr::Variable(_, name, fields) if fields.is_empty() => {
                self.types.iter().find(|(known, _)| known == name).map(|(_, of)| *of)
            }
            Expr::Variable(_, _, fields) | Expr::Chain(_, _, fields) | Expr::Field(_, fields) => {
                moment::type_of_method(fields.last()?)
            }
            _ => None,
        }
    }

    fn expr(&mut self, expr: &mut Expr) -> Result<(), String> {
        match expr {
            Expr::Identifier(pos, name) => {
                functions::exists(name).map_err(|message| at(*pos, &message))?;
                self.needs.functions.insert(name.to_string());
            }
            Expr::Variable(pos, name, _) if !self.variables.contains(name) => {
                return Err(at(*pos, &format!("undefined variable `{name}`")));
            }
            Expr::Variable(_, name, fields) if name == "$" => self.name(fields.first()),
            Expr::Field(_, names) => self.name(names.first()),
            Expr::Dot(_) => self.name(None),
            Expr::Pipe(_, pipe) => self.pipe(pipe)?,
            Expr::Chain(_, inner, _) => self.expr(inner)?,
            Expr::Number(_, Number::Float(_)) => self.fractions = true,
            Expr::Variable(..) | Expr::String(..) | Expr::Number(..) | Expr::Bool(..) | Expr::Nil(_) => {}
        }
        Ok(())
    }

    /// Matches `sortAlpha $l` and `$l | sortAlpha`.
    fn sorting(&self, commands: &[CommandNode]) -> Option<(usize, SmolStr)> {
        commands.iter().enumerate().find_map(|(i, command)| {
            calls(command, &["sortAlpha"])?;
            let list = match (i, command.args.get(1)) {
                (_, Some(list)) => list,
                (1, None) => commands[0].args.first().filter(|_| commands[0].args.len() == 1)?,
                _ => return None,
            };
            match list {
                Expr::Variable(_, name, fields)
                    if fields.is_empty() && self.types.iter().any(|(n, of)| n == name && *of == "[]string") =>
                {
                    Some((i, name.clone()))
                }
                _ => None,
            }
        })
    }

    /// Records a name that is used. None: all names.
    fn name(&mut self, name: Option<&SmolStr>) {
        match (name, &mut self.needs.names) {
            (Some(name), Some(names)) => _ = names.insert(name.as_str().into()),
            (None, names) => *names = None,
            (Some(_), None) => {}
        }
    }
}

/// The function that a command calls, if it is one of `names`.
fn calls<'c>(command: &'c CommandNode, names: &[&str]) -> Option<(Pos, &'c str)> {
    match command.args.first() {
        Some(Expr::Identifier(pos, name)) if names.contains(&name.as_str()) => Some((*pos, name)),
        _ => None,
    }
}

/// The last command that changes a variable, and that variable.
fn mutation(commands: &[CommandNode]) -> Result<Option<(usize, SmolStr)>, String> {
    for (i, command) in commands.iter().enumerate().rev() {
        let Some((pos, name)) = calls(command, &MUTATING) else {
            continue;
        };
        match command.args.get(1) {
            Some(Expr::Variable(_, variable, fields)) if fields.is_empty() && variable != "$" => {
                return Ok(Some((i, variable.clone())));
            }
            // The result of a call is not shared with a variable.
            Some(Expr::Pipe(..) | Expr::Identifier(..)) | None => {}
            Some(_) => {
                let message =
                    format!("`{name}` changes a dictionary that is in a variable: `{name} $d …`, not one within");
                return Err(at(pos, &message));
            }
        }
    }
    Ok(None)
}

fn at(pos: Pos, message: &str) -> String {
    format!("line {}: {message}", pos.line)
}

/// The engine's limit at run time. Its parser has no limit for `{{else if}}`.
const DEEPEST: usize = 200;

/// The parser stops at a superfluous `{{end}}` and ignores the rest, and does not miss an `{{end}}` at the end. Both
/// are errors here.
pub(super) fn check_ends(text: &str) -> Result<(), String> {
    // The number of levels of each open block: an `{{else if}}` is an `{{if}}` inside an `{{else}}`.
    let mut open: Vec<usize> = Vec::new();
    let mut depth = 0;
    let mut rest = text;
    while let Some(start) = rest.find("{{") {
        let action = &rest[start + 2..];
        let line = || text[..text.len() - action.len()].matches('\n').count() + 1;
        let body = action.strip_prefix('-').unwrap_or(action).trim_start();
        let word = body.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
        match word {
            "if" | "range" | "with" | "define" | "block" => open.push(1),
            "end" => match open.pop() {
                Some(levels) => depth -= levels,
                None => return Err(format!("line {}: unexpected {{{{end}}}}", line())),
            },
            "else" => match open.last_mut() {
                Some(levels) => *levels += 1,
                None => return Err(format!("line {}: unexpected {{{{else}}}}", line())),
            },
            _ => {}
        }
        if matches!(word, "if" | "range" | "with" | "define" | "block" | "else") {
            depth += 1;
        }
        if depth > DEEPEST {
            return Err(format!("line {}: nested deeper than {DEEPEST}", line()));
        }
        rest = &action[action_len(action)..];
    }
    match open.len() {
        0 => Ok(()),
        open => Err(format!("{open} more {{{{end}}}} needed at the end")),
    }
}

/// The length up to the closing braces, which may also be in a string or a comment.
fn action_len(action: &str) -> usize {
    let bytes = action.as_bytes();
    if let Some(comment) = action.trim_start_matches('-').trim_start().strip_prefix("/*") {
        let start = action.len() - comment.len();
        return comment.find("*/").map_or(action.len(), |end| start + end + 2);
    }
    let mut quote = None;
    let mut i = 0;
    while i < bytes.len() {
        match (quote, bytes[i]) {
            (None, b'"' | b'`' | b'\'') => quote = Some(bytes[i]),
            (None, b'}') if bytes.get(i + 1) == Some(&b'}') => return i + 2,
            (Some(b'"' | b'\''), b'\\') => i += 1,
            (Some(open), byte) if open == byte => quote = None,
            _ => {}
        }
        i += 1;
    }
    bytes.len()
}
