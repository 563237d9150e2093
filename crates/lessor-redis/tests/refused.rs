//! Servers that are no use for a store are refused when it is opened, and the error says what is wrong with them.
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

/// The story: a server without `EVAL` was accepted. Leases were granted, and could not be completed.
#[test]
fn a_server_that_does_not_know_a_command_is_refused_by_its_name() {
    if !support::is_there() {
        return;
    }
    for command in ["EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO", "PEXPIRETIME", "SCAN", "DEL"] {
        let server = Server::start(&["--rename-command", command, "HIDDEN"]);
        let error = open_with(&server, "app", |_| {}).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Misconfigured, "{command}: {error}");
        let text = error.to_string();
        assert!(text.contains(&format!("does not know {command}, which")), "{command}: {text}");
        assert!(text.contains("ERR unknown command") && text.contains(&place(&server)), "{command}: {text}");
        assert!(!text.contains("local current"), "what was sent is not repeated: {text}");
        assert_eq!(server.say(&["DBSIZE"]).trim_start_matches(':').parse(), Ok(i32::from(command == "DEL")));
    }
}

#[test]
fn a_database_that_does_not_exist_is_named() {
    if !support::is_there() {
        return;
    }
    let server = Server::volatile();
    let error = RedisStore::open(&format!("redis://{}/99?persistence=ignore", place(&server))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured, "{error}");
    let text = error.to_string();
    assert!(text.contains("has no database 99") && text.contains("out of range"), "{text}");
    assert!(text.contains(&place(&server)), "{text}");
}

/// The story: a server that takes no more connections was an "I/O error".
#[test]
fn a_server_that_takes_no_more_connections_says_so() {
    if !support::is_there() {
        return;
    }
    let server = Server::start(&["--maxclients", "3"]);
    let stores: Vec<_> = (0..3).map_while(|_| open_with(&server, "app", |_| {}).ok()).collect();
    let mut error = None;
    // A connection of the test itself may not be gone yet, or just be gone.
    eventually("the server refuses", || {
        error = open_with(&server, "app", |settings| settings.deadline = Duration::from_secs(1)).err();
        error.is_some()
    });
    let error = error.unwrap();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("maxclients"), "{error}");
    drop(stores);
}

/// The story: a server that answered the login with hundreds of megabytes had the client take them.
#[test]
fn a_hostile_server_cannot_make_a_store_take_much_memory_before_it_is_known() {
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
        assert!(error.to_string().contains("what no Redis server says"), "{error}");
        // What the operating system takes in between is bounded as well.
        assert!(end("the server gives up", &sent) < 100);
    }
}
