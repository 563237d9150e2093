//! `cargo xtask test examples`: checks that the public methods of the main types have an example in
//! their documentation, and that those which can fail document their errors.

use std::fs;
use std::path::Path;

use syn::visit::Visit;
use syn::{Attribute, Expr, ImplItem, ImplItemFn, ItemImpl, Lit, Meta, ReturnType, Type, Visibility};

use crate::shell::Shell;
use crate::step::{Asked, End};

/// The types of `lessor-core` that applications use most.
const TYPES: &[&str] = &[
    "Engine",
    "Lease",
    "Once",
    "Retrying",
    "AcquireRequest",
    "ListRequest",
    "Resolve",
    "View",
    "Settings",
    "Limits",
    "Schedule",
];

/// The types whose documentation states the errors of all methods.
const WITH_COMMON_ERRORS: &[&str] = &["Lease", "Resolve"];

/// Checks `lessor-core`.
pub(crate) fn step(shell: &Shell, _: Asked) -> Result<End, String> {
    let mut found = Found::default();
    search(&shell.root.join("crates/lessor-core/src"), &mut found)?;
    for name in TYPES.iter().filter(|name| !found.types.iter().any(|known| known == *name)) {
        found.problems.push(format!("{name} has no methods"));
    }
    match found.problems.is_empty() {
        true => Ok(End::PassedWith(format!("{} methods of {} types", found.methods, TYPES.len()))),
        false => Err(found.problems.join("; ")),
    }
}

/// The methods that were found, and what they lack.
#[derive(Default)]
struct Found {
    types: Vec<String>,
    methods: usize,
    problems: Vec<String>,
}

fn search(folder: &Path, found: &mut Found) -> Result<(), String> {
    let problem = |error: &dyn std::fmt::Display| format!("{}: {error}", folder.display());
    for entry in fs::read_dir(folder).map_err(|error| problem(&error))? {
        let path = entry.map_err(|error| problem(&error))?.path();
        if path.is_dir() {
            search(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).map_err(|error| problem(&error))?;
            found.read(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        }
    }
    Ok(())
}

impl Found {
    fn read(&mut self, text: &str) -> Result<(), syn::Error> {
        self.visit_file(&syn::parse_file(text)?);
        Ok(())
    }

    fn method(&mut self, of: &str, method: &ImplItemFn) {
        let docs = docs(&method.attrs);
        let name = format!("{of}::{}", method.sig.ident);
        self.methods += 1;
        if !docs.contains("```") {
            self.problems.push(format!("{name} has no example"));
        }
        let documented = docs.contains("# Errors") || WITH_COMMON_ERRORS.contains(&of);
        if can_fail(&method.sig.output) && !documented {
            self.problems.push(format!("{name} does not document its errors"));
        }
    }
}

impl<'ast> Visit<'ast> for Found {
    fn visit_item_impl(&mut self, block: &'ast ItemImpl) {
        let Type::Path(of) = &*block.self_ty else { return };
        let of = of.path.segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default();
        if block.trait_.is_some() || !TYPES.contains(&&*of) {
            return;
        }
        for item in &block.items {
            if let ImplItem::Fn(method) = item
                && matches!(method.vis, Visibility::Public(_))
            {
                self.method(&of, method);
            }
        }
        self.types.push(of);
    }
}

/// Returns whether the type that a method returns contains a `Result`.
fn can_fail(output: &ReturnType) -> bool {
    struct Search(bool);
    impl<'ast> Visit<'ast> for Search {
        fn visit_path_segment(&mut self, segment: &'ast syn::PathSegment) {
            self.0 |= segment.ident == "Result";
            syn::visit::visit_path_segment(self, segment);
        }
    }
    let mut search = Search(false);
    search.visit_return_type(output);
    search.0
}

/// Returns the text of the doc comments.
fn docs(attributes: &[Attribute]) -> String {
    let mut text = String::new();
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("doc")) {
        if let Meta::NameValue(value) = &attribute.meta
            && let Expr::Lit(literal) = &value.value
            && let Lit::Str(line) = &literal.lit
        {
            text += &line.value();
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let mut found = Found::default();
        found.read(text).unwrap();
        found.problems
    }

    #[test]
    fn a_public_method_without_an_example_is_found() {
        assert_eq!(problems("impl Engine { /// Text.\n pub fn new() {} }"), ["Engine::new has no example"]);
        assert_eq!(
            problems("impl<T> Once<T> { /// Text.\n pub async fn run(self) {} }"),
            ["Once::run has no example"]
        );
        let example = "impl Engine { /// ```\n/// Engine::new();\n/// ```\n pub fn new() {} }";
        assert!(problems(example).is_empty());
        for other in ["impl Other { pub fn new() {} }", "impl Engine { fn a() {} pub(crate) fn b() {} }"] {
            assert!(problems(other).is_empty(), "{other}");
        }
        assert!(problems("impl Debug for Engine { fn fmt(&self) {} }").is_empty());
    }

    #[test]
    fn a_method_that_can_fail_and_does_not_document_its_errors_is_found() {
        let now = "impl Engine { /// ```\n/// ```\n pub fn now(&self) -> Pending<Result<u8, Error>> {} }";
        assert_eq!(problems(now), ["Engine::now does not document its errors"]);
        assert!(problems(&now.replace("/// ```\n ", "/// ```\n/// # Errors\n ")).is_empty());
        assert!(problems(&now.replace("Pending<Result<u8, Error>>", "u8")).is_empty());
        assert!(problems(&now.replace("Engine", "Lease")).is_empty(), "the type documents them");
    }
}
