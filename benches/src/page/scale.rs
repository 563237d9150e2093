//! Logarithmic scales.

use std::ops::RangeInclusive;

use crate::results::Spread;

/// The minimum ratio between the ends of a scale.
const SHORTEST: f64 = 4.0;
/// The margin at each end, as a share of the whole.
const ROOM: f64 = 0.06;
/// The range of plausible measurements. Values outside it are not drawn.
const SANE: RangeInclusive<f64> = 1e-15..=1e15;

#[derive(Clone, Debug)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    /// The positions of `low` and `high`, in pixels.
    from: f64,
    to: f64,
    pub(super) ticks: Vec<f64>,
}

/// The numbers at which grid lines are drawn.
#[derive(Clone, Copy, Debug)]
pub(super) enum Round {
    /// 1, 2, 5, 10, …; or 1, 3, 10, …; or powers of ten.
    Decimal,
    /// … ½, 1, 2, 4, …; or decimal if these would be too many.
    Twos,
}

impl Scale {
    /// Returns a scale that covers all of `values` with a margin on both sides. Grid lines are
    /// `between` pixels or more apart on average. `None` if there is no plausible value.
    pub(super) fn covering(
        values: impl Iterator<Item = f64>,
        round: Round,
        (from, to): (f64, f64),
        between: f64,
    ) -> Option<Self> {
        let values: Vec<_> = values.filter(|value| SANE.contains(value)).collect();
        let least = values.iter().copied().min_by(f64::total_cmp)?;
        let most = values.iter().copied().max_by(f64::total_cmp)?;
        // With a shorter scale, noise would fill the plot if all values are similar.
        let stretch = (SHORTEST / (most / least)).max(1.0).sqrt();
        let room = (most / least).max(SHORTEST).powf(ROOM);
        let (low, high) = (least / stretch / room, most * stretch * room);
        let most_ticks = ((to - from).abs() / between) as usize;
        Some(Self { low, high, from, to, ticks: ticks(low, high, round, most_ticks) })
    }

    pub(super) fn between((low, high): (f64, f64), ticks: Vec<f64>, (from, to): (f64, f64)) -> Self {
        Self { low, high, from, to, ticks }
    }

    pub(super) fn at(&self, value: f64) -> f64 {
        let share = (value / self.low).ln() / (self.high / self.low).ln();
        // NaN if the value was.
        let share = if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) };
        self.from + (self.to - self.from) * share
    }

    pub(super) fn has(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }
}

/// Returns the values that a scale must cover.
pub(super) fn extent(spread: Spread) -> [f64; 3] {
    [spread.least, spread.median, spread.most]
}

/// Returns the closest round numbers of which there are not too many.
fn ticks(low: f64, high: f64, round: Round, most: usize) -> Vec<f64> {
    let twos = matches!(round, Round::Twos).then(|| powers(2.0, &[1.0], low, high));
    let steps: [&[f64]; 2] = [&[1.0, 2.0, 5.0], &[1.0, 3.0]];
    let decimal = steps.into_iter().map(|steps| powers(10.0, steps, low, high));
    let decades = powers(10.0, &[1.0], low, high);
    let every = decades.len().div_ceil(most.max(1)).max(1);
    let sparse: Vec<_> = decades.into_iter().step_by(every).collect();
    let mut candidates = twos.into_iter().chain(decimal).chain([sparse]);
    candidates.find(|ticks| ticks.len() <= most).unwrap_or_default()
}

/// Returns multiples of powers of `base` within `low..=high`.
fn powers(base: f64, multiples: &[f64], low: f64, high: f64) -> Vec<f64> {
    let exponent = |value: f64| value.log(base).floor() as i32;
    let exponents = exponent(low)..=exponent(high);
    let all =
        exponents.flat_map(|exponent| multiples.iter().map(move |multiple| multiple * base.powi(exponent)));
    all.filter(|tick| (low..=high).contains(tick)).collect()
}
