//! Opening a store on an unusable server fails with an error that says what is wrong.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::Duration;

use lessor_core::ErrorKind;
use lessor_redis::RedisStore;
use support::Server;
use tools::{begin, end, eventually, open_with};

mod support;
#[path = "support/tools.rs"]
mod tools;

fn place(server: &Server) -> String {
    format!("127.0.0.1:{}", server.port)
}

/// Regression: a server without `EVAL` was accepted. Leases were granted and could not be
/// completed.
#[test]
fn a_server_without_a_required_command_is_rejected_with_the_commands_name() {
    if !support::is_available() {
        return;
    }
    for command in ["EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO", "PEXPIRETIME", "SCAN", "DEL"] {
        let server = Server::start(&["--rename-command", command, "HIDDEN"]);
        let error = open_with(&server, "app", |_| {}).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Misconfigured, "{command}: {error}");
        let text = error.to_string();
        assert!(text.contains(&format!("does not support {command}, which")), "{command}: {text}");
        assert!(text.contains("ERR unknown command") && text.contains(&place(&server)), "{command}: {text}");
        assert!(!text.contains("local current"), "the error does not repeat the request: {text}");
        assert_eq!(
            server.command(&["DBSIZE"]).trim_start_matches(':').parse(),
            Ok(i32::from(command == "DEL"))
        );
    }
}

#[test]
fn an_error_names_a_database_that_does_not_exist() {
    if !support::is_available() {
        return;
    }
    let server = Server::volatile();
    let error = RedisStore::open(&format!("redis://{}/99?persistence=ignore", place(&server))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured, "{error}");
    let text = error.to_string();
    assert!(text.contains("has no database 99") && text.contains("out of range"), "{text}");
    assert!(text.contains(&place(&server)), "{text}");
}

/// Regression: the error for a server at its connection limit was an "I/O error".
#[test]
fn a_server_at_its_connection_limit_is_a_clear_error() {
    if !support::is_available() {
        return;
    }
    let server = Server::start(&["--maxclients", "3"]);
    let stores: Vec<_> = (0..3).map_while(|_| open_with(&server, "app", |_| {}).ok()).collect();
    let mut error = None;
    // A connection of the test itself may not have been closed yet, or just have been closed.
    eventually("the server refuses", || {
        error = open_with(&server, "app", |settings| settings.deadline = Duration::from_secs(1)).err();
        error.is_some()
    });
    let error = error.unwrap();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("maxclients"), "{error}");
    drop(stores);
}

/// Regression: a server that replied to the login with hundreds of megabytes made the client read
/// all of it.
#[test]
fn a_hostile_server_cannot_make_a_store_allocate_much_memory_while_connecting() {
    use std::io::{Read, Write};
    const PIECE: usize = 1 << 20;
    for beginning in ["$444000000\r\n", "*1000000\r\n", "+", "%400000\r\n"] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let place = listener.local_addr().unwrap();
        let sent = begin(move || {
            let mut taken = 0;
            let (mut client, _) = listener.accept().unwrap();
            let _ = client.read(&mut [0; 1024]);
            let _ = client.write_all(beginning.as_bytes());
            while taken < 444 && client.write_all(&[b'x'; PIECE]).is_ok() {
                taken += 1;
            }
            taken
        });
        let error = RedisStore::open(&format!("redis://{place}")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.to_string().contains("not valid RESP"), "{error}");
        // The operating system's buffers are limited as well.
        assert!(end("the server gives up", &sent) < 100);
    }
}
