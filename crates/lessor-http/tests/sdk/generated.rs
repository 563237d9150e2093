//! Requests that schemathesis generates from the OpenAPI document.
//!
//! The environment variable `LESSOR_HTTP_EXAMPLES` sets the number of requests per call and phase.
//! The default is 3.

use tempfile::tempdir;

use crate::python::{command, environment};
use crate::server::{Server, config};

/// The calls that are not implemented reply with 501, which counts as an error of a server.
const NOT_IMPLEMENTED: &str = "^/v1/(ai/run|events|runs|policies|tools|agents)";

#[test]
fn generated_requests_get_replies_of_the_document() {
    let Some(environment) = environment("requirements-generated.txt") else { return };
    let server = Server::start_in_real_time(config());
    let examples = std::env::var("LESSOR_HTTP_EXAMPLES").unwrap_or_else(|_| "3".to_owned());
    let folder = tempdir().unwrap();
    let mut command = command(&environment, "schemathesis");
    command.arg("run").arg(format!("{}/openapi.json", server.url())).args([
        "--no-color",
        "--continue-on-failure",
        "--generation-deterministic",
        "--warnings=off",
        // A long poll takes up to 30 s.
        "--request-timeout=40",
        "--header=Authorization: Bearer key-operator",
        "--exclude-path-regex",
        NOT_IMPLEMENTED,
        // A schema cannot say which fields exclude each other.
        "--exclude-checks=positive_data_acceptance",
        "--max-examples",
        &examples,
    ]);
    // Its reports are written to the current folder.
    let status = command.current_dir(folder.path()).status().unwrap();
    assert!(status.success(), "schemathesis fails, see above");
}
