//! The models, and the faults that they find.

mod planted;
mod whole;

use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model};

use crate::config::{Config, Kind, Left, Met};
use crate::model::Action;
use crate::words::CallerKind;

/// Returns a model with two callers of a local store, and without events.
fn base(name: &'static str) -> Config {
    Config {
        name,
        kind: Kind::Local,
        callers: vec![CallerKind::default(), CallerKind::default()],
        holder_ops: vec![],
        operations: vec![],
        left: Left::default(),
        orphans: 1,
        ahead: None,
        is_chosen: true,
        waits: false,
        checks: u32::MAX,
        bug: None,
        met: Met::default(),
    }
}

fn who(print: u8) -> CallerKind {
    CallerKind { print: Some(print), ..CallerKind::default() }
}

/// The broken promises, each with the shortest sequence of events that leads there.
type Found = Vec<(&'static str, Vec<Action>)>;

/// Visits every state.
fn explore(config: &Config, prints: bool) -> Found {
    #[expect(clippy::disallowed_methods, reason = "the duration is only printed")]
    let began = Instant::now();
    // A single thread finds the shortest sequence. Models run in parallel.
    let checker = config.clone().checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let found: Found =
        checker.discoveries().into_iter().map(|(name, path)| (name, path.into_actions())).collect();
    if prints {
        println!(
            "model {}: {} states, {} steps, {} deep, {:.1} s",
            config.name,
            checker.unique_state_count(),
            checker.state_count(),
            checker.max_depth(),
            began.elapsed().as_secs_f64()
        );
    }
    found
}
