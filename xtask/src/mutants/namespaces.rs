//! Faults in namespaces and quotas.

use super::list::{Mutant, Test};

const fn core(filter: &'static str) -> Test {
    Test { package: "lessor-core", target: &["--test", "namespaces"], filter }
}

const fn rules(filter: &'static str) -> Test {
    Test { package: "lessor-core", target: &["--lib"], filter }
}

/// A promise of the conformance suite, on the in-memory store.
const fn promise(filter: &'static str) -> Test {
    Test { package: "lessor-memory", target: &["--test", "conformance"], filter }
}

const ACQUIRE: &str = "crates/lessor-core/src/api/acquire.rs";
const CHARGED: &str = "crates/lessor-core/src/run/charged.rs";
const CONTEXT: &str = "crates/lessor-core/src/run/context.rs";
const LIST: &str = "crates/lessor-core/src/api/list.rs";
const NAMESPACE: &str = "crates/lessor-core/src/data/namespace.rs";
const QUOTA: &str = "crates/lessor-core/src/rules/quota.rs";
const RULES: &str = "crates/lessor-core/src/rules.rs";
const UNITS: &str = "crates/lessor-core/src/run/units.rs";

pub(super) const NAMESPACES: &[Mutant] = &[
    Mutant {
        name: "grant-needs-no-charge",
        file: RULES,
        find: "if self.now >= request.charged_until {",
        replace: "if self.now > Timestamp::MAX {",
        test: promise("a_quota_is_never_exceeded"),
    },
    Mutant {
        name: "limit-of-a-quota-is-exceeded-by-a-block",
        file: QUOTA,
        find: "most.min((left / SHARE).max(1)).min(left)",
        replace: "if left == 0 { 0 } else { most }",
        test: rules("a_quota_is_charged_in_blocks"),
    },
    Mutant {
        name: "each-process-takes-all-remaining-units",
        file: QUOTA,
        find: "most.min((left / SHARE).max(1)).min(left)",
        replace: "most.min(left)",
        test: rules("a_quota_is_charged_in_blocks"),
    },
    Mutant {
        name: "charges-of-two-processes-look-alike",
        file: QUOTA,
        find: "Body::in_progress(charge.nonce(), now, 1)",
        replace: "Body::in_progress(crate::data::lease_id::LeaseId::from_bytes([0; 16]), now, 1)",
        test: core("p6_a_charge_is_not_mistaken"),
    },
    Mutant {
        name: "returned-units-count-for-the-current-month",
        file: QUOTA,
        find: "Charge::Return { month, .. } => (month, counts.get(month)),",
        replace: "Charge::Return { .. } => (current, counts.get(current)),",
        test: rules("units_are_returned_to_their_own_month"),
    },
    Mutant {
        name: "unit-is-put-back-although-the-reply-was-lost",
        file: CHARGED,
        find: "ErrorKind::Unavailable | ErrorKind::Mismatch",
        replace: "ErrorKind::Unavailable | ErrorKind::Indeterminate | ErrorKind::Mismatch",
        test: core("p6_lost_replies_never_lead"),
    },
    Mutant {
        name: "unit-of-a-refused-acquire-is-lost",
        file: CHARGED,
        find: "(_, Some(unit)) if !self.may_be_granted(&answer) => self.units().put_back(unit),",
        replace: "",
        test: core("refusals_and_failures_of_the_store"),
    },
    Mutant {
        name: "acquire-that-is-sent-again-is-charged-again",
        file: ACQUIRE,
        find: "if terms.has_lease_id() { None } else { namespace.space.units.take() }",
        replace: "namespace.space.units.take()",
        test: core("p6_an_acquire_that_is_sent_again"),
    },
    Mutant {
        name: "unit-is-put-back-into-the-next-month",
        file: UNITS,
        find: "            && *month == unit.month\n",
        replace: "            && *month >= unit.month\n",
        test: rules("a_unit_is_put_back_only"),
    },
    Mutant {
        name: "dropped-charge-blocks-the-others",
        file: UNITS,
        find: "        stock.is_charging = false;\n",
        replace: "",
        test: rules("one_caller_charges_and_the_others_wait"),
    },
    Mutant {
        name: "charge-ends-with-its-caller",
        file: CHARGED,
        find: "self.engine.background.readers.spawner().spawn(charged);",
        replace: "drop(charged);",
        test: core("a_caller_that_is_not_polled"),
    },
    Mutant {
        name: "failure-of-an-earlier-round-is-returned",
        file: UNITS,
        find: "&& *round >= first",
        replace: "&& *round > 0",
        test: rules("one_caller_charges"),
    },
    Mutant {
        name: "close-gives-no-units-back",
        file: "crates/lessor-core/src/api/close.rs",
        find: "        give_back(&shared).await;\n",
        replace: "",
        test: promise("unused_units_are_given_back"),
    },
    Mutant {
        name: "listing-shows-keys-of-namespaces",
        file: LIST,
        find: "after.max(Some(Key::cursor(AFTER_NAMESPACES)))",
        replace: "after",
        test: promise("keys_of_different_namespaces"),
    },
    Mutant {
        name: "listing-of-a-namespace-loses-its-place",
        file: LIST,
        find: "after.map(|after| Key::cursor(&text(after.name())))",
        replace: "after",
        test: promise("keys_of_different_namespaces"),
    },
    Mutant {
        name: "name-of-a-namespace-runs-into-its-keys",
        file: NAMESPACE,
        find: "    format!(\"{MARK}{name}{MARK}\")",
        replace: "    format!(\"{MARK}{name}\")",
        test: rules("texts_of_different_namespaces"),
    },
    Mutant {
        name: "key-of-an-operator-has-no-namespace",
        file: CONTEXT,
        find: "Key::check(key).map(|()| Key::checked(&namespace.space.text(key)))",
        replace: "Key::new(key)",
        test: core("operators_and_handles"),
    },
    Mutant {
        name: "namespace-uses-the-retention-of-its-engine",
        file: CONTEXT,
        find: "        let keep = Keep::new(settings.limits.retention, settings.limits.max_history);\n",
        replace: "        let keep = Keep::new(Settings::default().limits.retention, settings.limits.max_history);\n",
        test: core("a_namespace_has_its_own_limits"),
    },
];
