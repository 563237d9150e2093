//! Summarizes the ratios in words and tables.

use std::collections::BTreeSet;

use super::numbers;
use super::readme::cell;
use super::sections::{Section, Series, callers_plural, callers_word};
use crate::results::{Case, LESSOR, Spread};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// Better in every round.
    Better,
    /// Better in some rounds, and worse in others.
    Level,
    Worse,
}

impl Verdict {
    pub(super) fn of(ratio: Spread) -> Self {
        match ratio {
            ratio if ratio.least > 1.0 => Self::Better,
            ratio if ratio.most < 1.0 => Self::Worse,
            _ => Self::Level,
        }
    }
}

/// The number of cases with each verdict.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Counts {
    better: usize,
    level: usize,
    worse: usize,
    without: usize,
}

impl Counts {
    pub(super) fn of<'a>(cases: impl Iterator<Item = &'a Case>) -> Self {
        let mut counts = Self::default();
        for case in cases {
            *match case.ratio().map(Verdict::of) {
                Some(Verdict::Better) => &mut counts.better,
                Some(Verdict::Level) => &mut counts.level,
                Some(Verdict::Worse) => &mut counts.worse,
                None => &mut counts.without,
            } += 1;
        }
        counts
    }

    pub(super) fn in_words(&self) -> String {
        let all = self.better + self.level + self.worse;
        let mut words = format!(
            "Of {all} comparisons with the best rival, lessor is better in {} and worse in {} in every round; in {} the rounds disagree.",
            self.better, self.worse, self.level
        );
        if self.without > 0 {
            let have = if self.without == 1 { "case has" } else { "cases have" };
            words.push_str(&format!(" {} {have} nothing to compare with.", self.without));
        }
        words
    }
}

/// Lists ratios below 1, one line per workload and section, the worst first. `None` if there are
/// none.
pub(super) fn losses(sections: &[Section<'_>]) -> Option<String> {
    let mut lines: Vec<_> = sections.iter().flat_map(losses_of).collect();
    lines.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    let lines: Vec<_> = lines.into_iter().map(|(_, line)| line).collect();
    (!lines.is_empty()).then(|| lines.concat())
}

fn losses_of(section: &Section<'_>) -> Vec<(f64, String)> {
    let mut titles: Vec<_> = section.series.iter().map(|series| &series.title).collect();
    titles.sort();
    titles.dedup();
    let lines = titles.into_iter().filter_map(|title| {
        let series: Vec<_> = section.series.iter().filter(|series| series.title == *title).collect();
        let (least, line) = loss(&series)?;
        Some((least, format!("- {}, {}: {line}\n", cell(&section.name()), cell(&lower_first(title)))))
    });
    lines.collect()
}

/// Returns the worst ratio of one workload, and a description of all that are below 1.
fn loss(series: &[&Series<'_>]) -> Option<(f64, String)> {
    let by_series = series.iter().map(|series| lost_by(series)).filter(|lost| !lost.is_empty());
    let by_series: Vec<_> = by_series.collect();
    let lost = || by_series.iter().flatten();
    let least = lost().map(|(_, ratio)| ratio.median).min_by(f64::total_cmp)?;
    let most = lost().map(|(_, ratio)| ratio.median).max_by(f64::total_cmp)?;
    let (from, to) = (numbers::ratio(least), numbers::ratio(most));
    let ratio = if from == to { from } else { format!("{from} to {to}") };
    let rivals: BTreeSet<_> =
        lost().filter_map(|(case, _)| case.rival()).map(|rival| format!("_{}_", cell(&rival.name))).collect();
    let callers = by_series.iter().map(|lost| {
        let counts = lost.iter().map(|(case, _)| numbers::count(case.callers.count() as f64));
        let word = lost.last().map_or("", |(case, _)| callers_word(case.callers));
        format!("{} {word}", counts.collect::<Vec<_>>().join(", "))
    });
    let callers = callers.collect::<Vec<_>>().join("; ");
    let disagree = lost().any(|(_, ratio)| Verdict::of(*ratio) == Verdict::Level);
    let disagree = if disagree { "; not in every round" } else { "" };
    let rivals = rivals.into_iter().collect::<Vec<_>>().join(" or ");
    Some((least, format!("**{ratio}** of {rivals} ({callers}{disagree})")))
}

fn lost_by<'a>(series: &Series<'a>) -> Vec<(&'a Case, Spread)> {
    let ratios = series.cases.iter().filter_map(|case| Some((*case, case.ratio()?)));
    ratios.filter(|(_, ratio)| ratio.median < 1.0).collect()
}

/// Returns the ratios of one section: a table for each kind of callers, and one of the workloads
/// with a single number of callers.
pub(super) fn tables(section: &Section<'_>) -> String {
    let (many, one): (Vec<_>, Vec<_>) = section.series.iter().partition(|series| series.cases.len() > 1);
    let tables = ["threads", "tasks"].map(|kind| {
        let of_kind = |series: &&&Series<'_>| callers_plural(series.first().callers) == kind;
        by_callers(section, kind, &many.iter().filter(of_kind).copied().collect::<Vec<_>>())
    });
    tables.concat() + &at_one(section, &one)
}

fn by_callers(section: &Section<'_>, kind: &str, series: &[&Series<'_>]) -> String {
    let cases = series.iter().flat_map(|series| &series.cases);
    let counts: BTreeSet<_> = cases.map(|case| case.callers.count()).collect();
    if counts.is_empty() {
        return String::new();
    }
    let heads = counts.iter().map(|count| format!(" {} |", numbers::count(*count as f64)));
    let mut out = format!("| {}, {kind}: |{}\n", cell(&section.name()), heads.collect::<String>());
    out.push_str(&format!("|:--|{}\n", "---|".repeat(counts.len())));
    for series in series {
        out.push_str(&format!("| {} |", cell(&series.title)));
        for count in &counts {
            let case = series.cases.iter().find(|case| case.callers.count() == *count);
            out.push_str(&format!(" {} |", case.map_or_else(String::new, |case| ratio_cell(case))));
        }
        out.push('\n');
    }
    out.push('\n');
    out
}

fn at_one(section: &Section<'_>, series: &[&Series<'_>]) -> String {
    let lines = series.iter().flat_map(|series| series.cases.iter().map(move |case| (series, case)));
    let lines = lines.map(|(series, case)| {
        let callers = numbers::count(case.callers.count() as f64);
        let word = callers_word(case.callers);
        format!("| {}, {callers} {word} | {} |\n", cell(&series.title), ratio_cell(case))
    });
    let lines: Vec<_> = lines.collect();
    if lines.is_empty() {
        return String::new();
    }
    format!("| {} | |\n|:--|---|\n{}\n", cell(&section.name()), lines.concat())
}

/// Returns the ratio, or the reason that there is none.
fn ratio_cell(case: &Case) -> String {
    let reference =
        case.ratio_to_reference().map(|ratio| format!("reference {}", numbers::ratio(ratio.median)));
    let (Some(ratio), Some(rival)) = (case.ratio(), case.rival()) else {
        let has_lessor = case.contender(LESSOR).is_some_and(|lessor| !lessor.rounds.is_empty());
        let why = if has_lessor { "no rival" } else { "no result" };
        let reference = reference.map_or_else(String::new, |reference| format!("; {reference}"));
        return format!("<sub>{why}{reference}</sub>");
    };
    let [median, least, most] = [ratio.median, ratio.least, ratio.most].map(numbers::ratio);
    let median = if ratio.median > 1.0 { format!("**{median}**") } else { median };
    let reference = reference.map_or_else(String::new, |reference| format!("; {reference}"));
    format!("{median} ({least} – {most})<br><sub>{}{reference}</sub>", cell(&rival.name))
}

/// Returns the text for the middle of a sentence. Abbreviations are kept.
fn lower_first(text: &str) -> String {
    let mut rest = text.chars();
    match (rest.next(), rest.clone().next()) {
        (Some(first), Some(second)) if second.is_lowercase() || second == ' ' => {
            first.to_lowercase().chain(rest).collect()
        }
        _ => text.to_owned(),
    }
}
