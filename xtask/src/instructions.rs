//! How many instructions the in-memory paths take. Unlike times, counts do not depend on how busy the machine is, so a path that
//! became slower shows even where nobody could measure it.
//!
//! A path is run N and 2 N times with the same preparation, and the difference is divided by N. Only the thread that calls is
//! counted: how often the engine's own thread is woken is up to chance.

mod baseline;

use std::fs;
use std::path::Path;

use crate::package::VALGRIND;
use crate::shell::Shell;
use crate::step::{Asked, End};
use baseline::{Baseline, Compared};

/// What is guarded.
struct Guarded {
    path: &'static str,
    /// The same work on a map by hand, counted for comparison.
    rival: Option<&'static str>,
    /// How often it is counted; the least is taken.
    goes: u32,
}

const PATHS: [Guarded; 6] = [
    Guarded { path: "fresh", rival: Some("rival-fresh"), goes: 1 },
    Guarded { path: "refused", rival: Some("rival-refused"), goes: 1 },
    Guarded { path: "replayed", rival: Some("rival-replayed"), goes: 1 },
    Guarded { path: "extended", rival: None, goes: 1 },
    Guarded { path: "lapsed", rival: None, goes: 1 },
    // It hands the renewal to the engine's thread: by chance that has to be woken, or is awake.
    Guarded { path: "once", rival: None, goes: 3 },
];

/// 80 keys per shard of the in-memory store, and then 160: both well between two steps in which a shard grows, so that
/// chance in how keys spread hardly matters.
const N: u64 = 10_240;

/// Has the C library copy memory in the way that it does on every x86-64 processor, so that counts do not depend on which one it is.
const PLAIN: &str = "glibc.cpu.hwcaps=-AVX2,-AVX2_Usable,-AVX_Fast_Unaligned_Load,-ERMS,-FSRM";

const FILE: &str = "benches/instructions.txt";
const NONE: &str = "THERE IS NO valgrind AND IT CANNOT BE INSTALLED, so no instructions were counted; install it and see \
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
            .ok_or_else(|| format!("{path}: twice the work took less"))
    };
    let mut paths = Vec::new();
    for Guarded { path, rival, goes } in PATHS {
        let rival = rival.map(|rival| per_operation(rival, goes)).transpose()?;
        paths.push((path.to_owned(), per_operation(path, goes)?, rival));
    }
    Ok(Baseline { counted_with: toolchain(shell), paths })
}

/// The instructions of the calling thread, all in all.
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

/// What counts depend on besides the sources: the compiler, and the C library that allocates.
fn toolchain(shell: &Shell) -> String {
    let rustc = shell.program("rustc").args(&["--version", "--verbose"]).output().unwrap_or_default();
    let mut lines = rustc.lines();
    let version = lines.next().unwrap_or("an unknown compiler");
    let host = lines.find_map(|line| line.strip_prefix("host: ")).unwrap_or("an unknown machine");
    let libc = shell.program("getconf").args(&["GNU_LIBC_VERSION"]).output();
    format!("{version}, {host}, {}", libc.as_deref().map_or("an unknown C library", str::trim))
}
