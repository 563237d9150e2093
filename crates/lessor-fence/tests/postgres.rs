//! The statements for PostgreSQL, on a server.
//!
//! The variable `LESSOR_POSTGRES` names a database, such as `host=/tmp user=postgres`. Without it,
//! the tests only print a message. The program `psql` sends the statements.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::io::Write;
use std::process::{Command, Stdio};

use lessor_fence::sql::POSTGRES;

/// Sends a script to the database in a schema of its own, and returns the output. Returns `None`
/// without a database.
fn run(schema: &str, script: &str) -> Option<String> {
    let Some(database) = std::env::var_os("LESSOR_POSTGRES") else {
        println!("skipped, LESSOR_POSTGRES names no database");
        return None;
    };
    let mut psql = Command::new("psql")
        .args(["--no-psqlrc", "--set", "ON_ERROR_STOP=1", "--tuples-only", "--no-align"])
        .arg(database)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let begin = format!(
        "DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}; SET search_path = {schema};"
    );
    let prepare = format!(
        "PREPARE raise (text, bigint) AS {}; PREPARE highest (text) AS {}; PREPARE forget (bigint) AS {};",
        POSTGRES.raise, POSTGRES.highest, POSTGRES.forget
    );
    let create = POSTGRES.create_table;
    let end = format!("DROP SCHEMA {schema} CASCADE;");
    let mut stdin = psql.stdin.take().unwrap();
    write!(stdin, "{begin}\n{create};\n{create};\n{prepare}\n{script}\n{end}\n").unwrap();
    drop(stdin);
    let output = psql.wait_with_output().unwrap();
    assert!(output.status.success());
    Some(String::from_utf8(output.stdout).unwrap())
}

/// Returns the lines of the output that report a statement of the script.
fn reported(output: &str) -> Vec<&str> {
    output
        .lines()
        .filter(|line| {
            line.starts_with("INSERT") || line.starts_with("DELETE") || line.parse::<u64>().is_ok()
        })
        .collect()
}

#[test]
fn the_count_of_rows_of_postgres_tells_whether_a_token_is_accepted() {
    let script = "EXECUTE raise('a', 5); EXECUTE raise('a', 5); EXECUTE raise('a', 4); EXECUTE raise('a', 9007199254740991);
        EXECUTE raise('a', 5); EXECUTE raise('A', 1); EXECUTE highest('a'); EXECUTE forget(2);";
    let Some(output) = run("lessor_fence_counts", script) else { return };
    assert_eq!(
        reported(&output),
        [
            "INSERT 0 1",
            "INSERT 0 1",
            "INSERT 0 0",
            "INSERT 0 1",
            "INSERT 0 0",
            "INSERT 0 1",
            "9007199254740991",
            "DELETE 1"
        ]
    );
}

#[test]
fn a_rollback_in_postgres_undoes_the_token_with_the_effect() {
    let script = "EXECUTE raise('a', 5); BEGIN; EXECUTE raise('a', 8); ROLLBACK; EXECUTE raise('a', 6);";
    let Some(output) = run("lessor_fence_rollback", script) else { return };
    assert_eq!(reported(&output), ["INSERT 0 1", "INSERT 0 1", "INSERT 0 1"]);
}
