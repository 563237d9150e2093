//! The commands of an operator, over every store: what they show, what they change, and their exit
//! codes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use serde_json::Value;

use support::{Place, acquire, lessor, ran};

const SECRETS: [&str; 4] = ["the secret result", "the secret detail", "the secret checkpoint", "lease_"];

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn keys(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["key"].as_str().unwrap()).collect()
}

#[test]
fn list_shows_every_key_with_its_state_as_a_table_or_as_json() {
    for place in Place::each() {
        place.fill();
        let table = place.ok(&["list"]);
        let lines: Vec<&str> = table.lines().collect();
        assert!(lines[0].starts_with("KEY") && lines.len() == 7, "{table}");
        let line = |key: &str| *lines.iter().find(|line| line.starts_with(key)).unwrap();
        assert!(line("job:done").contains("completed"), "{table}");
        assert!(line("job:failed").contains("failed") && line("job:failed").ends_with("no_funds"), "{table}");
        assert!(line("job:doubt").contains("in doubt"), "{table}");
        assert!(line("other:live").contains("host-1") && line("other:live").ends_with(" left"), "{table}");

        let all = json_lines(&place.ok(&["list", "--json"]));
        let expected = ["job:done", "job:doubt", "job:failed", "job:lapsed", "job:released", "other:live"];
        assert_eq!(keys(&all), expected);
        assert_eq!(keys(&json_lines(&place.ok(&["--json", "list", "job:d"]))), expected[..2]);
        assert_eq!(keys(&json_lines(&place.ok(&["--json", "list", "--limit", "3"]))), expected[..3]);
        let some = place.ok(&["--json", "list", "--state", "failed", "--state", "in-progress"]);
        assert_eq!(keys(&json_lines(&some)), ["job:failed", "other:live"]);
    }
}

#[test]
fn p11_no_command_but_show_result_prints_a_result_and_none_prints_a_lease_id() {
    for place in Place::each() {
        place.fill();
        let mut printed = String::new();
        for key in ["job:done", "job:failed", "other:live"] {
            for json in [&[][..], &["--json"]] {
                for command in ["show", "explain"] {
                    printed += &place.ok(&[json, &[command, key]].concat());
                }
                for change in ["cancel", "forget --force", "resolve --force --released"] {
                    let words: Vec<&str> = change.split(' ').collect();
                    let ran = place.run(&[json, &words, &[key]].concat());
                    printed += &(ran.out + &ran.err);
                }
            }
        }
        for words in [&["list"][..], &["list", "--json"], &["watch", "--readings", "1", "--json"], &["stats"]]
        {
            printed += &place.ok(words);
        }
        if place.is_file() {
            printed += &place.ok(&["dump"]);
            printed += &place.ok(&["verify"]);
        }
        for secret in SECRETS {
            assert!(!printed.contains(secret), "{secret}: {printed}");
        }
        assert_eq!(place.ok(&["show", "--result", "job:done"]), "\"the secret result\"");
    }
}

#[test]
fn show_ends_with_the_exit_code_of_the_state_if_it_is_asked_to() {
    for place in Place::each() {
        place.fill();
        for (key, code) in [
            ("job:done", 0),
            ("none", 3),
            ("job:released", 3),
            ("other:live", 4),
            ("job:lapsed", 5),
            ("job:doubt", 5),
            ("job:failed", 6),
        ] {
            assert_eq!(place.run(&["show", "--exit-code", key]).code, Some(code), "{key}");
            assert_eq!(place.run(&["show", "--result", key]).code, Some(code), "{key}");
            assert_eq!(place.run(&["show", key]).code, Some(if key == "none" { 3 } else { 0 }), "{key}");
        }
    }
}

#[test]
fn explain_tells_why_a_key_is_in_its_state() {
    for place in Place::each() {
        place.fill();
        let text = place.ok(&["explain", "job:doubt"]);
        assert!(text.contains("in doubt") && text.contains("host-1"), "{text}");
        assert_eq!(place.run(&["explain", "none"]).code, Some(3));
    }
}

#[test]
fn nothing_is_changed_without_yes_and_the_change_is_announced() {
    for place in Place::each() {
        place.fill();
        let before = place.ok(&["list", "--json", "job:"]);
        for words in [
            &["forget", "job:done"][..],
            &["cancel", "job:lapsed"],
            &["resolve", "job:doubt", "--completed", "1"],
            &["purge"],
            &["bench"],
        ] {
            let ran = place.run(words);
            assert_eq!(ran.code, Some(11), "{words:?}: {ran:?}");
            assert!(ran.out.contains("would ") && ran.out.contains("--yes"), "{words:?}: {ran:?}");
        }
        assert_eq!(place.ok(&["list", "--json", "job:"]), before);
    }
}

#[test]
fn a_change_is_made_with_yes() {
    for place in Place::each() {
        place.fill();
        place.ok(&["forget", "job:done", "--yes"]);
        assert_eq!(place.run(&["show", "job:done"]).code, Some(3));
        place.ok(&["resolve", "job:doubt", "--completed", "{\"paid\": 1}", "--yes"]);
        assert_eq!(place.ok(&["show", "--result", "job:doubt"]), "{\"paid\":1}");
        assert_eq!(place.run(&["resolve", "job:lapsed", "--completed", "not json", "--yes"]).code, Some(2));
        place.ok(&["resolve", "job:lapsed", "--failed", "lost", "--detail", "looked", "--yes"]);
        assert_eq!(place.run(&["show", "--exit-code", "job:lapsed"]).code, Some(6));
        place.ok(&["cancel", "other:live", "--reason", "too late", "--yes"]);
        assert!(place.ok(&["show", "other:live"]).contains("canceled:too late"));
        assert!(place.ok(&["purge", "--yes"]).starts_with("records removed: "));
    }
}

#[test]
fn a_live_lease_is_only_taken_away_by_force_and_an_outcome_is_final() {
    for place in Place::each() {
        place.fill();
        assert_eq!(place.run(&["forget", "other:live", "--yes"]).code, Some(4));
        assert_eq!(place.run(&["resolve", "other:live", "--released", "--yes"]).code, Some(4));
        assert_eq!(place.run(&["resolve", "job:done", "--released", "--yes"]).code, Some(12));
        assert_eq!(place.run(&["resolve", "none", "--released", "--yes"]).code, Some(3));
        place.ok(&["forget", "other:live", "--force", "--yes"]);
    }
}

#[test]
fn stats_counts_the_records_by_state() {
    for place in Place::each() {
        place.fill();
        let stats: Value = serde_json::from_str(&place.ok(&["stats", "--json"])).unwrap();
        let counts = ["records", "in_progress", "lapsed", "in_doubt", "completed", "failed", "released"];
        assert_eq!(counts.map(|name| stats[name].as_u64().unwrap()), [6, 1, 2, 1, 1, 1, 1], "{stats}");
        let stats = place.ok(&["stats", "other:"]);
        assert!(stats.starts_with("records                1\n"), "{stats}");
    }
}

#[test]
fn watch_prints_every_key_and_then_each_change() {
    // Another process changes the records, so the store is a server.
    let Some(place) = Place::redis() else { return };
    place.fill();
    let engine = place.engine();
    let mut watch = place.command(&["--json", "watch", "job:", "--every", "20ms"]);
    let mut watch = watch.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(watch.stdout.take().unwrap()));
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    let first: Vec<Value> = (0..5).map(|_| next()).collect();
    assert_eq!(keys(&first), ["job:done", "job:doubt", "job:failed", "job:lapsed", "job:released"]);
    engine.forget("job:failed").wait().unwrap();
    let change = next();
    assert_eq!((&change["key"], &change["record"]), (&Value::from("job:failed"), &Value::Null));
    engine.resolve("job:doubt").failed("checked").wait().unwrap();
    let change = next();
    assert_eq!(
        (&change["key"], &change["record"]["state"]),
        (&Value::from("job:doubt"), &Value::from("failed"))
    );
    watch.kill().unwrap();
    watch.wait().unwrap();
}

#[test]
fn watch_shows_the_changes_in_columns() {
    for place in Place::each() {
        place.fill();
        let text = place.ok(&["watch", "--readings", "2", "--every", "1ms"]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("SEEN") && lines.len() == 7, "{text}");
        let column = lines[0].find("STATE").unwrap();
        assert!(lines.iter().all(|line| line.get(column - 1..=column).unwrap().starts_with(' ')), "{text}");
    }
}

#[test]
fn a_namespace_has_keys_of_its_own_and_is_listed() {
    for place in Place::each() {
        let engine = place.engine();
        acquire(&engine, "job").complete(&1).wait().unwrap();
        let tenant = engine.namespace("tenant").open().unwrap();
        acquire(&tenant, "job").fail("no").wait().unwrap();
        engine.close(std::time::Duration::from_secs(10)).wait().unwrap();
        drop((engine, tenant));
        assert_eq!(place.run(&["show", "--exit-code", "job"]).code, Some(0));
        assert_eq!(place.run(&["--namespace", "tenant", "show", "--exit-code", "job"]).code, Some(6));
        assert_eq!(place.ok(&["run", "other", "--namespace", "tenant", "--", "echo", "ran"]), "ran\n");
        assert_eq!(keys(&json_lines(&place.ok(&["list", "--json"]))), ["job"]);
        let in_tenant = place.ok(&["list", "--json", "--namespace", "tenant"]);
        assert_eq!(keys(&json_lines(&in_tenant)), ["job", "other"]);
        let all = json_lines(&place.ok(&["namespaces", "--json"]));
        assert_eq!(
            (all.len(), &all[0]["namespace"], &all[0]["used"]),
            (1, &Value::from("tenant"), &Value::from(0))
        );
        for command in ["purge", "verify", "namespaces"] {
            assert_eq!(place.run(&[command, "--namespace", "tenant"]).code, Some(2), "{command}");
        }
    }
}

#[test]
fn bench_measures_a_store_and_leaves_no_record() {
    for place in Place::each() {
        let measured = place.ok(&["bench", "--count", "40", "--threads", "4", "--yes", "--json"]);
        let measured: Value = serde_json::from_str(&measured).unwrap();
        assert_eq!(measured["cycles"], 40);
        assert!(measured["cycles_per_second"].as_f64().unwrap() > 0.0);
        assert_eq!(place.ok(&["list", "--json"]), "");
    }
    let memory = ran(lessor().args(["--store", "memory:", "bench", "--count", "10", "--yes"]));
    assert_eq!(memory.code, Some(0), "{memory:?}");
}

#[test]
fn a_store_that_does_not_exist_is_not_created_by_a_look_at_it() {
    let place = Place::file();
    for command in ["list", "stats", "backup copy", "verify", "dump", "truncate --yes"] {
        let words: Vec<&str> = command.split(' ').collect();
        let ran = place.run(&words);
        assert_eq!(ran.code, Some(3), "{command}: {ran:?}");
        assert!(ran.err.contains("there is no log"), "{command}: {ran:?}");
        assert!(!place.leases().exists(), "{command}");
    }
}

#[test]
fn the_exit_code_tells_a_wrong_call_from_a_store_that_is_in_use_or_unreachable() {
    let place = Place::file();
    assert_eq!(ran(lessor().arg("list")).code, Some(2));
    assert_eq!(ran(lessor().arg("no-such-command")).code, Some(2));
    assert_eq!(ran(lessor().args(["--store", "gopher:x", "list"])).code, Some(2));
    assert_eq!(ran(lessor().args(["--store", "redis://127.0.0.1:1", "list"])).code, Some(8));
    let _open = place.engine();
    let in_use = place.run(&["--open-wait", "10ms", "list"]);
    assert_eq!(in_use.code, Some(8));
    assert!(in_use.err.contains(&std::process::id().to_string()), "the process is named: {in_use:?}");
}

#[test]
fn a_command_for_files_says_what_to_do_on_another_store() {
    for url in ["memory:", "redis://127.0.0.1:1"] {
        for command in ["backup x", "verify", "dump", "truncate"] {
            let words: Vec<&str> = command.split(' ').collect();
            let ran = ran(lessor().args(["--store", url]).args(&words));
            assert_eq!(ran.code, Some(10), "{url} {command}: {ran:?}");
            assert!(ran.err.contains("is for file stores"), "{url} {command}: {ran:?}");
        }
    }
}

#[test]
fn completions_and_man_pages_name_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let script = ran(lessor().args(["completions", shell]));
        assert!(script.code == Some(0) && script.out.contains("explain"), "{shell}");
    }
    let page = ran(lessor().arg("man"));
    assert!(page.code == Some(0) && page.out.contains("lessor\\-explain"), "{}", page.out);
    let folder = support::temporary();
    assert_eq!(ran(lessor().arg("man").arg(folder.path())).code, Some(0));
    assert!(folder.path().join("lessor-truncate.1").exists());
}
