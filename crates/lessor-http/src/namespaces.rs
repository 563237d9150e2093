//! The namespaces of the API, and the engines of their leases and locks.

use std::collections::HashMap;
use std::sync::Arc;

use axum::http::StatusCode;
use lessor_core::{Engine, Limits, OnLapsed, Quota};
use parking_lot::Mutex;
use subtle::ConstantTimeEq as _;

use crate::config::{Config, ConfigError, DEFAULT_NAMESPACE, KeyHash, Namespace};
use crate::counters::Counters;
use crate::error::Refusal;

/// A namespace, with its two key spaces.
#[derive(Debug)]
pub(crate) struct Tenant {
    pub(crate) name: String,
    pub(crate) settings: Namespace,
    /// The leases.
    pub(crate) ai: Engine,
    /// The locks of check-lock.
    pub(crate) make: Engine,
    pub(crate) counters: Counters,
    pub(crate) notifications: Mutex<Notifications>,
}

/// The switches of `POST /v1/me/notifications`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Notifications {
    #[serde(rename = "email_notifications_enabled")]
    pub(crate) email: bool,
    #[serde(rename = "tool_error_notifications_enabled")]
    pub(crate) tool_error: bool,
    #[serde(rename = "run_failure_notifications_enabled")]
    pub(crate) run_failure: bool,
}

/// A caller, who has shown a key.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) tenant: Arc<Tenant>,
    /// Whether the caller may forget and resolve keys of leases.
    pub(crate) may_operate: bool,
}

/// The callers of all namespaces, by their keys.
#[derive(Debug)]
pub(crate) struct Callers {
    /// By the first half of the hash.
    keys: HashMap<[u8; 16], Vec<Known>>,
    /// The namespace for any key.
    any: Option<Arc<Tenant>>,
}

#[derive(Debug)]
struct Known {
    hash: KeyHash,
    disabled: bool,
    caller: Caller,
}

impl Tenant {
    fn open(engine: &Engine, name: &str, settings: Namespace) -> Result<Arc<Self>, ConfigError> {
        let open = |space: &str, most: Option<u64>| {
            let mut namespace = engine.namespace(space);
            if let Some(limits) = &settings.limits {
                namespace = namespace.limits(limits.clone());
            }
            let opened = namespace.quota(most.map_or(Quota::unlimited(), Quota::monthly)).open();
            opened.map_err(|error| ConfigError::new(format!("namespaces.{name}"), error))
        };
        // The name of a namespace contains no colon, so the two spaces are not those of another one.
        let ai = open(name, settings.quota.ai)?;
        let make = open(&format!("lock:{name}"), settings.quota.make)?;
        Ok(Arc::new(Self {
            name: name.to_owned(),
            settings,
            ai,
            make,
            counters: Counters::default(),
            notifications: Mutex::default(),
        }))
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.ai.settings().limits
    }

    /// Returns whether a lapsed key is shown as in doubt.
    pub(crate) fn doubts(&self) -> bool {
        self.settings.on_lapsed == OnLapsed::InDoubt
    }
}

impl Callers {
    pub(crate) fn open(engine: &Engine, config: &Config) -> Result<Self, ConfigError> {
        config.validate()?;
        let (mut keys, mut tenants) = (HashMap::<_, Vec<Known>>::new(), Vec::new());
        for (name, settings) in &config.namespaces {
            let tenant = Tenant::open(engine, name, settings.clone())?;
            for key in &settings.keys {
                let caller = Caller { tenant: Arc::clone(&tenant), may_operate: key.operator };
                let known = Known { hash: key.sha256, disabled: key.disabled, caller };
                keys.entry(half(&key.sha256)).or_default().push(known);
            }
            tenants.push(tenant);
        }
        let any = match (config.any_key, tenants.iter().find(|tenant| tenant.name == DEFAULT_NAMESPACE)) {
            (false, _) if keys.is_empty() => {
                let reason = "there is no key; add one to a namespace, or set any_key to take any key";
                return Err(ConfigError::new("namespaces", reason));
            }
            (false, _) => None,
            (true, Some(tenant)) => Some(Arc::clone(tenant)),
            (true, None) => Some(Tenant::open(engine, DEFAULT_NAMESPACE, Namespace::default())?),
        };
        Ok(Self { keys, any })
    }

    /// Returns the caller with this key. Hashes are compared in constant time.
    pub(crate) fn find(&self, key: &[u8]) -> Result<Caller, Refusal> {
        if let Some(tenant) = &self.any {
            return Ok(Caller { tenant: Arc::clone(tenant), may_operate: true });
        }
        let hash = KeyHash::of_bytes(key);
        let mut found = self.keys.get(&half(&hash)).into_iter().flatten();
        match found.find(|known| known.hash.as_bytes().ct_eq(hash.as_bytes()).into()) {
            None => Err(Refusal::new(StatusCode::FORBIDDEN, "Invalid API key")),
            Some(Known { disabled: true, .. }) => {
                Err(Refusal::new(StatusCode::FORBIDDEN, "API key disabled"))
            }
            Some(known) => Ok(known.caller.clone()),
        }
    }
}

fn half(hash: &KeyHash) -> [u8; 16] {
    let mut half = [0; 16];
    half.iter_mut().zip(hash.as_bytes()).for_each(|(to, from)| *to = *from);
    half
}
