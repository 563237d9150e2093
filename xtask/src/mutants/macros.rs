//! Faults of the attribute `once`, of the keys of calls, and of an example that checks itself.

use crate::mutants::list::{Mutant, Test};

const fn key(filter: &'static str) -> Test {
    Test { package: "lessor-core", target: &["--lib"], filter }
}

const fn attribute(filter: &'static str) -> Test {
    Test { package: "lessor", target: &["--features=macros", "--test=once_attribute"], filter }
}

const REFUSED: Test =
    Test { package: "lessor-macros", target: &["--test", "refused"], filter: "each_mistake" };

pub(crate) const MACROS: &[Mutant] = &[
    Mutant {
        name: "quotes-in-a-key-are-not-escaped",
        file: "crates/lessor-core/src/data/key_part.rs",
        find: "if next == '\\\\' || next == delimiter {",
        replace: "if next == '\\\\' && next != delimiter {",
        test: key("parts_that_join_to_the_same_text_have_different_keys"),
    },
    Mutant {
        name: "backslashes-in-a-key-are-not-escaped",
        file: "crates/lessor-core/src/data/key_part.rs",
        find: "if next == '\\\\' || next == delimiter {",
        replace: "if next == delimiter {",
        test: key("a_text_can_be_read_back_from_its_key"),
    },
    Mutant {
        name: "control-characters-reach-a-key",
        file: "crates/lessor-core/src/data/key_part.rs",
        find: "if next.is_control() {",
        replace: "if next.is_ascii_control() {",
        test: key("every_call_has_a_valid_key"),
    },
    Mutant {
        name: "long-keys-are-cut-off",
        file: "crates/lessor-core/src/data/key_part.rs",
        find: "let hash = hex(&sha256(text.as_bytes()));",
        replace: "let hash = hex(&sha256(name.as_bytes()));",
        test: key("a_call_of_more_than_256_characters_ends_in_its_hash"),
    },
    Mutant {
        name: "attribute-ignores-its-settings",
        file: "crates/lessor-macros/src/expand.rs",
        find: "#(#setters)* #fingerprint;",
        replace: "#fingerprint; let _ = (#(::core::stringify!(#setters)),*);",
        test: attribute("the_options_of_a_method_reach_its_request"),
    },
    Mutant {
        name: "attribute-ignores-its-fingerprint",
        file: "crates/lessor-macros/src/expand.rs",
        find: "#(#setters)* #fingerprint;",
        replace: "#(#setters)*; let _ = ::core::stringify!(#fingerprint);",
        test: attribute("the_options_of_a_method_reach_its_request"),
    },
    Mutant {
        name: "body-sees-the-names-of-generated-code",
        file: "crates/lessor-macros/src/expand.rs",
        find: "Ident::new(name, Span::mixed_site())",
        replace: "Ident::new(name, Span::call_site())",
        test: attribute("the_body_can_consume_arguments_whatever_their_names_are"),
    },
    Mutant {
        name: "unknown-argument-is-reported-without-the-known-ones",
        file: "crates/lessor-macros/src/parts.rs",
        find: "    match &names[..] {",
        replace: "    match &names[..0] {",
        test: REFUSED,
    },
    Mutant {
        name: "argument-may-be-in-the-key-twice",
        file: "crates/lessor-macros/src/parts.rs",
        find: "if seen.contains(&text) =>",
        replace: "if seen.contains(&list.to_owned()) =>",
        test: REFUSED,
    },
    Mutant {
        name: "each-worker-does-the-nightly-job",
        file: "crates/lessor/examples/nightly.rs",
        find: "backup:{night}\"",
        replace: "backup:{night}:{name}\"",
        test: Test { package: "lessor", target: &["--test", "examples"], filter: "every_example_succeeds" },
    },
];
