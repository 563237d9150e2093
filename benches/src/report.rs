//! What was measured, as tables.

use std::fmt;
use std::time::Duration;

/// One run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) per_second: f64,
    /// The median and the 99th percentile of one operation.
    pub(crate) latency: Option<(Duration, Duration)>,
}

impl Sample {
    pub(crate) fn of(mut took: Vec<Duration>, elapsed: Duration) -> Self {
        let per_second = took.len() as f64 / elapsed.as_secs_f64();
        took.sort_unstable();
        let at = |hundredth: usize| took.get(took.len() * hundredth / 100).copied();
        Self { per_second, latency: at(50).zip(at(99)) }
    }
}

/// What the lines of a table are compared with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measure {
    /// How the ratio is headed.
    pub(crate) heading: &'static str,
    /// The best of these in each round.
    pub(crate) names: &'static [&'static str],
}

/// What was run alike, one line per contender.
pub(crate) struct Table {
    title: String,
    measure: Measure,
    lines: Vec<Line>,
}

struct Line {
    name: &'static str,
    /// One per round.
    samples: Vec<Sample>,
}

impl Table {
    pub(crate) fn new(title: String, measure: Measure) -> Self {
        Self { title, measure, lines: Vec::new() }
    }

    /// Fixes the order of the lines.
    pub(crate) fn expect(&mut self, names: &[&'static str]) {
        self.lines = names.iter().map(|name| Line { name, samples: Vec::new() }).collect();
    }

    pub(crate) fn add(&mut self, name: &str, sample: Sample) {
        let line = self.lines.iter_mut().find(|line| line.name == name).expect("it was to be expected");
        line.samples.push(sample);
    }

    pub(crate) fn print(&self) {
        println!("\n{}", self.title);
        let has_latencies =
            self.lines.iter().flat_map(|line| &line.samples).any(|sample| sample.latency.is_some());
        let (p50, p99) = if has_latencies { ("p50", "p99") } else { ("", "") };
        println!(
            "  {:>8}  {:<8} {:>12} {:>25} {p50:>10} {p99:>10}",
            self.measure.heading, "", "per second", ""
        );
        for line in self.lines.iter().filter(|line| !line.samples.is_empty()) {
            let share = self.share(line).map_or_else(String::new, |share| format!("{share:.2}"));
            println!("  {share:>8}  {line}");
        }
    }

    /// The median over the rounds of a line's ratio to the best, in the same round, of those it is compared with.
    fn share(&self, line: &Line) -> Option<f64> {
        let is_measure = |line: &&Line| self.measure.names.contains(&line.name);
        let best = |round: usize| {
            let them = self.lines.iter().filter(is_measure).filter_map(|line| line.samples.get(round));
            them.map(|sample| sample.per_second).max_by(f64::total_cmp)
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

pub(crate) fn print_notes(notes: impl Iterator<Item = (&'static str, &'static str)>) {
    println!(
        "Fresh keys are acquired and completed with 64 bytes. Medians over the rounds; in brackets the least and the most."
    );
    for (name, note) in notes {
        println!("  {name:<8} {note}");
    }
}

pub(crate) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// With a thin space every three digits.
pub(crate) fn thousands(value: f64) -> String {
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

pub(crate) fn time(seconds: f64) -> String {
    match seconds {
        s if s < 1e-3 => format!("{:.1} µs", s * 1e6),
        s if s < 1.0 => format!("{:.1} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}
