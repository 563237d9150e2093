//! Throughput by number of callers, on one key and on a key each, relative to one caller.

use super::figure::{Figure, Panel};
use super::lines::{self, Line};
use super::marks::Marks;
use super::numbers;
use super::scale::Round;
use super::sections::{Section, Series, callers_plural};
use crate::results::{LESSOR, Spread, Unit};

const WORKLOADS: [&str; 2] = ["refused", "fresh"];

pub(super) fn figure(section: &Section<'_>, marks: &Marks) -> Option<Figure> {
    let mut series: Vec<_> = section
        .series
        .iter()
        .filter(|series| {
            WORKLOADS.contains(&series.first().workload.as_str())
                && series.unit() == Unit::PerSecond
                && series.cases.len() > 1
                && series.first().callers.count() == 1
        })
        .collect();
    // One kind of callers per row, the hot key on the left.
    series.sort_by_key(|series| {
        let workload = WORKLOADS.iter().position(|workload| *workload == series.first().workload);
        (callers_plural(series.first().callers), workload)
    });
    let panels: Vec<_> = series.iter().filter_map(|series| panel(series, marks)).collect();
    let words: Vec<_> = panels.iter().filter_map(in_words).collect();
    let panels: Vec<_> = panels.into_iter().map(Panel::Lines).collect();
    Figure::of_panels(
        format!("contention-{}", section.slug),
        format!("{}: effect of more callers", section.name()),
        "Throughput relative to the same contender's with one caller. Below 1×, callers slow each other down.",
        format!("Throughput relative to one caller. {}", words.join(" ")),
        &panels,
    )
}

fn panel<'a>(series: &Series<'a>, marks: &Marks) -> Option<lines::Panel<'a>> {
    let lines: Vec<_> = series.names().into_iter().filter_map(|name| line(series, name, marks)).collect();
    let missing = series.names().into_iter().filter(|name| lines.iter().all(|line| line.name != *name));
    let callers = callers_plural(series.first().callers);
    let panel = lines::Panel {
        title: series.title.clone(),
        subtitle: format!("by number of {callers}; 1× is the contender's own throughput with one"),
        places: series.cases.iter().map(|case| numbers::count(case.callers.count() as f64)).collect(),
        places_are: callers.to_owned(),
        missing: missing.collect(),
        lines,
        round: Round::Twos,
        reference: Some(1.0),
        tick,
    };
    (!panel.lines.is_empty()).then_some(panel)
}

/// Returns `None` without a value for one caller.
fn line<'a>(series: &Series<'a>, name: &'a str, marks: &Marks) -> Option<Line<'a>> {
    let one = series.first().contender(name)?.spread()?.median;
    if one <= 0.0 {
        return None;
    }
    let relative = |spread: Spread| Spread {
        median: spread.median / one,
        least: spread.least / one,
        most: spread.most / one,
    };
    let values = series.cases.iter().map(|case| case.contender(name)?.spread().map(relative));
    let mark = marks.of_contender(name, series.is_reference(name));
    Some(Line { name, mark, values: values.collect() })
}

fn in_words(panel: &lines::Panel<'_>) -> Option<String> {
    let line = panel.lines.iter().find(|line| line.name == LESSOR)?;
    let last = line.values.last().copied().flatten()?;
    let callers = panel.places.last()?;
    let times = numbers::ratio(last.median);
    Some(format!(
        "{}: lessor has {times} times the throughput with {callers} {}.",
        panel.title, panel.places_are
    ))
}

fn tick(at: f64) -> String {
    match at {
        at if at >= 1.0 => format!("{}×", numbers::count(at)),
        at => format!("{at}×"),
    }
}
