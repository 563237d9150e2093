//! The Redis store keeps every promise of the contract, on a real server.

use std::sync::{Arc, OnceLock};

use lessor_testkit::{Subject, conformance};
use support::Server;

mod support;

/// One server for all of them; each has a prefix of its own.
fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(Server::volatile)
}

fn redis() -> Subject {
    Subject::on_real_clock(Arc::new(support::open(server(), &support::prefix())))
}

conformance!(redis);
