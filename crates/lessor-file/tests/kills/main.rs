//! Real processes are killed with `SIGKILL`, at random moments and at mutating calls to the disk.
//! They report the acknowledged writes to their parent, which looks for them in the files that are
//! left.
//!
//! `LESSOR_KILLS` sets the number of kills of each test, default 16.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod child;
mod killing_disk;
mod known;
mod messages;

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use lessor_file::SyncMode;
use tempfile::TempDir;

use child::{Task, settings};
use killing_disk::When;
use known::Known;
use messages::{Message, Random};

const SIGKILL: i32 = 9;
/// The number of processes that are killed over the same log.
const LIVES: u64 = 8;

/// The child process. Not a test by itself.
#[test]
fn the_child() {
    child::run();
}

#[test]
fn p8_p9_acknowledged_writes_of_a_process_killed_at_any_moment_are_there_with_sync_disk() {
    kill_at_random(SyncMode::Disk);
}

#[test]
fn p8_p9_acknowledged_writes_of_a_process_killed_at_any_moment_are_there_with_sync_process() {
    kill_at_random(SyncMode::Process);
}

#[test]
fn p8_p9_acknowledged_writes_of_a_process_killed_at_a_chosen_call_are_there_with_sync_disk() {
    kill_at_calls(SyncMode::Disk);
}

#[test]
fn p8_p9_acknowledged_writes_of_a_process_killed_at_a_chosen_call_are_there_with_sync_process() {
    kill_at_calls(SyncMode::Process);
}

/// Kills at random moments, from before the log is open to long after.
fn kill_at_random(sync: SyncMode) {
    let mut campaign = Campaign::new(sync);
    let mut random = Random(sync as u64);
    for number in 0..campaign.kills {
        let micros = match number % 3 {
            0 => random.below(15_000),
            1 => random.below(60_000),
            _ => random.below(250_000),
        };
        let task = campaign.task(number, 1_000_000);
        campaign.live(&task, Some(Duration::from_micros(micros)));
    }
    campaign.print("at random moments");
}

/// Kills before, during and after calls, from the first one of the opening to the last one of the
/// close. Every second process is killed at the next call of the opening, and the others at calls
/// spread evenly over their life.
fn kill_at_calls(sync: SyncMode) {
    const ROUNDS: u64 = 4;
    const OPENING: u64 = 25;
    const WAYS: [When; 3] = [When::Before, When::Amid, When::After];
    let mut campaign = Campaign::new(sync);
    let task = campaign.task(0, ROUNDS);
    let calls = campaign.live(&task, None).expect("it was killed");
    let places = (campaign.kills / 2).div_ceil(3).max(1);
    for number in 1..=campaign.kills {
        let mut task = campaign.task(number, ROUNDS);
        let turn = number / 2;
        let (call, way) = if number.is_multiple_of(2) {
            (turn % OPENING, turn / OPENING)
        } else {
            (turn / 3 * calls / places, turn)
        };
        task.at = 1 + call;
        task.when = WAYS[usize::try_from(way % 3).unwrap()];
        campaign.live(&task, None);
    }
    campaign.print(&format!("at chosen ones of some {calls} calls"));
}

struct Campaign {
    sync: SyncMode,
    kills: u64,
    base: TempDir,
    known: Known,
    copies: u64,
    killed: u64,
    killed_opening: u64,
    ended: u64,
    acks: u64,
    open: u64,
    happened: u64,
}

impl Campaign {
    fn new(sync: SyncMode) -> Self {
        let kills = match std::env::var("LESSOR_KILLS") {
            Ok(kills) => kills.parse().expect("LESSOR_KILLS is a number"),
            Err(_) => 16,
        };
        Self {
            sync,
            kills,
            base: tempfile::tempdir().unwrap(),
            known: Known::default(),
            copies: 0,
            killed: 0,
            killed_opening: 0,
            ended: 0,
            acks: 0,
            open: 0,
            happened: 0,
        }
    }

    fn task(&mut self, number: u64, rounds: u64) -> Task {
        if number.is_multiple_of(LIVES) {
            self.count();
            self.known = Known::default();
        }
        let folder = self.base.path().join(format!("log-{}", number / LIVES));
        Task { folder, sync: self.sync, seed: number, rounds, at: 0, when: When::Before }
    }

    /// Runs a child and checks what it leaves. Returns the number of its calls, if it was not
    /// killed.
    fn live(&mut self, task: &Task, kill_after: Option<Duration>) -> Option<u64> {
        let mut child = task.command().stdout(Stdio::piped()).spawn().unwrap();
        let mut pipe = child.stdout.take().unwrap();
        let listener = thread::spawn(move || {
            let mut text = String::new();
            pipe.read_to_string(&mut text).map(|_| text)
        });
        if let Some(time) = kill_after {
            pause(time);
            child.kill().unwrap();
        }
        let status = child.wait().unwrap();
        let output = listener.join().unwrap().unwrap();
        let was_killed = status.signal() == Some(SIGKILL);
        assert!(was_killed || status.success(), "{status}, {task:?}: {output}");

        let messages: Vec<Message> = output.lines().filter_map(Message::parse).collect();
        for word in &messages {
            self.known.hear(word).unwrap_or_else(|why| panic!("{why}; {task:?}"));
        }
        self.killed += u64::from(was_killed);
        self.ended += u64::from(!was_killed);
        let is_up = messages.iter().any(|word| matches!(word, Message::Up));
        self.killed_opening += u64::from(was_killed && !is_up);
        self.check(task);
        messages.iter().find_map(|word| if let Message::Done(calls) = word { Some(*calls) } else { None })
    }

    /// Checks a copy, so that the next child finds the log as this one left it.
    fn check(&mut self, task: &Task) {
        if !task.folder.exists() {
            return;
        }
        self.copies += 1;
        let copy = self.base.path().join(format!("copy-{}", self.copies));
        child::copy(&task.folder, &copy);
        if let Err(why) = self.known.check(&copy, settings(task.sync)) {
            let kept = keep(&task.folder);
            panic!("{why}; {task:?}; the log is kept in {}", kept.display());
        }
        std::fs::remove_dir_all(&copy).unwrap();
    }

    fn count(&mut self) {
        self.acks += self.known.acks;
        self.open += self.known.open;
        self.happened += self.known.happened;
    }

    fn print(&mut self, how: &str) {
        self.count();
        println!(
            "killed {how}, sync = {:?}: {} processes, {} of them before the log was open; {} came to their end; \
             {} writes acknowledged, all there; {} left open, {} of them there",
            self.sync, self.killed, self.killed_opening, self.ended, self.acks, self.open, self.happened
        );
    }
}

fn keep(folder: &Path) -> PathBuf {
    let kept = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("killed-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&kept);
    child::copy(folder, &kept);
    kept
}

#[expect(clippy::disallowed_methods, reason = "the kill comes at any moment")]
fn pause(time: Duration) {
    thread::sleep(time);
}
