//! Faults of the HTTP API.

use crate::mutants::list::{Mutant, Test};

const fn api(filter: &'static str) -> Test {
    Test { package: "lessor-http", target: &["--test", "api"], filter }
}

const fn unit(filter: &'static str) -> Test {
    Test { package: "lessor-http", target: &["--lib"], filter }
}

const fn sdk(filter: &'static str) -> Test {
    Test { package: "lessor-http", target: &["--test", "sdk"], filter }
}

const CONTRACT: Test = api("every_reply_is_that_of_the_contract");

pub(crate) const HTTP: &[Mutant] = &[
    Mutant {
        name: "http-lease-is-abandoned-after-its-reply",
        file: "crates/lessor-http/src/leases/acquire.rs",
        find: "        let _handle = lease.detach();",
        replace: "        drop(lease);",
        test: CONTRACT,
    },
    Mutant {
        name: "http-time-left-is-rounded-down",
        file: "crates/lessor-http/src/time.rs",
        find: "u64::from(duration.subsec_nanos() > 0)",
        replace: "0",
        test: unit("times_are_cut_to_seconds"),
    },
    Mutant {
        name: "http-locks-meet-leases",
        file: "crates/lessor-http/src/namespaces.rs",
        find: "open(&format!(\"lock:{name}\"), settings.quota.make)?",
        replace: "open(name, settings.quota.make)?",
        test: CONTRACT,
    },
    Mutant {
        name: "http-any-caller-operates",
        file: "crates/lessor-http/src/service.rs",
        find: "!caller.may_operate",
        replace: "false",
        test: CONTRACT,
    },
    Mutant {
        name: "http-null-field-is-left-out",
        file: "crates/lessor-http/src/wire.rs",
        find: "    done_at: Option<String>,",
        replace: "    #[serde(skip_serializing_if = \"Option::is_none\")]\n    done_at: Option<String>,",
        test: CONTRACT,
    },
    Mutant {
        name: "http-outcome-is-sent-once",
        file: "crates/lessor-http/src/call.rs",
        find: "            if !is_temporary || ",
        replace: "            if is_temporary || ",
        test: api("a_completion_is_delivered_although"),
    },
    Mutant {
        name: "http-idempotency-key-of-all-namespaces",
        file: "crates/lessor-http/src/resent.rs",
        find: "[namespace, \"\\0\", key,",
        replace: "[\"\", key,",
        test: api("a_request_with_the_same_idempotency_key"),
    },
    Mutant {
        name: "http-working-connection-makes-room",
        file: "crates/lessor-http/src/progress.rs",
        find: "            WORKS => None,\n",
        replace: "",
        test: api("a_request_that_is_worked_on"),
    },
    Mutant {
        name: "http-idle-connections-keep-their-place",
        file: "crates/lessor-http/src/serve/crowd.rs",
        find: "            leave.notify_one();",
        replace: "            drop(leave.clone());",
        test: api("idle_connections_and_slow_requests"),
    },
    Mutant {
        name: "http-name-twice-is-taken",
        file: "crates/lessor-http/src/json/scan.rs",
        find: "return Err(Problem::SameNameTwice);",
        replace: "{}",
        test: unit("a_name_that_occurs_twice"),
    },
    Mutant {
        name: "http-large-bodies-have-no-limit",
        file: "crates/lessor-http/src/body.rs",
        find: "share = Some(taken);",
        replace: "drop(taken);",
        test: unit("large_bodies_share_their_memory"),
    },
    Mutant {
        name: "http-polling-has-another-word",
        file: "crates/lessor-http/src/leases/acquire.rs",
        find: "        standing.status = \"polling\";",
        replace: "        standing.status = \"in_progress\";",
        test: sdk("every_method_of_the_stock_client"),
    },
    Mutant {
        name: "http-polling-has-a-lease-id",
        file: "crates/lessor-http/src/wire.rs",
        find: "            lease_id: None,",
        replace: "            lease_id: Some(format!(\"lease_{:032x}\", view.version().as_u64())),",
        test: sdk("faults_of_the_stock_client"),
    },
    Mutant {
        name: "http-refused-body-keeps-the-connection",
        file: "crates/lessor-http/src/error.rs",
        find: "self.0.closes |= closes;",
        replace: "self.0.closes |= closes && self.0.status == StatusCode::PAYLOAD_TOO_LARGE;",
        test: api("a_reply_before_the_body_was_read"),
    },
];
