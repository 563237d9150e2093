//! What was measured, as tables.

use std::time::Duration;

use super::{Contender, floor};

/// One run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) per_second: f64,
    /// The median and the 99th percentile of one operation.
    pub(super) latency: Option<(Duration, Duration)>,
}

impl Sample {
    pub(super) fn of(mut took: Vec<Duration>, elapsed: Duration) -> Self {
        let per_second = took.len() as f64 / elapsed.as_secs_f64();
        took.sort_unstable();
        let at = |hundredth: usize| took.get(took.len() * hundredth / 100).copied();
        Self { per_second, latency: at(50).zip(at(99)) }
    }
}

/// All runs of one contender.
#[derive(Debug)]
pub(super) struct Line {
    name: &'static str,
    pub(super) samples: Vec<Sample>,
}

impl Line {
    /// The contender's line, which is made if need be.
    pub(super) fn of<'l>(lines: &'l mut Vec<Self>, name: &'static str) -> &'l mut Self {
        let at = lines.iter().position(|line| line.name == name).unwrap_or_else(|| {
            lines.push(Self { name, samples: Vec::new() });
            lines.len() - 1
        });
        &mut lines[at]
    }

    /// The median over the rounds of this line's share in the better floor of the same round.
    fn of_the_floor(&self, lines: &[Self]) -> Option<f64> {
        let floors: Vec<_> =
            lines.iter().filter(|line| [floor::LEADER, floor::WRITER].contains(&line.name)).collect();
        let best = |round: usize| {
            floors
                .iter()
                .filter_map(|floor| floor.samples.get(round))
                .map(|sample| sample.per_second)
                .max_by(f64::total_cmp)
        };
        let shares = self.samples.iter().enumerate();
        median(shares.filter_map(|(round, sample)| Some(sample.per_second / best(round)?)))
    }
}

pub(super) fn print_notes<'c>(contenders: impl Iterator<Item = &'c Contender>) {
    println!("Medians over the rounds; in brackets the least and the most.");
    for contender in contenders {
        println!("  {:<8} {}", contender.name, contender.note);
    }
}

pub(super) fn print_table(title: &str, lines: &[Line]) {
    println!("\n{title}");
    println!("  {:>8}  {:<8} {:>12} {:>25} {:>10} {:>10}", "of floor", "", "per second", "", "p50", "p99");
    for line in lines {
        let share = line.of_the_floor(lines).map_or_else(String::new, |share| format!("{share:.2}"));
        let rates = || line.samples.iter().map(|sample| sample.per_second);
        let latency = |which: fn((Duration, Duration)) -> Duration| {
            let all = line.samples.iter().filter_map(|sample| sample.latency);
            median(all.map(|latency| which(latency).as_secs_f64())).map_or_else(String::new, time)
        };
        let least = rates().fold(f64::INFINITY, f64::min);
        let most = rates().fold(0.0, f64::max);
        println!(
            "  {share:>8}  {:<8} {:>12} {:>25} {:>10} {:>10}",
            line.name,
            thousands(median(rates()).unwrap_or_default()),
            format!("({} – {})", thousands(least), thousands(most)),
            latency(|(p50, _)| p50),
            latency(|(_, p99)| p99),
        );
    }
}

pub(super) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// With a thin space every three digits.
pub(super) fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

pub(super) fn time(seconds: f64) -> String {
    match seconds {
        s if s < 1e-3 => format!("{:.1} µs", s * 1e6),
        s if s < 1.0 => format!("{:.1} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}
