//! The compile errors of the attribute, with their places. Each file in `refused` is one mistake.
//!
//! `TRYBUILD=overwrite cargo test -p lessor-macros` rewrites the expected errors.

#[test]
fn each_mistake_is_reported_where_it_is_and_says_what_to_write() {
    trybuild::TestCases::new().compile_fail("tests/refused/*.rs");
}
