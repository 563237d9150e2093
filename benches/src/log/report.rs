//! What was measured, as tables.

use std::fmt;
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

/// What was run alike, one line per contender.
pub(super) struct Table {
    title: String,
    lines: Vec<Line>,
}

struct Line {
    name: &'static str,
    /// One per round.
    samples: Vec<Sample>,
}

impl Table {
    pub(super) fn new(title: String) -> Self {
        Self { title, lines: Vec::new() }
    }

    /// Fixes the order of the lines.
    pub(super) fn expect(&mut self, names: &[&'static str]) {
        self.lines = names.iter().map(|name| Line { name, samples: Vec::new() }).collect();
    }

    pub(super) fn add(&mut self, name: &str, sample: Sample) {
        let line = self.lines.iter_mut().find(|line| line.name == name).expect("it was to be expected");
        line.samples.push(sample);
    }

    pub(super) fn print(&self) {
        println!("\n{}", self.title);
        println!(
            "  {:>8}  {:<8} {:>12} {:>25} {:>10} {:>10}",
            "of floor", "", "per second", "", "p50", "p99"
        );
        for line in self.lines.iter().filter(|line| !line.samples.is_empty()) {
            let share = self.of_the_floor(line).map_or_else(String::new, |share| format!("{share:.2}"));
            println!("  {share:>8}  {line}");
        }
    }

    /// The median over the rounds of a line's share in the better floor of the same round.
    fn of_the_floor(&self, line: &Line) -> Option<f64> {
        let is_floor = |line: &&Line| [floor::LEADER, floor::WRITER].contains(&line.name);
        let best = |round: usize| {
            let floors = self.lines.iter().filter(is_floor).filter_map(|floor| floor.samples.get(round));
            floors.map(|sample| sample.per_second).max_by(f64::total_cmp)
        };
        let samples = line.samples.iter().enumerate();
        median(samples.filter_map(|(round, sample)| Some(sample.per_second / best(round)?)))
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rates = || self.samples.iter().map(|sample| sample.per_second);
        let least = rates().fold(f64::INFINITY, f64::min);
        let most = rates().fold(0.0, f64::max);
        let latency = |which: fn((Duration, Duration)) -> Duration| {
            let all = self.samples.iter().filter_map(|sample| sample.latency);
            median(all.map(|latency| which(latency).as_secs_f64())).map_or_else(String::new, time)
        };
        write!(
            f,
            "{:<8} {:>12} {:>25} {:>10} {:>10}",
            self.name,
            thousands(median(rates()).unwrap_or_default()),
            format!("({} – {})", thousands(least), thousands(most)),
            latency(|(p50, _)| p50),
            latency(|(_, p99)| p99),
        )
    }
}

pub(super) fn print_notes<'c>(contenders: impl Iterator<Item = &'c Contender>) {
    println!(
        "Fresh keys are acquired and completed with 64 bytes. Medians over the rounds; in brackets the least and the most."
    );
    for contender in contenders {
        println!("  {:<8} {}", contender.name, contender.note);
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
