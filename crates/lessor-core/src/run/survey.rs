//! The readings of the whole store for a [`Survey`].

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_lite::future;

use crate::data::key::Key;
use crate::data::state::{State, States};
use crate::data::store_error::StoreError;
use crate::run::context::Shared;
use crate::run::observer::event::Event;
use crate::run::observer::survey::Survey;
use crate::store::types::Scan;

/// The number of records that are read at once. Each may have a result of a MiB.
const SLICE: usize = 512;

/// Reads all records whose keys begin with `prefix`.
pub(crate) async fn survey(engine: Arc<Shared>, prefix: String) -> Result<Survey, StoreError> {
    let (mut survey, mut after) = (Survey::default(), None);
    loop {
        after = read(&engine, &prefix, &mut survey, after).await?;
        if after.is_none() {
            return Ok(survey);
        }
        future::yield_now().await;
    }
}

/// Reads the whole store at intervals and reports the result, until the engine is dropped. Keeps the
/// engine only while it reads a slice.
pub(crate) async fn survey_periodically(engine: Weak<Shared>, every: Duration) {
    let (mut survey, mut after) = (Survey::default(), None);
    loop {
        let Some(shared) = engine.upgrade() else { return };
        match read(&shared, "", &mut survey, after.take()).await {
            Ok(Some(next)) => {
                after = Some(next);
                drop(shared);
                future::yield_now().await;
                continue;
            }
            Ok(None) => shared.observer.surveyed(&survey),
            Err(error) => shared.record(&Event::NotSurveyed { error: &error }),
        }
        survey = Survey::default();
        let next = shared.clock.now().saturating_add(every);
        let sleep = shared.background.purger.sleep_until(next);
        drop(shared);
        sleep.await;
    }
}

/// Reads the next records after `after`. Returns the last key if others follow it.
async fn read(
    engine: &Shared,
    prefix: &str,
    survey: &mut Survey,
    after: Option<Key>,
) -> Result<Option<Key>, StoreError> {
    let lapsed = States::default().with(State::Lapsed);
    let page = engine.store.scan(Scan::new(prefix, after, SLICE).in_states(lapsed)).await?;
    for (_, record) in &page.entries {
        survey.add(record, page.now);
    }
    Ok(page.next)
}
