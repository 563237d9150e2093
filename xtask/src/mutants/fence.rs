//! Faults of the fences.

use crate::mutants::list::{Mutant, Test};

const fn fence(target: &'static [&'static str], filter: &'static str) -> Test {
    Test { package: "lessor-fence", target, filter }
}

const MEMORY: &[&str] = &["--test", "memory"];
const FILE: &[&str] = &["--test", "file", "--features", "file"];
const DAMAGE: &[&str] = &["--test", "damage", "--features", "file"];
const CRASHES: &[&str] = &["--test", "crashes", "--features", "file"];

pub(crate) const FENCE: &[Mutant] = &[
    Mutant {
        name: "fence-refuses-an-equal-token",
        file: "crates/lessor-fence/src/table.rs",
        find: "_ if token < highest =>",
        replace: "_ if token <= highest =>",
        test: fence(MEMORY, "a_lower_token_is_refused"),
    },
    Mutant {
        name: "fence-forgets-the-floor",
        file: "crates/lessor-fence/src/table.rs",
        find: "self.floor = self.floor.max(floor);",
        replace: "",
        test: fence(MEMORY, "a_forgotten_key"),
    },
    Mutant {
        name: "fence-runs-effects-of-a-key-at-the-same-time",
        file: "crates/lessor-fence/src/turns.rs",
        find: "let _held = place.lock.lock_blocking();",
        replace: "drop(place.lock.lock_blocking());",
        test: fence(MEMORY, "an_effect_of_a_key_runs"),
    },
    Mutant {
        name: "fence-polls-effects-of-a-key-at-the-same-time",
        file: "crates/lessor-fence/src/turns.rs",
        find: "let _held = place.lock.lock().await;",
        replace: "drop(place.lock.lock().await);",
        test: fence(MEMORY, "an_async_effect_of_a_key_runs"),
    },
    Mutant {
        name: "fence-accepts-before-the-sync",
        file: "crates/lessor-fence/src/file/log.rs",
        find: "self.file.sync().map_err(|error| failed(&*self.vfs, \"syncing\", LOG, error))?;",
        replace: "",
        test: fence(CRASHES, "no_power_loss_at_any_call"),
    },
    Mutant {
        name: "fence-relies-on-a-line-that-was-only-read",
        file: "crates/lessor-fence/src/file/log.rs",
        find: "file.sync().map_err(|error| failed(vfs, \"syncing\", NEXT, error))?;",
        replace: "",
        test: fence(CRASHES, "no_kill_at_any_call"),
    },
    Mutant {
        name: "fence-goes-on-after-a-failed-write",
        file: "crates/lessor-fence/src/file/log.rs",
        find: "self.is_broken = true;\n        self.file.write_all_at",
        replace: "self.file.write_all_at",
        test: fence(FILE, "a_failed_write_ends_the_fence"),
    },
    Mutant {
        name: "fence-takes-any-bad-end-for-an-unfinished-line",
        file: "crates/lessor-fence/src/file/reading.rs",
        find: "feed == before.len() && has_unwritten_sector(tail, offset)",
        replace: "feed == before.len()",
        test: fence(DAMAGE, "no_flipped_bit"),
    },
    Mutant {
        name: "fence-takes-damage-before-the-end-for-an-unfinished-line",
        file: "crates/lessor-fence/src/file/reading.rs",
        find: "feed == before.len() && has_unwritten_sector(tail, offset)",
        replace: "has_unwritten_sector(tail, offset) && feed <= before.len()",
        test: fence(DAMAGE, "a_lost_sector"),
    },
];
