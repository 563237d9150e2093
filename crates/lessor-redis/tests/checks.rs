//! The store checks its server after each connect, returns its properties, and needs no more
//! permissions than documented.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use lessor_core::{Acquisition, Engine, Error, ErrorKind, Store};
use lessor_redis::{Check, RedisStore, Settings};
use support::Server;
use tap::Tap;
use tools::{begin, command_as, end, eventually, is_outage, lease, open_with, record, retry_while_down};

#[path = "support/logged.rs"]
mod logged;
mod support;
#[path = "support/tap.rs"]
mod tap;
#[path = "support/tools.rs"]
mod tools;

/// A property that a server should have.
struct Case {
    set: fn(&mut Settings, Check),
    name: &'static str,
    /// Groups of commands, each of which removes the property, and the commands that restore it.
    break_it: &'static [&'static [&'static [&'static str]]],
    mend: &'static [&'static [&'static str]],
    /// A part of the error message.
    message: &'static str,
    kind: ErrorKind,
}

const CASES: &[Case] = &[
    Case {
        set: |settings, check| settings.persistence = check,
        name: "persistence",
        break_it: &[
            &[&["CONFIG", "SET", "appendfsync", "everysec"]],
            &[&["CONFIG", "SET", "appendonly", "no"]],
        ],
        mend: &[&["CONFIG", "SET", "appendfsync", "always"], &["CONFIG", "SET", "appendonly", "yes"]],
        message: "may lose acknowledged writes",
        kind: ErrorKind::Misconfigured,
    },
    Case {
        set: |settings, check| settings.eviction = check,
        name: "eviction",
        break_it: &[
            &[
                &["CONFIG", "SET", "maxmemory", "100mb"],
                &["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"],
            ],
            &[
                &["CONFIG", "SET", "maxmemory", "100mb"],
                &["CONFIG", "SET", "maxmemory-policy", "volatile-ttl"],
            ],
        ],
        mend: &[&["CONFIG", "SET", "maxmemory-policy", "noeviction"]],
        message: "evicts records",
        kind: ErrorKind::Misconfigured,
    },
    Case {
        set: |settings, check| settings.role = check,
        name: "role",
        // The master does not exist, so the replica keeps its data.
        break_it: &[&[&["REPLICAOF", "127.0.0.1", "1"]]],
        mend: &[&["REPLICAOF", "NO", "ONE"]],
        message: "is a replica",
        kind: ErrorKind::Unavailable,
    },
];

fn command(server: &Server, commands: &[&[&str]]) {
    for words in commands {
        assert_eq!(server.command(words), "+OK", "{words:?}");
    }
}

fn place(server: &Server) -> String {
    format!("127.0.0.1:{}", server.port)
}

/// Opens a store that makes this check and no other.
fn open(server: &Server, case: &Case, check: Check) -> Result<RedisStore, Error> {
    open_with(server, "app", |settings| {
        settings.deadline = Duration::from_secs(3);
        settings.eviction = Check::Ignore;
        settings.role = Check::Ignore;
        (case.set)(settings, check);
    })
}

#[test]
fn opening_a_store_rejects_reports_or_accepts_an_unsuitable_server_as_set() {
    if !support::is_available() {
        return;
    }
    logged::record();
    let server = Server::durable();
    let warnings = |case: &Case| logged::count(&[&place(&server), case.message]);
    for case in CASES {
        for break_it in case.break_it {
            for check in [Check::Require, Check::Warn, Check::Ignore] {
                drop(open(&server, case, check).unwrap());
            }
            assert_eq!(warnings(case), 0, "{}: there was nothing to complain of", case.name);
            command(&server, break_it);
            let error = open(&server, case, Check::Require).unwrap_err();
            assert_eq!(error.kind(), case.kind, "{error}");
            let text = error.to_string();
            assert!(text.contains(case.message) && text.contains(&place(&server)), "{text}");
            drop(open(&server, case, Check::Ignore).unwrap());
            assert_eq!(warnings(case), 0, "{}: the check is ignored", case.name);
            drop(open(&server, case, Check::Warn).unwrap());
            assert_eq!(warnings(case), 1, "{}", case.name);
            // The same setting in the URL.
            let url = |check: &str| {
                let set = |one: &Case| match one.name == case.name {
                    true => format!("{}={check}", one.name),
                    false => format!("{}=ignore", one.name),
                };
                format!("{}?{}", server.url(), CASES.iter().map(set).collect::<Vec<_>>().join("&"))
            };
            assert!(RedisStore::open(&url("require")).is_err());
            RedisStore::open(&url("ignore")).unwrap();
            command(&server, case.mend);
            assert!(RedisStore::open(&url("require")).is_ok());
            logged::discard(&place(&server));
        }
    }
}

#[test]
fn a_server_found_unsuitable_on_reconnect_is_unavailable_until_it_is_corrected() {
    if !support::is_available() {
        return;
    }
    logged::record();
    // Most of the time is spent waiting, so all cases run at once, each with its own server.
    std::thread::scope(|scope| {
        for case in CASES {
            for break_it in case.break_it {
                scope.spawn(|| is_unavailable_until_corrected(case, break_it));
            }
        }
    });
}

fn is_unavailable_until_corrected(case: &Case, break_it: &[&[&str]]) {
    let server = Server::durable();
    let engine = Engine::new(Arc::new(open(&server, case, Check::Require).unwrap())).unwrap();
    let held = lease(engine.acquire(case.name).wait());
    command(&server, break_it);
    server.command(&["CLIENT", "KILL", "TYPE", "normal"]);
    eventually("the server is refused", || match engine.status(case.name).wait() {
        Ok(_) => false,
        Err(error) => {
            assert!(is_outage(&error), "{error}");
            error.to_string().contains(case.message)
        }
    });
    let error = held.complete("done").wait().unwrap_err();
    assert_eq!(error.kind(), case.kind, "nothing was sent: {error}");
    assert!(error.to_string().contains(case.message), "{error}");
    command(&server, case.mend);
    retry_while_down(|| held.complete("done").wait());
}

#[test]
fn a_server_found_unsuitable_later_is_reported_or_accepted_as_set() {
    if !support::is_available() {
        return;
    }
    logged::record();
    let server = Server::durable();
    let cut = || drop(server.command(&["CLIENT", "KILL", "TYPE", "normal"]));
    for case in CASES {
        for break_it in case.break_it {
            for check in [Check::Warn, Check::Ignore] {
                logged::discard(&place(&server));
                let store = Arc::new(open(&server, case, check).unwrap());
                let before = store.server().unwrap();
                command(&server, break_it);
                cut();
                let warnings = || logged::count(&[&place(&server), case.message]);
                let expected = usize::from(check == Check::Warn);
                eventually("the server was looked at again", || {
                    store.server().unwrap() != before && warnings() >= expected
                });
                assert_eq!(warnings(), expected, "{}", case.name);
                // The server is used as far as it works.
                retry_while_down(|| Ok(store.load(&lessor_core::Key::new("key")?).wait()?));
                command(&server, case.mend);
                drop(store);
            }
        }
    }
}

#[test]
fn an_eviction_policy_without_a_memory_limit_is_accepted() {
    if !support::is_available() {
        return;
    }
    let server = Server::start(&["--maxmemory-policy", "allkeys-lru"]);
    open_with(&server, "app", |settings| settings.eviction = Check::Require).unwrap();
}

#[test]
fn a_store_returns_its_servers_properties() {
    if !support::is_available() {
        return;
    }
    let server = Server::start(&["--appendonly", "yes", "--appendfsync", "everysec"]);
    let store = support::open(&server, "app");
    let info = store.server().unwrap();
    assert!(info.appendonly && info.appendfsync.as_deref() == Some("everysec"), "{info:?}");
    assert_eq!((&*info.maxmemory_policy, &*info.role, info.run_id.len()), ("noeviction", "master", 40));
    let major: u32 = info.version.split('.').next().unwrap().parse().unwrap();
    assert!(major >= 7, "{info:?}");
    assert_eq!(store.server_changes(), 0);
}

const PASSWORD: &str = "correct-horse-battery";
const WRONG: &str = "incorrect-donkey-staple";

/// Returns whether a text contains none of the passwords, nor a telling part of one.
fn is_discreet(text: &str) -> bool {
    ["horse", "donkey"].iter().all(|part| !text.contains(part))
}

#[test]
fn p11_a_password_opens_the_store_and_appears_nowhere() {
    if !support::is_available() {
        return;
    }
    logged::record();
    let server = Server::start(&["--requirepass", PASSWORD]);
    let url =
        |credentials: &str| format!("redis://{credentials}127.0.0.1:{}/0?persistence=ignore", server.port);
    let right = format!(":{PASSWORD}@");
    for credentials in [&right, &format!("default:{PASSWORD}@")] {
        let builder = RedisStore::builder();
        let store = Arc::new(builder.clone().open(&url(credentials)).unwrap());
        let engine = Engine::new(Arc::clone(&store) as Arc<dyn Store>).unwrap();
        lease(engine.acquire("key").wait()).release().wait().unwrap();
        for shown in [
            format!("{store:?} {store:#?}"),
            format!("{builder:?} {builder:#?}"),
            format!("{engine:?} {engine:#?}"),
            format!("{:?}", store.server()),
        ] {
            assert!(is_discreet(&shown));
        }
    }
    for credentials in
        ["", &format!(":{WRONG}@"), &format!("default:{WRONG}@"), &format!("{WRONG}:{PASSWORD}@")]
    {
        let error = RedisStore::open(&url(credentials)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Misconfigured, "retrying does not help");
        let text = format!("{error} {error:#} {error:?}");
        assert!(is_discreet(&text));
        assert!(
            text.contains("rejects the user or the password") && text.contains(&place(&server)),
            "{text}"
        );
    }

    // A password that is changed later.
    let mut settings = support::settings("app");
    settings.deadline = Duration::from_secs(3);
    let builder = RedisStore::builder().settings(settings);
    let engine = Engine::new(Arc::new(builder.open(&url(&right)).unwrap())).unwrap();
    let held = lease(engine.acquire("held").wait());
    let change = |from: &str, to: &str| {
        assert_eq!(command_as(&server, "default", from, &["CONFIG", "SET", "requirepass", to]), "+OK");
        command_as(&server, "default", to, &["CLIENT", "KILL", "TYPE", "normal"]);
    };
    change(PASSWORD, WRONG);
    eventually("the password is refused", || match held.extend(Duration::from_secs(600)).wait() {
        Ok(_) => false,
        Err(error) => {
            assert!(is_outage(&error) && is_discreet(&format!("{error} {error:#} {error:?}")));
            error.to_string().contains("rejects the user or the password")
        }
    });
    change(WRONG, PASSWORD);
    retry_while_down(|| held.complete("done").wait());
    assert_eq!(logged::count(&["horse"]) + logged::count(&["donkey"]), 0, "nor in the log messages");
    assert!(logged::count(&["rejects the user"]) > 0);
}

/// Returns the documented permissions of a user: the key patterns, and each command.
fn documented() -> (String, Vec<String>) {
    let doc = include_str!("../src/lib.rs");
    let lines: Vec<&str> =
        doc.lines().filter_map(|line| line.strip_prefix("//! ACL SETUSER lessor on >PASSWORD ")).collect();
    let [line] = lines[..] else { panic!("it is written down once") };
    let (keys, commands): (Vec<&str>, Vec<&str>) = line.split(' ').partition(|word| word.starts_with('~'));
    assert!(commands.iter().all(|command| command.starts_with('+')), "{commands:?}");
    (keys.concat(), commands.into_iter().map(str::to_owned).collect())
}

fn set_user(server: &Server, prefix: &str, commands: &[String]) {
    let keys = documented().0.replace("PREFIX", prefix);
    let password = format!(">{PASSWORD}");
    let mut words = vec!["ACL", "SETUSER", "lessor", "reset", "on", &*password, &*keys];
    words.extend(commands.iter().map(String::as_str));
    assert_eq!(server.command(&words), "+OK");
}

fn open_as_user(server: &Server, prefix: &str, database: u8) -> Result<RedisStore, Error> {
    let mut settings = support::settings(prefix);
    settings.deadline = Duration::from_secs(2);
    let url = format!("redis://lessor:{PASSWORD}@{}/{database}", place(server));
    RedisStore::builder().settings(settings).open(&url)
}

/// Performs every operation of a store, one after the other.
fn do_everything(server: &Server, store: &RedisStore, prefix: &str, engine: &Engine) -> Result<(), Error> {
    // Scripts are first sent in full, and by their hashes from then on.
    assert_eq!(server.command(&["SCRIPT", "FLUSH"]), "+OK");
    for round in 0..2 {
        let key = |what: &str| format!("{what} {round}");
        let acquire = |what: &str| match engine.acquire(&key(what)).wait()? {
            Acquisition::Acquired(lease) => Ok::<_, Error>(lease),
            other => panic!("{other:?}"),
        };
        let held = acquire("completed")?;
        held.extend(Duration::from_secs(600)).wait()?;
        held.checkpoint("half").wait()?;
        assert!(matches!(engine.acquire(&key("completed")).wait()?, Acquisition::InProgress(_)));
        held.complete("done").wait()?;
        assert!(matches!(engine.acquire(&key("completed")).wait()?, Acquisition::Completed(_)));
        acquire("failed")?.fail("broken").wait()?;
        acquire("released")?.release().wait()?;
        acquire("abandoned")?.abandon().wait()?;
        assert_eq!(acquire("abandoned")?.attempt(), 2);
        engine.status(&key("completed")).wait()?;
        let listed = engine.list().prefix("completed").limit(10).wait()?;
        assert_eq!(listed.entries.len(), round + 1);
        assert!(engine.forget(&key("failed")).wait()?);
    }
    // The server would expire these records within the hour, so they are due.
    let over = [0, 1].map(|i| format!("{prefix}:over {i}"));
    over.iter().for_each(|name| assert_eq!(server.command(&["SET", name, "over", "EX", "1000"]), "+OK"));
    assert_eq!(Store::purge(store, 1_000).wait()?.dropped, 2);
    over.iter().for_each(|name| assert_eq!(server.command(&["EXISTS", name]), ":0"));
    Ok(())
}

#[test]
fn the_documented_permissions_suffice_for_every_operation() {
    if !support::is_available() {
        return;
    }
    logged::record();
    let (server, prefix) = (Server::volatile(), support::prefix());
    set_user(&server, &prefix, &documented().1);
    let store = Arc::new(open_as_user(&server, &prefix, 0).unwrap());
    let engine = Engine::new(Arc::clone(&store) as Arc<dyn Store>).unwrap();
    do_everything(&server, &store, &prefix, &engine).unwrap();
    assert_eq!(store.server().unwrap().appendfsync, None, "the user may not run CONFIG GET");

    // A waiter that is woken only by the server's messages.
    let tap = Tap::new(&Arc::new(open_as_user(&server, &prefix, 0).unwrap())).without_timers();
    let waiting = Arc::new(Engine::new(tap.store()).unwrap());
    let held = lease(engine.acquire("awaited").wait());
    let waits = begin(move || waiting.wait_for("awaited", Duration::from_secs(600)).wait());
    eventually("the waiter has looked", || tap.loads() > 0);
    held.complete("done").wait().unwrap();
    assert!(end("the waiter is woken", &waits).unwrap().unwrap().is_finished());
    assert_eq!(logged::count(&["does not report changes", &place(&server)]), 0);

    // Keys of another prefix are out of reach, and the error is clear.
    let elsewhere = support::prefix();
    let error = open_as_user(&server, &elsewhere, 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured, "{error}");
    assert!(error.to_string().contains("does not permit the user lessor"), "{error}");
    assert!(record(&support::open(&server, &elsewhere), "key").is_none());
}

#[test]
fn each_documented_permission_is_required() {
    if !support::is_available() {
        return;
    }
    logged::record();
    let (_, commands) = documented();
    for left_out in &commands {
        let (server, prefix) = (Server::volatile(), support::prefix());
        let rest: Vec<String> = commands.iter().filter(|command| *command != left_out).cloned().collect();
        set_user(&server, &prefix, &rest);
        let outcome = open_as_user(&server, &prefix, 0).map_err(|error| (error, true)).and_then(|store| {
            let store = Arc::new(store);
            let engine = Engine::new(Arc::clone(&store) as Arc<dyn Store>).unwrap();
            do_everything(&server, &store, &prefix, &engine).map_err(|error| (error, false))
        });
        if left_out.starts_with("+client") {
            outcome.unwrap();
            let warned = logged::count(&["does not report changes", &place(&server)]);
            assert_eq!(
                warned, 1,
                "without {left_out} the server does not report changes, and a warning is logged"
            );
        } else {
            // A server that grants leases but does not complete them is useless, so it is rejected
            // before any grant.
            let (error, is_at_opening) = outcome.expect_err(left_out);
            assert!(is_at_opening, "{left_out}: {error}");
            assert_eq!(error.kind(), ErrorKind::Misconfigured, "{left_out}: {error}");
            let (error, command) = (error.to_string(), left_out.trim_start_matches('+').to_uppercase());
            assert!(error.contains("does not permit the user lessor"), "{left_out}: {error}");
            assert!(error.contains(&format!("to run {command}, which")), "{left_out}: {error}");
        }
    }
}

#[test]
fn the_optional_permissions_work_as_documented() {
    if !support::is_available() {
        return;
    }
    let (server, prefix) = (Server::durable(), support::prefix());
    let (_, mut commands) = documented();
    set_user(&server, &prefix, &commands);
    assert!(open_as_user(&server, &prefix, 1).is_err(), "another database");
    commands.push("+select".to_owned());
    commands.push("+config|get".to_owned());
    set_user(&server, &prefix, &commands);
    let store = Arc::new(open_as_user(&server, &prefix, 1).unwrap());
    assert_eq!(store.server().unwrap().appendfsync.as_deref(), Some("always"));
    let engine = Engine::new(Arc::clone(&store) as Arc<dyn Store>).unwrap();
    lease(engine.acquire("key").wait()).complete("done").wait().unwrap();
}

/// Regression: eviction was enabled while the store was open, and the store did not detect it.
#[test]
fn eviction_enabled_later_is_detected_and_so_is_its_correction() {
    if !support::is_available() {
        return;
    }
    let server = Server::durable();
    let case = &CASES[1];
    let engine = Engine::new(Arc::new(open(&server, case, Check::Require).unwrap())).unwrap();
    let held = lease(engine.acquire("held").wait());
    command(&server, case.break_it[0]);
    eventually("the server is refused", || match engine.status("held").wait() {
        Ok(_) => false,
        Err(error) => {
            assert!(is_outage(&error), "{error}");
            error.kind() == case.kind && error.to_string().contains(case.message)
        }
    });
    command(&server, case.mend);
    retry_while_down(|| held.complete("done").wait());
}
