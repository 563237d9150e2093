//! The imports between files, and their circles.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::crates::{Crate, FileId, Mention, ModuleId, Named};

/// For each pair of files, the lines in which the first imports the second.
pub(super) type Edges = BTreeMap<(FileId, FileId), BTreeSet<usize>>;

/// A path that begins in the crate but cannot be resolved.
pub(super) struct Lost {
    pub(super) file: FileId,
    pub(super) line: usize,
    pub(super) path: String,
}

/// The end of a path, and the files that it depends on: the one that defines it, and those that
/// re-export it.
#[derive(Clone)]
struct Found {
    target: Target,
    files: BTreeSet<FileId>,
}

/// A name of another crate.
const OUTSIDE: Found = Found { target: Target::Item, files: BTreeSet::new() };

#[derive(Clone, Copy, PartialEq)]
enum Target {
    Module(ModuleId),
    /// An item of this or another crate. Further parts of the path, such as a variant, belong to
    /// it.
    Item,
}

pub(super) fn edges(of: &Crate) -> (Edges, Vec<Lost>) {
    let (mut edges, mut lost) = (Edges::new(), Vec::new());
    for mention in &of.mentions {
        let Mention { module, line, path, is_import } = mention;
        let Some(from) = of.modules.get(*module).map(|module| module.file) else { continue };
        if !is_import && !begins_with_a_module(of, *module, path) {
            // The path begins with a name that a `use` imports, which is counted already.
            continue;
        }
        let found = resolve(of, *module, path, &mut Vec::new());
        if found.is_empty() && is_of_crate(path) {
            lost.push(Lost { file: from, line: *line, path: path.join("::") });
        }
        for Found { target, mut files } in found {
            if let Target::Module(module) = target {
                // The module itself is imported, or all of its names.
                files.extend(of.modules.get(module).map(|module| module.file));
            }
            for to in files.into_iter().filter(|to| *to != from) {
                edges.entry((from, to)).or_default().insert(*line);
            }
        }
    }
    (edges, lost)
}

fn begins_with_a_module(of: &Crate, module: ModuleId, path: &[String]) -> bool {
    let Some(first) = path.first() else { return false };
    let is_module = |found: &Found| found.target != Target::Item;
    matches!(first.as_str(), "crate" | "self" | "super")
        || lookup(of, module, first, &mut Vec::new()).iter().any(is_module)
}

fn is_of_crate(path: &[String]) -> bool {
    path.len() > 1 && path.first().is_some_and(|first| first == "crate" || first == "super")
}

/// Returns the possible meanings of a path in a module. `seen` has the imports that are being
/// followed.
fn resolve<'c>(
    of: &'c Crate,
    module: ModuleId,
    path: &'c [String],
    seen: &mut Vec<(ModuleId, &'c str)>,
) -> Vec<Found> {
    let start = |module| Found { target: Target::Module(module), files: BTreeSet::new() };
    let mut at = vec![start(module)];
    let mut is_first = true;
    for name in path {
        let mut next = Vec::new();
        for Found { target, files } in at {
            let Target::Module(module) = target else {
                next.push(Found { target, files });
                continue;
            };
            match name.as_str() {
                "crate" if is_first => next.push(start(0)),
                "self" => next.push(Found { target, files }),
                "super" => {
                    let parent = of.modules.get(module).and_then(|module| module.parent);
                    next.extend(parent.map(|parent| Found { target: Target::Module(parent), files }));
                }
                name => {
                    for found in lookup(of, module, name, seen) {
                        let files = files.union(&found.files).copied().collect();
                        next.push(Found { target: found.target, files });
                    }
                }
            }
        }
        is_first = false;
        at = next;
    }
    at
}

/// Returns the possible meanings of a name in a module.
fn lookup<'c>(
    of: &'c Crate,
    module: ModuleId,
    name: &'c str,
    seen: &mut Vec<(ModuleId, &'c str)>,
) -> Vec<Found> {
    let Some(within) = of.modules.get(module) else { return Vec::new() };
    if seen.contains(&(module, name)) {
        return Vec::new();
    }
    seen.push((module, name));
    let mut all = Vec::new();
    let imported = |found: Vec<Found>, all: &mut Vec<Found>| {
        for Found { target, mut files } in found {
            files.insert(within.file);
            all.push(Found { target, files });
        }
    };
    for named in within.names.get(name).into_iter().flatten() {
        match named {
            Named::Module(id) => {
                all.push(Found { target: Target::Module(*id), files: BTreeSet::new() });
            }
            Named::Item(file) => all.push(Found { target: Target::Item, files: [*file].into() }),
            Named::Import(path) => {
                let mut found = resolve(of, module, path, seen);
                if found.is_empty() && !is_of_crate(path) {
                    found.push(OUTSIDE);
                }
                imported(found, &mut all);
            }
        }
    }
    if all.is_empty() {
        for glob in &within.globs {
            let found = resolve(of, module, glob, seen);
            if found.is_empty() && !is_of_crate(glob) {
                imported(vec![OUTSIDE], &mut all);
            }
            for Found { target, files } in found {
                let Target::Module(from) = target else {
                    // A variant of an enum, or an item of another crate.
                    imported(vec![Found { target, files }], &mut all);
                    continue;
                };
                let mut found = lookup(of, from, name, seen);
                found.iter_mut().for_each(|found| found.files.extend(&files));
                imported(found, &mut all);
            }
        }
    }
    seen.pop();
    all
}

/// Returns the imports between top-level modules, by the index of the module. The root of the crate
/// is not one.
pub(super) fn edges_of_folders(of: &Crate, edges: &Edges) -> Edges {
    let mut imports = Edges::new();
    for ((from, to), lines) in edges {
        if let (Some(from), Some(to)) = (of.folder_of(*from), of.folder_of(*to))
            && from != to
        {
            imports.entry((from, to)).or_default().extend(lines);
        }
    }
    imports
}

/// Returns the groups of files that import each other, directly or indirectly.
pub(super) fn groups(edges: &Edges) -> Vec<BTreeSet<FileId>> {
    let files: BTreeSet<FileId> = edges.keys().flat_map(|(from, to)| [*from, *to]).collect();
    let reached: BTreeMap<FileId, BTreeSet<FileId>> =
        files.iter().map(|file| (*file, reachable(edges, *file))).collect();
    let reaches = |from: &FileId, to: &FileId| reached.get(from).is_some_and(|reached| reached.contains(to));
    let mut groups: Vec<BTreeSet<FileId>> = Vec::new();
    for file in &files {
        if reaches(file, file) && !groups.iter().any(|group| group.contains(file)) {
            let is_mutual = |other: &&FileId| reaches(file, other) && reaches(other, file);
            groups.push(files.iter().filter(is_mutual).copied().collect());
        }
    }
    groups
}

fn reachable(edges: &Edges, from: FileId) -> BTreeSet<FileId> {
    let (mut reached, mut rest) = (BTreeSet::new(), vec![from]);
    while let Some(file) = rest.pop() {
        for (_, to) in edges.range((file, 0)..=(file, FileId::MAX)).map(|(edge, _)| *edge) {
            if reached.insert(to) {
                rest.push(to);
            }
        }
    }
    reached
}

/// Returns a shortest circle, as the files on it.
pub(super) fn shortest(edges: &BTreeSet<(FileId, FileId)>) -> Option<Vec<FileId>> {
    let starts: BTreeSet<FileId> = edges.iter().map(|(from, _)| *from).collect();
    let mut best: Option<Vec<FileId>> = None;
    for start in starts {
        let mut before: BTreeMap<FileId, FileId> = BTreeMap::new();
        let mut queue = VecDeque::from([start]);
        'search: while let Some(file) = queue.pop_front() {
            for (_, to) in edges.range((file, 0)..=(file, FileId::MAX)) {
                if *to == start {
                    let mut circle = vec![file];
                    while let Some(earlier) = circle.last().and_then(|file| before.get(file)) {
                        circle.push(*earlier);
                    }
                    circle.reverse();
                    if best.as_ref().is_none_or(|best| circle.len() < best.len()) {
                        best = Some(circle);
                    }
                    break 'search;
                }
                if !before.contains_key(to) {
                    before.insert(*to, file);
                    queue.push_back(*to);
                }
            }
        }
        if best.as_ref().is_some_and(|best| best.len() <= 2) {
            break;
        }
    }
    best
}

/// Returns a smallest set of imports whose removal opens all circles, and whether it is certain to
/// be minimal.
pub(super) fn opening(edges: &BTreeSet<(FileId, FileId)>) -> (Vec<(FileId, FileId)>, bool) {
    /// The number of examined sets after which a set is returned that may not be minimal.
    const PATIENCE: u32 = 300;
    let mut patience = PATIENCE;
    for size in apart(edges, usize::MAX).. {
        let mut taken = Vec::new();
        match within(&mut edges.clone(), size, &mut taken, &mut patience) {
            Some(true) => return (taken, true),
            Some(false) => {}
            None => break,
        }
    }
    let (mut rest, mut taken) = (edges.clone(), Vec::new());
    while let Some(circle) = shortest(&rest) {
        let Some(edge) = steps(&circle).next() else { break };
        rest.remove(&edge);
        taken.push(edge);
    }
    (taken, false)
}

/// Returns a lower bound of the number of circles without a shared import, up to `limit` + 1. Each
/// needs its own import to be removed.
fn apart(edges: &BTreeSet<(FileId, FileId)>, limit: usize) -> usize {
    let (mut rest, mut count) = (edges.clone(), 0);
    while count <= limit {
        let Some(circle) = shortest(&rest) else { break };
        rest.retain(|edge| !steps(&circle).any(|step| step == *edge));
        count += 1;
    }
    count
}

/// Returns whether this number of imports is enough, or `None` if that could not be determined.
fn within(
    rest: &mut BTreeSet<(FileId, FileId)>,
    size: usize,
    taken: &mut Vec<(FileId, FileId)>,
    patience: &mut u32,
) -> Option<bool> {
    *patience = patience.checked_sub(1)?;
    let Some(circle) = shortest(rest) else { return Some(true) };
    if apart(rest, size) > size {
        return Some(false);
    }
    for edge in steps(&circle) {
        rest.remove(&edge);
        taken.push(edge);
        if within(rest, size - 1, taken, patience)? {
            return Some(true);
        }
        taken.pop();
        rest.insert(edge);
    }
    Some(false)
}

/// Returns the imports of a circle.
pub(super) fn steps(circle: &[FileId]) -> impl Iterator<Item = (FileId, FileId)> {
    let next = circle.iter().cycle().skip(1);
    circle.iter().zip(next).map(|(from, to)| (*from, *to))
}
