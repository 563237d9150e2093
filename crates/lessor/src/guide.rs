//! Guides: what leases can do, how to use them, and how lessor is built.
//!
//! | guide | answers |
//! |---|---|
//! | [`exactly_once`] | What does "exactly once" mean, what can it not mean, and what closes the gap? |
//! | [`failures`] | What follows if the work fails, panics, hangs, or its process dies? |
//! | [`fencing`] | How is a holder stopped that was suspended for too long? |
//! | [`choosing_a_store`] | Memory, files, Redis, or an own store? |
//! | [`cli`] | How is a command run once, and how are leases looked at and repaired? |
//! | [`http`] | How do programs in other languages use leases? |
//! | [`namespaces`] | How do tenants share a store, each with its own keys and quota? |
//! | [`observability`] | What can be counted and seen? |
//! | [`testing`] | How are crashes, pauses and lost replies tested? |
//! | [`what_goes_wrong`] | Which mistakes do guards have that are written by hand? |
//! | [`comparison`] | When is something else better? |
//! | [`guarantees`] | What exactly is guaranteed, and which tests check it? |
//! | [`design`] | How is lessor built, and why? |
//! | [`writing_a_store`] | How is a store written and tested? |
//!
//! The texts are in the folder `docs` of the repository. This module exists in the documentation
//! only.

/// Link definitions, which take precedence over those at the end of a text. The latter are paths in
/// the repository.
macro_rules! links {
    () => {
        "
[cli]: crate::guide::cli
[design]: crate::guide::design
[exactly-once]: crate::guide::exactly_once
[failures]: crate::guide::failures
[fencing]: crate::guide::fencing
[guarantees]: crate::guide::guarantees
[namespaces]: crate::guide::namespaces
[testing]: crate::guide::testing
[writing-a-store]: crate::guide::writing_a_store
[`AcquireRequest::ttl`]: crate::AcquireRequest::ttl
[`Lease::keep_alive`]: crate::Lease::keep_alive
[`Lease::token`]: crate::Lease::token
[`OnLapsed::InDoubt`]: crate::OnLapsed::InDoubt
[`OnLapsed::TakeOver`]: crate::OnLapsed::TakeOver
[`Once::reconcile`]: crate::Once::reconcile
[`lessor::fence`]: crate::fence
[`Faults`]: https://docs.rs/lessor-testkit/latest/lessor_testkit/struct.Faults.html
[`crash_everywhere`]: https://docs.rs/lessor-testkit/latest/lessor_testkit/fn.crash_everywhere.html
[`crash_kit.rs`]: https://github.com/lessor/lessor/blob/main/crates/lessor/examples/crash_kit.rs
[`custom_store.rs`]: https://github.com/lessor/lessor/blob/main/crates/lessor/examples/custom_store.rs
[`fencing.rs`]: https://github.com/lessor/lessor/blob/main/crates/lessor/examples/fencing.rs
[`metrics`]: https://github.com/lessor/lessor/blob/main/crates/lessor/examples/metrics.rs
[`nightly.rs`]: https://github.com/lessor/lessor/blob/main/crates/lessor/examples/nightly.rs
[benchmarks]: https://github.com/lessor/lessor/blob/main/docs/benchmarks/README.md
[file-format]: https://github.com/lessor/lessor/blob/main/docs/file-format.md
[newer-fields]: https://github.com/lessor/lessor/blob/main/docs/file-format.md#fields-of-newer-releases

"
    };
}

/// Defines modules with a text of the folder `docs`.
macro_rules! guides {
    ($($name:ident: $file:literal,)*) => { $(
        #[doc = links!()]
        #[doc = include_str!(concat!("../docs/", $file))]
        pub mod $name {}
    )* };
}

guides! {
    exactly_once: "exactly-once.md",
    failures: "failures.md",
    fencing: "fencing.md",
    choosing_a_store: "choosing-a-store.md",
    cli: "cli.md",
    http: "http.md",
    namespaces: "namespaces.md",
    observability: "observability.md",
    testing: "testing.md",
    what_goes_wrong: "what-goes-wrong.md",
    comparison: "comparison.md",
    guarantees: "guarantees.md",
    design: "design.md",
}

// Its code is compiled and run as an example.
#[cfg(not(doctest))]
guides! {
    writing_a_store: "writing-a-store.md",
}
