//! `lessor run` ends its command, and what is left of it, when the lease is lost and when the program
//! itself is killed or suspended.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use support::Place;

/// Writes the process ids of the command and of its guard to the file `pids`, and runs until it is
/// killed, or for some minutes if the test is killed. TERM is ignored.
const STUBBORN: &str = "trap '' TERM; echo $$ $PPID > new; mv new pids; \
                        i=0; while [ $i -lt 4000 ]; do sleep 0.05; i=$((i+1)); done";

/// The program, which is ended with its command at the latest with the test.
struct Running {
    child: Option<Child>,
    pids: Vec<String>,
    path: PathBuf,
}

/// Starts `lessor run job` with a command of the shell.
fn start(place: &Place, options: &[&str], script: &str) -> Running {
    let words = [&["run", "job"], options, &["--", "sh", "-c", script]].concat();
    let mut command = place.command(&words);
    let temporary = place.folder.path().join("tmp");
    fs::create_dir_all(&temporary).unwrap();
    command.env("TMPDIR", temporary).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = Some(command.spawn().unwrap());
    Running { child, pids: Vec::new(), path: place.folder.path().join("pids") }
}

impl Running {
    /// Waits for the command to write its process ids, and returns its own one and that of its
    /// guard.
    fn pids(&mut self) -> [String; 2] {
        eventually("the command has started", || self.path.exists());
        let text = fs::read_to_string(&self.path).unwrap();
        fs::remove_file(&self.path).unwrap();
        let (command, guard) = text.trim().split_once(' ').unwrap();
        self.pids.push(command.to_owned());
        [command.to_owned(), guard.to_owned()]
    }

    fn signal(&self, name: &str) {
        signal(&self.child.as_ref().unwrap().id().to_string(), name);
    }

    /// Kills the program, but not its guard.
    fn kill(&mut self) {
        let child = self.child.as_mut().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Waits for the end of the program, and returns its exit code and its output.
    fn end(&mut self) -> (Option<i32>, String) {
        let Output { status, stdout, stderr } = self.child.take().unwrap().wait_with_output().unwrap();
        (status.code(), String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
        for pid in self.pids.iter().filter(|pid| runs(pid)) {
            let _ = Command::new("kill").args(["-KILL", pid]).status();
        }
    }
}

/// Polls until `done` returns true, up to a generous deadline.
fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..24_000 {
        if done() {
            return;
        }
        thread::park_timeout(Duration::from_millis(5));
    }
    panic!("never happened: {what}");
}

/// Returns whether a process runs. A process that has ended and is not reaped does not.
fn runs(pid: &str) -> bool {
    let output = Command::new("ps").args(["-o", "stat=", "-p", pid]).output().unwrap();
    let state = String::from_utf8(output.stdout).unwrap();
    !state.trim().is_empty() && !state.trim().starts_with('Z')
}

fn signal(pid: &str, signal: &str) {
    assert!(Command::new("kill").args([signal, pid]).status().unwrap().success());
}

#[test]
fn a_signal_is_passed_on_and_the_commands_own_exit_code_is_kept() {
    let place = Place::file();
    let script = "trap 'echo stopped; exit 7' TERM INT; echo $$ $PPID > new; mv new pids; while :; do sleep 0.05; done";
    for name in ["-TERM", "-INT"] {
        let mut run = start(&place, &[], script);
        let [command, _] = run.pids();
        run.signal(name);
        let (code, out) = run.end();
        assert!(code == Some(7) && out.contains("stopped\n"), "{name}: {code:?} {out}");
        assert!(!runs(&command));
        assert_eq!(place.run(&["run", "job", "--quiet", "--", "true"]).code, Some(7));
        place.ok(&["forget", "job", "--yes"]);
    }
}

#[test]
fn a_command_that_a_signal_ended_is_retried_by_a_later_process_only() {
    let place = Place::file();
    let options = ["--retry", "5", "--backoff", "1ms"];
    let mut run = start(&place, &options, "echo $$ - > new; mv new pids; sleep 200");
    run.pids();
    run.signal("-TERM");
    assert_eq!(run.end().0, Some(143));
    let (code, out) = start(&place, &options, "echo attempt $LESSOR_ATTEMPT").end();
    assert_eq!((code, &*out), (Some(0), "attempt 2\n"));
}

#[test]
fn a_signal_ends_a_program_that_waits_for_another_holder() {
    let Some(place) = Place::redis() else { return };
    let engine = place.engine();
    let _lease = support::acquire(&engine, "job");
    let mut run = start(&place, &["--wait", "10min"], "echo ran");
    // Before the program handles signals, TERM ends it in any case. Both are within the promise.
    thread::park_timeout(Duration::from_millis(300));
    run.signal("-TERM");
    let (code, out) = run.end();
    assert!(matches!(code, Some(143) | None) && out.is_empty(), "{code:?} {out}");
}

#[test]
fn processes_that_a_command_leaves_in_its_group_are_killed_when_it_exits() {
    let place = Place::file();
    let mut run = start(&place, &[], "trap '' TERM; sleep 600 & echo $! - > new; mv new pids");
    let [left, _] = run.pids();
    let (code, _) = run.end();
    assert_eq!(code, Some(0));
    assert!(!runs(&left));
}

#[test]
fn a_command_is_ended_if_the_program_is_killed_and_the_next_holder_takes_over() {
    for place in Place::each() {
        let mut run = start(&place, &["--ttl", "3s"], STUBBORN);
        let [command, guard] = run.pids();
        run.kill();
        eventually("the command has ended", || !runs(&command));
        eventually("the guard has ended", || !runs(&guard));
        let left = || fs::read_dir(place.folder.path().join("tmp")).unwrap().count();
        assert_eq!(left(), 0, "the guard removes the temporary folder");
        let (code, out) = start(&place, &["--wait", "2min"], "echo attempt $LESSOR_ATTEMPT").end();
        assert_eq!((code, &*out), (Some(0), "attempt 2\n"));
    }
}

/// The suspended program cannot renew its lease, and cannot end its command either. Its guard does,
/// before the other machine is granted the key.
#[test]
fn p1_a_command_has_ended_before_another_holder_runs_although_the_program_is_suspended() {
    let Some(place) = Place::redis() else { return };
    let mut run = start(&place, &["--ttl", "9s"], STUBBORN);
    let [command, _] = run.pids();
    run.signal("-STOP");
    let look = format!("kill -0 {command} 2>/dev/null && echo both || echo alone");
    let mut other = start(&place, &["--wait", "2min"], &look);
    let (code, out) = other.end();
    assert_eq!((code, &*out), (Some(0), "alone\n"));
    run.signal("-CONT");
    let (code, out) = run.end();
    assert_eq!(code, Some(123), "{out}");
    assert_eq!(place.ok(&["run", "job", "--quiet", "--", "false"]), "alone\n", "the later outcome stays");
}

#[test]
fn a_command_is_killed_when_an_operator_takes_its_key_away() {
    let Some(place) = Place::redis() else { return };
    let mut run = start(&place, &["--ttl", "60s", "--kill-after", "100ms"], STUBBORN);
    let [command, _] = run.pids();
    place.ok(&["cancel", "job", "--reason", "wrong input", "--yes"]);
    let (code, out) = run.end();
    assert!(code == Some(123) && out.contains("lessor: run: the lease was lost"), "{code:?} {out}");
    assert!(!runs(&command));
    assert_eq!(place.run(&["run", "job", "--", "true"]).code, Some(125));
}

#[test]
fn a_command_is_killed_before_its_lease_ends_if_the_store_is_gone() {
    let Some((place, server)) = Place::own_redis() else { return };
    let mut run = start(&place, &["--ttl", "3s", "--kill-after", "100ms"], STUBBORN);
    let [command, _] = run.pids();
    drop(server);
    let (code, out) = run.end();
    assert_eq!(code, Some(123), "{out}");
    assert!(!runs(&command));
}

#[test]
fn an_outcome_that_cannot_be_stored_is_reported_with_the_exit_code_of_the_command() {
    let Some((place, server)) = Place::own_redis() else { return };
    let mut run = start(&place, &["--ttl", "8s"], "echo $$ - > new; mv new pids; read -r _ < go; exit 5");
    assert!(Command::new("mkfifo").arg(place.folder.path().join("go")).status().unwrap().success());
    run.pids();
    drop(server);
    fs::write(place.folder.path().join("go"), "\n").unwrap();
    let (code, out) = run.end();
    assert!(code == Some(124) && out.contains("ended with exit code 5"), "{code:?} {out}");
}

#[test]
fn a_command_is_killed_if_its_guard_is_killed() {
    let place = Place::file();
    let mut run = start(&place, &[], STUBBORN);
    let [command, guard] = run.pids();
    signal(&guard, "-KILL");
    let (code, _) = run.end();
    assert_eq!(code, Some(137));
    eventually("the command has ended", || !runs(&command));
}

#[test]
fn a_command_that_hangs_loses_its_lease_and_one_that_makes_progress_does_not() {
    let place = Place::file();
    let options =
        ["--ttl", "3s", "--progress-file", "progress", "--stall-after", "2s", "--kill-after", "100ms"];
    let working = "i=0; while [ $i -lt 40 ]; do touch $LESSOR_PROGRESS; sleep 0.2; i=$((i+1)); done";
    let (code, out) = start(&place, &options, working).end();
    assert_eq!(code, Some(0), "{out}");
    place.ok(&["forget", "job", "--yes"]);
    let mut run = start(&place, &options, STUBBORN);
    let [command, _] = run.pids();
    let (code, out) = run.end();
    assert_eq!(code, Some(123), "{out}");
    assert!(!runs(&command));
    assert_eq!(place.run(&["show", "--exit-code", "job"]).code, Some(5), "lapsed, without an outcome");
}

#[test]
fn a_checkpoint_outlives_the_program() {
    let Some(place) = Place::redis() else { return };
    let script = "echo -n half > new; mv new $LESSOR_CHECKPOINT; ".to_owned() + STUBBORN;
    let mut run = start(&place, &["--ttl", "6s"], &script);
    let [command, _] = run.pids();
    let is_stored = || place.ok(&["show", "--json", "job"]).contains("\"checkpoint_bytes\":4");
    eventually("the checkpoint is stored", is_stored);
    run.kill();
    eventually("the command has ended", || !runs(&command));
    let (code, out) = start(&place, &["--wait", "2min"], "cat $LESSOR_CHECKPOINT").end();
    assert_eq!((code, &*out), (Some(0), "half"));
}
