//! The page about the command line agrees with the program.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeSet;

use support::{lessor, ran};

const PAGE: &str = include_str!("../../../docs/cli.md");

/// Returns the words that begin the indented lines after `title` in a help text.
fn listed(help: &str, title: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| !line.starts_with(title)).skip(1);
    let lines = lines.take_while(|line| line.is_empty() || line.starts_with(' '));
    // A line that is indented more continues the one before.
    let begins = lines.filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with("       ")));
    let words = begins.filter_map(|line| line.split_whitespace().next());
    words.map(str::to_owned).collect()
}

#[test]
fn every_command_is_on_the_page() {
    let help = ran(lessor().arg("--help")).out;
    let commands = listed(&help, "Commands:");
    assert!(commands.len() > 15, "{help}");
    for command in commands.iter().filter(|command| *command != "help") {
        assert!(
            PAGE.contains(&format!("`{command}")) || PAGE.contains(&format!("`lessor {command}")),
            "{command}"
        );
    }
    assert!(!help.contains("run-guard"), "a part of `run` and no command of its own");
}

#[test]
fn every_exit_code_is_on_the_page_and_no_other() {
    let mut in_help = BTreeSet::new();
    for (words, title) in [(&["--help"][..], "Exit codes"), (&["run", "--help"], "Exit codes")] {
        let help = ran(lessor().args(words)).out;
        in_help.extend(listed(&help, title).iter().filter_map(|word| word.parse::<u8>().ok()));
    }
    let rows =
        PAGE.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" |")?.0.parse::<u8>().ok());
    let on_page: BTreeSet<u8> = rows.collect();
    assert_eq!(on_page, in_help);
    assert_eq!(on_page.len(), 21);
}

#[test]
fn every_option_on_the_page_exists() {
    let mentioned = PAGE.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-');
    let options: Vec<&str> =
        mentioned.filter(|word| word.starts_with("--") && !word.ends_with('-')).collect();
    assert!(options.len() > 20, "{options:?}");
    let all: String =
        ["run", "list", "show", "watch", "bench", "resolve", "cancel", "forget", "truncate", "serve"]
            .map(|command| ran(lessor().args([command, "--help"])).out)
            .concat();
    for option in options.iter().filter(|option| !["--path", "--token"].contains(option)) {
        assert!(all.contains(option), "{option} is on the page and in no help");
    }
}
