//! The engine: what applications call.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures_lite::future;

use crate::api::acquire::AcquireRequest;
use crate::api::lease::LeaseHandle;
use crate::api::once::Once;
use crate::api::resolve::Resolve;
use crate::api::within::refuse_own_work;
use crate::data::error::Error;
use crate::data::key::Key;
use crate::data::lease_id::LeaseId;
use crate::data::store_error::StoreError;
use crate::data::time::Timestamp;
use crate::data::view::View;
use crate::rules::settings::Settings;
use crate::rules::{Answer, Command};
use crate::run::abandoned::AbandonQueue;
use crate::run::background::Background;
use crate::run::clock::EngineClock;
use crate::run::context::{Handle, Handles, Shared};
use crate::run::random::LeaseIds;
use crate::run::tasks::{self, PURGE_SLICE};
use crate::run::wait::{NextStep, Reading, Waiter};
use crate::run::watches::Watches;
use crate::store::contract::Store;
use crate::store::notifier::ChangeNotifier;
use crate::store::types::{Durability, Scan};
use crate::sync::pending::Pending;

/// Guards pieces of work, each by a key, over one store. Cheap to clone; clones share everything.
///
/// An engine has three background threads. One renews leases that are kept alive, notices when one is lost, and gives up those that
/// were dropped. One reads on behalf of waiters. One purges old records. They end with the last handle on the engine. None of
/// them runs the application's code: its wakers are invoked on further threads, which exist while they are needed.
///
/// Every operation returns a [`Pending`]: `.await` it under any executor, or `.wait()` for it on a plain thread. All of
/// them are safe to cancel: see [`Pending`].
///
/// An engine does not survive `fork`: make a new one, over a newly opened store, in the child.
#[derive(Clone)]
pub struct Engine {
    pub(crate) shared: Arc<Shared>,
    handles: Handles,
}

/// How long a wait goes on for its first reading, if its own timeout is shorter.
const FIRST_READING: Duration = Duration::from_millis(250);
/// The longest page of a listing.
const MAX_PAGE: usize = 10_000;

impl Engine {
    /// An engine with the default settings.
    pub fn new(store: Arc<dyn Store>) -> Result<Self, Error> {
        Self::with_settings(store, Settings::default())
    }

    /// An engine with settings of the caller's.
    pub fn with_settings(store: Arc<dyn Store>, settings: Settings) -> Result<Self, Error> {
        settings.validate()?;
        let clock = Arc::new(EngineClock::new(Arc::clone(&store)));
        let background = Background::start(&clock)?;
        let lease_ids = LeaseIds::new()?;
        let watches = Watches::new(&store, &clock, &background, &settings);
        let closed = AtomicBool::new(false);
        let abandoned = AbandonQueue::default();
        let shared =
            Arc::new(Shared { store, settings, lease_ids, clock, watches, background, abandoned, closed });
        tasks::start(&shared);
        shared.store.subscribe(ChangeNotifier::new(&shared));
        let handles = Handles::new(&shared);
        Ok(Self { shared, handles })
    }

    /// Asks for the lease on `key`: the first caller gets it, others learn how the work stands.
    pub fn acquire<'a>(&'a self, key: &'a (impl AsRef<str> + ?Sized)) -> AcquireRequest<'a> {
        AcquireRequest::new(self.handle(), key.as_ref())
    }

    fn handle(&self) -> &Arc<Handle> {
        self.handles.get()
    }

    /// Runs a piece of work once: whoever comes later gets the first one's outcome.
    pub fn once<'a>(&'a self, key: &'a (impl AsRef<str> + ?Sized)) -> Once<'a> {
        Once::new(self.handle(), key.as_ref())
    }

    /// The holder's operations by lease id, for a holder on the other side of a boundary. Nothing is checked
    /// or changed yet.
    pub fn lease_handle(
        &self,
        key: &(impl AsRef<str> + ?Sized),
        lease_id: LeaseId,
    ) -> Result<LeaseHandle, Error> {
        Ok(LeaseHandle::by_id(Arc::clone(self.handle()), Key::new(key.as_ref())?, lease_id))
    }

    /// What an observer may see of the key's record; `None` if there is none.
    pub fn status(&self, key: &(impl AsRef<str> + ?Sized)) -> Pending<'static, Result<Option<View>, Error>> {
        let key = match Key::new(key.as_ref()) {
            Ok(key) => key,
            Err(error) => return Pending::ready(Err(error.into())),
        };
        self.shared.store.load(&key).map(|seen| Ok(View::of_seen(&seen?)))
    }

    /// The outcome of the key's work, if it is finished: completed or failed.
    pub fn result(&self, key: &(impl AsRef<str> + ?Sized)) -> Pending<'static, Result<Option<View>, Error>> {
        self.status(key).map(|view| Ok(view?.filter(View::is_finished)))
    }

    /// Waits until nobody works on the key any more: it is finished, lapsed, released or absent. After `timeout`, which
    /// counts from this call, a view that is still in progress is returned.
    ///
    /// The answer rests on a reading of the record that began after the call. Waiters are woken at once by what happens through
    /// this engine, by the store's notifications where it sends any, and else the record is read every [`Settings::poll_every`]. However
    /// many wait for a key, one reading answers them all.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where the store has not answered a single reading within `timeout`, or within a quarter of a
    /// second if that is longer; and what the store reports after three readings in a row have failed.
    pub fn wait_for(
        &self,
        key: &(impl AsRef<str> + ?Sized),
        timeout: Duration,
    ) -> Pending<'static, Result<Option<View>, Error>> {
        let key = match Key::new(key.as_ref()) {
            Ok(key) => key,
            Err(error) => return Pending::ready(Err(error.into())),
        };
        if let Err(error) = refuse_own_work(&self.shared.store, &key) {
            return Pending::ready(Err(error));
        }
        let called_at = self.shared.clock.now();
        let waiter = Waiter::new(&self.shared.watches.waiters, &key, false);
        if let Some(NextStep::Answer(answer)) = waiter.last_reading(ended) {
            return Pending::ready(answer);
        }
        let shared = Arc::clone(&self.shared);
        Pending::later(async move {
            let outcome = async { waiter.outcome(ended).await.unwrap_or(Err(Error::unexpected())) };
            let timed_out = async {
                let readers = &shared.background.readers;
                readers.sleep_until(called_at.saturating_add(timeout)).await;
                if let Some(seen) = waiter.last_reading(shown) {
                    return seen;
                }
                readers.sleep_until(called_at.saturating_add(FIRST_READING)).await;
                let unread = || Err(StoreError::Unavailable { reason: unread(timeout) }.into());
                waiter.last_reading(shown).unwrap_or_else(unread)
            };
            future::or(outcome, timed_out).await
        })
    }

    /// Up to `limit` keys that begin with `prefix`, in key order, from behind `after` on. Records whose retention
    /// has ended are left out, so a page may be shorter than `limit`; follow [`Listing::next`] to the end.
    pub fn list(
        &self,
        prefix: &str,
        after: Option<Key>,
        limit: usize,
    ) -> Pending<'static, Result<Listing, Error>> {
        if !(1..=MAX_PAGE).contains(&limit) {
            let reason = format!("{limit} is not between 1 and {MAX_PAGE}");
            return Pending::ready(Err(Error::invalid("limit", reason)));
        }
        self.shared.store.scan(Scan { prefix: prefix.to_owned(), after, limit }).map(|page| {
            let page = page?;
            let view = |(key, record)| View::of(&record, page.now).map(|view| (key, view));
            Ok(Listing { entries: page.entries.into_iter().filter_map(view).collect(), next: page.next })
        })
    }

    /// Removes the key's record, so that the next acquire begins anew. Refused with [`Error::Busy`] while somebody holds
    /// the key. Says whether there was anything to forget.
    pub fn forget(&self, key: &(impl AsRef<str> + ?Sized)) -> Pending<'static, Result<bool, Error>> {
        self.forget_as(key.as_ref(), false)
    }

    /// Removes the key's record even while somebody holds it: the holder is refused from then on.
    pub fn forget_forced(&self, key: &(impl AsRef<str> + ?Sized)) -> Pending<'static, Result<bool, Error>> {
        self.forget_as(key.as_ref(), true)
    }

    fn forget_as(&self, key: &str, force: bool) -> Pending<'static, Result<bool, Error>> {
        match Key::new(key) {
            Ok(key) => self.handle().operate(key, Command::Forget { force }, |outcome| match outcome? {
                (Answer::Forgotten(was), _) => Ok(was),
                _ => Err(Error::unexpected()),
            }),
            Err(error) => Pending::ready(Err(error.into())),
        }
    }

    /// An operator's verdict on a key that is in doubt, because its holder vanished.
    pub fn resolve<'a>(&'a self, key: &'a (impl AsRef<str> + ?Sized)) -> Resolve<'a> {
        Resolve::new(self.handle(), key.as_ref())
    }

    /// Drops records whose retention has ended, up to `limit`, and returns how many. The engine does this by itself every
    /// [`Settings::purge_every`].
    ///
    /// If the returned future is dropped, what was dropped so far stays dropped.
    pub fn purge(&self, limit: usize) -> Pending<'static, Result<usize, Error>> {
        let shared = Arc::clone(&self.shared);
        Pending::later(async move {
            let mut dropped = 0;
            while dropped < limit {
                let purged = shared.store.purge((limit - dropped).min(PURGE_SLICE)).await?;
                dropped += purged.dropped;
                if !purged.more {
                    break;
                }
            }
            Ok(dropped)
        })
    }

    /// The store's time.
    pub fn now(&self) -> Pending<'static, Result<Timestamp, Error>> {
        self.shared.store.now().map(|now| Ok(now?))
    }

    /// What an answer of this engine survives.
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.shared.store.durability()
    }

    /// The engine's limits and defaults.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }
}

/// The answer for one who waits for the end of the work on a key.
fn ended(reading: &Reading) -> NextStep<Result<Option<View>, Error>> {
    match shown(reading) {
        Ok(Some(view)) if view.ttl_left().is_some() => NextStep::Wait,
        answer => NextStep::Answer(answer),
    }
}

fn shown(reading: &Reading) -> Result<Option<View>, Error> {
    match reading {
        Ok(seen) => Ok(View::of_seen(seen)),
        Err(error) => Err(error.clone().into()),
    }
}

fn unread(timeout: Duration) -> String {
    format!("it answered no reading of the record within {timeout:?}")
}

/// A part of the keys that there are.
#[derive(Clone, Debug)]
pub struct Listing {
    /// In key order.
    pub entries: Vec<(Key, View)>,
    /// Where the next part begins, if there may be one: pass it as `after`.
    pub next: Option<Key>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.handle(), f)
    }
}
