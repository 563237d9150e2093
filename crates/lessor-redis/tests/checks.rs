//! The store looks at its server whenever it connects, says who it is, and needs no more than it says.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use lessor_core::{Acquisition, Engine, Error, ErrorKind, Store};
use lessor_redis::{Check, Opener, RedisStore, Settings};
use support::Server;
use tap::Tap;
use tools::{begin, end, eventually, insist, is_outage, lease, open_with, record, say_as};

#[path = "support/logged.rs"]
mod logged;
mod support;
#[path = "support/tap.rs"]
mod tap;
#[path = "support/tools.rs"]
mod tools;

/// Something that a server should be.
struct Case {
    set: fn(&mut Settings, Check),
    name: &'static str,
    /// Commands that make it what it should not be, each by itself, and that make it fit again.
    spoil: &'static [&'static [&'static [&'static str]]],
    mend: &'static [&'static [&'static str]],
    /// A word of the complaint.
    complaint: &'static str,
    kind: ErrorKind,
}

const CASES: &[Case] = &[
    Case {
        set: |settings, check| settings.persistence = check,
        name: "persistence",
        spoil: &[&[&["CONFIG", "SET", "appendfsync", "everysec"]], &[&["CONFIG", "SET", "appendonly", "no"]]],
        mend: &[&["CONFIG", "SET", "appendfsync", "always"], &["CONFIG", "SET", "appendonly", "yes"]],
        complaint: "may lose acknowledged writes",
        kind: ErrorKind::Misconfigured,
    },
    Case {
        set: |settings, check| settings.eviction = check,
        name: "eviction",
        spoil: &[
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
        complaint: "evicts records",
        kind: ErrorKind::Misconfigured,
    },
    Case {
        set: |settings, check| settings.role = check,
        name: "role",
        // Of a server that is not there, so that its data stay.
        spoil: &[&[&["REPLICAOF", "127.0.0.1", "1"]]],
        mend: &[&["REPLICAOF", "NO", "ONE"]],
        complaint: "is a replica",
        kind: ErrorKind::Unavailable,
    },
];

fn command(server: &Server, commands: &[&[&str]]) {
    for words in commands {
        assert_eq!(server.say(words), "+OK", "{words:?}");
    }
}

fn place(server: &Server) -> String {
    format!("127.0.0.1:{}", server.port)
}

/// A store that makes this one check, and no other.
fn open(server: &Server, case: &Case, check: Check) -> Result<RedisStore, Error> {
    open_with(server, "app", |settings| {
        settings.deadline = Duration::from_secs(3);
        settings.eviction = Check::Ignore;
        settings.role = Check::Ignore;
        (case.set)(settings, check);
    })
}

#[test]
fn a_server_that_is_not_as_it_should_be_is_refused_or_warned_of_or_taken_when_a_store_is_opened() {
    if !support::is_there() {
        return;
    }
    logged::keep();
    let server = Server::durable();
    let complaints = |case: &Case| logged::count(&[&place(&server), case.complaint]);
    for case in CASES {
        for spoil in case.spoil {
            for check in [Check::Require, Check::Warn, Check::Ignore] {
                drop(open(&server, case, check).unwrap());
            }
            assert_eq!(complaints(case), 0, "{}: there was nothing to complain of", case.name);
            command(&server, spoil);
            let error = open(&server, case, Check::Require).unwrap_err();
            assert_eq!(error.kind(), case.kind, "{error}");
            let text = error.to_string();
            assert!(text.contains(case.complaint) && text.contains(&place(&server)), "{text}");
            drop(open(&server, case, Check::Ignore).unwrap());
            assert_eq!(complaints(case), 0, "{}: nobody asked", case.name);
            drop(open(&server, case, Check::Warn).unwrap());
            assert_eq!(complaints(case), 1, "{}", case.name);
            // As a URL says it.
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
            logged::forget(&place(&server));
        }
    }
}

#[test]
fn a_server_that_is_found_unfit_when_the_connection_is_made_anew_is_an_outage_until_it_is_set_right() {
    if !support::is_there() {
        return;
    }
    logged::keep();
    // Most of it is waiting, so all at once, each with a server of its own.
    std::thread::scope(|scope| {
        for case in CASES {
            for spoil in case.spoil {
                scope.spawn(|| is_an_outage_until_set_right(case, spoil));
            }
        }
    });
}

fn is_an_outage_until_set_right(case: &Case, spoil: &[&[&str]]) {
    let server = Server::durable();
    let engine = Engine::new(Arc::new(open(&server, case, Check::Require).unwrap())).unwrap();
    let held = lease(engine.acquire(case.name).wait());
    command(&server, spoil);
    server.say(&["CLIENT", "KILL", "TYPE", "normal"]);
    eventually("the server is refused", || match engine.status(case.name).wait() {
        Ok(_) => false,
        Err(error) => {
            assert!(is_outage(&error), "{error}");
            error.to_string().contains(case.complaint)
        }
    });
    let error = held.complete("done").wait().unwrap_err();
    assert_eq!(error.kind(), case.kind, "nothing was sent: {error}");
    assert!(error.to_string().contains(case.complaint), "{error}");
    command(&server, case.mend);
    insist(|| held.complete("done").wait());
}

#[test]
fn a_server_that_is_found_unfit_later_is_warned_of_or_taken_if_that_is_wished() {
    if !support::is_there() {
        return;
    }
    logged::keep();
    let server = Server::durable();
    let cut = || drop(server.say(&["CLIENT", "KILL", "TYPE", "normal"]));
    for case in CASES {
        for spoil in case.spoil {
            for check in [Check::Warn, Check::Ignore] {
                logged::forget(&place(&server));
                let store = Arc::new(open(&server, case, check).unwrap());
                let before = store.server().unwrap();
                command(&server, spoil);
                cut();
                let complaints = || logged::count(&[&place(&server), case.complaint]);
                let expected = usize::from(check == Check::Warn);
                eventually("the server was looked at again", || {
                    store.server().unwrap() != before && complaints() >= expected
                });
                assert_eq!(complaints(), expected, "{}", case.name);
                // It is used all the same, as far as it serves.
                insist(|| Ok(store.load(&lessor_core::Key::new("key")?).wait()?));
                command(&server, case.mend);
                drop(store);
            }
        }
    }
}

#[test]
fn a_policy_that_evicts_does_no_harm_without_a_bound_of_memory() {
    if !support::is_there() {
        return;
    }
    let server = Server::start(&["--maxmemory-policy", "allkeys-lru"]);
    open_with(&server, "app", |settings| settings.eviction = Check::Require).unwrap();
}

#[test]
fn a_store_tells_what_its_server_is() {
    if !support::is_there() {
        return;
    }
    let server = Server::start(&["--appendonly", "yes", "--appendfsync", "everysec"]);
    let store = support::open(&server, "app");
    let told = store.server().unwrap();
    assert!(told.appendonly && told.appendfsync.as_deref() == Some("everysec"), "{told:?}");
    assert_eq!((&*told.maxmemory_policy, &*told.role, told.run_id.len()), ("noeviction", "master", 40));
    let major: u32 = told.version.split('.').next().unwrap().parse().unwrap();
    assert!(major >= 7, "{told:?}");
    assert_eq!(store.replaced(), 0);
}

const PASSWORD: &str = "correct-horse-battery";
const WRONG: &str = "incorrect-donkey-staple";

/// No text may have any of the passwords in it, or a part that would do.
fn is_discreet(text: &str) -> bool {
    ["horse", "donkey"].iter().all(|part| !text.contains(part))
}

#[test]
fn p11_a_password_opens_the_store_and_is_shown_nowhere() {
    if !support::is_there() {
        return;
    }
    logged::keep();
    let server = Server::start(&["--requirepass", PASSWORD]);
    let url =
        |credentials: &str| format!("redis://{credentials}127.0.0.1:{}/0?persistence=ignore", server.port);
    let right = format!(":{PASSWORD}@");
    for credentials in [&right, &format!("default:{PASSWORD}@")] {
        let opener = Opener::new();
        let store = Arc::new(opener.clone().open(&url(credentials)).unwrap());
        let engine = Engine::new(Arc::clone(&store) as Arc<dyn Store>).unwrap();
        lease(engine.acquire("key").wait()).release().wait().unwrap();
        for shown in [
            format!("{store:?} {store:#?}"),
            format!("{opener:?} {opener:#?}"),
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
        assert_eq!(error.kind(), ErrorKind::Misconfigured, "trying again does not help");
        let text = format!("{error} {error:?}");
        assert!(is_discreet(&text));
        assert!(
            text.contains("refuses the user or the password") && text.contains(&place(&server)),
            "{text}"
        );
    }

    // A password that is changed later.
    let mut settings = support::settings("app");
    settings.deadline = Duration::from_secs(3);
    let opener = Opener::new().settings(settings);
    let engine = Engine::new(Arc::new(opener.open(&url(&right)).unwrap())).unwrap();
    let held = lease(engine.acquire("held").wait());
    let change = |from: &str, to: &str| {
        assert_eq!(say_as(&server, "default", from, &["CONFIG", "SET", "requirepass", to]), "+OK");
        say_as(&server, "default", to, &["CLIENT", "KILL", "TYPE", "normal"]);
    };
    change(PASSWORD, WRONG);
    eventually("the password is refused", || match held.extend(Duration::from_secs(600)).wait() {
        Ok(_) => false,
        Err(error) => {
            assert!(is_outage(&error) && is_discreet(&format!("{error} {error:?}")));
            error.to_string().contains("refuses the user or the password")
        }
    });
    change(WRONG, PASSWORD);
    insist(|| held.complete("done").wait());
    assert_eq!(logged::count(&["horse"]) + logged::count(&["donkey"]), 0, "nor in what is logged");
    assert!(logged::count(&["refuses the user"]) > 0);
}

/// What the documentation says that a user needs: the patterns of keys, and each command.
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
    assert_eq!(server.say(&words), "+OK");
}

fn open_as_user(server: &Server, prefix: &str, database: u8) -> Result<RedisStore, Error> {
    let mut settings = support::settings(prefix);
    settings.deadline = Duration::from_secs(2);
    let url = format!("redis://lessor:{PASSWORD}@{}/{database}", place(server));
    Opener::new().settings(settings).open(&url)
}

/// All that a store can do, one after the other.
fn do_everything(server: &Server, store: &RedisStore, prefix: &str, engine: &Engine) -> Result<(), Error> {
    // Scripts are sent in full first, and by their hashes from then on.
    assert_eq!(server.say(&["SCRIPT", "FLUSH"]), "+OK");
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
        let listed = engine.list("completed", None, 10).wait()?;
        assert_eq!(listed.entries.len(), round + 1);
        assert!(engine.forget(&key("failed")).wait()?);
    }
    // The server would drop them within the hour by itself, so they are over.
    let over = [0, 1].map(|i| format!("{prefix}:over {i}"));
    over.iter().for_each(|name| assert_eq!(server.say(&["SET", name, "over", "EX", "1000"]), "+OK"));
    assert_eq!(Store::purge(store, 1_000).wait()?.dropped, 2);
    over.iter().for_each(|name| assert_eq!(server.say(&["EXISTS", name]), ":0"));
    Ok(())
}

#[test]
fn the_documented_permissions_are_enough_for_everything() {
    if !support::is_there() {
        return;
    }
    logged::keep();
    let (server, prefix) = (Server::volatile(), support::prefix());
    set_user(&server, &prefix, &documented().1);
    let store = Arc::new(open_as_user(&server, &prefix, 0).unwrap());
    let engine = Engine::new(Arc::clone(&store) as Arc<dyn Store>).unwrap();
    do_everything(&server, &store, &prefix, &engine).unwrap();
    assert_eq!(store.server().unwrap().appendfsync, None, "it may not ask");

    // Waiting, woken by nothing but what the server tells.
    let tap = Tap::new(&Arc::new(open_as_user(&server, &prefix, 0).unwrap())).without_timers();
    let waiting = Arc::new(Engine::new(tap.store()).unwrap());
    let held = lease(engine.acquire("awaited").wait());
    let waits = begin(move || waiting.wait_for("awaited", Duration::from_secs(600)).wait());
    eventually("the waiter has looked", || tap.loads() > 0);
    held.complete("done").wait().unwrap();
    assert!(end("the waiter is woken", &waits).unwrap().unwrap().is_finished());
    assert_eq!(logged::count(&["does not tell of changes", &place(&server)]), 0);

    // Others' keys are out of reach, and that is said clearly.
    let elsewhere = support::prefix();
    let error = open_as_user(&server, &elsewhere, 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured, "{error}");
    assert!(error.to_string().contains("does not permit the user lessor"), "{error}");
    assert!(record(&support::open(&server, &elsewhere), "key").is_none());
}

#[test]
fn none_of_the_documented_permissions_can_be_left_out() {
    if !support::is_there() {
        return;
    }
    logged::keep();
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
            let warned = logged::count(&["does not tell of changes", &place(&server)]);
            assert_eq!(warned, 1, "without {left_out} nobody is told, which is warned of");
        } else {
            // A server that grants but does not complete is of no use, so that is found out before anything is granted.
            let (error, is_at_opening) = outcome.expect_err(left_out);
            assert!(is_at_opening, "{left_out}: {error}");
            assert_eq!(error.kind(), ErrorKind::Misconfigured, "{left_out}: {error}");
            let (error, command) = (error.to_string(), left_out.trim_start_matches('+').to_uppercase());
            assert!(error.contains("does not permit the user lessor"), "{left_out}: {error}");
            assert!(error.contains(&format!("here {command};")), "{left_out}: {error}");
        }
    }
}

#[test]
fn what_else_may_be_permitted_is_as_documented() {
    if !support::is_there() {
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

/// The story: eviction was switched on while the store was open, and nobody noticed.
#[test]
fn eviction_that_is_switched_on_later_is_noticed_and_so_is_that_it_is_set_right() {
    if !support::is_there() {
        return;
    }
    let server = Server::durable();
    let case = &CASES[1];
    let engine = Engine::new(Arc::new(open(&server, case, Check::Require).unwrap())).unwrap();
    let held = lease(engine.acquire("held").wait());
    command(&server, case.spoil[0]);
    eventually("the server is refused", || match engine.status("held").wait() {
        Ok(_) => false,
        Err(error) => {
            assert!(is_outage(&error), "{error}");
            error.kind() == case.kind && error.to_string().contains(case.complaint)
        }
    });
    command(&server, case.mend);
    insist(|| held.complete("done").wait());
}
