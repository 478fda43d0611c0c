//! Rewrites templates that use times or fractions, which the engine does not have or prints differently: `$t.Unix`
//! becomes a call, and values are converted before they are printed. In templates with loops or nested templates,
//! iterations are counted.

use std::sync::Arc;

use gotmpl::parse::{ActionNode, CommandNode, Expr, ListNode, Node, PipeNode, Pos, SmolStr};

use super::functions::{METHOD, SHOW, TURN, TYPED};
use super::methods;

pub(super) fn list(list: &mut ListNode) {
    for node in &mut list.nodes {
        match node {
            Node::List(inner) => self::list(inner),
            Node::Action(action) => {
                pipe(&mut action.pipe);
                if action.pipe.decl.is_empty() {
                    action.pipe.commands.push(call(action.pos, SHOW, []));
                }
            }
            Node::If(branch) | Node::Range(branch) | Node::With(branch) => {
                pipe(&mut branch.pipe);
                self::list(&mut branch.body);
                branch.else_body.iter_mut().for_each(self::list);
            }
            Node::Template(template) => template.pipe.iter_mut().for_each(pipe),
            Node::Define(define) => self::list(&mut define.body),
            Node::Text(_) | Node::Break(_) | Node::Continue(_) => {}
        }
    }
}

/// Counts the executions of this list and of the loops in it.
pub(super) fn count_turns(list: &mut ListNode) {
    fn within(list: &mut ListNode) {
        for node in &mut list.nodes {
            match node {
                Node::List(inner) => within(inner),
                Node::Range(branch) => {
                    count_turns(&mut branch.body);
                    branch.else_body.iter_mut().for_each(within);
                }
                Node::If(branch) | Node::With(branch) => {
                    within(&mut branch.body);
                    branch.else_body.iter_mut().for_each(within);
                }
                Node::Define(define) => count_turns(&mut define.body),
                Node::Action(_) | Node::Template(_) | Node::Text(_) | Node::Break(_) | Node::Continue(_) => {}
            }
        }
    }
    within(list);
    let pos = Pos::new(0, 1);
    let pipe = PipeNode { pos, decl: Vec::new(), commands: vec![call(pos, TURN, [])], is_assign: false };
    list.nodes.insert(0, Node::Action(ActionNode { pos, pipe }));
}

/// Turns `X` into `(·typed "int64" X)`.
pub(super) fn with_type(arg: &mut Expr, of: &str) {
    let pos = arg.pos();
    let value = std::mem::replace(arg, Expr::Nil(pos));
    *arg = nested(pos, TYPED, [Expr::String(pos, of.into()), value]);
}

/// A command that adds the type to its piped input.
pub(super) fn typing(pos: Pos, of: &str) -> CommandNode {
    call(pos, TYPED, [Expr::String(pos, of.into())])
}

fn pipe(pipe: &mut PipeNode) {
    let mut commands = Vec::new();
    for (i, mut command) in pipe.commands.drain(..).enumerate() {
        let with_arguments = i > 0 || command.args.len() > 1;
        if let Some((receiver, method)) = with_arguments.then(|| last_method(&command.args[0])).flatten() {
            // A method with arguments is the first word of its command.
            let pos = command.pos;
            command.args.splice(0..1, call(pos, METHOD, [Expr::String(pos, method), receiver]).args);
        }
        command.args.iter_mut().for_each(expr);
        commands.push(command);
    }
    pipe.commands = commands;
}

fn expr(expr: &mut Expr) {
    match expr {
        Expr::Pipe(_, inner) => pipe(inner),
        Expr::Chain(_, inner, _) => self::expr(inner),
        _ => {}
    }
    let Some((mut receiver, method)) = last_method(expr) else {
        return;
    };
    // `.UTC.Year`: the receiver may be the result of another method.
    if !matches!(receiver, Expr::Pipe(..)) {
        self::expr(&mut receiver);
    }
    let pos = expr.pos();
    *expr = nested(pos, METHOD, [Expr::String(pos, method), receiver]);
}

/// Splits `x.a.Unix` into `x.a` and `Unix`.
fn last_method(expr: &Expr) -> Option<(Expr, Arc<str>)> {
    let mut receiver = expr.clone();
    let (Expr::Field(_, fields) | Expr::Variable(_, _, fields) | Expr::Chain(_, _, fields)) = &mut receiver else {
        return None;
    };
    let method = fields
        .pop_if(|name| methods::OF_TIMES.iter().chain(&methods::OF_VERSIONS).any(|method| *method == name.as_str()))?;
    let bare = fields.is_empty();
    let receiver = match receiver {
        Expr::Field(pos, _) if bare => Expr::Dot(pos),
        Expr::Chain(_, inner, _) if bare => *inner,
        other => other,
    };
    Some((receiver, method.as_str().into()))
}

fn call<const N: usize>(pos: Pos, name: &str, args: [Expr; N]) -> CommandNode {
    let head = Expr::Identifier(pos, SmolStr::new(name));
    CommandNode { pos, args: std::iter::once(head).chain(args).collect() }
}

fn nested<const N: usize>(pos: Pos, name: &str, args: [Expr; N]) -> Expr {
    let commands = vec![call(pos, name, args)];
    Expr::Pipe(pos, PipeNode { pos, decl: Vec::new(), commands, is_assign: false })
}
