//! `cargo xtask test imports`: checks that the files of a crate do not import each other in a
//! circle, and neither do its folders.
//!
//! A folder is a top-level module of the crate with all of its contents. It imports another folder
//! if one of its files imports a file of that folder. The root file belongs to no folder.
//!
//! A file imports another if its code, except for tests, names an item of it: in a `use`, or in a
//! path that begins with `crate`, `super`, `self`, or a module. Names are resolved as the compiler
//! resolves them, through the tree of modules:
//!
//! - `mod child;` imports nothing. The use of a name of the child does.
//! - A name that is reached through a `use` in another file, such as a `pub use` of the parent, is
//!   imported from both: from the file with the `use`, and from the file with the definition.
//! - A path that ends at a module, such as `use crate::module;` or `use super::*;`, imports the
//!   file of the module.
//! - A name of several items is imported from all of them.
//!
//! Code that macros generate is not analysed, except for paths among the tokens of a macro call.

mod crates;
mod graph;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use crate::shell::Shell;
use crate::step::{Asked, End};
use crates::Crate;
use graph::{Edges, groups, opening, shortest, steps};

/// The crates that may have circles. A crate without a circle must not be listed.
const KNOWN: &str = include_str!("known.txt");

/// Checks every crate of the workspace.
pub(crate) fn step(shell: &Shell, _: Asked) -> Result<End, String> {
    let checked = check(&shell.root, &roots(&shell.root)?, &listed(KNOWN))?;
    println!("{}", checked.text);
    if checked.problems.is_empty() {
        Ok(End::PassedWith(checked.summary))
    } else {
        Err(checked.problems.join("; "))
    }
}

fn listed(known: &str) -> Vec<&str> {
    known.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

/// The name and the root file of a crate.
type Root = (String, PathBuf);

/// Returns the libraries and programs of the workspace.
fn roots(workspace: &Path) -> Result<Vec<Root>, String> {
    let manifest = workspace.join("Cargo.toml");
    let text = fs::read_to_string(&manifest).map_err(|error| format!("{}: {error}", manifest.display()))?;
    let members = text.lines().find_map(|line| line.strip_prefix("members = "));
    let members = members.ok_or("Cargo.toml has no line with its members")?;
    let mut folders = Vec::new();
    for member in members.split('"').skip(1).step_by(2) {
        match member.strip_suffix("/*") {
            None => folders.push(workspace.join(member)),
            Some(parent) => folders.extend(entries(&workspace.join(parent))?),
        }
    }
    let mut roots = Vec::new();
    for folder in folders {
        let name = folder.strip_prefix(workspace).unwrap_or(&folder).display().to_string();
        let name = name.strip_prefix("crates/").map_or(name.clone(), str::to_owned);
        let source = folder.join("src");
        for (file, suffix) in [("lib.rs", ""), ("main.rs", " (main.rs)")] {
            let root = source.join(file);
            if root.is_file() {
                roots.push((format!("{name}{suffix}"), root));
            }
        }
        for program in if source.join("bin").is_dir() { entries(&source.join("bin"))? } else { Vec::new() } {
            let root = if program.is_dir() { program.join("main.rs") } else { program.clone() };
            let program = program.file_name().unwrap_or_default().display().to_string();
            roots.push((format!("{name} ({program})"), root));
        }
    }
    Ok(roots)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let failed = |error| format!("{}: {error}", folder.display());
    let entries = fs::read_dir(folder).map_err(failed)?;
    let paths: Result<Vec<PathBuf>, _> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut paths = paths.map_err(failed)?;
    paths.sort();
    Ok(paths)
}

/// The result of a check.
struct Checked {
    /// The circles, and the imports that would open them.
    text: String,
    /// The extent of the check.
    summary: String,
    problems: Vec<String>,
}

/// Checks crates. Paths are shown relative to `shown_from`.
fn check(shown_from: &Path, roots: &[Root], known: &[&str]) -> Result<Checked, String> {
    let (mut text, mut problems) = (String::new(), Vec::new());
    let (mut files, mut imports) = (0, 0);
    for (name, root) in roots {
        let of = crates::read(root)?;
        let (edges, lost) = graph::edges(&of);
        files += of.files.len();
        imports += edges.len();
        let place = |file: usize, line: usize| format!("{}:{line}", shown(&of, file, shown_from));
        for lost in lost {
            problems.push(format!("{}: {} cannot be resolved", place(lost.file, lost.line), lost.path));
        }
        let groups = groups(&edges);
        for group in &groups {
            describe(&mut text, name, &of, &edges, group, shown_from);
        }
        // The folders of files in a circle may import each other too. The circles of files have to
        // be opened first.
        let folder_edges =
            if groups.is_empty() { graph::edges_of_folders(&of, &edges) } else { Edges::new() };
        let folder_groups = graph::groups(&folder_edges);
        for group in &folder_groups {
            describe_folders(&mut text, name, &of, &edges, &folder_edges, group, shown_from);
        }
        if !folder_groups.is_empty() {
            problems.push(format!("{name}: folders import each other in circles"));
        }
        match (groups.is_empty(), known.contains(&name.as_str())) {
            (false, false) => problems.push(format!("{name}: files import each other in circles")),
            (true, true) => {
                problems.push(format!(
                    "{name} has no circle any more; remove it from xtask/src/imports/known.txt"
                ));
            }
            _ => {}
        }
    }
    for known in known.iter().filter(|known| !roots.iter().any(|(name, _)| name == *known)) {
        problems.push(format!("xtask/src/imports/known.txt names {known}, which is not a crate"));
    }
    let listed = match known.len() {
        0 => String::new(),
        count => format!(", with known circles in {count} crates"),
    };
    let summary = format!("{files} files of {} crates, {imports} imports{listed}", roots.len());
    let _ = write!(text, "{summary}");
    Ok(Checked { text, summary, problems })
}

fn shown(of: &Crate, file: usize, from: &Path) -> String {
    let path = of.files.get(file).map_or(Path::new("?"), PathBuf::as_path);
    path.strip_prefix(from).unwrap_or(path).display().to_string()
}

/// Describes a circle of folders, with the files that import each other.
fn describe_folders(
    text: &mut String,
    name: &str,
    of: &Crate,
    edges: &Edges,
    folder_edges: &Edges,
    group: &BTreeSet<usize>,
    from: &Path,
) {
    let inner: BTreeSet<(usize, usize)> = folder_edges
        .keys()
        .filter(|(from, to)| group.contains(from) && group.contains(to))
        .copied()
        .collect();
    let _ = writeln!(text, "{name}: {} folders import each other in circles, such as", group.len());
    for (importer, imported) in steps(&shortest(&inner).unwrap_or_default()) {
        let _ = writeln!(text, "  {} imports {}:", of.module_name(importer), of.module_name(imported));
        for ((file, other), lines) in edges {
            if (of.folder_of(*file), of.folder_of(*other)) == (Some(importer), Some(imported)) {
                let lines: Vec<String> = lines.iter().map(usize::to_string).collect();
                let (file, other) = (shown(of, *file, from), shown(of, *other, from));
                let _ = writeln!(text, "    {file} imports {other} in line {}", lines.join(", "));
            }
        }
    }
}

/// Describes a circle of files with its lines, and the imports to remove.
fn describe(text: &mut String, name: &str, of: &Crate, edges: &Edges, group: &BTreeSet<usize>, from: &Path) {
    let inner: BTreeSet<(usize, usize)> =
        edges.keys().filter(|(from, to)| group.contains(from) && group.contains(to)).copied().collect();
    let arrow = |edge: (usize, usize)| {
        let lines: Vec<String> = edges.get(&edge).into_iter().flatten().map(usize::to_string).collect();
        let (importer, imported) = (shown(of, edge.0, from), shown(of, edge.1, from));
        format!("{importer} imports {imported} in line {}", lines.join(", "))
    };
    let _ = writeln!(text, "{name}: {} files import each other in circles, such as", group.len());
    for edge in steps(&shortest(&inner).unwrap_or_default()) {
        let _ = writeln!(text, "  {}", arrow(edge));
    }
    let (taken, is_smallest) = opening(&inner);
    let least = if is_smallest { "at least" } else { "some" };
    let _ =
        writeln!(text, "  to open all circles among them, remove {least} {} imports, such as", taken.len());
    for edge in taken {
        let _ = writeln!(text, "    {}", arrow(edge));
    }
}
