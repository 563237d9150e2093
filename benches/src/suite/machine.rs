//! A description of the machine.

use std::process::Command;

use crate::results::Machine;

pub(super) fn describe() -> Machine {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Machine {
        processor: processor().unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
        cores,
        system: output_of("uname", &["-sr"]).unwrap_or_else(|| std::env::consts::OS.to_owned()),
        version: output_of("git", &["describe", "--always", "--dirty"])
            .unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned()),
        date: output_of("date", &["-u", "+%Y-%m-%d"]).unwrap_or_default(),
    }
}

fn processor() -> Option<String> {
    let all = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = all.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn output_of(program: &str, arguments: &[&str]) -> Option<String> {
    let output =
        Command::new(program).args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
