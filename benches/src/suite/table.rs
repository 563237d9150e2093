//! The table of ratios: one line per workload, one column per number of callers.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::results::{Callers, Case, Contender, LESSOR, Results, Spread};

/// Returns the ratios of lessor to the best rival of the same round.
pub(super) fn of(results: &Results) -> String {
    let columns: BTreeSet<Callers> = results.cases.iter().map(|case| case.callers).collect();
    let mut workloads: Vec<&str> = Vec::new();
    for case in &results.cases {
        if !workloads.contains(&case.workload.as_str()) {
            workloads.push(&case.workload);
        }
    }
    let mut out = String::new();
    let rounds = results.cases.iter().flat_map(|case| &case.contenders).map(|each| each.rounds.len()).max();
    let _ = writeln!(
        out,
        "lessor / best rival of the same round: median (min - max) of {} rounds, best rival by its median\n",
        rounds.unwrap_or_default()
    );
    let heads = columns.iter().map(|callers| cell(&heading(*callers)));
    let _ = writeln!(out, "{:<10}{}", "", heads.collect::<String>().trim_end());
    for workload in workloads {
        let of_workload = || results.cases.iter().filter(|case| case.workload == workload);
        let at = |callers: &Callers| of_workload().find(|case| case.callers == *callers);
        let row = |show: fn(&Case) -> String| {
            columns.iter().map(|callers| cell(&at(callers).map(show).unwrap_or_default())).collect::<String>()
        };
        let _ = writeln!(out, "{workload:<10}{}", row(ratio).trim_end());
        let _ = writeln!(out, "{:<10}{}", "", row(figures).trim_end());
    }
    out
}

fn cell(text: &str) -> String {
    format!("{text:<36}")
}

fn heading(callers: Callers) -> String {
    match callers {
        Callers::Threads(1) => "1 thread".to_owned(),
        Callers::Threads(count) => format!("{count} threads"),
        Callers::Tasks(count) => format!("{count} tasks"),
    }
}

fn ratio(case: &Case) -> String {
    match (case.ratio(), case.rival()) {
        (Some(Spread { median, least, most }), Some(rival)) => {
            let rival = rival.name.trim_end_matches(" by hand");
            format!("{median:.2} ({least:.2} - {most:.2}) {rival}")
        }
        _ => "-".to_owned(),
    }
}

/// Lessor's figure and the best rival's.
fn figures(case: &Case) -> String {
    let median = |contender: Option<&Contender>| contender?.spread().map(|spread| spread.median);
    match (median(case.contender(LESSOR)), median(case.rival())) {
        (Some(lessor), Some(rival)) => format!("{} / {}", figure(case, lessor), figure(case, rival)),
        _ => String::new(),
    }
}

fn figure(case: &Case, value: f64) -> String {
    crate::page::value(case.unit, value)
}

#[cfg(test)]
mod tests {
    use super::of;
    use crate::results::{Callers, Case, Contender, LESSOR, Machine, Results, Sample, Unit};

    fn case(workload: &str, callers: Callers, unit: Unit, lessor: &[f64], rival: &[f64]) -> Case {
        let contender = |name: &str, values: &[f64]| Contender {
            name: name.to_owned(),
            is_reference: false,
            note: None,
            rounds: values.iter().map(|&value| Sample { value, latency: None }).collect(),
        };
        Case {
            workload: workload.to_owned(),
            title: String::new(),
            note: String::new(),
            store: "memory".to_owned(),
            setting: None,
            callers,
            unit,
            against: vec!["scc by hand".to_owned()],
            contenders: vec![contender(LESSOR, lessor), contender("scc by hand", rival)],
        }
    }

    #[test]
    fn the_table_has_a_line_per_workload_and_a_column_per_number_of_callers() {
        let machine = Machine {
            processor: String::new(),
            cores: 1,
            system: String::new(),
            version: String::new(),
            date: String::new(),
        };
        let cases = vec![
            case("fresh", Callers::Threads(1), Unit::PerSecond, &[1e6, 2e6, 3e6], &[2e6, 2e6, 2e6]),
            case("fresh", Callers::Threads(8), Unit::PerSecond, &[1e6, 1e6, 1e6], &[4e6, 4e6, 4e6]),
            case("waiters", Callers::Tasks(1000), Unit::Seconds, &[0.002], &[0.001]),
            case("broken", Callers::Threads(1), Unit::PerSecond, &[], &[1.0]),
        ];
        let table = of(&Results { machine, seconds: 1, cases });
        let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split("  ").collect()).collect();
        let cells = |line: usize| -> Vec<&str> {
            lines[line].iter().map(|cell| cell.trim()).filter(|cell| !cell.is_empty()).collect()
        };
        assert!(table.contains("of 3 rounds"), "{table}");
        assert_eq!(cells(2), ["1 thread", "8 threads", "1000 tasks"], "{table}");
        assert_eq!(cells(3), ["fresh", "1.00 (0.50 - 1.50) scc", "0.25 (0.25 - 0.25) scc"], "{table}");
        assert_eq!(cells(5), ["waiters", "0.50 (0.50 - 0.50) scc"], "{table}");
        assert_eq!(cells(7), ["broken", "-"], "{table}");
    }
}
