//! The modules of a crate, their names, and the paths in its files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::punctuated::Punctuated;
use syn::visit::Visit;
use syn::{Attribute, Expr, Item, ItemUse, Lit, Meta, Token, UseTree, Visibility};

/// The index of a file in [`Crate::files`].
pub(super) type FileId = usize;
/// The index of a module in [`Crate::modules`]. The root is 0.
pub(super) type ModuleId = usize;

/// A crate, without code that is built only for tests.
#[derive(Default)]
pub(super) struct Crate {
    pub(super) files: Vec<PathBuf>,
    pub(super) modules: Vec<Module>,
    pub(super) mentions: Vec<Mention>,
}

pub(super) struct Module {
    pub(super) file: FileId,
    pub(super) parent: Option<ModuleId>,
    /// The definitions of each name. There may be several, because a type and a function may share
    /// a name, and items may be built conditionally.
    pub(super) names: BTreeMap<String, Vec<Named>>,
    /// The modules whose names are all imported.
    pub(super) globs: Vec<Vec<String>>,
}

/// The meaning of a name in a module.
pub(super) enum Named {
    Module(ModuleId),
    /// Defined in the file of the module, or in this one.
    Item(FileId),
    /// Imported from this path.
    Import(Vec<String>),
}

/// A path in the code.
pub(super) struct Mention {
    pub(super) module: ModuleId,
    pub(super) line: usize,
    pub(super) path: Vec<String>,
    /// True if it is in a `use`.
    pub(super) is_import: bool,
}

/// Parses a crate, beginning with its root file.
pub(super) fn read(root: &Path) -> Result<Crate, String> {
    let mut found = Crate::default();
    let folder = root.parent().unwrap_or(Path::new("")).to_path_buf();
    found.module_file(root, folder, None)?;
    Ok(found)
}

/// Returns the names of the items that a macro defines, so far as its definition contains them. Such a
/// macro is invoked in its own module.
fn made_by(tokens: TokenStream) -> Vec<String> {
    const KEYWORDS: [&str; 6] = ["const", "enum", "fn", "static", "struct", "type"];
    let mut names = Vec::new();
    let mut follows_keyword = false;
    for token in tokens {
        match token {
            TokenTree::Group(group) => names.extend(made_by(group.stream())),
            TokenTree::Ident(ident) if follows_keyword => {
                names.push(plain(&ident));
                follows_keyword = false;
                continue;
            }
            TokenTree::Ident(ident) => {
                follows_keyword = KEYWORDS.iter().any(|keyword| ident == keyword);
                continue;
            }
            _ => {}
        }
        follows_keyword = false;
    }
    names
}

impl Crate {
    fn module_file(
        &mut self,
        path: &Path,
        folder: PathBuf,
        parent: Option<ModuleId>,
    ) -> Result<ModuleId, String> {
        let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let parsed = syn::parse_file(&text)
            .map_err(|error| format!("{}:{}: {error}", path.display(), error.span().start().line))?;
        self.files.push(path.to_path_buf());
        let file = self.files.len() - 1;
        let module = self.add(file, parent);
        let beside = path.parent().unwrap_or(Path::new("")).to_path_buf();
        self.items(&parsed.items, module, &folder, &beside)?;
        Ok(module)
    }

    /// Returns the top-level module that a file belongs to. The root file belongs to none.
    pub(super) fn folder_of(&self, file: FileId) -> Option<ModuleId> {
        let mut folder = self.modules.iter().position(|module| module.file == file)?;
        while let Some(parent) = self.modules.get(folder)?.parent {
            if parent == 0 {
                return Some(folder);
            }
            folder = parent;
        }
        None
    }

    /// Returns the name of a top-level module.
    pub(super) fn module_name(&self, module: ModuleId) -> &str {
        let is_it = |named: &Named| matches!(named, Named::Module(id) if *id == module);
        let root = self.modules.first().into_iter().flat_map(|root| &root.names);
        root.filter(|(_, named)| named.iter().any(is_it)).map(|(name, _)| name.as_str()).next().unwrap_or("?")
    }

    fn add(&mut self, file: FileId, parent: Option<ModuleId>) -> ModuleId {
        self.modules.push(Module { file, parent, names: BTreeMap::new(), globs: Vec::new() });
        self.modules.len() - 1
    }

    /// `folder` has the files of child modules, and `beside` is the base of `#[path]`.
    fn items(
        &mut self,
        items: &[Item],
        module: ModuleId,
        folder: &Path,
        beside: &Path,
    ) -> Result<(), String> {
        for item in items.iter().filter(|item| !is_test(attributes(item))) {
            match item {
                Item::Mod(child) => {
                    let name = plain(&child.ident);
                    let inner = folder.join(&name);
                    let id = match &child.content {
                        Some((_, items)) => {
                            let id = self.add(self.file_of(module), Some(module));
                            let beside = beside.join(&name);
                            self.items(items, id, &inner, &beside)?;
                            id
                        }
                        None => {
                            let path = match path_attribute(&child.attrs) {
                                Some(path) => {
                                    let path = beside.join(path);
                                    path.canonicalize().unwrap_or(path)
                                }
                                None => self.child_file(&name, folder, module)?,
                            };
                            // The children of a module with `#[path]` are beside it.
                            let inner = match path_attribute(&child.attrs) {
                                Some(_) => path.parent().unwrap_or(Path::new("")).to_path_buf(),
                                None => inner,
                            };
                            self.module_file(&path, inner, Some(module))?
                        }
                    };
                    self.name(module, name, Named::Module(id));
                }
                Item::Use(import) => self.import(import, module),
                _ => {}
            }
            self.define(item, module);
            if !matches!(item, Item::Mod(_) | Item::Use(_)) {
                Mentions { found: self, module }.visit_item(item);
            }
        }
        Ok(())
    }

    fn child_file(&self, name: &str, folder: &Path, module: ModuleId) -> Result<PathBuf, String> {
        let places = [folder.join(format!("{name}.rs")), folder.join(name).join("mod.rs")];
        let found = places.iter().find(|path| path.is_file()).cloned();
        found.ok_or_else(|| {
            let of = self.modules.get(module).and_then(|module| self.files.get(module.file));
            let of = of.map(|file| file.display().to_string()).unwrap_or_default();
            format!(
                "{of}: the file of `mod {name}` is not found, neither {} nor {}",
                places[0].display(),
                places[1].display()
            )
        })
    }

    fn file_of(&self, module: ModuleId) -> FileId {
        self.modules.get(module).map_or(0, |module| module.file)
    }

    fn name(&mut self, module: ModuleId, name: String, named: Named) {
        if let Some(module) = self.modules.get_mut(module) {
            module.names.entry(name).or_default().push(named);
        }
    }

    fn define(&mut self, item: &Item, module: ModuleId) {
        let file = self.file_of(module);
        let ident = match item {
            Item::Const(item) => &item.ident,
            Item::Enum(item) => &item.ident,
            Item::Fn(item) => &item.sig.ident,
            Item::Static(item) => &item.ident,
            Item::Struct(item) => &item.ident,
            Item::Trait(item) => &item.ident,
            Item::TraitAlias(item) => &item.ident,
            Item::Type(item) => &item.ident,
            Item::Union(item) => &item.ident,
            Item::Macro(item) => {
                if let Some(ident) = &item.ident {
                    // An exported macro is a name of the root module.
                    let is_exported =
                        item.attrs.iter().any(|attribute| attribute.path().is_ident("macro_export"));
                    self.name(if is_exported { 0 } else { module }, plain(ident), Named::Item(file));
                    if !is_exported {
                        for made in made_by(item.mac.tokens.clone()) {
                            self.name(module, made, Named::Item(file));
                        }
                    }
                }
                return;
            }
            _ => return,
        };
        self.name(module, plain(ident), Named::Item(file));
    }

    fn import(&mut self, import: &ItemUse, module: ModuleId) {
        let mut leaves = Vec::new();
        if import.leading_colon.is_none() {
            leaves_of(&import.tree, &mut Vec::new(), &mut leaves);
        }
        for Leaf { path, name, line } in leaves {
            match name {
                Some(name) => self.name(module, name, Named::Import(path.clone())),
                None => {
                    if let Some(module) = self.modules.get_mut(module) {
                        module.globs.push(path.clone());
                    }
                }
            }
            self.mentions.push(Mention { module, line, path, is_import: true });
        }
    }
}

/// A path that a `use` imports.
struct Leaf {
    path: Vec<String>,
    /// `None` if it imports all names.
    name: Option<String>,
    line: usize,
}

fn leaves_of(tree: &UseTree, before: &mut Vec<String>, leaves: &mut Vec<Leaf>) {
    match tree {
        UseTree::Path(path) => {
            before.push(plain(&path.ident));
            leaves_of(&path.tree, before, leaves);
            before.pop();
        }
        UseTree::Name(name) => {
            let line = line_of(name.ident.span());
            let (path, name) = with(before, plain(&name.ident));
            leaves.push(Leaf { path, name, line });
        }
        UseTree::Rename(rename) => {
            let (path, _) = with(before, plain(&rename.ident));
            let line = line_of(rename.ident.span());
            leaves.push(Leaf { path, name: Some(plain(&rename.rename)), line });
        }
        UseTree::Glob(glob) => {
            let line = line_of(glob.star_token.spans[0]);
            leaves.push(Leaf { path: before.clone(), name: None, line });
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| leaves_of(tree, before, leaves)),
    }
}

/// Returns the path and its local name: `a::b::{self}` is `a::b` with the name `b`.
fn with(before: &[String], last: String) -> (Vec<String>, Option<String>) {
    let mut path = before.to_vec();
    if last != "self" || path.is_empty() {
        path.push(last);
    }
    let name = path.last().cloned();
    (path, name)
}

fn line_of(span: proc_macro2::Span) -> usize {
    span.start().line
}

/// Returns a name without `r#`.
fn plain(ident: &proc_macro2::Ident) -> String {
    let name = ident.to_string();
    name.strip_prefix("r#").map_or(name.clone(), str::to_owned)
}

fn path_attribute(attributes: &[Attribute]) -> Option<String> {
    let path = attributes.iter().find(|attribute| attribute.path().is_ident("path"))?;
    let Meta::NameValue(pair) = &path.meta else { return None };
    let Expr::Lit(value) = &pair.value else { return None };
    let Lit::Str(text) = &value.lit else { return None };
    Some(text.value())
}

/// Returns whether the code is built only for tests.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || (attribute.path().is_ident("cfg")
                && attribute.parse_args::<Meta>().is_ok_and(|meta| requires_test(&meta)))
    })
}

fn requires_test(meta: &Meta) -> bool {
    match meta {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) if list.path.is_ident("all") => list
            .parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)
            .is_ok_and(|all| all.iter().any(requires_test)),
        _ => false,
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Collects the paths in the code of a module.
struct Mentions<'c> {
    found: &'c mut Crate,
    module: ModuleId,
}

impl Mentions<'_> {
    fn mention(&mut self, path: Vec<String>, line: usize) {
        // A single name is defined or imported in the module.
        if path.len() > 1 {
            self.found.mentions.push(Mention { module: self.module, line, path, is_import: false });
        }
    }

    /// Collects the paths among the tokens of a macro call.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let (mut line, mut colons) = (0, 0);
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.mention(std::mem::take(&mut path), line);
                        line = line_of(ident.span());
                    }
                    path.push(plain(&ident));
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' && !path.is_empty() => colons += 1,
                TokenTree::Group(group) => {
                    self.mention(std::mem::take(&mut path), line);
                    colons = 0;
                    self.tokens(group.stream());
                }
                _ => {
                    self.mention(std::mem::take(&mut path), line);
                    colons = 0;
                }
            }
        }
        self.mention(path, line);
    }
}

impl<'ast> Visit<'ast> for Mentions<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        match item {
            // The items of a function's body.
            Item::Use(import) => {
                let mut leaves = Vec::new();
                leaves_of(&import.tree, &mut Vec::new(), &mut leaves);
                let module = self.module;
                let mention = |Leaf { path, line, .. }| Mention { module, line, path, is_import: true };
                self.found.mentions.extend(leaves.into_iter().map(mention));
            }
            item if is_test(attributes(item)) => {}
            item => syn::visit::visit_item(self, item),
        }
    }

    fn visit_impl_item(&mut self, item: &'ast syn::ImplItem) {
        let attributes = match item {
            syn::ImplItem::Const(item) => &item.attrs[..],
            syn::ImplItem::Fn(item) => &item.attrs[..],
            syn::ImplItem::Type(item) => &item.attrs[..],
            _ => &[],
        };
        if !is_test(attributes) {
            syn::visit::visit_impl_item(self, item);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            let names = path.segments.iter().map(|segment| plain(&segment.ident)).collect();
            let first = path.segments.first();
            self.mention(names, first.map_or(0, |segment| line_of(segment.ident.span())));
        }
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.visit_path(&call.path);
        self.tokens(call.tokens.clone());
    }

    /// `pub(in crate::a)` imports nothing.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    /// Attributes import nothing, except for derived code, which is not analysed.
    fn visit_attribute(&mut self, _: &'ast Attribute) {}
}
