//! Latency percentiles of one operation, for workloads in which callers contend.

use std::cmp::Reverse;

use super::figure::{Figure, Panel};
use super::lines::{self, Line};
use super::marks::Marks;
use super::numbers;
use super::scale::Round;
use super::sections::{Section, callers_word};
use crate::results::{Case, Contender, Spread, Unit};

/// The workloads that show the most about contention, the best first.
const TELLING: [&str; 5] = ["zipf", "refused", "takeover", "purge", "fresh"];
const PANELS: usize = 2;
const PERCENTILES: [&str; 5] = ["p50", "p90", "p99", "p99.9", "max"];

pub(super) fn figure(section: &Section<'_>, marks: &Marks) -> Option<Figure> {
    let cases = chosen(section);
    let panels: Vec<_> = cases.iter().map(|(title, case)| Panel::Lines(panel(title, case, marks))).collect();
    let tails: Vec<_> = cases.iter().filter_map(|(title, case)| in_words(title, case)).collect();
    Figure::of_panels(
        format!("latency-{}", section.slug),
        format!("{}: latency of one operation", section.name()),
        "Percentiles within a round; medians, and bars over all rounds. Logarithmic; lower is better.",
        format!("Latencies by percentile. {}", tails.join(" ")),
        &panels,
    )
}

/// Chooses one case per workload: the one with the most callers that has latencies.
fn chosen<'a>(section: &Section<'a>) -> Vec<(String, &'a Case)> {
    let has_latency = |case: &&&Case| case.contenders.iter().any(|contender| contender.latency().is_some());
    let cases = section.series.iter().filter_map(|series| {
        let case = series.cases.iter().rev().find(has_latency)?;
        let callers = numbers::count(case.callers.count() as f64);
        Some((format!("{}, {callers} {}", series.title, callers_word(case.callers)), *case))
    });
    let rank = |case: &Case| {
        let telling = TELLING.iter().position(|workload| *workload == case.workload);
        telling.unwrap_or(TELLING.len())
    };
    let mut cases: Vec<_> = cases.collect();
    cases.sort_by_key(|(_, case)| (rank(case), Reverse(case.callers.count())));
    cases.dedup_by_key(|(_, case)| &case.workload);
    cases.truncate(PANELS);
    cases
}

fn panel<'a>(title: &str, case: &'a Case, marks: &Marks) -> lines::Panel<'a> {
    let (with, without): (Vec<_>, Vec<_>) =
        case.contenders.iter().partition(|contender| contender.latency().is_some());
    lines::Panel {
        title: title.to_owned(),
        subtitle: "latency of one operation".to_owned(),
        places: PERCENTILES.map(str::to_owned).into(),
        places_are: String::new(),
        lines: with
            .into_iter()
            .map(|contender| Line {
                name: &contender.name,
                mark: marks.of_contender(&contender.name, contender.is_reference),
                values: values(contender),
            })
            .collect(),
        missing: without.into_iter().map(|contender| contender.name.as_str()).collect(),
        round: Round::Decimal,
        reference: None,
        tick: |at| numbers::tick(Unit::Seconds, at),
    }
}

fn values(contender: &Contender) -> Vec<Option<Spread>> {
    let latencies: Vec<_> = contender.rounds.iter().filter_map(|sample| sample.latency).collect();
    let percentiles = (0..PERCENTILES.len()).map(|at| {
        let durations = latencies
            .iter()
            .map(|latency| [latency.p50, latency.p90, latency.p99, latency.p999, latency.most][at]);
        Spread::of(durations.map(|duration| duration.as_secs_f64()))
    });
    percentiles.collect()
}

fn in_words(title: &str, case: &Case) -> Option<String> {
    let latency = case.contender(crate::results::LESSOR)?.latency()?;
    let [p50, p99, most] =
        [latency.p50, latency.p99, latency.most].map(|time| numbers::time(time.as_secs_f64()));
    Some(format!(
        "{title}: lessor takes {p50} at the median, {p99} at the 99th percentile, and at most {most}."
    ))
}
