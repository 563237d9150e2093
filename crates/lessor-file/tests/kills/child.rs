//! The child process that is killed. It works on its log, and reports each operation and its
//! outcome.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use async_executor::LocalExecutor;
use futures_lite::future::block_on;
use lessor_core::{Acquisition, Engine, Error, Lease, Pending};
use lessor_file::{FileStore, Settings, SyncMode};

use crate::killing_disk::{KillingDisk, When};
use crate::messages::{Message, Random, State, payload};

/// The parameters of a child.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) folder: PathBuf,
    pub(crate) sync: SyncMode,
    pub(crate) seed: u64,
    /// The number of times that each caller takes a key.
    pub(crate) rounds: u64,
    /// The call at which the process dies, if not 0.
    pub(crate) at: u64,
    pub(crate) when: When,
}

const TASK: &str = "LESSOR_KILLS_TASK";
const THREADS: u64 = 3;
const FUTURES: u64 = 5;
const KEYS: u64 = 6;
const TTL: Duration = Duration::from_hours(1);

impl Task {
    /// Returns the command that starts this program as the child.
    pub(crate) fn command(&self) -> Command {
        let Self { folder, sync, seed, rounds, at, when } = self;
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["the_child", "--exact", "--nocapture", "--test-threads=1"]);
        command.env(TASK, format!("{sync:?} {seed} {rounds} {at} {when:?} {}", folder.display()));
        command
    }

    fn from_env() -> Option<Self> {
        let text = std::env::var(TASK).ok()?;
        let [sync, seed, rounds, at, when, folder]: [&str; 6] =
            text.splitn(6, ' ').collect::<Vec<_>>().try_into().unwrap();
        let when = match when {
            "Before" => When::Before,
            "Amid" => When::Amid,
            _ => When::After,
        };
        Some(Self {
            folder: folder.into(),
            sync: if sync == "Disk" { SyncMode::Disk } else { SyncMode::Process },
            seed: seed.parse().unwrap(),
            rounds: rounds.parse().unwrap(),
            at: at.parse().unwrap(),
            when,
        })
    }
}

/// Settings with small segments and checkpoints, so that the log continues in new segments and is
/// compacted all the time.
pub(crate) fn settings(sync: SyncMode) -> Settings {
    let mut settings = Settings::default();
    settings.first_segment = 4 << 10;
    settings.max_segment = 16 << 10;
    settings.compact_at = 12 << 10;
    settings.cache = 4 << 10;
    settings.sync = sync;
    settings.sync_every = Duration::from_millis(5);
    settings
}

/// Has no effect unless this process is a child.
pub(crate) fn run() {
    let Some(task) = Task::from_env() else { return };
    // The test harness has begun a line.
    io::stdout().write_all(b"\n").unwrap();
    let disk = KillingDisk::open(&task.folder, task.at, task.when);
    let store =
        Arc::new(FileStore::builder().settings(settings(task.sync)).open_on(Arc::new(disk.clone())).unwrap());
    let engine = Engine::new(Arc::clone(&store) as _).unwrap();
    say(&Message::Up);
    thread::scope(|scope| {
        for number in 0..THREADS {
            let (engine, task) = (&engine, &task);
            scope.spawn(move || block_on(Caller::new(engine, number, false).work(task)).unwrap());
        }
        let (engine, task) = (&engine, &task);
        scope.spawn(move || {
            let executor = LocalExecutor::new();
            let spawn = |number| {
                let task = task.clone();
                executor.spawn(async move { Caller::new(engine, number, true).work(&task).await })
            };
            let tasks: Vec<_> = (THREADS..THREADS + FUTURES).map(spawn).collect();
            block_on(executor.run(async {
                for task in tasks {
                    task.await.unwrap();
                }
            }));
        });
    });
    store.compact().unwrap();
    store.close().unwrap();
    say(&Message::Done(disk.calls()));
}

/// Writes a message to the pipe in one call. Messages do not mix, and those before the kill arrive.
fn say(word: &Message) {
    io::stdout().lock().write_all(format!("{word}\n").as_bytes()).unwrap();
}

/// A caller that works on its keys one after the other.
struct Caller<'e> {
    engine: &'e Engine,
    number: u64,
    is_async: bool,
}

impl<'e> Caller<'e> {
    fn new(engine: &'e Engine, number: u64, is_async: bool) -> Self {
        Self { engine, number, is_async }
    }

    async fn work(&self, task: &Task) -> Result<(), Error> {
        let mut random = Random(task.seed ^ (self.number << 32));
        for _ in 0..task.rounds {
            let key = format!("{}/{}", self.number, random.below(KEYS));
            self.take(&key, &mut random).await?;
        }
        Ok(())
    }

    async fn take(&self, key: &str, random: &mut Random) -> Result<(), Error> {
        loop {
            say(&Message::Try(key.to_owned(), State::InProgress));
            let request = self.engine.acquire(key).ttl(TTL);
            let acquired = if self.is_async { request.send().await? } else { request.wait()? };
            if let Acquisition::Acquired(lease) = acquired {
                say(&Message::Ack(key.to_owned(), 0, lease.token().as_u64()));
                return self.hold(key, &lease, random).await;
            }
            say(&Message::Refused(key.to_owned()));
            // The key is finished, or held by a killed process.
            say(&Message::Try(key.to_owned(), State::Absent));
            self.answer(self.engine.forget_forced(key)).await?;
            say(&Message::Ack(key.to_owned(), 0, 0));
        }
    }

    async fn hold(&self, key: &str, lease: &Lease, random: &mut Random) -> Result<(), Error> {
        let view = self.answer(self.engine.status(key)).await?.unwrap();
        say(&Message::See(key.to_owned(), view.version().as_u64()));
        if random.below(3) == 0 {
            say(&Message::Try(key.to_owned(), State::InProgress));
            let ack = self.answer(lease.checkpoint_bytes(&payload(random.next()))).await?;
            say(&Message::Ack(key.to_owned(), ack.version().as_u64(), 0));
        }
        if random.below(4) == 0 {
            say(&Message::Try(key.to_owned(), State::InProgress));
            let ack = self.answer(lease.extend(TTL * 2)).await?;
            say(&Message::Ack(key.to_owned(), ack.version().as_u64(), 0));
        }
        let seed = random.next();
        let next = match random.below(6) {
            0 => State::Failed(format!("code-{seed}")),
            1 => State::Released,
            2 => State::Lapsed,
            _ => State::Completed(seed),
        };
        // Reported first: an operation begins when it is called.
        say(&Message::Try(key.to_owned(), next.clone()));
        let answer = match next {
            State::Failed(code) => lease.fail_with(&code, "why"),
            State::Released => lease.release(),
            State::Lapsed => lease.abandon(),
            _ => lease.complete_bytes(&payload(seed)),
        };
        let ack = self.answer(answer).await?;
        say(&Message::Ack(key.to_owned(), ack.version().as_u64(), 0));
        Ok(())
    }

    async fn answer<T>(&self, pending: Pending<T>) -> T {
        if self.is_async { pending.await } else { pending.wait() }
    }
}

/// Copies the files of a log whose process is gone.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
