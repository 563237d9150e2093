//! Counts the instructions of the in-memory paths. Unlike times, counts do not depend on the load
//! of the machine, so small regressions are visible.
//!
//! A path is run N and 2 N times with the same preparation, and the difference is divided by N.
//! Only the calling thread is counted, because the number of wake-ups of the engine's thread is
//! random.

mod baseline;

use std::fs;
use std::path::Path;

use crate::package::VALGRIND;
use crate::shell::Shell;
use crate::step::{Asked, End};
use baseline::{Baseline, Compared};

/// A guarded path.
struct Guarded {
    path: &'static str,
    /// The same work on a map written by hand, for comparison.
    rival: Option<&'static str>,
    /// The number of counts, of which the least is used.
    goes: u32,
}

const PATHS: [Guarded; 6] = [
    Guarded { path: "fresh", rival: Some("rival-fresh"), goes: 3 },
    Guarded { path: "refused", rival: Some("rival-refused"), goes: 3 },
    Guarded { path: "replayed", rival: Some("rival-replayed"), goes: 3 },
    Guarded { path: "extended", rival: None, goes: 3 },
    Guarded { path: "lapsed", rival: None, goes: 3 },
    Guarded { path: "once", rival: None, goes: 3 },
];

/// 80 and 160 keys per shard of the in-memory store, whose index grows in small steps, so that the
/// distribution of keys hardly matters.
const N: u64 = 10_240;

/// Makes the C library copy memory in the same way on every x86-64 processor, so that counts do not
/// depend on the processor.
const PLAIN: &str = "glibc.cpu.hwcaps=-AVX2,-AVX2_Usable,-AVX_Fast_Unaligned_Load,-ERMS,-FSRM";

const FILE: &str = "benches/instructions.txt";
const NONE: &str = "valgrind IS MISSING AND CANNOT BE INSTALLED, so no instructions were counted; install it and see \
                    that it is on the PATH";

/// Compares with the baseline.
pub(crate) fn step(shell: &Shell, asked: Asked) -> Result<End, String> {
    if VALGRIND.provide(shell).is_none() {
        return if asked.for_sure() { Err(NONE.to_owned()) } else { Ok(End::Skipped(NONE.to_owned())) };
    }
    let now = count(shell)?;
    let file = shell.root.join(FILE);
    let before = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let Compared { verdict, table } = Baseline::parse(&before)?.compare(&now);
    println!("{table}");
    verdict
}

/// Writes the baseline.
pub(crate) fn bless(shell: &Shell) -> Result<(), String> {
    VALGRIND.provide(shell).ok_or(NONE)?;
    let now = count(shell)?;
    fs::write(shell.root.join(FILE), now.to_text()).map_err(|error| format!("{FILE}: {error}"))?;
    println!("{}\nwritten to {FILE}", now.compare(&now).table);
    Ok(())
}

fn count(shell: &Shell) -> Result<Baseline, String> {
    shell.cargo(&["build", "--package", "lessor-counted", "--profile", "bench"]).run()?;
    let folder = shell.target.join("instructions");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let per_operation = |path, goes| -> Result<u64, String> {
        let least = |count| -> Result<u64, String> {
            let counts = (0..goes).map(|_| counted(shell, &folder, path, count));
            Ok(counts.collect::<Result<Vec<u64>, _>>()?.into_iter().min().unwrap_or(0))
        };
        let (once, twice) = (least(N)?, least(2 * N)?);
        twice
            .checked_sub(once)
            .map(|more| more / N)
            .ok_or_else(|| format!("{path}: twice the work took fewer instructions"))
    };
    let mut paths = Vec::new();
    for Guarded { path, rival, goes } in PATHS {
        let rival = rival.map(|rival| per_operation(rival, goes)).transpose()?;
        paths.push((path.to_owned(), per_operation(path, goes)?, rival));
    }
    Ok(Baseline { counted_with: toolchain(shell), paths })
}

/// Returns the number of instructions of the calling thread.
fn counted(shell: &Shell, folder: &Path, path: &str, count: u64) -> Result<u64, String> {
    let out = folder.join("callgrind.out");
    let into = format!("--callgrind-out-file={}", out.display());
    let program = shell.target.join("release/lessor-counted").display().to_string();
    let (count, of) = (count.to_string(), (2 * N).to_string());
    let (succeeded, _, said) = shell
        .program("valgrind")
        .args(&["--tool=callgrind", "--separate-threads=yes", &into, &program, path, &count, &of])
        .env("GLIBC_TUNABLES", PLAIN)
        .capture()?;
    if !succeeded {
        return Err(format!("{path} cannot be counted:\n{said}"));
    }
    let first = folder.join("callgrind.out-01");
    let text = fs::read_to_string(&first).map_err(|error| format!("{}: {error}", first.display()))?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: ")?.trim().parse().ok());
    total.ok_or_else(|| format!("{} has no total", first.display()))
}

/// Returns what counts depend on besides the sources: the compiler and the C library.
fn toolchain(shell: &Shell) -> String {
    let rustc = shell.program("rustc").args(&["--version", "--verbose"]).output().unwrap_or_default();
    let mut lines = rustc.lines();
    let version = lines.next().unwrap_or("an unknown compiler");
    let host = lines.find_map(|line| line.strip_prefix("host: ")).unwrap_or("an unknown machine");
    let libc = shell.program("getconf").args(&["GNU_LIBC_VERSION"]).output();
    format!("{version}, {host}, {}", libc.as_deref().map_or("an unknown C library", str::trim))
}
