//! The example `webhooks` from the outside: its figures, its exit codes and its errors.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use common::{example, row, stderr, stdout};

const DELIVERIES: u64 = 92;
const DISTINCT: u64 = 40;

/// Runs the example, over the in-memory store unless the arguments name another.
fn run(args: &[&str]) -> Output {
    example("webhooks").args(["--store", "memory:"]).args(args).output().unwrap()
}

/// Returns the path of a new file for the test.
fn file(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_file(&path);
    path
}

#[test]
fn p1_each_delivery_of_the_sample_is_worked_on_once_and_its_duplicates_get_the_result() {
    let ledger = file("plain.ledger");
    for _ in 0..3 {
        let output = run(&["--workers", "8", "--overwrite", "--ledger", ledger.to_str().unwrap()]);
        assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
        assert_eq!(row(&output, "deliveries"), DELIVERIES);
        assert_eq!(row(&output, "distinct"), DISTINCT);
        assert_eq!(row(&output, "executed"), DISTINCT);
        assert_eq!(row(&output, "replayed"), DELIVERIES - DISTINCT);
        assert_eq!(row(&output, "failed") + row(&output, "fenced") + row(&output, "taken over"), 0);
        assert_eq!(fs::read_to_string(&ledger).unwrap().matches("\"id\"").count() as u64, DISTINCT);
    }
}

#[test]
fn p1_under_chaos_all_repeated_work_has_a_reason() {
    for seed in ["1", "2", "3"] {
        let ledger = file(&format!("chaos-{seed}.ledger"));
        let rates = ["--panic-rate", "0.15", "--error-rate", "0.15", "--stall-rate", "0.15", "--ttl", "60ms"];
        let more = ["--seed", seed, "--workers", "8", "--ledger", ledger.to_str().unwrap()];
        let output = run(&[&rates[..], &more[..]].concat());
        assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
        let ended = row(&output, "executed") + row(&output, "replayed") + row(&output, "failed");
        assert_eq!(ended, DELIVERIES, "every delivery comes to its end");
        for chaos in ["chaos: panics", "chaos: errors", "chaos: stalls", "retried"] {
            assert!(row(&output, chaos) > 0, "{chaos}");
        }
    }
}

/// Each delivery comes twice in a row, and all attempts stall at first. A concurrent caller takes
/// over, and the former holder is refused.
#[test]
fn p1_a_worker_that_stalls_past_its_lease_is_refused() {
    let (input, ledger) = (file("stalls.ndjson"), file("stalls.ledger"));
    let lines: String = (0..4).map(|n| format!("{{\"delivery\":\"{n}\"}}\n").repeat(2)).collect();
    fs::write(&input, lines).unwrap();
    let files = ["--input", input.to_str().unwrap(), "--ledger", ledger.to_str().unwrap()];
    let output = run(&[&files[..], &["--stall-rate", "1", "--ttl", "50ms", "--attempts", "1"]].concat());
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    assert!(row(&output, "fenced") >= 1);
    assert!(row(&output, "fenced") <= row(&output, "taken over"));
    assert_eq!((row(&output, "executed"), row(&output, "replayed")), (4, 4));
    assert!(fs::read_to_string(&ledger).unwrap().contains(r#""outcome":"fenced""#));
}

#[test]
fn p1_the_check_finds_repeated_work_without_a_reason() {
    let ledger = file("planted.ledger");
    // The columns are attempt, token, run, outcome, and the end of the previous grant.
    let line = |(attempt, token, run, outcome, after): (u32, u64, u64, &str, &str)| {
        if outcome == ENDED.3 {
            return format!("{{\"run_ended\":{run}}}\n");
        }
        let id = if (attempt, token, run, outcome, after) == OTHER { "b" } else { "a" };
        let after = if after.is_empty() { "null".to_owned() } else { format!("\"{after}\"") };
        format!(
            r#"{{"id":"{id}","attempt":{attempt},"token":{token},"worker":1,"run":{run},"outcome":"{outcome}","after":{after}}}"#
        ) + "\n"
    };
    const ENDED: (u32, u64, u64, &str, &str) = (0, 0, 1, "run ended", "");
    const OTHER: (u32, u64, u64, &str, &str) = (1, 15, 1, "done", "");
    let first = (1, 10, 1, "done", "");
    let cases = [
        (0, vec![first]),
        (0, vec![(1, 10, 1, "panicked", ""), (2, 20, 1, "done", "failed")]),
        (0, vec![(2, 20, 1, "done", "failed"), (1, 10, 1, "errored", "")]),
        (0, vec![(1, 10, 1, "stalled", ""), (2, 20, 1, "done", "lapsed")]),
        (0, vec![first, (2, 20, 1, "done", "lapsed"), (1, 10, 1, "fenced", "")]),
        (0, vec![first, (2, 20, 2, "done", "lapsed")]),
        (0, vec![first, (2, 20, 2, "done", "lapsed"), (3, 30, 3, "done", "lapsed")]),
        // The first run ended normally, or its worker continued with other work, so neither was
        // interrupted.
        (1, vec![first, ENDED, (2, 20, 2, "done", "lapsed")]),
        (1, vec![first, OTHER, (2, 20, 2, "done", "lapsed")]),
        (1, vec![first, first]),
        (1, vec![first, (1, 20, 1, "done", "")]),
        (1, vec![first, (2, 20, 1, "done", "")]),
        (1, vec![first, (2, 20, 1, "done", "failed")]),
        (1, vec![first, (2, 20, 1, "done", "lapsed")]),
        (1, vec![first, (2, 20, 2, "done", "failed")]),
        (1, vec![(1, 10, 1, "stalled", ""), (2, 20, 1, "done", "failed")]),
        (1, vec![first, (2, 20, 1, "done", "lapsed"), (2, 20, 1, "fenced", "lapsed")]),
        (1, vec![(1, 20, 1, "panicked", ""), (2, 10, 1, "done", "failed")]),
    ];
    for (code, lines) in cases {
        fs::write(&ledger, lines.iter().copied().map(line).collect::<String>()).unwrap();
        let output = run(&["--check", "--ledger", ledger.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(code), "{lines:?}: {}{}", stdout(&output), stderr(&output));
        assert_eq!(stdout(&output).contains("PROBLEM a: worked on twice"), code == 1, "{lines:?}");
    }
    fs::write(&ledger, line(first) + "{\"id\":").unwrap();
    let output = run(&["--check", "--ledger", ledger.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("line 2"), "{}", stderr(&output));
}

#[test]
fn p12_an_invalid_line_is_reported_and_no_work_begins() {
    let (input, ledger) = (file("bad.ndjson"), file("bad.ledger"));
    let control = r#"{"delivery":"a\u0000b"}"#;
    for (bad, what) in [
        ("{\"delivery\":", "not a JSON object"),
        ("[1]", "not a JSON object"),
        ("{\"id\":\"1\"}", "no member `delivery`"),
        ("{\"delivery\":{}}", "neither a string nor a number"),
        ("{\"delivery\":\"\"}", "cannot be a key"),
        (control, "cannot be a key"),
    ] {
        fs::write(&input, format!("{{\"delivery\":\"1\"}}\n\n{bad}\n")).unwrap();
        let output = run(&["--input", input.to_str().unwrap(), "--ledger", ledger.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(2), "{bad}");
        assert!(stderr(&output).contains("line 3"), "{}", stderr(&output));
        assert!(stderr(&output).contains(what), "{}", stderr(&output));
        assert!(!ledger.exists());
    }
}

#[test]
fn an_id_with_two_payloads_is_reported() {
    let (input, ledger) = (file("two.ndjson"), file("two.ledger"));
    fs::write(&input, "{\"delivery\":1,\"payload\":1}\n{\"delivery\":1,\"payload\":2}\n").unwrap();
    let output = run(&["--input", input.to_str().unwrap(), "--ledger", ledger.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("another payload"), "{}", stdout(&output));
    assert_eq!(row(&output, "executed"), 1);
}

/// With a mistyped `--payload`, payloads were not compared, and two different requests with one id
/// were treated as the same.
#[test]
fn p12_a_missing_payload_member_is_an_error_if_it_was_given() {
    let (input, ledger) = (file("payload.ndjson"), file("payload.ledger"));
    fs::write(&input, "{\"delivery\":1,\"body\":1}\n{\"delivery\":2}\n{\"delivery\":1,\"body\":2}\n")
        .unwrap();
    let files = ["--input", input.to_str().unwrap(), "--ledger", ledger.to_str().unwrap()];
    for (name, line) in [("bdoy", "line 1"), ("payload", "line 1"), ("body", "line 2")] {
        let output = run(&[&files[..], &["--payload", name]].concat());
        assert_eq!(output.status.code(), Some(2), "{name}");
        let text = stderr(&output);
        assert!(text.contains(line) && text.contains(&format!("no member `{name}`")), "{text}");
        assert!(!ledger.exists());
    }
    assert!(run(&files).status.success(), "by default, deliveries may lack it");
    fs::write(&input, "{\"delivery\":1,\"body\":1}\n{\"delivery\":1,\"body\":2}\n").unwrap();
    let output = run(&[&files[..], &["--payload", "body", "--overwrite"]].concat());
    assert!(stdout(&output).contains("another payload"), "{}", stdout(&output));
}

/// A ledger or input that was a device was read until the memory was exhausted.
#[test]
fn p12_a_ledger_or_input_that_is_not_a_regular_file_is_refused() {
    let folder = env!("CARGO_TARGET_TMPDIR");
    for args in [
        &["--ledger", "/dev/full"][..],
        &["--ledger", "/dev/zero"],
        &["--ledger", "/dev/full", "--overwrite"],
        &["--ledger", folder],
        &["--check", "--ledger", "/dev/zero"],
        &["--input", "/dev/zero"],
        &["--input", folder],
    ] {
        let output = limited("ulimit -v 4000000", args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}{}", stdout(&output), stderr(&output));
        assert!(stderr(&output).contains("must be a regular file"), "{args:?}: {}", stderr(&output));
    }
}

/// Runs the example in a shell with a resource limit.
fn limited(limit: &str, args: &[&str]) -> Output {
    let program = example("webhooks").get_program().to_owned();
    let script = format!("trap '' XFSZ; {limit}; exec \"$@\"");
    let mut shell = Command::new("sh");
    // The current folder is a temporary one, so that the example creates no files in the sources.
    shell.current_dir(env!("CARGO_TARGET_TMPDIR"));
    shell.args(["-c", &script, "sh"]).arg(program).args(args).output().unwrap()
}

/// When the ledger could not be written, each delivery was retried repeatedly and counted as
/// another problem. The next run took the remains of the failed one for failures of the work.
#[test]
fn p5_a_ledger_that_cannot_be_written_ends_the_run_and_the_next_one_continues() {
    const LIMIT: usize = 3 << 20;
    let ledger = file("full.ledger");
    let store = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let line = r#"{"id":"before","attempt":1,"token":1,"worker":1,"run":1,"outcome":"fenced","after":null}"#;
    // The limit leaves space for some lines and a part of one.
    let lines = format!("{line}\n").repeat((LIMIT - 1000) / (line.len() + 1));
    fs::write(&ledger, &lines).unwrap();
    let url = format!("file:{}", store.path().join("leases").display());
    let args = ["--store", &url, "--ledger", ledger.to_str().unwrap(), "--ttl", "10m"];

    // The limit is in blocks of 512 bytes.
    let output = limited(&format!("ulimit -f {}", LIMIT / 512), &args);
    assert_eq!(output.status.code(), Some(2), "{}{}", stdout(&output), stderr(&output));
    assert!(stderr(&output).contains("the ledger cannot be written"), "{}", stderr(&output));
    assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
    let after = fs::read_to_string(&ledger).unwrap();
    let written = after.strip_prefix(&*lines).unwrap();
    let count = written.lines().count() as u64;
    assert!(written.ends_with('\n') && (1..DISTINCT).contains(&count), "{written}");

    let output = example("webhooks").args(args).output().unwrap();
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    assert_eq!(row(&output, "executed"), DISTINCT - count);
    assert_eq!(row(&output, "failed"), 0);
    assert!(stdout(&output).contains("nothing was worked on twice"), "{}", stdout(&output));
}

#[test]
fn a_ledger_without_its_store_is_not_continued() {
    let ledger = file("again.ledger");
    let path = ledger.to_str().unwrap();
    assert!(run(&["--ledger", path]).status.success());
    let before = fs::read(&ledger).unwrap();
    let output = run(&["--ledger", path]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--overwrite"), "{}", stderr(&output));
    assert_eq!(fs::read(&ledger).unwrap(), before);
    assert!(run(&["--ledger", path, "--overwrite"]).status.success());
}

#[test]
fn p12_invalid_arguments_are_refused() {
    for args in [
        &["--workers", "0"][..],
        &["--workers", "1025"],
        &["--workers", "99999999"],
        &["--workers", "-1"],
        &["--ttl", "25h"],
        &["--ttl", "1500m"],
        &["--store", "file:a%20b"],
        &["--panic-rate", "1.5"],
        &["--panic-rate", "0.6", "--stall-rate", "0.6"],
        &["--ttl", "5"],
        &["--ttl", "99999999999999999999m"],
        &["--ttl", "0s"],
        &["--store", "nowhere:"],
        &["--input", "no/such/file"],
        &["--ledger", "no/such/folder/ledger"],
        &["--what"],
        &["stray"],
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}{}", stdout(&output), stderr(&output));
        assert!(stderr(&output).starts_with("webhooks: "), "{args:?}");
    }
    let help = run(&["--help"]);
    assert!(help.status.success() && stdout(&help).contains("--stall-rate"));
}
