//! `lessor run`: a command runs once, and later callers get its exit code and output.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::io::Write;
use std::process::Stdio;

use serde_json::Value;
use support::{Place, acquire, lessor, ran};

/// Appends a line to the file `runs`, so that the runs can be counted.
const COUNT: &str = "echo run >> runs; ";

fn runs(place: &Place) -> usize {
    fs::read_to_string(place.folder.path().join("runs")).unwrap_or_default().lines().count()
}

/// Runs a script of the shell under a key, with options.
fn shell(place: &Place, options: &[&str], script: &str) -> support::Ran {
    place.run(&[&["run", "job", "--quiet"], options, &["--", "sh", "-c", script]].concat())
}

#[test]
fn p6_a_command_runs_once_and_its_output_and_exit_code_are_replayed() {
    for place in Place::each() {
        for code in [0, 3] {
            let script = format!("{COUNT} echo out; echo err >&2; exit {code}");
            let first = shell(&place, &[], &script);
            assert_eq!((first.code, &*first.out, &*first.err), (Some(code), "out\n", "err\n"));
            let second = shell(&place, &[], &script);
            assert_eq!((second.code, &*second.out, &*second.err), (Some(code), "out\n", "err\n"));
            assert_eq!(runs(&place), 1);
            place.ok(&["forget", "job", "--yes"]);
            fs::remove_file(place.folder.path().join("runs")).unwrap();
        }
    }
}

#[test]
fn a_replay_says_who_ran_the_command_and_when() {
    let place = Place::file();
    place.ok(&["run", "job", "--holder", "web 1", "--", "true"]);
    let again = place.run(&["run", "job", "--", "false"]);
    assert!(again.code == Some(0) && again.err.contains("replayed: web 1 ran it until 2"), "{again:?}");
}

#[test]
fn the_end_of_an_output_is_kept_byte_by_byte() {
    let place = Place::file();
    let script = "printf 'begin \\377\\000 end'";
    let command = || {
        let mut command = place.command(&["run", "job", "--quiet", "--keep-output", "6", "--"]);
        command.args(["sh", "-c", script]).output().unwrap().stdout
    };
    assert_eq!(command(), b"begin \xff\x00 end");
    assert_eq!(command(), b"\xff\x00 end");
    let note = place.run(&["run", "job", "--", "true"]);
    assert!(note.err.contains("the first 6 bytes of its output were not kept"), "{note:?}");
}

#[test]
fn a_command_that_a_signal_ended_has_the_exit_code_of_a_shell() {
    let place = Place::file();
    assert_eq!(shell(&place, &[], "kill -KILL $$").code, Some(137));
    assert_eq!(shell(&place, &[], "true").code, Some(137));
    let record: Value = serde_json::from_str(&place.ok(&["show", "--json", "job"])).unwrap();
    assert_eq!(record["error_code"], "exit 137 (signal 9)");
}

#[test]
fn a_failure_is_retried_as_often_as_the_caller_allows() {
    for place in Place::each() {
        let options = ["--retry", "2", "--backoff", "1ms"];
        let script = format!("{COUNT} echo attempt $LESSOR_ATTEMPT; test $LESSOR_ATTEMPT = 3");
        let ran = shell(&place, &options, &script);
        assert_eq!((ran.code, &*ran.out), (Some(0), "attempt 1\nattempt 2\nattempt 3\n"));
        assert_eq!(shell(&place, &options, &script).out, "attempt 3\n");
        assert_eq!(runs(&place), 3);
        place.ok(&["forget", "job", "--yes"]);
        let ran = shell(&place, &options, "echo attempt $LESSOR_ATTEMPT; exit 4");
        assert_eq!((ran.code, ran.out.lines().count()), (Some(4), 3), "{ran:?}");
        assert_eq!(shell(&place, &options, "true").code, Some(4), "no attempt is left");
    }
}

#[test]
fn a_command_learns_its_key_token_and_attempt() {
    let place = Place::file();
    let words =
        |script| shell(&place, &[], script).out.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let first = words("echo $LESSOR_KEY $LESSOR_TOKEN $LESSOR_ATTEMPT");
    assert_eq!((&*first[0], &*first[2]), ("job", "1"));
    place.ok(&["forget", "job", "--yes"]);
    let second = words("echo $LESSOR_KEY $LESSOR_TOKEN $LESSOR_ATTEMPT");
    let token = |words: &[String]| words[1].parse::<u64>().unwrap();
    assert!(token(&second) > token(&first), "tokens rise");
}

#[test]
fn a_checkpoint_is_restored_for_the_next_attempt() {
    for place in Place::each() {
        let script = "cat $LESSOR_CHECKPOINT 2>&1; echo -n step $LESSOR_ATTEMPT > new; mv new $LESSOR_CHECKPOINT; \
                      test $LESSOR_ATTEMPT = 3";
        let ran = shell(&place, &["--retry", "2", "--backoff", "1ms"], script);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(ran.out.contains("No such file") && ran.out.ends_with("step 1step 2"), "{ran:?}");
    }
}

#[test]
fn a_command_that_cannot_be_started_is_not_stored() {
    let place = Place::file();
    let missing = place.run(&["run", "job", "--", "/no/such/program"]);
    assert!(missing.code == Some(127) && missing.err.contains("/no/such/program"), "{missing:?}");
    let forbidden = place.run(&["run", "job", "--", "/dev/null"]);
    assert_eq!(forbidden.code, Some(126), "{forbidden:?}");
    place.ok(&["run", "job", "--", "true"]);
}

#[test]
fn a_key_that_another_holder_has_is_refused_at_once_or_waited_for() {
    let Some(place) = Place::redis() else { return };
    let engine = place.engine();
    let lease = acquire(&engine, "job");
    let refused = shell(&place, &[], COUNT);
    assert!(refused.code == Some(121) && refused.err.contains("host-1 has the key"), "{refused:?}");
    let short = shell(&place, &["--wait", "20ms"], COUNT);
    assert_eq!(short.code, Some(121), "{short:?}");
    let mut waiter =
        place.command(&["run", "job", "--quiet", "--wait", "60s", "--", "sh", "-c", "echo mine"]);
    let waiter = waiter.stdout(Stdio::piped()).spawn().unwrap();
    lease.release().wait().unwrap();
    let output = waiter.wait_with_output().unwrap();
    assert_eq!((output.status.code(), &*output.stdout), (Some(0), &b"mine\n"[..]));
    assert_eq!(runs(&place), 0);
}

#[test]
fn a_store_that_does_not_answer_is_waited_for() {
    if Place::redis().is_none() {
        return;
    }
    let port = support::free_port();
    let mut run = lessor();
    run.args([
        "--store",
        &format!("redis://127.0.0.1:{port}/0"),
        "run",
        "job",
        "--wait",
        "2min",
        "--",
        "echo",
        "ran",
    ]);
    let run = run.stdout(Stdio::piped()).spawn().unwrap();
    // The program tries at least once before the server is there, or else there is nothing to wait for.
    std::thread::park_timeout(std::time::Duration::from_millis(200));
    let _server = support::Server::start_on(port).unwrap();
    let output = run.wait_with_output().unwrap();
    assert_eq!((output.status.code(), &*output.stdout), (Some(0), &b"ran\n"[..]));
}

#[test]
fn a_key_in_doubt_or_with_another_failure_has_an_exit_code_of_its_own() {
    for place in Place::each() {
        place.fill();
        let code = |key: &str, options: &[&str]| {
            place.run(&[&["run", key], options, &["--", "echo", "ran"]].concat()).code
        };
        assert_eq!(code("job:doubt", &[]), Some(122));
        assert_eq!(code("job:lapsed", &["--on-lapsed", "in-doubt"]), Some(122));
        assert_eq!(code("job:lapsed", &[]), Some(0), "the lapsed lease is taken over");
        assert_eq!(code("job:failed", &[]), Some(125));
        assert_eq!(code("job:done", &[]), Some(0), "completed by another program");
        place.ok(&["cancel", "other:live", "--yes"]);
        assert_eq!(code("other:live", &[]), Some(125));
    }
}

#[test]
fn the_programs_own_errors_have_exit_codes_from_120_on() {
    let place = Place::file();
    let run = |words: &[&str]| place.run(words).code;
    assert_eq!(run(&["run", "job"]), Some(120), "there is no command");
    assert_eq!(run(&["run", "job", "--ttl", "soon", "--", "true"]), Some(120));
    assert_eq!(run(&["run", "job", "--ttl", "10ms", "--", "true"]), Some(120));
    assert_eq!(run(&["run", "job", "--ttl", "9s", "--kill-after", "4s", "--", "true"]), Some(120));
    assert_eq!(run(&["run", "", "--", "true"]), Some(120), "no key");
    assert_eq!(ran(lessor().args(["--store", "memory:", "run", "job", "--", "true"])).code, Some(120));
    assert_eq!(ran(lessor().args(["run", "job", "--", "true"])).code, Some(120), "no store");
    let unreachable = ran(lessor().args(["--store", "redis://127.0.0.1:1", "run", "job", "--", "true"]));
    assert_eq!(unreachable.code, Some(124), "{unreachable:?}");
}

#[test]
fn standard_input_is_passed_on() {
    let place = Place::file();
    let mut command = place.command(&["run", "job", "--", "cat"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"hello").unwrap();
    assert_eq!(child.wait_with_output().unwrap().stdout, b"hello");
}

/// The command had its standard input twice, the second time under another number.
#[test]
fn a_command_inherits_nothing_of_the_program_but_its_outputs() {
    let place = Place::file();
    let mut outer = place.command(&["run", "job", "--", "ls", "/proc/self/fd"]);
    let mut plain = std::process::Command::new("ls");
    let outer = outer.stdin(Stdio::null()).output().unwrap();
    let plain = plain.arg("/proc/self/fd").stdin(Stdio::null()).output().unwrap();
    assert!(outer.status.success() && outer.stdout == plain.stdout, "{outer:?} {plain:?}");
}

#[test]
fn the_output_of_a_command_can_be_shown_without_running_it_again() {
    let place = Place::file();
    shell(&place, &[], "echo out; echo err >&2; exit 3");
    let shown = place.run(&["show", "--output", "job"]);
    assert_eq!((shown.code, &*shown.out, &*shown.err), (Some(6), "out\n", "err\n"));
    let silent = place.run(&["run", "job", "--silent", "--", "true"]);
    assert_eq!((silent.code, &*silent.out, &*silent.err), (Some(3), "", ""));
}

#[test]
fn p11_an_outcome_is_shown_by_run_and_show_with_an_option_only() {
    let place = Place::file();
    shell(&place, &[], "echo secret; exit 3");
    let mut shown = String::new();
    for words in [&["show", "job"][..], &["show", "--json", "job"], &["explain", "job"], &["list"], &["dump"]]
    {
        shown += &place.ok(words);
    }
    assert!(!shown.contains("secret") && shown.contains("exit 3"), "{shown}");
}
