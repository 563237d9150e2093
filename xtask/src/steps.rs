//! `cargo xtask test`: the steps that CI runs.

use std::fs;

use crate::examples;
use crate::imports;
use crate::instructions;
use crate::mutants;
use crate::package::REDIS;
use crate::shell::Shell;
use crate::step::{Asked, End, timed};

type Step = fn(&Shell, Asked) -> Result<End, String>;

const STEPS: &[(&str, Step)] = &[
    ("redis", server),
    ("fmt", fmt),
    ("imports", imports::step),
    ("examples", examples::step),
    ("clippy", clippy),
    ("tests", tests),
    ("models", models),
    ("rules", rules),
    ("doctests", doctests),
    ("docs", docs),
    ("features", features),
    ("msrv", msrv),
    ("instructions", instructions::step),
    ("mutants", all_mutants),
    ("deny", deny),
    ("advisories", advisories),
];

/// Runs all steps, even if one fails, and prints a summary.
pub(crate) fn run(shell: &Shell, chosen: &[String]) -> Result<(), String> {
    for name in chosen {
        if !STEPS.iter().any(|(known, _)| known == name) {
            let known: Vec<_> = STEPS.iter().map(|(known, _)| *known).collect();
            return Err(format!("there is no step {name:?}; there are: {}", known.join(" ")));
        }
    }
    let asked = Asked { by_name: !chosen.is_empty(), by_ci: std::env::var_os("CI").is_some() };
    let mut summary = Vec::new();
    for (name, step) in STEPS {
        if chosen.is_empty() || chosen.iter().any(|chosen| chosen == name) {
            println!("\n== {name}");
            let (end, took) = timed(|| step(shell, asked));
            if let Err(error) = &end {
                eprintln!("xtask: {name}: {error}");
            }
            summary.push((name, end, took));
        }
    }
    println!("\n== summary");
    let mut failed = Vec::new();
    for (name, end, took) in summary {
        let (word, detail) = match end {
            Ok(End::Passed) => ("ok", String::new()),
            Ok(End::PassedWith(detail)) => ("ok", detail),
            Ok(End::Skipped(reason)) => ("SKIPPED", reason),
            Err(error) => {
                failed.push(*name);
                ("FAILED", error)
            }
        };
        println!("{name:<13}{word:<9}{:>7.1} s  {detail}", took.as_secs_f64());
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", "))) }
}

/// Installs the server for the tests of the Redis store.
fn server(shell: &Shell, asked: Asked) -> Result<End, String> {
    const NONE: &str = "redis-server IS MISSING AND CANNOT BE INSTALLED, so the tests of the Redis store do nothing; \
                        install it and see that it is on the PATH";
    match REDIS.provide(shell) {
        Some(version) => Ok(End::PassedWith(format!("redis-server {version}"))),
        None if asked.for_sure() => Err(NONE.to_owned()),
        None => Ok(End::Skipped(NONE.to_owned())),
    }
}

fn fmt(shell: &Shell, _: Asked) -> Result<End, String> {
    shell.cargo(&["fmt", "--all", "--check"]).run()?;
    Ok(End::Passed)
}

fn clippy(shell: &Shell, _: Asked) -> Result<End, String> {
    shell
        .cargo(&["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"])
        .run()?;
    Ok(End::Passed)
}

/// Benchmarks are built by clippy, and not run as tests.
fn tests(shell: &Shell, _: Asked) -> Result<End, String> {
    shell
        .cargo(&[
            "test",
            "--workspace",
            "--all-features",
            "--no-fail-fast",
            "--lib",
            "--bins",
            "--examples",
            "--tests",
        ])
        .run()?;
    Ok(End::Passed)
}

/// Runs the models of the synchronisation under the model checker, built separately because their
/// primitives differ.
fn models(shell: &Shell, _: Asked) -> Result<End, String> {
    let target = shell.target.join("loom");
    let test = shell.cargo(&["test", "--package", "lessor-models", "--release", "--lib"]);
    test.env("RUSTFLAGS", "--cfg loom").env("CARGO_TARGET_DIR", target).run()?;
    Ok(End::Passed)
}

/// Runs the models of the rules and of the retry loop, with optimisations because they have
/// millions of states.
fn rules(shell: &Shell, _: Asked) -> Result<End, String> {
    let test = ["test", "--package", "lessor-rules-model", "--release", "--lib", "--", "--nocapture"];
    let (passed, out, err) = shell.cargo(&test).capture()?;
    print!("{out}{err}");
    if !passed {
        return Err(
            "a model breaks a guarantee, or a planted fault is not found; the sequence of events is printed above"
                .to_owned(),
        );
    }
    // The lines have the forms `model NAME: N states, …` and `fault NAME: …`.
    let states =
        out.lines().filter_map(|line| line.strip_prefix("model ")?.split_once(": ")?.1.split_once(' '));
    let counts: Vec<u64> = states.filter_map(|(count, _)| count.parse().ok()).collect();
    let faults = out.lines().filter(|line| line.starts_with("fault ")).count();
    if counts.is_empty() || faults == 0 {
        return Err("no model was run".to_owned());
    }
    let states: u64 = counts.iter().sum();
    Ok(End::PassedWith(format!("{states} states of {} models, {faults} planted faults found", counts.len())))
}

fn doctests(shell: &Shell, _: Asked) -> Result<End, String> {
    shell.cargo(&["test", "--workspace", "--all-features", "--doc"]).run()?;
    Ok(End::Passed)
}

fn docs(shell: &Shell, _: Asked) -> Result<End, String> {
    shell
        .cargo(&["doc", "--workspace", "--all-features", "--no-deps"])
        .env("RUSTDOCFLAGS", "-D warnings")
        .run()?;
    Ok(End::Passed)
}

/// Checks the crates with features of their own: without any, with each one, and with all.
fn features(shell: &Shell, _: Asked) -> Result<End, String> {
    let mut count = 0;
    for package in ["lessor", "lessor-cli", "lessor-http"] {
        let names = features_of(shell, package)?;
        let mut selections = vec![String::new(), names.join(",")];
        if names.len() > 1 {
            selections.extend(names);
        }
        for selected in &selections {
            let features = ["--no-default-features", "--features", selected, "--", "-D", "warnings"];
            shell.cargo(&["clippy", "--package", package]).args(&features).run()?;
        }
        count += selections.len();
    }
    // Cargo builds `redis` once, with all features that the application selects.
    shell.cargo(&["check", "--package", "lessor-redis", "--features", "redis/num-bigint"]).run()?;
    Ok(End::PassedWith(format!("{count} selections, and redis with its default features")))
}

/// Returns the features of a package, without the default ones.
fn features_of(shell: &Shell, package: &str) -> Result<Vec<String>, String> {
    let manifest = shell.root.join("crates").join(package).join("Cargo.toml");
    let manifest =
        fs::read_to_string(&manifest).map_err(|error| format!("{}: {error}", manifest.display()))?;
    let names = manifest
        .lines()
        .skip_while(|line| *line != "[features]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once('=').map(|(name, _)| name.trim()))
        .filter(|name| !name.starts_with('#') && *name != "default");
    Ok(names.map(str::to_owned).collect())
}

/// Checks with the oldest toolchain that the manifest allows.
fn msrv(shell: &Shell, asked: Asked) -> Result<End, String> {
    let manifest = shell.root.join("Cargo.toml");
    let manifest =
        fs::read_to_string(&manifest).map_err(|error| format!("{}: {error}", manifest.display()))?;
    let promised = manifest
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = "))
        .map(|version| version.trim_matches('"'))
        .ok_or("Cargo.toml has no rust-version")?;
    let is_promised = |version: &str| {
        version
            .strip_prefix(promised)
            .is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_digit()))
    };
    let here = shell.program("rustc").args(&["--version"]).output().unwrap_or_default();
    if here.strip_prefix("rustc ").is_some_and(is_promised) {
        return Ok(End::PassedWith(format!("{promised} is the toolchain that ran the other steps")));
    }
    let installed = shell.program("rustup").args(&["toolchain", "list"]).output().unwrap_or_default();
    let Some(toolchain) = installed.split_whitespace().find(|name| is_promised(name)) else {
        let reason = format!("run `rustup toolchain install {promised}`");
        return if asked.for_sure() { Err(reason) } else { Ok(End::Skipped(reason)) };
    };
    let check = ["run", toolchain, "cargo", "check", "--workspace", "--all-targets"];
    shell.program("rustup").args(&check).env("CARGO_TARGET_DIR", shell.target.join("msrv")).run()?;
    Ok(End::PassedWith(promised.to_owned()))
}

fn all_mutants(shell: &Shell, _: Asked) -> Result<End, String> {
    mutants::run(shell).map(End::PassedWith)
}

/// Checks licences, sources, and banned crates.
fn deny(shell: &Shell, asked: Asked) -> Result<End, String> {
    let Some(program) = cargo_deny(shell, asked)? else { return Ok(End::Skipped(NO_DENY.to_owned())) };
    let offline = std::env::var_os("CARGO_NET_OFFLINE").map_or(&[][..], |_| &["--offline"]);
    shell.program(&program).args(offline).args(&["check", "bans", "licenses", "sources"]).run()?;
    Ok(End::Passed)
}

/// Checks for known vulnerabilities. The list of them is on GitHub, so this needs the network.
fn advisories(shell: &Shell, asked: Asked) -> Result<End, String> {
    let Some(program) = cargo_deny(shell, asked)? else { return Ok(End::Skipped(NO_DENY.to_owned())) };
    let (passed, out, err) = shell.program(&program).args(&["check", "advisories"]).capture()?;
    print!("{out}{err}");
    if passed {
        return Ok(End::Passed);
    }
    if err.contains("failed to fetch advisory database") && !asked.by_name {
        let reason = "THE LIST OF VULNERABILITIES CANNOT BE REACHED, nothing was checked";
        return Ok(End::Skipped(reason.to_owned()));
    }
    Err("cargo-deny found advisories, or could not check for them".to_owned())
}

const NO_DENY: &str =
    "cargo-deny is not installed; run `cargo install --locked cargo-deny`, or name this step to install it";

/// Returns the program. Building it takes minutes, so it is built only on request.
fn cargo_deny(shell: &Shell, asked: Asked) -> Result<Option<String>, String> {
    let tools = shell.target.join("tools");
    let own = tools.join("bin/cargo-deny").display().to_string();
    for name in ["cargo-deny", &own] {
        if shell.program(name).args(&["--version"]).output().is_some() {
            return Ok(Some(name.to_owned()));
        }
    }
    if !asked.for_sure() {
        return Ok(None);
    }
    let tools = tools.display().to_string();
    shell.cargo(&["install", "--locked", "--debug", "--root", &tools, "cargo-deny"]).run()?;
    Ok(Some(own))
}
