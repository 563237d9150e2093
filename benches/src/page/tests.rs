mod colours;
mod drawing;
mod fixture;
mod parts;
mod text;

use std::collections::BTreeMap;

use super::files;
use crate::results::{Callers, Case, Contender, LESSOR, Machine, Results, Sample, Unit};

/// Two rivals, of which `b` cannot run the workload.
fn small() -> Results {
    let contender = |name: &str, is_reference, values: &[f64]| Contender {
        name: name.to_owned(),
        is_reference,
        note: None,
        rounds: values.iter().map(|&value| Sample { value, latency: None }).collect(),
    };
    let case = |count, lessor: &[f64], rival: &[f64]| Case {
        workload: "fresh".to_owned(),
        title: "Fresh keys".to_owned(),
        note: "A key is acquired.".to_owned(),
        store: "memory".to_owned(),
        setting: None,
        callers: Callers::Threads(count),
        unit: Unit::PerSecond,
        against: vec!["a".to_owned(), "b".to_owned()],
        contenders: vec![
            contender(LESSOR, false, lessor),
            contender("a", false, rival),
            contender("b", false, &[]),
            contender("reference", true, &[8.0, 8.0, 8.0]),
        ],
    };
    let machine = Machine {
        processor: "a processor".to_owned(),
        cores: 2,
        system: "a system".to_owned(),
        version: "0.1.0".to_owned(),
        date: "2026-11-24".to_owned(),
    };
    let cases =
        vec![case(1, &[3.0, 2.0, 4.0], &[4.0, 4.0, 4.0]), case(8, &[6.0, 5.0, 7.0], &[4.0, 4.0, 4.0])];
    Results { machine, seconds: 90, cases }
}

/// Results with every kind of damage.
fn broken() -> Vec<Results> {
    let nothing = Results { cases: Vec::new(), ..small() };
    let mut no_rounds = small();
    no_rounds.cases.iter_mut().flat_map(|case| &mut case.contenders).for_each(|each| each.rounds.clear());
    let mut no_contenders = small();
    no_contenders.cases.iter_mut().for_each(|case| case.contenders.clear());
    let mut no_rivals = small();
    no_rivals.cases.iter_mut().for_each(|case| case.against.clear());
    let mut no_lessor = small();
    no_lessor.cases.iter_mut().for_each(|case| case.contenders.retain(|each| each.name != LESSOR));
    let mut no_numbers = small();
    let samples =
        no_numbers.cases.iter_mut().flat_map(|case| &mut case.contenders).flat_map(|each| &mut each.rounds);
    for (sample, value) in
        samples.zip([0.0, -1.0, f64::NAN, f64::INFINITY, f64::MIN_POSITIVE, f64::MAX].into_iter().cycle())
    {
        sample.value = value;
    }
    let mut no_words = small();
    for case in &mut no_words.cases {
        (case.title, case.note, case.store) = (String::new(), String::new(), String::new());
    }
    vec![nothing, no_rounds, no_contenders, no_rivals, no_lessor, no_numbers, no_words]
}

/// Long names, and names with markup.
fn odd_names() -> Results {
    let mut results = fixture::results();
    for case in &mut results.cases {
        case.title.push_str(" <b>&\"'|*_`[x](y)\u{7}\n\u{ffff} ü");
        case.note.push_str(" |--> <!-- ]]>");
        case.setting = case
            .setting
            .take()
            .map(|setting| format!("{setting}/../\\<&>\" that is longer than the space for it"));
        for contender in
            case.contenders.iter_mut().filter(|each| each.name == "dashmap" || each.name == "by hand")
        {
            contender.name.push_str(" | </text><script> & a name that is longer than its column");
        }
    }
    for case in &mut results.cases {
        case.against =
            case.contenders.iter().filter(|each| !each.is_reference).map(|each| each.name.clone()).collect();
        case.against.retain(|name| name != LESSOR);
    }
    results
}

/// More sections, rivals and callers than fit side by side.
fn crowded() -> Results {
    let mut results = fixture::results();
    let mut others = results.cases.clone();
    others.iter_mut().for_each(|case| case.store.push_str(" of another kind"));
    results.cases.extend(others);
    for case in &mut results.cases {
        let more = (0..6).map(|n| Contender { name: format!("rival {n}"), ..case.contenders[1].clone() });
        let more: Vec<_> = more.collect();
        case.against.extend(more.iter().map(|each| each.name.clone()));
        case.contenders.extend(more);
    }
    results
}

fn all() -> Vec<Results> {
    let mut all = broken();
    all.extend([small(), fixture::results(), odd_names(), crowded()]);
    all
}

fn files_of(results: &Results) -> BTreeMap<String, String> {
    let files = files(results);
    let count = files.len();
    let files: BTreeMap<_, _> = files.into_iter().collect();
    assert_eq!(files.len(), count, "file names are unique");
    files
}

fn page_of(results: &Results) -> String {
    files_of(results).remove("README.md").expect("README.md is written")
}

#[test]
fn the_same_results_make_the_same_files() {
    for results in all() {
        assert_eq!(files(&results), files(&results.clone()));
    }
}

#[test]
fn the_page_is_the_same_when_drawn_from_results_json() {
    let folder = tempfile::tempdir().expect("a folder");
    for results in all() {
        super::write(&results, folder.path()).expect("it can be written");
        let text = std::fs::read_to_string(folder.path().join("results.json")).expect("it was written");
        let read: Results = serde_json::from_str(&text).expect("it can be read");
        assert_eq!(files(&read), files(&results));
    }
}

#[test]
fn plots_of_an_earlier_run_are_removed_and_other_files_are_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let has = |name: &str| folder.path().join(name).exists();
    super::write(&fixture::results(), folder.path()).expect("it can be written");
    std::fs::write(folder.path().join("notes.md"), "mine").expect("it can be written");
    std::fs::write(folder.path().join("drawing.svg"), "mine").expect("it can be written");
    assert!(has("throughput-file-dark.svg"));
    super::write(&small(), folder.path()).expect("it can be written");
    assert!(!has("throughput-file-dark.svg") && has("throughput-memory-dark.svg"));
    assert!(has("notes.md") && has("drawing.svg"));
}

#[test]
fn incomplete_results_make_a_page() {
    for results in broken() {
        let folder = tempfile::tempdir().expect("a folder");
        super::write(&results, folder.path()).expect("it can be written");
        let page = std::fs::read_to_string(folder.path().join("README.md")).expect("it was written");
        assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
    }
}
