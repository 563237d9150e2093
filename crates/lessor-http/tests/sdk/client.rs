//! The stock client against the server.

use tempfile::tempdir;

use crate::child::Killed;
use crate::python::run;
use crate::server::{Server, config};

/// Runs a program against the server in this process.
fn against_the_server(program: &str) {
    let server = Server::start(config());
    run(program, &server.url(), |order| server.obey(order));
}

#[test]
fn every_method_of_the_stock_client_gets_the_documented_reply() {
    against_the_server("methods.py");
}

#[test]
fn every_status_is_the_documented_exception_of_the_stock_client() {
    against_the_server("errors.py");
}

#[test]
fn a_body_over_the_common_memory_is_the_exception_of_a_rate_limit() {
    let mut config = config();
    config.server.max_buffered = 1;
    let server = Server::start(config);
    run("rate_limit.py", &server.url(), |order| server.obey(order));
}

#[test]
fn faults_of_the_stock_client_change_nothing_that_the_server_keeps() {
    against_the_server("faults.py");
}

#[test]
fn p6_a_function_runs_once_for_fifty_threads() {
    against_the_server("threads.py");
}

#[test]
fn p6_a_function_runs_once_though_the_server_is_killed_meanwhile() {
    let folder = tempdir().unwrap();
    let mut server = Killed::start(folder.path());
    let url = server.url();
    run("killed.py", &url, |_| server.kill_and_restart());
}
