//! Throughput of each contender, by workload and number of callers.

use super::figure::{Figure, Panel};
use super::lines::{self, Line};
use super::marks::Marks;
use super::rows::{self, Row};
use super::scale::Round;
use super::sections::{Section, Series, callers_plural, callers_word};
use super::{numbers, tables};
use crate::results::Unit;

pub(super) fn figure(section: &Section<'_>, marks: &Marks) -> Option<Figure> {
    let has_any = |series: &&Series<'_>| series.names().iter().any(|name| series.has(name));
    let (many, one): (Vec<_>, Vec<_>) =
        section.series.iter().filter(has_any).partition(|series| series.cases.len() > 1);
    let many = many.into_iter().map(|series| Panel::Lines(by_callers(series, marks)));
    let panels: Vec<_> =
        many.chain(one.into_iter().map(|series| Panel::Rows(at_one(series, marks)))).collect();
    Figure::of_panels(
        format!("throughput-{}", section.slug),
        format!("{}: throughput of each contender", section.name()),
        "Medians, and bars over all rounds; logarithmic scales. A dashed line is a reference without leases, and not a limit.",
        format!("One plot per workload. Lessor's medians: {}.", tables::in_words(section)),
        &panels,
    )
}

fn by_callers<'a>(series: &Series<'a>, marks: &Marks) -> lines::Panel<'a> {
    let (tick, what, better): (fn(f64) -> String, _, _) = match series.unit() {
        Unit::PerSecond => (|at| numbers::tick(Unit::PerSecond, at), "per second", "higher"),
        Unit::Seconds => (|at| numbers::tick(Unit::Seconds, at), "time", "lower"),
    };
    let callers = callers_plural(series.first().callers);
    lines::Panel {
        title: series.title.clone(),
        subtitle: format!("{what}, by number of {callers}; {better} is better"),
        places: series.cases.iter().map(|case| numbers::count(case.callers.count() as f64)).collect(),
        places_are: callers.to_owned(),
        lines: lines(series, marks),
        missing: series.missing(),
        round: Round::Decimal,
        reference: None,
        tick,
    }
}

/// Returns the contenders with any rounds.
fn lines<'a>(series: &Series<'a>, marks: &Marks) -> Vec<Line<'a>> {
    let names = series.names().into_iter().filter(|name| series.has(name));
    names
        .map(|name| Line {
            name,
            mark: marks.of_contender(name, series.is_reference(name)),
            values: series.cases.iter().map(|case| case.contender(name)?.spread()).collect(),
        })
        .collect()
}

fn at_one<'a>(series: &Series<'a>, marks: &Marks) -> rows::Panel<'a> {
    let case = series.first();
    let callers = format!("{} {}", numbers::count(case.callers.count() as f64), callers_word(case.callers));
    let row = |contender: &'a crate::results::Contender| {
        Some(Row {
            name: &contender.name,
            mark: marks.of_contender(&contender.name, contender.is_reference),
            value: contender.spread()?,
        })
    };
    rows::Panel {
        title: series.title.clone(),
        subtitle: match series.unit() {
            Unit::PerSecond => format!("per second, {callers}; more is better"),
            Unit::Seconds => format!("duration, {callers}; less is better"),
        },
        unit: series.unit(),
        rows: case.contenders.iter().filter_map(row).collect(),
        missing: series.missing(),
    }
}
