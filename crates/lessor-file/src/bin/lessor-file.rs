//! Checks a log of leases, shows what is in it, and saves what can be saved of a damaged one.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use lessor_file::check::{self, Report, Start};
use lexopt::{Arg, Parser, ValueExt};

const HELP: &str = "\
usage: lessor-file <command> FOLDER

  verify FOLDER     reads everything, changes nothing, and says what is there or where the damage is
  dump FOLDER       one line of JSON per record: key, stage, token, version, times, sizes, and where it lies;
                    never a lease id, a result, a checkpoint or metadata
  truncate FOLDER [--from-lsn N] [--yes]
                    says what would be lost if the log were cut at the damage, or from frame N on;
                    with --yes it is cut, and what is cut is kept beside the log in files named cut-…

The log must not be open meanwhile. To read a log that is in use, make a backup of it first.
Exit status: 0 the log is sound (or was cut), 1 it is damaged, 2 anything else.
";

const SOUND: u8 = 0;
const DAMAGED: u8 = 1;
const FAILED: u8 = 2;

fn main() -> ExitCode {
    let code = run().unwrap_or_else(|error| {
        eprintln!("lessor-file: {error}");
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
        return Err(format!("give a command and a folder\n\n{HELP}").into());
    };
    let command = command.to_string_lossy();
    if command != "truncate" && (yes || from.is_some()) {
        return Err("--from-lsn and --yes go with truncate only".into());
    }
    let folder = PathBuf::from(folder);
    match &*command {
        "verify" => {
            let report = check::verify(&folder)?;
            println!("{report}");
            Ok(status(&report))
        }
        "dump" => dump(&folder),
        "truncate" => truncate(&folder, from.map_or(Start::Damage, Start::Lsn), yes),
        unknown => Err(format!("there is no command {unknown:?}\n\n{HELP}").into()),
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
        // Whoever read the lines has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        outcome => outcome?,
    }
    if !report.is_sound() {
        eprintln!("{report}\nthe lines are of what comes before the damage");
    }
    Ok(status(&report))
}

fn truncate(folder: &PathBuf, start: Start, yes: bool) -> Result<u8, Box<dyn std::error::Error>> {
    let cut = if yes { check::truncate(folder, start)? } else { check::plan(folder, start)? };
    match cut {
        None => {
            println!("there is nothing to cut");
            Ok(SOUND)
        }
        Some(cut) if yes => {
            println!("{cut}\nthe log was cut");
            Ok(SOUND)
        }
        Some(cut) => {
            println!("{cut}\nnothing was changed; give --yes to cut the log");
            Ok(DAMAGED)
        }
    }
}
