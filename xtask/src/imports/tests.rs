//! Tests the check with small crates.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

use tempfile::TempDir;

use super::{Checked, check, listed, roots};

/// Creates a workspace with one crate, `made-up`, with these files.
fn made(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("Cargo.toml"), "members = [\"crates/*\"]\n").unwrap();
    for (name, text) in files {
        let path = folder.path().join("crates/made-up/src").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn checked_with(files: &[(&str, &str)], known: &str) -> Checked {
    let folder = made(files);
    check(folder.path(), &roots(folder.path()).unwrap(), &listed(known)).unwrap()
}

fn checked(files: &[(&str, &str)]) -> Checked {
    checked_with(files, "")
}

/// Asserts the imports of a circle, given as `importer imports imported`.
fn assert_circle(files: &[(&str, &str)], arrows: &[&str]) {
    let Checked { text, problems, .. } = checked(files);
    assert_eq!(problems, ["made-up: files import each other in circles"], "{text}");
    for arrow in arrows {
        let arrow = arrow.replace("src/", "crates/made-up/src/");
        assert!(text.contains(&arrow), "{arrow:?} is missing in:\n{text}");
    }
}

fn assert_none(files: &[(&str, &str)], imports: usize) {
    let Checked { text, summary, problems } = checked(files);
    assert!(problems.is_empty(), "{problems:?}\n{text}");
    assert_eq!(summary, format!("{} files of 1 crates, {imports} imports", files.len()), "{text}");
}

const ROOT: &str = "mod a;\nmod b;\n";

#[test]
fn a_circle_is_found_with_its_files_and_lines() {
    let files = [
        ("lib.rs", "mod a;\nmod b;\nmod c;\n"),
        ("a.rs", "\nuse crate::b::B;\npub struct A(B);\n"),
        ("b.rs", "pub struct B;\n\n\nfn f() {\n    super::c::f();\n}\n"),
        ("c.rs", "use crate::a;\npub fn f() -> Option<a::A> { None }\n"),
    ];
    assert_circle(
        &files,
        &[
            "made-up: 3 files import each other in circles",
            "src/a.rs imports src/b.rs in line 2",
            "src/b.rs imports src/c.rs in line 5",
            "src/c.rs imports src/a.rs in line 1, 2",
            "remove at least 1 imports",
        ],
    );
    let [root, a, b, _] = files;
    assert_none(&[root, a, b, ("c.rs", "pub fn f() {}\n")], 2);
}

#[test]
fn every_way_to_name_an_item_of_another_file_counts() {
    let ways = [
        "use crate::a::A;",
        "use super::a::A;",
        "use crate::a;",
        "use crate::a::*;",
        "use crate::{a::{self}};",
        "use crate::a::A as Other;",
        "fn f() -> crate::a::A { loop {} }",
        "fn f() { let _ = crate::a::A { b: None }; }",
        "fn f() { use crate::a::A; }",
        "fn f() { println!(\"{}\", size_of::<crate::a::A>()); }",
        "impl From<crate::a::A> for u8 { fn from(_: crate::a::A) -> u8 { 0 } }",
        "mod inner { use super::super::a::A; }",
        "use crate as root; use root::a::A;",
    ];
    for way in ways {
        let b = format!("pub struct B;\n{way}\n");
        let files =
            [("lib.rs", ROOT), ("a.rs", "pub struct A { pub b: Option<crate::b::B> }\n"), ("b.rs", &*b)];
        assert_circle(
            &files,
            &["src/a.rs imports src/b.rs in line 1", "src/b.rs imports src/a.rs in line 2"],
        );
    }
}

#[test]
fn code_of_tests_and_declared_modules_import_nothing() {
    let ways = [
        "#[cfg(test)]\nuse crate::a::A;",
        "#[cfg(test)]\nmod tests { use crate::a::A; }",
        "#[cfg(test)]\nmod not_there;",
        "#[cfg(all(test, unix))]\nfn f() -> crate::a::A { loop {} }",
        "impl B { #[cfg(test)] fn f() -> crate::a::A { loop {} } }",
        "// use crate::a::A;",
        "pub(in crate::a) struct Hidden;",
        "use ::a::A;",
    ];
    for way in ways {
        let b = format!("pub struct B;\n{way}\n");
        assert_none(&[("lib.rs", ROOT), ("a.rs", "use crate::b::B;\npub struct A(B);\n"), ("b.rs", &*b)], 1);
    }
    // This code is also built without tests.
    let b = "pub struct B;\n#[cfg(any(test, unix))]\nuse crate::a::A;\n#[cfg(not(test))]\nuse crate::a::A as Other;\n";
    let files = [("lib.rs", ROOT), ("a.rs", "use crate::b::B;\npub struct A(B);\n"), ("b.rs", b)];
    assert_circle(&files, &["src/b.rs imports src/a.rs in line 3, 5"]);
}

#[test]
fn a_parent_is_imported_only_for_what_its_own_file_has() {
    // A sibling is reached through the parent.
    let sibling = ("a/two.rs", "use super::one::One;\nuse crate::a::one;\npub struct Two(One);\n");
    let one = ("a/one.rs", "pub struct One;\n");
    assert_none(&[("lib.rs", "mod a;\n"), ("a.rs", "mod one;\nmod two;\n"), one, sibling], 1);
    // The child uses a definition of the parent, which uses the child.
    let child = ("a/one.rs", "use super::A;\npub struct One(A);\n");
    let parent = ("a.rs", "mod one;\npub struct A;\nfn f() -> Option<one::One> { None }\n");
    assert_circle(
        &[("lib.rs", "mod a;\n"), parent, child],
        &["src/a.rs imports src/a/one.rs in line 3", "src/a/one.rs imports src/a.rs in line 1"],
    );
    // Without that use there is no circle.
    assert_none(&[("lib.rs", "mod a;\n"), ("a.rs", "mod one;\npub struct A;\n"), child], 1);
}

#[test]
fn a_re_exported_name_is_imported_from_the_re_export_and_from_the_definition() {
    let two = ("a/two.rs", "use super::One;\npub struct Two(One);\n");
    let files = [
        ("lib.rs", "mod a;\n"),
        ("a.rs", "mod one;\nmod two;\npub use one::One;\n"),
        ("a/one.rs", "pub struct One;\n"),
        two,
    ];
    // two → a, two → one, a → one
    assert_none(&files, 3);
    for again in ["pub use two::Two;", "pub use two::*;"] {
        let parent = format!("mod one;\nmod two;\npub use one::One;\n{again}\n");
        let files = [files[0], ("a.rs", &*parent), files[2], two];
        assert_circle(
            &files,
            &["src/a.rs imports src/a/two.rs in line 4", "src/a/two.rs imports src/a.rs in line 1"],
        );
    }
    // Names are reached through a glob, and belong to another crate.
    let globbed =
        ("a.rs", "mod one;\nmod two;\npub use one::*;\npub use std::rc::Rc;\npub use elsewhere::*;\n");
    let two = ("a/two.rs", "use super::{One, Other, Rc};\npub struct Two(One, Rc<Other>);\n");
    assert_none(&[files[0], globbed, files[2], two], 3);
}

#[test]
fn macros_and_modules_with_a_path_are_followed() {
    let root = "#[macro_use]\nmod a;\n#[path = \"elsewhere/c.rs\"]\nmod b;\n";
    let a = "#[macro_export]\nmacro_rules! make { () => { $crate::b::B } }\nuse crate::b::B;\n";
    let b = "pub struct B;\nfn f() { crate::make!(); }\n";
    assert_circle(
        &[("lib.rs", root), ("a.rs", a), ("elsewhere/c.rs", b)],
        &["src/a.rs imports src/elsewhere/c.rs in line", "src/elsewhere/c.rs imports src/a.rs in line 2"],
    );
}

#[test]
fn folders_that_import_each_other_are_found_where_no_file_does() {
    let files = [
        ("lib.rs", "mod a;\nmod b;\npub use a::one::One;\n"),
        ("a.rs", "pub mod one;\npub mod two;\n"),
        ("a/one.rs", "pub struct One;\n"),
        ("a/two.rs", "\nuse crate::b::three::Three;\npub struct Two(Three);\n"),
        ("b.rs", "pub mod three;\n"),
        ("b/three.rs", "use crate::a::one::One;\npub struct Three(One);\n"),
    ];
    let Checked { text, problems, .. } = checked(&files);
    assert_eq!(problems, ["made-up: folders import each other in circles"], "{text}");
    for line in [
        "made-up: 2 folders import each other in circles",
        "  a imports b:\n    crates/made-up/src/a/two.rs imports crates/made-up/src/b/three.rs in line 2",
        "  b imports a:\n    crates/made-up/src/b/three.rs imports crates/made-up/src/a/one.rs in line 1",
    ] {
        assert!(text.contains(line), "{line:?} is missing in:\n{text}");
    }
    // An inline module is a folder too, and the root file belongs to none.
    let inline = "mod a { pub mod one; pub mod two; }\nmod b;\npub use a::one::One;\n";
    let Checked { text, problems, .. } =
        checked(&[("lib.rs", inline), files[2], files[3], files[4], files[5]]);
    assert_eq!(problems, ["made-up: folders import each other in circles"], "{text}");
    // A folder may import another one whose files do not import it.
    let [root, a, one, _, b, three] = files;
    assert_none(&[root, a, one, ("a/two.rs", "pub struct Two;\n"), b, three], 2);
}

/// Without this, a path that the check cannot resolve would hide a circle.
#[test]
fn a_path_that_leads_nowhere_is_an_error() {
    let Checked { problems, .. } = checked(&[("lib.rs", "mod a;\n"), ("a.rs", "\nuse crate::nowhere::B;\n")]);
    assert_eq!(problems, ["crates/made-up/src/a.rs:2: crate::nowhere::B cannot be resolved"]);
    let folder = made(&[("lib.rs", "mod not_there;\n")]);
    let error = check(folder.path(), &roots(folder.path()).unwrap(), &[]).err().unwrap();
    assert!(error.contains("`mod not_there` is not found"), "{error}");
}

#[test]
fn the_smallest_set_opens_all_circles() {
    // a and b import each other, and so do b and c, and c and a. Three imports have to be removed.
    let files = [
        ("lib.rs", "mod a;\nmod b;\nmod c;\n"),
        ("a.rs", "use crate::{b, c};\n"),
        ("b.rs", "use crate::{a, c};\n"),
        ("c.rs", "use crate::{a, b};\n"),
    ];
    assert_circle(&files, &["remove at least 3 imports"]);
    // Two circles share an import.
    let files = [
        ("lib.rs", "mod a;\nmod b;\nmod c;\n"),
        ("a.rs", "use crate::b;\n"),
        ("b.rs", "use crate::{a, c};\n"),
        ("c.rs", "use crate::a;\n"),
    ];
    assert_circle(&files, &["remove at least 1 imports, such as\n    src/a.rs imports src/b.rs in line 1"]);
}

#[test]
fn the_list_of_known_crates_can_only_shrink() {
    let circle = [("lib.rs", ROOT), ("a.rs", "use crate::b;\n"), ("b.rs", "use crate::a;\n")];
    let none = [("lib.rs", ROOT), ("a.rs", "use crate::b;\n"), ("b.rs", "")];
    let Checked { summary, problems, .. } = checked_with(&circle, "# why\nmade-up\n");
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(summary, "3 files of 1 crates, 2 imports, with known circles in 1 crates");
    let Checked { problems, .. } = checked_with(&none, "made-up\n");
    assert_eq!(problems, ["made-up has no circle any more; remove it from xtask/src/imports/known.txt"]);
    let Checked { problems, .. } = checked_with(&none, "gone\n");
    assert_eq!(problems, ["xtask/src/imports/known.txt names gone, which is not a crate"]);
}

#[test]
fn items_that_a_macro_of_the_file_defines_are_imports_of_the_file() {
    let defines = "macro_rules! made { () => { pub struct Made; } }\nmade!();\nuse crate::b;\n";
    let files = [("lib.rs", ROOT), ("a.rs", defines), ("b.rs", "use crate::a::Made;\n")];
    assert_circle(&files, &["src/b.rs imports src/a.rs in line 1"]);
}
