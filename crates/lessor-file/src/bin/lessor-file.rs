//! Verifies a log of leases, lists its records, and truncates a damaged one.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use lessor_file::check::{self, Report, TruncateFrom};
use lexopt::{Arg, Parser, ValueExt};

const HELP: &str = "\
usage: lessor-file <command> FOLDER

  verify FOLDER     reads everything, changes nothing, and reports the content or the damage
  dump FOLDER       one line of JSON per record: key, stage, token, version, times, sizes and location;
                    never a lease id, a result, a checkpoint or metadata
  truncate FOLDER [--from-lsn N] [--yes]
                    reports what would be lost by truncating the log at the damage, or at frame N;
                    with --yes, truncates it and keeps the removed bytes in files named cut-…

The log must not be open. To read a log that is in use, back it up first.
Exit status: 0 the log is sound (or was truncated), 1 it is damaged, 2 any other error.
";

const SOUND: u8 = 0;
const DAMAGED: u8 = 1;
const FAILED: u8 = 2;

fn main() -> ExitCode {
    let code = run().unwrap_or_else(|error| {
        eprintln!("lessor-file: {error:#}");
        FAILED
    });
    ExitCode::from(code)
}

fn run() -> Result<u8, Box<dyn std::error::Error>> {
    let mut words = Vec::new();
    let (mut from, mut yes) = (None, false);
    let mut parser = Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Value(word) => words.push(word),
            Arg::Long("from-lsn") => from = Some(parser.value()?.parse::<u64>()?),
            Arg::Long("yes") => yes = true,
            Arg::Long("help") | Arg::Short('h') => {
                print!("{HELP}");
                return Ok(SOUND);
            }
            Arg::Long("version") | Arg::Short('V') => {
                println!("lessor-file {}", env!("CARGO_PKG_VERSION"));
                return Ok(SOUND);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let [command, folder] = &words[..] else {
        return Err(format!("expected a command and a folder\n\n{HELP}").into());
    };
    let command = command.to_string_lossy();
    if command != "truncate" && (yes || from.is_some()) {
        return Err("--from-lsn and --yes are options of truncate only".into());
    }
    let folder = PathBuf::from(folder);
    match &*command {
        "verify" => {
            let report = check::verify(&folder)?;
            println!("{report}");
            Ok(status(&report))
        }
        "dump" => dump(&folder),
        "truncate" => truncate(&folder, from.map_or(TruncateFrom::Damage, TruncateFrom::Lsn), yes),
        unknown => Err(format!("unknown command {unknown:?}\n\n{HELP}").into()),
    }
}

fn status(report: &Report) -> u8 {
    if report.is_sound() { SOUND } else { DAMAGED }
}

fn dump(folder: &PathBuf) -> Result<u8, Box<dyn std::error::Error>> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut written = Ok(());
    let report = check::dump(folder, |line| {
        if written.is_ok() {
            written = serde_json::to_writer(&mut out, line).map_err(io::Error::from);
        }
        if written.is_ok() {
            written = out.write_all(b"\n");
        }
    })?;
    match written.and_then(|()| out.flush()) {
        // The reader of the output has ended.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        outcome => outcome?,
    }
    if !report.is_sound() {
        eprintln!("{report}\nonly records before the damage are listed");
    }
    Ok(status(&report))
}

fn truncate(folder: &PathBuf, start: TruncateFrom, yes: bool) -> Result<u8, Box<dyn std::error::Error>> {
    let cut = if yes { check::truncate(folder, start)? } else { check::plan(folder, start)? };
    match cut {
        None => {
            println!("nothing to truncate");
            Ok(SOUND)
        }
        Some(cut) if yes => {
            println!("{cut}\nthe log was truncated");
            Ok(SOUND)
        }
        Some(cut) => {
            println!("{cut}\nnothing was changed; use --yes to truncate the log");
            Ok(DAMAGED)
        }
    }
}
