//! The arguments that make up a key or a fingerprint.

use quote::ToTokens;
use syn::{Error, Expr, Ident};

/// Returns an error for each part that is not an argument of the function or a part of one, and for
/// each that is there twice.
pub(crate) fn problems(list: &str, parts: &[Expr], arguments: &[Ident]) -> Vec<Error> {
    let mut problems = Vec::new();
    let mut seen = Vec::new();
    for part in parts {
        let text = part.to_token_stream().to_string();
        let problem = match root(part) {
            None => Some(format!(
                "a part of the {list} is an argument of the function, or begins with one, such as `order_id` or \
                 `order.id`"
            )),
            Some(root) if !arguments.contains(root) => Some(unknown(root, arguments)),
            Some(_) if seen.contains(&text) => Some(format!("`{text}` is in the {list} twice")),
            Some(_) => None,
        };
        problems.extend(problem.map(|message| Error::new_spanned(part, message)));
        seen.push(text);
    }
    problems
}

fn unknown(root: &Ident, arguments: &[Ident]) -> String {
    let names: Vec<String> = arguments.iter().map(|name| format!("`{name}`")).collect();
    match &names[..] {
        [] => format!("`{root}` is not an argument of this function, which has none"),
        names => format!("`{root}` is not an argument of this function; it has {}", names.join(", ")),
    }
}

/// Returns the name with which an expression such as `order.id` or `tenant.trim()` begins.
fn root(part: &Expr) -> Option<&Ident> {
    match part {
        Expr::Path(path) if path.qself.is_none() => path.path.get_ident(),
        Expr::Cast(part) => root(&part.expr),
        Expr::Field(part) => root(&part.base),
        Expr::Index(part) => root(&part.expr),
        Expr::MethodCall(part) => root(&part.receiver),
        Expr::Paren(part) => root(&part.expr),
        Expr::Reference(part) => root(&part.expr),
        Expr::Unary(part) => root(&part.expr),
        _ => None,
    }
}
