//! [`Crowd`], the connections of a server and the limit on their number.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::progress::Progress;

/// The time after which another connection has to leave.
const ROUND: Duration = Duration::from_millis(20);

/// The connections of a server.
#[derive(Debug)]
pub(super) struct Crowd {
    places: Arc<Semaphore>,
    changes: Arc<AtomicU64>,
    members: Arc<Mutex<Members>>,
}

#[derive(Debug, Default)]
struct Members {
    next: u64,
    present: BTreeMap<u64, (Progress, Arc<Notify>)>,
}

/// The place of a connection. Dropping it makes room for another one.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) progress: Progress,
    /// Notified when the connection has to make room.
    pub(super) leave: Arc<Notify>,
    number: u64,
    members: Arc<Mutex<Members>>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Crowd {
    pub(super) fn new(most: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))),
            changes: Arc::default(),
            members: Arc::default(),
        }
    }

    /// Returns a place for a connection. If there is none, another connection that does not work on
    /// a request has to leave: the one that has waited for the longest time.
    pub(super) async fn enter(&self) -> Place {
        let mut permit = pin!(Arc::clone(&self.places).acquire_owned());
        let mut patience = Duration::ZERO;
        // The one that has to leave may begin to work at the same moment, and then it stays.
        let permit = loop {
            match timeout(patience, &mut permit).await {
                // The semaphore is never closed.
                Ok(permit) => break permit.ok(),
                Err(_) => self.send_one_away(),
            }
            patience = ROUND;
        };
        let (progress, leave) = (Progress::new(&self.changes), Arc::new(Notify::new()));
        let mut members = self.members.lock();
        let number = members.next;
        members.next += 1;
        members.present.insert(number, (progress.clone(), Arc::clone(&leave)));
        Place { progress, leave, number, members: Arc::clone(&self.members), _permit: permit }
    }

    fn send_one_away(&self) {
        let members = self.members.lock();
        let ranked = members.present.values().filter_map(|(progress, leave)| Some((progress.rank()?, leave)));
        if let Some((_, leave)) = ranked.min_by_key(|(rank, _)| *rank) {
            leave.notify_one();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.members.lock().present.remove(&self.number);
    }
}
