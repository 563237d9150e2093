//! [`ListRequest`], with which an observer lists keys.

use std::sync::Arc;

use crate::data::error::Error;
use crate::data::key::Key;
use crate::data::namespace::AFTER_NAMESPACES;
use crate::data::state::{State, States};
use crate::data::view::View;
use crate::run::context::Handle;
use crate::store::types::Scan;
use crate::sync::pending::Pending;

/// The maximum length of a page.
const MAX_PAGE: usize = 10_000;
/// The length of a page if the caller gives none.
const PAGE: usize = 100;
/// The maximum number of records that are read for one page of a listing by state.
const MAX_READ: usize = 4096;
/// The number of records that are read at once for a page of a listing by state, unless the page is
/// longer.
const SLICE: usize = 512;

/// A request to list keys, created by [`Engine::list`](crate::Engine::list). Nothing happens until
/// it is sent with [`wait`](Self::wait) or [`send`](Self::send).
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use lessor_core::{Engine, State};
/// use lessor_memory::MemoryStore;
///
/// let engine = Engine::new(Arc::new(MemoryStore::new()))?;
/// engine.acquire("invoice:1").wait()?;
/// engine.once("invoice:2").run(|_| Ok::<_, String>(2)).unwrap();
/// let done = engine.list().prefix("invoice:").state(State::Completed).wait()?;
/// assert_eq!(done.entries.len(), 1);
/// // All pages, one after the other.
/// let mut after = None;
/// loop {
///     let page = engine.list().prefix("invoice:").after(after).limit(1).wait()?;
///     for (key, view) in &page.entries {
///         println!("{key}: {}", view.state());
///     }
///     after = page.next;
///     if after.is_none() {
///         break;
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing happens until the request is sent: `.wait()` or `.send()`"]
pub struct ListRequest<'a> {
    engine: &'a Arc<Handle>,
    prefix: &'a str,
    /// Empty for all states.
    states: States,
    after: Option<Key>,
    limit: usize,
}

/// A page of keys, returned by [`ListRequest::send`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Listing {
    /// The keys and their states, in key order.
    pub entries: Vec<(Key, View)>,
    /// The cursor of the next page, to be passed to [`ListRequest::after`]. `None` after the last
    /// page.
    pub next: Option<Key>,
}

impl<'a> ListRequest<'a> {
    pub(crate) fn new(engine: &'a Arc<Handle>) -> Self {
        Self { engine, prefix: "", states: States::default(), after: None, limit: PAGE }
    }

    /// Lists only keys that begin with `prefix`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// assert_eq!(engine.list().prefix("jo").wait()?.entries.len(), 1);
    /// assert_eq!(engine.list().prefix("invoice:").wait()?.entries.len(), 0);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn prefix(self, prefix: &'a str) -> Self {
        Self { prefix, ..self }
    }

    /// Lists only keys in this state. Further calls add further states.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// let ended = engine.list().state(State::Lapsed).state(State::Failed);
    /// assert!(ended.wait()?.entries.is_empty());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn state(self, state: State) -> Self {
        Self { states: self.states.with(state), ..self }
    }

    /// Begins after this key: the [`Listing::next`] of the page before.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// let first = engine.list().limit(1).wait()?;
    /// let second = engine.list().after(first.next).limit(1).wait()?;
    /// assert_eq!((first.entries.len(), second.entries.len()), (1, 0));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn after(self, after: Option<Key>) -> Self {
        Self { after, ..self }
    }

    /// Sets the maximum number of keys of the page, from 1 to 10 000. Default: 100.
    ///
    /// The in-memory store and the file store have no order of keys, so they examine all keys for
    /// each page. Large pages are faster for long listings.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// assert!(engine.list().limit(10_000).wait()?.next.is_none());
    /// assert_eq!(engine.list().limit(0).wait().unwrap_err().kind(), ErrorKind::Invalid);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn limit(self, limit: usize) -> Self {
        Self { limit, ..self }
    }

    /// Sends the request and blocks the thread until the page arrives.
    ///
    /// # Errors
    ///
    /// See [`send`](Self::send).
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// let page = engine.list().wait()?;
    /// assert_eq!(page.entries[0].0.as_str(), "job");
    /// # Ok::<(), Error>(())
    /// ```
    pub fn wait(self) -> Result<Listing, Error> {
        self.send().wait()
    }

    /// Sends the request.
    ///
    /// A page may have fewer keys than its limit, or none, although others follow: records whose
    /// retention has ended are omitted, and at most 4096 records are read for a page that is limited
    /// to certain states. The listing is complete when [`Listing::next`] is `None`. The states are
    /// those at the time of the reading.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if the limit is out of its range, or an error of the store.
    ///
    /// # Cancellation safety
    ///
    /// Dropping the [`Pending`] has no effect.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// let page = engine.list().send();
    /// assert_eq!(page.wait()?.entries.len(), 1);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn send(self) -> Pending<Result<Listing, Error>> {
        let Self { engine, prefix, states, after, limit } = self;
        if !(1..=MAX_PAGE).contains(&limit) {
            let reason = format!("{limit} is not between 1 and {MAX_PAGE}");
            return Pending::ready(Err(Error::invalid("limit", reason)));
        }
        let (prefix, after) = match &engine.namespace {
            None => (prefix.to_owned(), after.max(Some(Key::cursor(AFTER_NAMESPACES)))),
            Some(namespace) => {
                let text = |name: &str| namespace.space.text(name);
                (text(prefix), after.map(|after| Key::cursor(&text(after.name()))))
            }
        };
        if states.is_empty() {
            let page = engine.store.scan(Scan::new(prefix, after, limit));
            return page.map(|page| {
                let page = page?;
                let view = |(key, record)| View::of(&record, page.now).map(|view| (named(&key), view));
                Ok(Listing {
                    entries: page.entries.into_iter().filter_map(view).collect(),
                    next: page.next.as_ref().map(named),
                })
            });
        }
        Pending::later(by_state(Arc::clone(engine), prefix, states, after, limit))
    }
}

/// Reads slices until the page is full, nothing follows, or enough has been read.
async fn by_state(
    engine: Arc<Handle>,
    prefix: String,
    states: States,
    mut after: Option<Key>,
    limit: usize,
) -> Result<Listing, Error> {
    let (mut entries, mut read) = (Vec::new(), 0);
    loop {
        let slice = Scan::new(prefix.clone(), after, SLICE.max(limit).min(MAX_READ - read));
        let slice = slice.in_states(states);
        let page = engine.store.scan(slice).await?;
        read += page.entries.len();
        let is_last = page.next.is_none();
        for (key, record) in page.entries {
            let Some(view) = View::of(&record, page.now) else { continue };
            if states.contains(view.state()) {
                entries.push((named(&key), view));
                if entries.len() == limit {
                    // There may be more, at the latest after this key.
                    let next = entries.last().map(|(key, _)| key.clone());
                    return Ok(Listing { entries, next });
                }
            }
        }
        after = page.next;
        if is_last || read >= MAX_READ {
            return Ok(Listing { entries, next: after.as_ref().map(named) });
        }
    }
}

/// Returns the key as callers give it to the engine, without its namespace.
fn named(key: &Key) -> Key {
    if key.namespace().is_some() { Key::checked(key.name()) } else { key.clone() }
}
