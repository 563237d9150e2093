//! The Redis store keeps every promise of the contract on a real server: on the machine's clock,
//! and exactly on a clock that the tests set.

use std::sync::{Arc, OnceLock};

use lessor_testkit::{Subject, conformance};
use support::Server;

mod support;

mod on_the_real_clock {
    use super::*;

    /// One server for all promises. Each promise uses its own prefix.
    fn server() -> &'static Server {
        static SERVER: OnceLock<Server> = OnceLock::new();
        SERVER.get_or_init(Server::volatile)
    }

    pub(crate) fn redis() -> Subject {
        Subject::on_real_clock(Arc::new(support::open(server(), &support::prefix())))
    }

    conformance!(redis);
}

mod on_a_manual_clock {
    use parking_lot::Mutex;
    use support::clocked::Stores;

    use super::*;

    /// Servers with a clock that no test uses at the moment.
    static IDLE: Mutex<Vec<Stores>> = Mutex::new(Vec::new());

    struct Lent(Option<Stores>);

    impl Drop for Lent {
        fn drop(&mut self) {
            IDLE.lock().extend(self.0.take());
        }
    }

    /// Without a server whose clock can be set, this would repeat the tests above.
    fn redis() -> Subject {
        let idle = IDLE.lock().pop();
        match idle.or_else(Stores::start) {
            Some(stores) => stores.fresh().keeping(Lent(Some(stores))),
            None => on_the_real_clock::redis(),
        }
    }

    conformance!(redis);
}
