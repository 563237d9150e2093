//! A process that writes a backup is killed with `SIGKILL` at any moment. It leaves a complete
//! backup, files that are refused, or nothing.
//!
//! History: the folder of the backup existed before it had content. When the process was killed at
//! that moment, the folder could be opened as an empty log.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use lessor_core::{Acquisition, Engine, Error, StoreError};
use lessor_file::FileStore;

const TASK: &str = "LESSOR_BACKUP_KILLS";
const RECORDS: usize = 200;

/// The child process. It writes backups until it is killed. Not a test by itself.
#[test]
fn the_child() {
    let Some(folder) = std::env::var_os(TASK) else { return };
    let folder = PathBuf::from(folder);
    let store = FileStore::open(folder.join("log")).unwrap();
    let say = |text: &str| std::io::stdout().write_all(format!("\n{text}\n").as_bytes()).unwrap();
    say("ready");
    for number in 0.. {
        store.backup_to(folder.join(format!("copy-{number}"))).unwrap();
        say(&format!("done {number}"));
    }
}

fn make_log(folder: &Path) {
    let store = Arc::new(FileStore::open(folder).unwrap());
    let engine = Engine::new(Arc::clone(&store) as _).unwrap();
    for number in 0..RECORDS {
        let key = format!("key {number}");
        let Acquisition::Acquired(lease) = engine.acquire(&key).wait().unwrap() else { panic!("{key}") };
        lease.complete(&"x".repeat(60)).wait().unwrap();
    }
    store.close().unwrap();
}

#[derive(Default)]
struct Tally {
    whole: u64,
    refused: u64,
}

impl Tally {
    fn look(&mut self, copy: &Path, is_done: bool) {
        match FileStore::open(copy) {
            Ok(store) => {
                assert_eq!(store.len(), RECORDS, "{}", copy.display());
                self.whole += 1;
            }
            Err(Error::Store(StoreError::Corrupt { cause, .. })) if !is_done => {
                assert!(cause.reason().contains("a backup that was not finished"), "{cause}");
                self.refused += 1;
            }
            Err(other) => panic!("{}: {other}", copy.display()),
        }
    }
}

/// The number of kills is set by `LESSOR_KILLS`, default 16.
#[test]
fn p5_a_backup_whose_process_was_killed_is_whole_or_no_log() {
    let kills: u64 = std::env::var("LESSOR_KILLS").map_or(16, |kills| kills.parse().unwrap());
    let base = tempfile::tempdir().unwrap();
    let original = base.path().join("log");
    make_log(&original);
    let mut tally = Tally::default();
    for kill in 0..kills {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["the_child", "--exact", "--nocapture"]).env(TASK, base.path());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while line.trim() != "ready" {
            line.clear();
            assert!(out.read_line(&mut line).unwrap() > 0, "the child did not get ready");
        }
        pause(Duration::from_micros(kill * 7_919 % 60_000));
        child.kill().unwrap();
        child.wait().unwrap();
        let mut text = String::new();
        out.read_to_string(&mut text).unwrap();
        let done = text.matches("done").count();
        let copies: Vec<_> = (0..=done).map(|number| base.path().join(format!("copy-{number}"))).collect();
        for (number, copy) in copies.iter().enumerate().filter(|(_, copy)| copy.exists()) {
            tally.look(copy, number < done);
            std::fs::remove_dir_all(copy).unwrap();
        }
    }
    println!("{kills} killed: {} backups were whole, {} were refused", tally.whole, tally.refused);
}

#[expect(clippy::disallowed_methods, reason = "the kill comes at any moment")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}
