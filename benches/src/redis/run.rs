//! The timed runs: contenders take turns, each on a fresh server, round after round.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use super::args::{Options, Part};
use super::hand::{AsyncHand, BlockingHand};
use super::locks::Locks;
use super::server::{Mode, Server};
use super::{CONTENDERS, floor};
use crate::flight::{self, AsyncGuard, fly, two_workers};
use crate::report::{Measure, Sample, Table, print_notes};
use crate::rounds::{repeat, rounds};
use crate::{Guard, Lessor, Receipt, Told, key};

const MEASURE: Measure = Measure { heading: "of hand", names: &["by-hand", "get"] };
/// Asynchronous callers of one key.
const HOT: [u64; 2] = [1, 64];

/// Runs all that is asked for and prints a table after each.
pub(super) fn all(options: &Options, folder: &Path) {
    let run = Run { options, folder };
    print_notes(CONTENDERS.into_iter().filter(|(name, _)| options.has_contender(name)));
    if options.has_part(Part::Async) {
        run.asynchronous(0.55);
    }
    if options.has_part(Part::Blocking) {
        run.blocking(0.3);
    }
    if options.has_part(Part::Hot) {
        run.hot(0.15);
    }
}

/// What a hot key is.
#[derive(Clone, Copy, Debug)]
enum Hot {
    Held,
    Finished,
}

struct Run<'a> {
    options: &'a Options,
    folder: &'a Path,
}

impl Run<'_> {
    fn asynchronous(&self, share: f64) {
        let cases = self.cases(&self.options.callers);
        let title = |(mode, callers): &(Mode, u64)| {
            let title = format!("cycles, {}, asynchronous callers in flight: {callers}", mode.name());
            Table::new(title, MEASURE)
        };
        let names = ["lessor", "by-hand", "rslock", "clients", "pipeline"];
        self.rounds(share, &names, cases.iter().map(title).collect(), |name, table, length, folder| {
            let (mode, callers) = cases[table];
            let server = Server::start(folder, mode)?;
            let runtime = two_workers();
            Ok(rate(match name {
                "lessor" => fly(&runtime, Lessor::redis(&server.url(), Some(&runtime))?, callers, length),
                "by-hand" => {
                    fly(&runtime, runtime.block_on(AsyncHand::connect(&server.url()))?, callers, length)
                }
                "rslock" => fly(&runtime, Locks::new(&server.url()), callers, length),
                "clients" => floor::cycles(server.port, callers, 1, length)?,
                _ => floor::cycles(server.port, 1, callers, length)?,
            }))
        });
    }

    fn blocking(&self, share: f64) {
        let cases = self.cases(&self.options.threads);
        let title = |(mode, threads): &(Mode, u64)| {
            Table::new(format!("cycles, {}, blocking threads: {threads}", mode.name()), MEASURE)
        };
        let names = ["lessor", "by-hand", "clients"];
        self.rounds(share, &names, cases.iter().map(title).collect(), |name, table, length, folder| {
            let (mode, threads) = cases[table];
            let server = Server::start(folder, mode)?;
            Ok(match name {
                "lessor" => {
                    let guard = Lessor::redis(&server.url(), None)?;
                    repeat(threads, length, |thread, n| {
                        assert_eq!(Guard::run(&guard, &key(thread, n), &Receipt::new(n)), Told::Done);
                    })
                }
                "by-hand" => {
                    let guard = BlockingHand::connect(&server.url(), threads)?;
                    repeat(threads, length, |thread, n| {
                        assert_eq!(guard.run(thread, &key(thread, n), &Receipt::new(n)), Told::Done);
                    })
                }
                _ => rate(floor::cycles(server.port, threads, 1, length)?),
            })
        });
    }

    fn hot(&self, share: f64) {
        let cases: Vec<_> = [Hot::Held, Hot::Finished]
            .into_iter()
            .flat_map(|hot| HOT.map(|callers| (hot, callers)))
            .collect();
        let title = |(hot, callers): &(Hot, u64)| {
            let what = match hot {
                Hot::Held => "refusals of a key that is held",
                Hot::Finished => "replays of a finished key",
            };
            let mode = Mode::Volatile.name();
            Table::new(format!("{what}, {mode}, asynchronous callers in flight: {callers}"), MEASURE)
        };
        let names = ["lessor", "by-hand", "get"];
        self.rounds(share, &names, cases.iter().map(title).collect(), |name, table, length, folder| {
            let (hot, callers) = cases[table];
            let server = Server::start(folder, Mode::Volatile)?;
            let runtime = two_workers();
            let key = key(0, 0);
            if name == "lessor" {
                let guard = Lessor::redis(&server.url(), Some(&runtime))?;
                match hot {
                    Hot::Held => guard.hold(&key),
                    Hot::Finished => assert_eq!(Guard::run(&guard, &key, &Receipt::new(0)), Told::Done),
                }
                let run = move || {
                    let (guard, key) = (guard.clone(), key.clone());
                    async move { AsyncGuard::run(&guard, &key, &Receipt::new(1)).await }
                };
                return Ok(rate(flight::repeat(&runtime, callers, length, move |_, _| expect(hot, run()))));
            }
            let guard = runtime.block_on(AsyncHand::connect(&server.url()))?;
            match hot {
                Hot::Held => runtime.block_on(guard.hold(&key)),
                Hot::Finished => {
                    assert_eq!(runtime.block_on(guard.run(&key, &Receipt::new(0))), Told::Done);
                }
            }
            let only_looks = name == "get";
            let run = move || {
                let (guard, key) = (guard.clone(), key.clone());
                async move {
                    match only_looks {
                        true => guard.get(&key).await,
                        false => guard.run(&key, &Receipt::new(1)).await,
                    }
                }
            };
            Ok(rate(flight::repeat(&runtime, callers, length, move |_, _| expect(hot, run()))))
        });
    }

    fn cases(&self, counts: &[u64]) -> Vec<(Mode, u64)> {
        self.options.modes.iter().flat_map(|&mode| counts.iter().map(move |&count| (mode, count))).collect()
    }

    /// Runs everybody for each of `tables`, each on a fresh folder.
    fn rounds(
        &self,
        share: f64,
        names: &[&'static str],
        tables: Vec<Table>,
        mut run: impl FnMut(&'static str, usize, Duration, &Path) -> Result<Sample, String>,
    ) {
        let names = names.iter().copied().filter(|name| self.options.has_contender(name));
        rounds(
            self.options.rounds,
            self.options.time.mul_f64(share),
            names,
            tables,
            |name, table, length| {
                let folder =
                    tempfile::Builder::new().prefix("bench-").tempdir_in(self.folder).expect("a folder");
                let sample = run(name, table, length, folder.path())?;
                folder.close().expect("what was made can be removed");
                // Or the next one's syncs would pay for what this one left behind.
                File::open(self.folder).and_then(|folder| folder.sync_all()).expect("sync");
                Ok(sample)
            },
        );
    }
}

fn rate(per_second: f64) -> Sample {
    Sample { per_second, latency: None }
}

async fn expect(hot: Hot, told: impl Future<Output = Told>) {
    let told = told.await;
    assert!(
        matches!((hot, &told), (Hot::Held, Told::Refused(_)) | (Hot::Finished, Told::Replayed(_))),
        "{told:?}"
    );
}
