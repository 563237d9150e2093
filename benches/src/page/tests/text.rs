use super::{all, fixture, odd_names, page_of, small};
use crate::page::numbers::{count, value};
use crate::page::readme::cell;
use crate::results::{LESSOR, Unit};

#[test]
fn every_case_and_contender_is_in_the_tables() {
    let results = fixture::results();
    let page = page_of(&results);
    for case in &results.cases {
        assert!(page.contains(&cell(&case.title)) && page.contains(&cell(&case.note)), "{}", case.title);
        assert!(
            page.contains(&format!(" {} |", count(case.callers.count() as f64)))
                || page.contains(&format!(", {} ", count(case.callers.count() as f64)))
        );
        for contender in &case.contenders {
            match contender.spread() {
                Some(spread) => {
                    let value = value(case.unit, spread.median);
                    let name = cell(&contender.name);
                    let is_line = |line: &&str| {
                        line.starts_with(&format!("| {name} |"))
                            || line.starts_with(&format!("| **{name}** |"))
                            || line.starts_with(&format!("| _{name}_ |"))
                    };
                    assert!(
                        page.lines().filter(is_line).any(|line| line.contains(&value)),
                        "{name}: {value}"
                    );
                }
                None => assert!(page.contains(&cell(&contender.name)), "{}", contender.name),
            }
        }
    }
}

#[test]
fn ratios_are_those_of_the_rounds() {
    let page = page_of(&small());
    // 3/4, 2/4 and 4/4; 6/4, 5/4 and 7/4.
    let line = "| Fresh keys | 0.75 (0.50 – 1.00)<br><sub>a; reference 0.38</sub> | \
                **1.50** (1.25 – 1.75)<br><sub>a; reference 0.75</sub> |";
    assert!(page.contains(line), "{page}");
}

#[test]
fn contenders_without_results_are_named_with_the_reason() {
    let mut results = small();
    assert!(page_of(&results).contains("No result: b."));
    for case in &mut results.cases {
        case.contenders[2].note = Some("it has no notifications.".to_owned());
    }
    let page = page_of(&results);
    assert!(page.contains("No result: b (it has no notifications)."));
    assert!(!page.contains("**b**: it has no notifications"), "this is not a note for the comparison");
}

#[test]
fn losses_are_listed_with_the_worst_first() {
    let page = page_of(&small());
    assert!(
        page.contains("- In memory, fresh keys: **0.75** of _a_ (1 thread; not in every round)\n"),
        "{page}"
    );
    assert!(page.contains("Of 2 comparisons with the best rival, lessor is better in 1 and worse in 0 in every round; in 1 the rounds disagree."));

    let page = page_of(&fixture::results());
    let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text} is not on the page"));
    assert!(page.contains("- Redis, appendonly no, hot set, duplicates replayed: **0.24 to 0.90** of _by hand_ (1, 64, 512 tasks; 1, 8, 64 threads; not in every round)\n"));
    assert!(at("- File log, open with a million records") < at("- In memory, fresh keys"));

    let mut best = small();
    best.cases.remove(0);
    let page = page_of(&best);
    assert!(!page.contains("Where lessor is worse") && page.contains("There is no workload in which"));
}

#[test]
fn nothing_is_compared_without_a_rival() {
    let mut results = small();
    results.cases.iter_mut().for_each(|case| case.against.clear());
    let page = page_of(&results);
    assert!(page.contains("Of 0 comparisons") && page.contains("2 cases have nothing to compare with."));
    assert!(page.contains("<sub>no rival; reference 0.38</sub>"), "{page}");
    assert!(!page.contains("There is no workload in which"), "{page}");
    results.cases[0].contenders[0].rounds.clear();
    assert!(page_of(&results).contains("<sub>no result</sub>"));
}

#[test]
fn notes_of_contenders_are_listed_once_per_store() {
    let page = page_of(&fixture::results());
    let count = |text: &str| page.matches(text).count();
    assert_eq!(count("- File log, **sled**: It does not flush the drive's cache.\n"), 1);
    assert_eq!(
        count("- Redis, **rslock**: It keeps no result &amp; waits 200 ms &lt;after&gt; a refusal.\n"),
        1
    );
}

#[test]
fn the_page_describes_the_machine_and_the_rounds() {
    let page = page_of(&small());
    for text in [
        "`cargo xtask bench`",
        "2026-11-24",
        "lessor 0.1.0",
        "a processor, 2 cores, a system",
        "90 seconds",
        "in 3 rounds",
    ] {
        assert!(page.contains(text), "{text}");
    }
    assert!(page_of(&fixture::results()).contains("10 minutes"));
}

#[test]
fn names_do_not_break_tables() {
    for results in all() {
        let page = page_of(&results);
        let mut columns = None;
        for line in page.lines() {
            let cells = line.replace("\\|", "").matches('|').count();
            match (line.starts_with('|'), columns) {
                (true, None) => columns = Some(cells),
                (true, Some(columns)) => assert_eq!(cells, columns, "{line}"),
                (false, _) => columns = None,
            }
        }
    }
    let page = page_of(&odd_names());
    for line in page.lines().filter(|line| !line.trim_start().starts_with("<img ")) {
        let is_plain = ["<script>", "<!-- ]]>", "[x](y)"].iter().all(|text| !line.contains(text));
        assert!(is_plain, "{line}");
    }
}

#[test]
fn less_time_is_better() {
    let mut results = small();
    results.cases.iter_mut().for_each(|case| case.unit = Unit::Seconds);
    let page = page_of(&results);
    assert!(page.contains("| Fresh keys | **1.33** (1.00 – 2.00)"), "{page}");
    assert!(page.contains(&format!("| **{LESSOR}** | {} ", value(Unit::Seconds, 3.0))), "{page}");
}
