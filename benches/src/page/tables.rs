//! The tables of a section.

use super::numbers;
use super::readme::cell;
use super::sections::{Section, Series, callers_plural};
use crate::results::{Contender, LESSOR, Unit};

/// Returns one table per workload: a line per contender, a column per number of callers.
pub(super) fn write(section: &Section<'_>) -> String {
    section.series.iter().map(table).collect()
}

fn table(series: &Series<'_>) -> String {
    let case = series.first();
    let unit = match series.unit() {
        Unit::PerSecond => "per second",
        Unit::Seconds => "duration, less is better",
    };
    let mut out = format!("**{}** – {}\n\n", cell(&series.title), cell(&case.note));
    let callers = callers_plural(case.callers);
    let heads = series.cases.iter().map(|case| format!(" {} |", numbers::count(case.callers.count() as f64)));
    out.push_str(&format!("| {unit}; {callers}: |{}\n", heads.collect::<String>()));
    out.push_str(&format!("|:--|{}\n", "---|".repeat(series.cases.len())));
    for name in series.names().into_iter().filter(|name| series.has(name)) {
        let shown = match (name == LESSOR, series.is_reference(name)) {
            (true, _) => format!("**{}**", cell(name)),
            (_, true) => format!("_{}_", cell(name)),
            _ => cell(name),
        };
        out.push_str(&format!("| {shown} |"));
        for case in &series.cases {
            let value = case.contender(name).and_then(|contender| value_cell(case.unit, contender));
            out.push_str(&format!(" {} |", value.unwrap_or_else(|| "–".to_owned())));
        }
        out.push('\n');
    }
    out.push('\n');
    let missing: Vec<_> = series.missing().into_iter().map(|name| left_out(series, name)).collect();
    if !missing.is_empty() {
        out.push_str(&format!("No result: {}.\n\n", missing.join("; ")));
    }
    out
}

fn value_cell(unit: Unit, contender: &Contender) -> Option<String> {
    let spread = contender.spread()?;
    let [median, least, most] =
        [spread.median, spread.least, spread.most].map(|value| numbers::value(unit, value));
    let mut out = format!("{median} ({least} – {most})");
    if let Some(latency) = contender.latency() {
        let [p50, p99] = [latency.p50, latency.p99].map(|time| numbers::time(time.as_secs_f64()));
        out.push_str(&format!("<br><sub>p50 {p50}, p99 {p99}</sub>"));
    }
    Some(out)
}

/// Names the contenders without results, with the reason if there is one.
fn left_out(series: &Series<'_>, name: &str) -> String {
    let notes = series.cases.iter().filter_map(|case| case.contender(name)?.note.as_deref());
    match notes.into_iter().next() {
        Some(note) => format!("{} ({})", cell(name), cell(note.trim_end_matches('.'))),
        None => cell(name),
    }
}

/// Returns lessor's medians in words, for screen readers.
pub(super) fn in_words(section: &Section<'_>) -> String {
    let series = section.series.iter().filter_map(|series| {
        let medians = series.cases.iter().filter_map(|case| {
            let median = case.contender(LESSOR)?.spread()?.median;
            let callers = numbers::count(case.callers.count() as f64);
            Some(format!("{} ({callers})", numbers::value(case.unit, median)))
        });
        let medians: Vec<_> = medians.collect();
        let callers = callers_plural(series.first().callers);
        (!medians.is_empty()).then(|| format!("{}, {callers}: {}", series.title, medians.join(", ")))
    });
    series.collect::<Vec<_>>().join("; ")
}
