//! Namespaces of an engine: [`OpenNamespace`], and what an engine reports about them.

use std::sync::Arc;

use crate::api::engine::Engine;
use crate::data::error::Error;
use crate::data::key::Key;
use crate::data::month::Month;
use crate::data::namespace::{NAMESPACES, check_name, end_text};
use crate::data::time::Timestamp;
use crate::data::usage::Usage;
use crate::rules::quota::{self, Quota};
use crate::rules::settings::{Limits, Settings};
use crate::run::context::Handles;
use crate::run::namespace::Namespace;
use crate::store::types::Scan;
use crate::sync::pending::Pending;

/// The maximum number of names that one call returns.
const MAX_PAGE: usize = 10_000;

/// Opens a namespace. Created by [`Engine::namespace`].
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use lessor_core::{Engine, Error, Limits, Quota};
/// use lessor_memory::MemoryStore;
///
/// let engine = Engine::new(Arc::new(MemoryStore::new()))?;
/// let tenant = engine
///     .namespace("tenant-7")
///     .limits(Limits::new().max_ttl(Duration::from_secs(600)).retention(Duration::from_secs(86_400)))
///     .quota(Quota::monthly(1))
///     .open()?;
/// let lease = tenant.acquire("invoice:1").wait()?;
/// // The same key of the engine itself is another one.
/// assert!(engine.status("invoice:1").wait()?.is_none());
/// let refused = tenant.acquire("invoice:2").wait();
/// assert!(matches!(refused, Err(Error::QuotaExceeded(usage)) if usage.used() == 1));
/// # drop(lease);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is opened until `open` is called"]
pub struct OpenNamespace<'a> {
    engine: &'a Engine,
    name: &'a str,
    limits: Option<Limits>,
    holder: Option<String>,
    quota: Option<Quota>,
}

impl OpenNamespace<'_> {
    /// Sets the limits and defaults of the namespace. Default: those of the engine.
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits: Some(limits), ..self }
    }

    /// Sets the label of holders that give none. Default: that of the engine.
    pub fn holder(self, holder: impl Into<String>) -> Self {
        Self { holder: Some(holder.into()), ..self }
    }

    /// Counts the grants of the namespace, and limits them if the quota has a limit. Default: grants
    /// are not counted.
    ///
    /// All processes that open the namespace should give the same quota. One that gives none makes
    /// grants that are not counted.
    pub fn quota(self, quota: Quota) -> Self {
        Self { quota: Some(quota), ..self }
    }

    /// Returns an engine for the namespace. It shares the store and the background threads of the
    /// engine that opened it, and [closing](Engine::close) one closes both.
    ///
    /// A namespace can be opened any number of times. Nothing is stored until a key is acquired.
    /// About two kilobytes of memory are kept for each name until the last engine is dropped.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if the name is empty, blank, longer than
    /// [64](crate::MAX_NAMESPACE_CHARS) characters or contains control characters, if a limit or the
    /// quota is out of its range, or if the engine is one of a namespace itself.
    pub fn open(self) -> Result<Engine, Error> {
        let Self { engine, name, limits, holder, quota } = self;
        let parent = engine.handle();
        if let Some(outer) = &parent.namespace {
            let reason = format!(
                "the engine is that of the namespace {:?}; open {name:?} from the engine without a namespace, \
                 with a name such as \"{}/{name}\"",
                outer.space.name, outer.space.name
            );
            return Err(Error::invalid("namespace", reason));
        }
        let mut settings = Settings::clone(&parent.settings);
        settings.limits = limits.unwrap_or(settings.limits);
        settings.holder = holder.or(settings.holder);
        settings.validate()?;
        let quota = quota.map(Quota::validate).transpose()?;
        let space = engine.shared.namespaces.open(name)?;
        let handles = Handles::of_namespace(&engine.shared, settings, Namespace { space, quota });
        Ok(Engine { shared: Arc::clone(&engine.shared), handles })
    }
}

impl Engine {
    /// Returns a request to open the part of this engine with a name of its own. Its keys never meet
    /// those of other namespaces, nor those of this engine. Limits, defaults, retention and quota
    /// are its own.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// let tenant = engine.namespace("tenant-7").open()?;
    /// let _lease = tenant.acquire("job").wait()?;
    /// assert!(engine.status("job").wait()?.is_none(), "the keys of a namespace are its own");
    /// # Ok::<(), Error>(())
    /// ```
    pub fn namespace<'a>(&'a self, name: &'a str) -> OpenNamespace<'a> {
        OpenNamespace { engine: self, name, limits: None, holder: None, quota: None }
    }

    /// Returns the name of this engine's namespace, or `None` if it is not one of a namespace.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// assert_eq!(engine.namespace_name(), None);
    /// assert_eq!(engine.namespace("tenant-7").open()?.namespace_name(), Some("tenant-7"));
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn namespace_name(&self) -> Option<&str> {
        self.handle().namespace.as_ref().map(|namespace| &*namespace.space.name)
    }

    /// Returns the counted grants of this engine's namespace in the current month, in UTC, and those
    /// of the months before. The answer contains everything that was granted before the call.
    ///
    /// Grants are counted if the namespace was opened with a [`Quota`]. The limit is that of this
    /// engine.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if the engine is not one of a namespace, or an error of the store.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// let tenant = engine.namespace("tenant-7").quota(Quota::monthly(3000)).open()?;
    /// let _lease = tenant.acquire("job").wait()?;
    /// assert_eq!(tenant.usage().wait()?.limit(), Some(3000));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn usage(&self) -> Pending<Result<Usage, Error>> {
        let Some(namespace) = &self.handle().namespace else {
            let reason = "only namespaces count their grants; open one with `engine.namespace(name)`";
            return Pending::ready(Err(Error::invalid("usage", reason)));
        };
        let limit = namespace.quota.and_then(Quota::limit);
        // Read before the count, so that units which are used in between are not missing.
        let unused = namespace.space.units.unused().unwrap_or((Month::of(Timestamp::EPOCH), 0));
        let count = self.shared.store.load(&namespace.space.quota_key);
        count.map(move |count| {
            let count = count?;
            quota::usage(count.record.as_ref(), count.now, limit, unused)
        })
    }

    /// Returns up to `limit` names of namespaces that have records or counts in the store, in order
    /// and after the name `after`. A page with fewer names is the last one.
    ///
    /// Each name costs one scan of the store.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if `limit` is not between 1 and 10,000 or `after` is not a name of a
    /// namespace, or an error of the store.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use lessor_core::Engine;
    /// use lessor_memory::MemoryStore;
    ///
    /// let engine = Engine::new(Arc::new(MemoryStore::new()))?;
    /// for name in ["tenant-7", "tenant-8"] {
    ///     let _ = engine.namespace(name).open()?.acquire("invoice:1").wait()?;
    /// }
    /// assert_eq!(engine.namespaces(None, 100).wait()?, ["tenant-7", "tenant-8"]);
    /// assert_eq!(engine.namespaces(Some("tenant-7"), 100).wait()?, ["tenant-8"]);
    /// # Ok::<(), lessor_core::Error>(())
    /// ```
    pub fn namespaces(&self, after: Option<&str>, limit: usize) -> Pending<Result<Vec<String>, Error>> {
        if !(1..=MAX_PAGE).contains(&limit) {
            let reason = format!("{limit} is not between 1 and {MAX_PAGE}");
            return Pending::ready(Err(Error::invalid("limit", reason)));
        }
        if let Some(Err(error)) = after.map(check_name) {
            return Pending::ready(Err(error));
        }
        let store = Arc::clone(&self.shared.store);
        let mut after = after.map(|name| Key::cursor(&end_text(name)));
        Pending::later(async move {
            let mut names = Vec::new();
            while names.len() < limit {
                let page = store.scan(Scan::new(NAMESPACES, after, 1)).await?;
                let Some(name) = page.entries.first().and_then(|(key, _)| key.namespace()) else { break };
                after = Some(Key::cursor(&end_text(name)));
                names.push(name.to_owned());
            }
            Ok(names)
        })
    }
}
