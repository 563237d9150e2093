//! Compares the effects of a scenario with those of the run without a fault.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::crash::promise::Promise;
use crate::crash::scenario::{Run, Verdict};
use crate::crash::world::Effect;

/// The number of times that each effect of each key happens without a fault.
#[derive(Debug, Default)]
pub(crate) struct Expected(BTreeMap<(String, String), usize>);

impl Expected {
    pub(crate) fn of(effects: &[Effect]) -> Self {
        let mut counts = BTreeMap::new();
        for effect in effects {
            *counts.entry((effect.name.clone(), effect.key.clone())).or_default() += 1;
        }
        Self(counts)
    }

    /// Returns what is wrong with a run, as a sentence without its end.
    pub(crate) fn judge(&self, run: &Run, promise: Promise) -> Option<String> {
        let seen = Self::of(&run.effects);
        let doubled =
            seen.0.iter().find(|(effect, count)| **count > self.0.get(effect).copied().unwrap_or(1));
        if let (Some(((name, key), count)), true) = (doubled, promise != Promise::AtLeastOnce) {
            let of_it = |effect: &&Effect| effect.name == *name && effect.key == *key;
            let last = run.effects.iter().rfind(of_it).map_or(0, |effect| effect.worker);
            let times = times(*count);
            return Some(format!(
                "{name} of {key} happened {times}: {}, and worker {last} did it again",
                causes(run)
            ));
        }
        match (&run.verdict, promise) {
            (Verdict::Failing(error), Promise::ExactlyOnce | Promise::AtLeastOnce) => {
                return Some(format!(
                    "the function does not finish: {}, and each later call failed, the last one with: {error}",
                    causes(run)
                ));
            }
            (Verdict::Hanging, _) => {
                return Some(format!("the function does not return: {}", causes(run)));
            }
            _ => {}
        }
        let lost = self.0.iter().find(|(effect, count)| seen.0.get(effect).is_none_or(|seen| seen < count));
        match (lost, promise) {
            (Some(((name, key), _)), Promise::ExactlyOnce | Promise::AtLeastOnce) => {
                let causes = causes(run);
                Some(format!("{name} of {key} was lost, although the function reports success: {causes}"))
            }
            _ => None,
        }
    }
}

fn times(count: usize) -> String {
    match count {
        2 => "twice".to_owned(),
        count => format!("{count} times"),
    }
}

fn causes(run: &Run) -> String {
    let mut text = String::new();
    for (number, (_, fault)) in run.faults.iter().enumerate() {
        // Writing to a string does not fail.
        let _ = write!(text, "{}{fault}", if number == 0 { "" } else { ", then " });
    }
    if text.is_empty() { "without any fault".to_owned() } else { text }
}
