//! The faults. To add one: name it after what goes wrong, copy the text to replace from the source, and name the test that
//! has to fail.

use std::fmt;

/// A fault to plant.
pub(crate) struct Mutant {
    pub(crate) name: &'static str,
    /// From the root of the workspace.
    pub(crate) file: &'static str,
    /// Has to be there exactly once.
    pub(crate) find: &'static str,
    pub(crate) replace: &'static str,
    pub(crate) test: Test,
}

/// A test that has to fail.
#[derive(Clone, Copy)]
pub(crate) struct Test {
    pub(crate) package: &'static str,
    /// `--lib`, or `--test` and its name.
    pub(crate) target: &'static [&'static str],
    /// Part of the test's path.
    pub(crate) filter: &'static str,
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.package, self.target.join(" "), self.filter)
    }
}

/// A unit test of the core.
const fn core(filter: &'static str) -> Test {
    Test { package: "lessor-core", target: &["--lib"], filter }
}

pub(crate) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "key-of-257-characters-is-let-in",
        file: "crates/lessor-core/src/key.rs",
        find: "if chars > MAX_KEY_CHARS {",
        replace: "if chars > MAX_KEY_CHARS + 1 {",
        test: core("key::tests::p12_only_1_to_256_characters_without_controls_are_a_key"),
    },
    Mutant {
        name: "delete-character-is-let-in",
        file: "crates/lessor-core/src/key.rs",
        find: "(0x20..0x7f).contains(&byte)",
        replace: "(0x20..=0x7f).contains(&byte)",
        test: core("key::tests::p12_only_1_to_256_characters_without_controls_are_a_key"),
    },
    Mutant {
        name: "ttl-over-the-maximum-is-let-in",
        file: "crates/lessor-core/src/settings.rs",
        find: "if ttl < MIN_TTL || ttl > self.max_ttl {",
        replace: "if ttl < MIN_TTL {",
        test: core("settings::tests::p12_ttls_and_settings_out_of_range_are_refused"),
    },
    Mutant {
        name: "backoff-does-not-double",
        file: "crates/lessor-core/src/settings.rs",
        find: "self.first.saturating_mul(factor).min(self.most)",
        replace: "self.first.saturating_mul(factor.min(1)).min(self.most)",
        test: core("settings::tests::backoff_doubles_up_to_its_most_and_never_overflows"),
    },
    Mutant {
        name: "clock-forgets-its-floor",
        file: "crates/lessor-core/src/time.rs",
        find: "whole_micros(wall).max(floor.0)",
        replace: "whole_micros(wall)",
        test: core("time::tests::p7_the_system_clock_never_runs_backwards_and_starts_at_its_floor"),
    },
    Mutant {
        name: "part-of-a-microsecond-rounds-to-nothing",
        file: "crates/lessor-core/src/time.rs",
        find: "duration.as_nanos().div_ceil(1000)",
        replace: "(duration.as_nanos() / 1000)",
        test: core("time::tests::p12_arithmetic_stops_at_the_ends"),
    },
    Mutant {
        name: "debug-shows-the-lease-id",
        file: "crates/lessor-core/src/lease_id.rs",
        find: "f.write_str(\"LeaseId(redacted)\")",
        replace: "f.write_str(&self.reveal())",
        test: core("lease_id::tests::p11_debug_shows_nothing_and_the_text_form_round_trips"),
    },
    Mutant {
        name: "sign-passes-for-a-digit-of-a-lease-id",
        file: "crates/lessor-core/src/lease_id.rs",
        find: " || !digits.bytes().all(|byte| byte.is_ascii_hexdigit())",
        replace: "",
        test: core("lease_id::tests::p12_malformed_ids_are_refused"),
    },
    Mutant {
        name: "lease-ids-start-over-with-each-seed",
        file: "crates/lessor-core/src/lease_id.rs",
        find: "ChaCha12Rng::from_seed(os_random()?)",
        replace: "ChaCha12Rng::from_seed([7; 32])",
        test: core("lease_id::tests::ids_do_not_repeat_within_and_across_sources"),
    },
];
